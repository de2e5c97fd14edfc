import Foundation
import TestSupport
import Testing

/// The document of `restore --json`, as far as it says what was chosen.
private struct ChoiceAnswer: Decodable {
  let snapshot: String
  let passedOver: String?
  let files: Int
}

/// A snapshot of some sources never stands for the others.
@Suite("A snapshot of some of the sources", .waits)
struct PartialSnapshotTests {
  private let world: World
  private let home: Tree
  private let etc: Tree
  private let whole: SnapshotAnswer
  private let part: SnapshotAnswer

  /// A snapshot of two sources, and a newer one of one of them.
  init() throws {
    world = try World()
    home = try Tree(making: world.source.root / "home")
    etc = try Tree(making: world.source.root / "etc")
    try home.write("letter", "to ann")
    try etc.write("fstab", "disks")
    try home.write("gone", "soon")
    try world.settle()
    whole = try world.snapshot(of: [home.root, etc.root])
    try tool("rm", ["gone"], in: home.root)
    part = try world.snapshot(of: [home.root])
  }

  private var out: ByteString { world.directory.path / "out" }

  private func restore(_ arguments: [ByteString], status: Int32 = 0) throws -> CommandResult {
    let result = try world.treering(["restore"] + arguments + ["--to", out])
    #expect(result.status == status, "\(result.errorText)")
    return result
  }

  @Test(
    "a path is taken from the newest snapshot that has it, and the answer says so",
    arguments: [
      "latest", ByteString(String(Date.now.ISO8601Format().prefix(4))), "daily.0",
    ] as [ByteString])
  func path(_ reference: ByteString) throws {
    let text = try restore([reference, etc.root / "fstab", "--verbose"]).outputText
    let isMember = reference == "daily.0"
    #expect(text.contains("taken from \(whole.snapshot); ") == !isMember, "\(text)")
    #expect(text.contains("has only \(home.root)") == !isMember, "\(text)")
    #expect(Tree(out / etc.root).exists("fstab"))
    let answer = try restore([reference, etc.root / "fstab", "--json"]).decoded(ChoiceAnswer.self)
    #expect(answer.snapshot == whole.snapshot)
    #expect(answer.passedOver == (isMember ? nil : part.snapshot))
  }

  @Test("what the newest has comes from it, and what it has lost from before")
  func newest() throws {
    let answer = try restore(["latest", home.root / "letter", "--json"]).decoded(ChoiceAnswer.self)
    #expect(answer.snapshot == part.snapshot && answer.passedOver == nil)
    let text = try restore(["latest", home.root / "gone", "--verbose"]).outputText
    #expect(text.contains("the newest, \(part.snapshot), does not have it"), "\(text)")
    // Two sources below one path: the newest has the path, and not all that is below it.
    let both = try restore(["latest", world.source.root, "--overwrite", "always", "--json"]).decoded(ChoiceAnswer.self)
    #expect(both.snapshot == whole.snapshot && both.files == 3)
  }

  @Test("a full name is that snapshot, and the message says where the path is")
  func fullName() throws {
    let result = try restore([part.name, etc.root / "fstab"], status: 2)
    #expect(
      result.errorText.contains("not in the snapshot \(part.snapshot); it is in \(whole.snapshot)"),
      "\(result.errorText)")
    try etc.write("later", "x")
    try home.write("other", "x")
    try tool("rm", ["letter"], in: home.root)
    _ = try world.snapshot(of: [home.root, etc.root])
    let apart = try restore(["latest", etc.root / "later", home.root / "letter"], status: 2).errorText
    #expect(
      apart.contains("no snapshot has all of these paths") && apart.contains("newest in \(part.snapshot)"), "\(apart)")
    let nowhere = try restore(["latest", etc.root / "never"], status: 2).errorText
    #expect(nowhere.contains("is in no snapshot"), "\(nowhere)")
  }

  @Test("a part is not restored as the whole, unless one says so", arguments: ["latest", "name"] as [ByteString])
  func refused(_ how: ByteString) throws {
    let reference = how == "latest" ? how : part.name
    let result = try restore([reference], status: 4)
    #expect(!Tree(world.directory.path).exists("out"))
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.contains("\(etc.root) (newest in \(whole.snapshot))"), "\(result.errorText)")
    #expect(result.errorText.contains("--partial"))
    #expect(try restore([reference, "--partial", "--json"]).decoded(ChoiceAnswer.self).files == 1)
    #expect(try restore([whole.name, "--overwrite", "always", "--json"]).decoded(ChoiceAnswer.self).files == 3)
  }

  @Test("the same from a remote")
  func remote() throws {
    let address: ByteString = "ssh://nowhere/" + world.repository.root
    let script = world.directory.path / "connect"
    try Tree(world.directory.path).write("connect", "#!/bin/sh\nexec \(try treeringBinary()) serve\n")
    try tool("chmod", ["755", script])
    let far: [ByteString] = ["--ssh", script, "-r", address, "--to", out]
    let refused = try world.treering(["restore", "latest"] + far, inRepository: false)
    #expect(refused.status == 4, "\(refused.errorText)")
    let found = try world.treering(["restore", "latest", etc.root / "fstab", "--json"] + far, inRepository: false)
    #expect(try found.decoded(ChoiceAnswer.self).snapshot == whole.snapshot, "\(found.errorText)")
  }

  @Test("diff compares the newest that is of the path's source")
  func diff() throws {
    let result = try world.treering(["diff", whole.name, "latest", etc.root])
    #expect(result.status == 0 && result.outputText == "", "\(result.outputText) \(result.errorText)")
    let lost = try world.treering(["diff", whole.name, "latest", home.root])
    #expect(lost.changeLines == ["- \(home.root)/gone"], "\(lost.outputText)")
  }

  @Test("the live comparison names the sources that the snapshot lacks, and the usage those that grow")
  func lacking() throws {
    let live = try world.treering(["diff", "latest", "--live"])
    #expect(live.status == 0 && live.outputText == "", "\(live.outputText)")
    #expect(live.errorText.contains("has only \(home.root); compare the rest with: "), "\(live.errorText)")
    struct Usage: Decodable {
      struct Directory: Decodable { let path: String }
      let largest: [Directory]
      let growthBytesPerDay: Int?
    }
    try etc.write("large", bytes: [UInt8](repeating: 1, count: 1 << 20))
    func snapshot(of sources: [ByteString], at time: ByteString) throws {
      let result = try runCommand(
        "faketime", ["-f", time, try treeringBinary(), "snapshot"] + sources + ["-r", world.repository.root],
        environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"])
      #expect(result.status == 0, "\(result.errorText)")
    }
    try snapshot(of: [home.root, etc.root], at: "+10d")
    try snapshot(of: [home.root], at: "+11d")
    let usage: Usage = try world.treering(["usage", "--json"]).decoded()
    #expect(usage.largest.map(\.path).contains("\(etc.root)"), "\(usage)")
    #expect(try #require(usage.growthBytesPerDay) > 90 << 10, "\(usage)")
  }

  @Test("status without a configuration asks for every source")
  func status() throws {
    let result = try world.treering(["status"])
    #expect(result.outputText.contains("\(etc.root) ") && result.outputText.contains("\(home.root) "))
  }

  @Test("a snapshot by hand has the label of the configuration, and makes no run needless")
  func label() throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      label = "web01"
      [[source]]
      path = "\(home.root)"
      [[source]]
      path = "\(etc.root)"
      [retention]
      yearly = 2
      """)
    let file: [ByteString] = ["-c", world.directory.path / "c.toml"]
    let first = try world.treering(["snapshot", home.root] + file)
    #expect(first.status == 0, "\(first.errorText)")
    #expect(world.repository.exists("latest/web01"))
    let run = try world.treering(["run", "--json"] + file, inRepository: false).decoded(RunAnswer.self)
    #expect(run.result == "made")
    let again = try world.treering(["run", "--json"] + file, inRepository: false).decoded(RunAnswer.self)
    #expect(again.result == "not_due")
    let other = try world.treering(["snapshot", home.root, "--label", "other"] + file)
    #expect(other.status == 0)
    #expect(world.repository.exists("latest/other"))
    // Of another label it is a part all the same; what the other label has under the same path is no other source.
    let refused = try restore(["latest"], status: 4).errorText
    #expect(refused.contains("web01\(etc.root)") && !refused.contains("web01\(home.root)"), "\(refused)")
  }

  @Test("a directory that only leads to a source never stands for its content")
  func leading() throws {
    try home.makeDirectory("in")
    let deep = try Tree(making: home.root / "in/deep")
    try deep.write("1", "one")
    try Tree(world.source.root).write("home/in/top", "top")
    let full = try world.snapshot(of: [home.root])
    let inner = try world.snapshot(of: [deep.root])
    let path = home.root / "in"
    let answer = try restore(["latest", path, "--json"], status: 0).decoded(ChoiceAnswer.self)
    #expect(answer.snapshot == full.snapshot && answer.files == 2 && answer.passedOver == inner.snapshot)
    let refused = try restore([ByteString(inner.snapshot), path], status: 4)
    #expect(refused.errorText.contains("lacks \(path) (newest in \(full.snapshot))"), "\(refused.errorText)")
    #expect(try !world.treering(["versions", path]).outputText.contains(inner.snapshot))
    let same = try world.treering(["diff", "latest", ByteString(full.snapshot), path])
    #expect(same.outputText == "" && same.errorText.contains("latest is \(full.snapshot) here"), "\(same.errorText)")
    let named = try world.treering(["diff", ByteString(full.snapshot), ByteString(inner.snapshot), path])
    #expect(
      named.changeLines.contains("- \(path)/top") && named.errorText.contains("has only \(deep.root)"),
      "\(named.errorText)")
  }
}

import Foundation
import TestSupport
import Testing

@Suite("Removal from storages of restic's format", .waits)
struct ResticRemovalTests {
  private struct Answer: Decodable {
    let dryRun: Bool
    let expired: Int
    let packsRemoved: Int
    let packsRepacked: Int
    let bytesRemoved: Int
    let freedBytes: Int
    let lostFiles: Int?
    let lostBytes: Int?
    let lost: [Lost]?

    struct Lost: Decodable {
      let path, snapshot: String
      let bytes: Int
    }
  }

  /// Three snapshots: a file that is in all, one that changes, and many small ones of which a few stay.
  private func grow(_ world: ResticWorld) throws -> (names: [ByteString], copies: [ByteString]) {
    var random = SeededGenerator(seed: 7)
    func noise(_ count: Int) -> [UInt8] { (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) } }
    let source = world.world.source
    try source.write("same", bytes: noise(700_000))
    // Most files stay the same, or a guard would suspect a disaster.
    for number in 0..<60 { try source.write(ByteString("still\(number)"), "\(number)") }
    var (names, copies): ([ByteString], [ByteString]) = ([], [])
    for step in 0..<3 {
      try source.write("changing", bytes: noise(900_000))
      for number in 0..<10 where step == 0 || number > 0 {
        try source.write(ByteString("small\(number)"), bytes: noise(30_000))
      }
      names.append(try world.world.snapshot().name)
      copies.append(try world.copyOfSource())
      #expect(try world.push().result == "sent")
    }
    return (names, copies)
  }

  @Test("snapshots are deleted, their data goes, and both programs go on", arguments: Storage.allCases)
  func delete(storage: Storage) throws {
    let world = try ResticWorld(at: storage)
    let (names, copies) = try grow(world)
    let plan: Answer = try world.there(["delete", names[0], "--dry-run", "--json"]).decoded()
    #expect(plan.dryRun && plan.expired == 1 && plan.bytesRemoved > 900_000)
    #expect(plan.freedBytes > 900_000 && plan.freedBytes <= plan.bytesRemoved)
    // The small files but one, and the large one, have another content later.
    #expect(plan.lostFiles == 10 && plan.lostBytes == 1_170_000)
    #expect(plan.lost?.first?.path == "\(world.world.source.root)/changing" && plan.lost?.first?.bytes == 900_000)
    #expect(plan.lost?.allSatisfy { $0.snapshot == names[0].text } == true)
    #expect(try world.there(["list"]).outputLines.count == 4)
    #expect(try world.there(["delete", names[2], "--yes"], status: 4).errorText.contains("the newest"))
    _ = try world.there(["delete", names[1]], status: 2)
    let result: Answer = try world.there(["delete", names[0], "--yes", "--json"]).decoded()
    // "same" and one small file are needed, and lie in a pack with more that is not.
    #expect(result.packsRepacked == 1 && result.packsRemoved >= 1)
    try world.check()
    #expect(try world.restic(["prune", "--dry-run"]).outputText.contains("to delete:             0 blobs"))
    for (name, copy) in zip(names, copies).dropFirst() {
      let out = world.destination()
      try world.there(["restore", name, "--to", out])
      #expect(try differences(copy, out / world.world.source.root) == [])
    }
    try world.restic(["restore", "latest", "--target", world.destination()])
    try world.world.source.write("later", "x")
    try world.world.snapshot()
    #expect(try world.push().result == "sent")
    try world.check()
    #expect(try world.restic(["list", "locks"]).outputText == "")
  }

  @Test("before delete asks, it says what comes free and which files no other snapshot has")
  func asks() throws {
    let world = try ResticWorld()
    let (names, _) = try grow(world)
    let directory = world.world.directory.path
    try Tree(directory).write("yes", "y\n")
    func delete(input: ByteString) throws -> CommandResult {
      try onTerminal(
        ["delete", names[0], "-r", world.address, "--password-file", world.password], columns: 200, in: directory,
        input: input)
    }
    let refused = try delete(input: "/dev/null")
    #expect(refused.status == 4, "\(refused.outputText)")
    let lines = refused.terminalLines
    #expect(lines.first?.hasPrefix(names[0].text) == true, "\(lines)")
    #expect(lines.contains { $0.hasPrefix("frees about 1.") && $0.contains(" MiB at ") }, "\(lines)")
    #expect(lines.contains("10 files of 1.1 MiB are in no other snapshot"), "\(lines)")
    #expect(lines.contains { $0.hasSuffix("\(world.world.source.root)/changing") }, "\(lines)")
    #expect(lines.contains { $0.hasPrefix("delete 1 snapshot from ") && $0.contains("[y/N]") }, "\(lines)")
    #expect(try world.there(["list"]).outputLines.count == 4)
    #expect(try delete(input: directory / "yes").status == 0)
    #expect(try world.there(["list"]).outputLines.count == 3)
    // The same content with another name is not lost.
    try world.world.source.rename("changing", to: "renamed")
    try world.world.snapshot()
    #expect(try world.push().result == "sent")
    let renamed = try world.there(["delete", names[2], "-n"])
    #expect(renamed.outputLines.last == "other snapshots have all their files", "\(renamed.outputText)")
    try world.check()
  }

  @Test("the sets of a remote are those that its snapshots have by the policy")
  func sets() throws {
    let world = try ResticWorld()
    let (names, copies) = try grow(world)
    let changing = world.world.source.root / "changing"
    #expect(try world.there(["list"]).outputLines.first { $0.contains(names[0].text) }?.contains("yearly.0") == true)
    #expect(try world.there(["cat", "yearly.0", changing]).output == Tree(copies[0]).read("changing"))
    #expect(try world.there(["cat", "yearly.1", changing], status: 2).errorText.contains("has 1 member"))
    #expect(try world.there(["delete", "yearly.0", "-n", "--json"]).decoded(Answer.self).expired == 1)
    try Tree(world.world.directory.path).write(
      "config",
      "[retention]\nmonthly = 3\n[remote.vault]\nurl = \"\(world.address)\"\npassword_file = \"\(world.password)\"\n")
    let list = try world.world.treering(["list", "-r", "vault", "-c", "config"], inRepository: false).outputText
    #expect(list.contains("monthly.0") && !list.contains("yearly.0"), "\(list)")
  }

  @Test("rotate keeps what the policy keeps, and leaves alone what restic made")
  func rotate() throws {
    let world = try ResticWorld()
    let (names, _) = try grow(world)
    try world.restic(["backup", "--host", "localhost", world.world.source.root])
    let plan: Answer = try world.there(["rotate", "--keep-last", "2", "-n", "--json"]).decoded()
    #expect(plan.dryRun && plan.expired == 1)
    let answer: Answer = try world.there(["rotate", "--keep-last", "1", "--json"]).decoded()
    #expect(answer.expired == 2)
    let list = try world.there(["list"]).outputText
    #expect(list.contains(names[2].text) && !list.contains(names[0].text) && !list.contains(names[1].text))
    #expect(try world.there(["list"]).outputLines.count == 3)
    try world.check()
  }

  @Test("where something that stays cannot be read, nothing is removed", arguments: ["snapshots", "index", "data"])
  func damage(kind: String) throws {
    let world = try ResticWorld()
    let (names, _) = try grow(world)
    // The newest file is one of the newest snapshot, which stays.
    let script: ByteString = "find \"$1\" -type f -printf '%T@ %p\\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-"
    let found = try tool("sh", ["-c", script, "sh", world.place.root / ByteString(kind)])
    let path = ByteString(String(decoding: found.dropLast(), as: UTF8.self))
    try tool("chmod", ["u+w", path])
    try tool("truncate", ["-s", "40", path])
    let before = try tool("find", [world.place.root, "-type", "f", "!", "-path", "*/locks/*"])
    let result = try world.treering(["delete", names[0], "-r", world.address, "--yes"])
    #expect(result.status != 0, "\(result.outputText)")
    #expect(try tool("find", [world.place.root, "-type", "f", "!", "-path", "*/locks/*"]) == before)
    #expect(try world.place.names("locks") == [])
  }

  @Test("a removal that is killed anywhere leaves a right repository, and the next one finishes")
  func kills() throws {
    let world = try ResticWorld()
    let (names, copies) = try grow(world)
    let whole = world.destination()
    try tool("cp", ["-a", world.place.root, whole])
    var kills = 0
    // strace counts for each thread by itself; several threads remove indexes and packs.
    let directories = try tool("find", [world.place.root / "index", world.place.root / "data", "-type", "f"])
    let places = Set(
      String(decoding: directories, as: UTF8.self).split(separator: "\n").map { ByteString(String($0)).parent })
    let moments: [[ByteString]] =
      (1...5).map { ["-e", ByteString("inject=/rename.*,unlinkat:signal=KILL:when=\($0)")] }
      + places.map { ["-P", $0, "-e", "inject=unlinkat:signal=KILL:when=1"] }
    for moment in moments {
      try tool("rm", ["-rf", world.place.root])
      try tool("cp", ["-a", whole, world.place.root])
      let killed = try runCommand(
        "strace",
        [
          "-f", "-qq", "-o", "/dev/null", "-e", "trace=/rename.*,unlinkat",
        ] + moment + [
          try treeringBinary(), "delete", names[0], "--yes", "-r", world.address, "--password-file", world.password,
        ], in: world.world.directory.path)
      if killed.status != 0 { kills += 1 }
      // restic's check complains of the lock, but the process is dead.
      try world.restic(["unlock"])
      try world.check()
      for index in 1...2 {
        let out = world.destination()
        try world.there(["restore", names[index], "--to", out])
        #expect(try differences(copies[index], out / world.world.source.root) == [])
      }
      if try world.there(["list"]).outputText.contains(names[0].text) {
        #expect(try world.there(["delete", names[0], "--yes"]).status == 0)
      } else {
        try world.there(["rotate", "--keep-last", "1"])
      }
      try world.check()
    }
    #expect(kills >= 7)
  }

  @Test("nothing is removed where the configuration or the server only appends")
  func appendOnly() throws {
    let world = try ResticWorld(at: .rest, isAppendOnly: true)
    let (names, _) = try grow(world)
    let refused = try world.there(["delete", names[0], "--yes"], status: 7)
    #expect(refused.errorText.contains("may only append"))
    #expect(try world.there(["list"]).outputLines.count == 4)
    let files = Tree(world.world.directory.path)
    try files.write(
      "config",
      "[remote.vault]\nurl = \"\(world.address)\"\npassword_file = \"\(world.password)\"\nappend_only = true\n")
    for command in [["delete", names[0], "--yes"], ["rotate", "--keep-last", "1"]] as [[ByteString]] {
      let result = try world.world.treering(command + ["-r", "vault", "-c", "config"], inRepository: false)
      #expect(result.status == 4 && result.errorText.contains("append_only"), "\(result.errorText)")
    }
    try world.check()
  }
}

import Foundation
import TestSupport
import Testing

/// One source that is missing, or that a guard refuses, stops the backup of no other.
@Suite("Missing sources", .waits)
struct MissingSourceTests {
  private struct Listed: Decodable {
    let sources: [String]
    let absent: [String]
    let outcome: String
    let sets: [String]
  }

  private struct Status: Decodable {
    struct Source: Decodable {
      let source: String
      let state: String
    }
    let isWell: Bool
    let sources: [Source]
  }

  private let world: World
  private let here: Tree
  private let other: Tree

  init() throws {
    world = try World()
    world.provesOlderUnchanged = false
    here = try Tree(making: world.source.root / "here")
    other = try Tree(making: world.source.root / "other")
    for index in 0..<12 { try other.write(ByteString("file\(index)"), "content \(index)") }
    try here.write("file", "content")
  }

  private func configure(_ more: String = "", retention: String = "keep_last = 9") throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(here.root)"
      [[source]]
      path = "\(other.root)"
      \(more)
      [retention]
      \(retention)
      """)
  }

  @discardableResult
  private func run(
    _ command: [ByteString], status: Int32, location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(command + ["-c", world.directory.path / "c.toml"], inRepository: false)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func list() throws -> [Listed] { try world.treering(["list", "--json"]).decoded() }

  @Test("the others are saved, with a warning; the last tree of the missing one stays")
  func missing() throws {
    try configure(retention: "keep_last = 1")
    try run(["run"], status: 0)
    let first = try #require(try world.snapshotNames().first)
    try tool("mv", [other.root, world.directory.path / "away"])
    for _ in 0..<3 {
      let result = try run(["run", "--now"], status: 1)
      #expect(result.errorText.contains("\(other.root): is left out"), "\(result.errorText)")
    }
    #expect(try world.snapshotNames().contains(first))
    let last = try #require(try list().last)
    #expect(last.sources == ["\(here.root)"] && last.absent == ["\(other.root)"])
    // All of its own sources are in it: it counts as a good one.
    #expect(last.outcome == "complete")
    #expect(try world.repository.names("latest/localhost" / here.root) == ["file"])
    #expect(!world.repository.exists("latest/localhost" / other.root))
    // The newest of all lacks it, and the last that has it is found.
    let restored = try world.treering(["restore", "latest", other.root, "--to", world.directory.path / "out", "--json"])
    #expect(restored.status == 0, "\(restored.errorText)")
    #expect(try world.treering(["restore", "latest", "--to", world.directory.path / "out2"]).status == 4)
  }

  @Test("what is missing is no reason to take the same again in each run")
  func due() throws {
    try configure(retention: "yearly = 1")
    try tool("mv", [other.root, world.directory.path / "away"])
    try run(["run"], status: 1)
    #expect(try run(["run", "--json"], status: 0).decoded(RunAnswer.self).result == "not_due")
    // It is back: a snapshot of the others does not stand for one of it.
    try tool("mv", [world.directory.path / "away", other.root])
    #expect(try run(["run", "--json"], status: 0).decoded(RunAnswer.self).result == "made")
    #expect(try run(["run", "--json"], status: 0).decoded(RunAnswer.self).result == "not_due")
  }

  @Test("a source that the newest snapshot lacks is compared with the newest that has it")
  func older() throws {
    let sources = [here.root, other.root]
    try world.settle()
    let first = try world.snapshot(of: sources)
    try here.write("new", "new")
    try world.settle()
    try world.snapshot(of: [here.root])
    try tool("mv", ["file1", "renamed"], in: other.root)
    try other.write("file2", "changed")
    try world.settle()
    let answer = try world.snapshot(of: sources)
    try world.expectFaithful(answer, here.root)
    try world.expectFaithful(answer, other.root)
    // Nothing is read or copied again but what has changed, and only the renamed one was looked for.
    #expect(answer.filesCopied == 1 && answer.filesMoved == 1)
    for name in ["file3", "renamed"] as [ByteString] {
      let before: ByteString = name == "renamed" ? "file1" : name
      #expect(
        try TreeListing(world.tree(of: answer, other.root).root).inodes[name]
          == TreeListing(world.tree(of: first, other.root).root).inodes[before])
    }
    #expect(try world.treering(["verify"]).status == 0)
  }

  /// Makes copies of the newest snapshot with names between it and the next one: as many runs without a second each.
  private func repeatNewest(count: Int) throws {
    let name = try #require(try world.snapshotNames().last)
    try tool(
      "sh",
      [
        "-c",
        ByteString(
          """
          for i in $(seq -w 01 \(count)); do
            new=2001-01-02T00-00-${i}Z
            cp -al \(name) $new
            cp -p .treering/catalogs/\(name).catalog .treering/catalogs/$new.catalog
          done
          """),
      ], in: world.repository.root)
  }

  /// Gives the newest snapshot a name of long ago.
  private func age(to new: ByteString) throws {
    let name = try #require(try world.snapshotNames().last)
    try tool("mv", [name, new], in: world.repository.root)
    try tool("mv", [name + ".catalog", new + ".catalog"], in: world.repository.root / ".treering/catalogs")
    try tool("ln", ["-sfn", new, world.repository.root / "latest"])
  }

  @Test("a source that was missing for many snapshots is still compared with its last one, and linked to it")
  func missingForLong() throws {
    let sources = [here.root, other.root]
    try world.settle()
    let first = try world.snapshot(of: sources)
    let inodes = try TreeListing(world.tree(of: first, other.root).root).inodes
    try age(to: "2001-01-01T00-00-00Z")
    try world.snapshot(of: [here.root])
    try age(to: "2001-01-01T00-00-01Z")
    try repeatNewest(count: 59)
    try tool("mv", [other.root, world.directory.path / "away"])
    try tool("mkdir", [other.root])
    let refused = try world.snapshot(of: sources, status: 1)
    #expect(refused.warningsNamed.map(\.message).contains { $0.contains("is empty") }, "\(refused.warningsNamed)")
    #expect(!world.tree(of: refused).exists("other"))
    try tool("rmdir", [other.root])
    try tool("mv", [world.directory.path / "away", other.root])
    let back = try world.snapshot(of: sources)
    #expect(back.filesCopied == 0)
    #expect(try TreeListing(world.tree(of: back, other.root).root).inodes["file3"] == inodes["file3"])
    try world.expectFaithful(back, other.root)
  }

  @Test("a source whose disk was missing for many snapshots is refused with another disk in its place")
  func otherDiskAfterLong() throws {
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: world.directory.path / "disk")
    try disk.tree.write("file", "x")
    try world.settle()
    let sources = [here.root, disk.tree.root]
    try world.snapshot(of: sources)
    try age(to: "2001-01-01T00-00-00Z")
    try world.snapshot(of: [here.root])
    try age(to: "2001-01-01T00-00-01Z")
    try repeatNewest(count: 59)
    try disk.unmount()
    try disk.tree.write("file", "below the mount point")
    let refused = try world.snapshot(of: sources, status: 1)
    #expect(refused.warningsNamed.map(\.message).contains { $0.contains("another file system") })
    // Also by way of a source around it.
    let around = try world.snapshot(of: [here.root, world.directory.path], ["--exclude", "repository"], status: 1)
    #expect(around.warningsNamed.map(\.message).contains { $0.contains("another file system") })
  }

  @Test("delete leaves the last copy of a source that is absent from the newest snapshot")
  func deleteLastCopy() throws {
    let sources = [here.root, other.root]
    let first = try world.snapshot(of: sources)
    try tool("mv", [other.root, world.directory.path / "away"])
    try world.snapshot(of: sources, status: 1)
    let stays = try world.treering(["delete", "--yes", ByteString(first.snapshot)])
    #expect(stays.status == 4 && stays.errorText.contains("the newest good one of a source"), "\(stays.errorText)")
    #expect(try world.snapshotNames().count == 2)
    // A run that does not name the source gives it up.
    try world.snapshot(of: [here.root])
    #expect(try world.treering(["delete", "--yes", ByteString(first.snapshot)]).status == 0)
  }

  @Test("nothing is published where no source is there")
  func none() throws {
    try configure()
    try tool("rm", ["-r", here.root, other.root])
    let result = try run(["run"], status: 3)
    #expect(result.errorText.contains("no source is there"), "\(result.errorText)")
    #expect(try world.snapshotNames() == [])
  }

  @Test("on the command line, too; but a word that names nothing at all is a mistake")
  func commandLine() throws {
    let gone = world.directory.path / "gone"
    let answer = try world.snapshot(of: [here.root, gone], status: 1)
    #expect(answer.outcome == "complete" && answer.warnings == 1 && answer.warningsNamed.first?.path == "\(gone)")
    try world.expectRefusal(["snapshot", gone], status: 2)
    try world.expectRefusal(["snapshot", gone, here.root / "file"], status: 2)
  }

  @Test("a guard refuses one source, and the others are published", arguments: ["*", "file?"])
  func refused(_ lost: String) throws {
    try configure()
    try run(["run"], status: 0)
    try tool("sh", ["-c", ByteString("rm \(lost)")], in: other.root)
    try here.write("new", "new")
    let result = try run(["run", "--now"], status: 1)
    #expect(result.errorLines.count == 1 && result.errorText.contains("--accept-changes"), "\(result.errorText)")
    let last = try #require(try list().last)
    #expect(last.sources == ["\(here.root)"] && last.absent == ["\(other.root)"])
    #expect(try world.repository.names("latest/localhost" / here.root) == ["file", "new"])
    let alone = try world.treering(["snapshot", other.root])
    #expect(alone.status == 4, "\(alone.errorText)")
    try run(["run", "--now", "--accept-changes"], status: 0)
    #expect(try list().last?.absent == [])
  }

  @Test("what is refused does not come in by way of a source around it")
  func nested() throws {
    let sources = [world.source.root, other.root]
    try world.snapshot(of: sources)
    try tool("sh", ["-c", "rm *; echo x > new"], in: other.root)
    let answer = try world.snapshot(of: sources, status: 1)
    #expect(try world.tree(of: answer, other.root).names() == [])
    #expect(try world.tree(of: answer, here.root).names() == ["file"])
    let restored = try world.treering(["restore", "latest", other.root, "--to", world.directory.path / "out"])
    #expect(restored.status == 0)
    #expect(Tree(world.directory.path / "out" / other.root).exists("file3"))
  }

  @Test("an optional source may be missing or an empty mount point, until its rpo has passed")
  func optional() throws {
    try configure("optional = true")
    try run(["run"], status: 0)
    try tool("mv", [other.root, world.directory.path / "away"])
    for isMountPoint in [false, true] {
      if isMountPoint { try tool("mkdir", [other.root]) }
      let result = try run(["run", "--now"], status: 0)
      #expect(result.errorText == "")
      #expect(try list().last?.absent == ["\(other.root)"])
      let status = try run(["status", "--json", "--max-age", "1h"], status: 0).decoded(Status.self)
      #expect(status.isWell && status.sources.map(\.state) == ["well", "absent"])
      try run(["config", "check"], status: 0)
    }
    try configure("optional = true\nrpo = \"1s\"")
    // Ages are whole seconds.
    try tool("sleep", ["2.1"])
    let late = try run(["run", "--now"], status: 1)
    #expect(late.errorText.contains("\(other.root): is left out"), "\(late.errorText)")
    let status = try run(["status", "--json"], status: 1).decoded(Status.self)
    #expect(status.sources.map(\.state) == ["well", "late"])
  }

  @Test("an optional source with an rpo that was never there is absent and missed, whether it is empty or missing")
  func optionalNeverThere() throws {
    try configure("optional = true\nrpo = \"1d\"")
    try tool("sh", ["-c", "rm *"], in: other.root)
    for isMissing in [false, true] {
      if isMissing { try tool("rmdir", [other.root]) }
      let result = try run(["run", "--now"], status: 1)
      #expect(result.errorText.contains("\(other.root): is left out"), "\(result.errorText)")
      let last = try #require(try list().last)
      #expect(last.sources == ["\(here.root)"] && last.absent == ["\(other.root)"])
      let status = try run(["status", "--json"], status: 1).decoded(Status.self)
      #expect(status.sources.map(\.state) == ["well", "never"])
    }
  }

  @Test("an optional source that a guard refuses is not excused")
  func optionalRefused() throws {
    try configure("optional = true")
    try run(["run"], status: 0)
    try tool("sh", ["-c", "rm file?"], in: other.root)
    let result = try run(["run", "--now"], status: 1)
    #expect(result.errorText.contains("--accept-changes"), "\(result.errorText)")
  }

  @Test(
    "an optional source that is there and cannot be read is not excused",
    arguments: ["EIO", "EACCES", "file", "in a file"])
  func optionalUnreadable(_ trouble: String) throws {
    try configure("optional = true")
    try run(["run"], status: 0)
    let command: [ByteString] = ["run", "--now", "-c", world.directory.path / "c.toml"]
    let result: CommandResult
    if trouble.hasPrefix("E") {
      result = try runCommand(
        "strace",
        [
          "-f", "-qq", "-o", "/dev/null", "-P", other.root, "-e", ByteString("inject=openat:error=\(trouble)"),
          try treeringBinary(),
        ] + command)
    } else {
      try tool("mv", [other.root, world.directory.path / "away"])
      try world.source.write("other", "a file")
      if trouble == "in a file" { try configure("[[source]]\npath = \"\(other.root)/below\"\noptional = true") }
      result = try world.treering(command, inRepository: false)
    }
    #expect(result.status == 1 && result.errorText.contains("\(other.root): is left out"), "\(result.errorText)")
    // Below a file there is nothing.
    #expect(!result.errorText.contains("/below"), "\(result.errorText)")
    #expect(try list().last?.absent.contains("\(other.root)") == true)
    #expect(try run(["status"], status: 1).errorText.contains("ended with status 1"))
  }

  @Test("an optional source that is alone and cannot be read makes the run fail")
  func onlyUnreadable() throws {
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(here.root)/file\"\noptional = true\n"
    )
    let result = try run(["run"], status: 3)
    #expect(result.errorText.contains("no source is there"), "\(result.errorText)")
  }

  @Test("a run without anything but absent optional sources has nothing to do")
  func onlyOptional() throws {
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"/not/there\"\noptional = true\n")
    let result = try run(["run", "--json"], status: 0)
    #expect(try result.decoded(RunAnswer.self).result == "not_due" && result.errorText == "")
  }

  @Test("however a path is spelled, it is one source", arguments: ["/", "//", "/."])
  func spelling(_ tail: String) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)/"
      [[source]]
      path = "/\(here.root)\(tail)"
      """)
    try run(["config", "check"], status: 0)
    try run(["run", "--now"], status: 0)
    #expect(try list().last?.sources == ["\(here.root)"])
    #expect(try run(["status", "--json"], status: 0).decoded(Status.self).sources.map(\.source) == ["\(here.root)"])
  }
}

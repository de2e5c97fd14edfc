import Foundation
import TestSupport
import Testing

/// The archived logs of databases on their way to a remote and back.
@Suite("push --logs", .waits)
struct LogPushTests {
  private let push: PushWorld
  private var world: World { push.world }
  private var archive: Tree { Tree(world.directory.path / "archive") }
  private var program: ByteString { get throws { try treeringBinary() } }

  init() throws {
    push = try PushWorld("log-push")
    try archive.makeDirectory("", mode: 0o700)
    try world.source.write("file", "content")
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(world.source.root)"
      [[database]]
      name = "main"
      kind = "postgresql"
      mode = "physical"
      archive = "\(archive.root)"
      [remote.far]
      url = "ssh://far\(push.far.root)"
      ssh = "\(push.place.root)/ssh"
      remote_command = "\(try treeringBinary()) serve --append-only"
      logs = true

      """, mode: 0o600)
  }

  @Test("config check and audit warn if no remote gets the logs")
  func noRemoteHasLogs() throws {
    func warning() throws -> [Bool] {
      let check = try runCommand(program, ["config", "check", "-c", world.directory.path / "c.toml"])
      let audit = try runCommand(program, ["audit", "-c", world.directory.path / "c.toml"])
      return [
        check.errorText.contains("the archived logs of \"main\" are lost with this machine"),
        audit.outputText.contains("the database main: its archived logs are lost with this machine"),
      ]
    }
    _ = try runCommand(program, ["snapshot", world.source.root, "-r", world.repository.root])
    #expect(try warning() == [false, false])
    try tool("sed", ["-i", "/^logs = true/d", world.directory.path / "c.toml"])
    #expect(try warning() == [true, true])
  }

  private func treering(
    _ words: ByteString..., status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(program, words + ["-c", world.directory.path / "c.toml"])
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  /// Archives a log with this content.
  private func archiveLog(_ name: ByteString, _ content: String) throws {
    try Tree(world.directory.path).write(name, content)
    _ = try treering("wal", "push", world.directory.path / name, "--archive", archive.root)
  }

  private func segment(_ number: Int) -> ByteString { ByteString("00000001000000000000000\(number)") }
  private var there: Tree { Tree(push.far.root / ".treering/logs/main") }

  @Test("the logs travel as they are, once, and come back from the remote")
  func roundTrip() throws {
    for number in 1...3 { try archiveLog(segment(number), String(repeating: "\(number)", count: 100_000)) }
    let first = try treering("push", "far", "--logs", "--json")
    let json = try #require(try JSONSerialization.jsonObject(with: Data(first.output)) as? [String: Any])
    #expect(json["sent"] as? Int == 3)
    for number in 1...3 {
      let name = segment(number) + ".zst"
      #expect(try tool("cmp", [archive.root / name, there.root / name]) == [])
    }
    #expect(try treering("push", "far", "--logs", "-v").outputText.hasPrefix("sent 0 logs to far"))
    try archiveLog("00000002.history", "1\t0/3000000\tno reason\n")
    _ = try treering("push", "far", "--logs")
    #expect(try there.names().count == 5)

    let back = world.directory.path / "back"
    _ = try treering("wal", "fetch", segment(2), back, "-r", "far", "--database", "main")
    #expect(try tool("cmp", [back, world.directory.path / segment(2)]) == [])
    #expect(
      try treering("wal", "fetch", segment(9), back, "-r", "far", "--database", "main", status: 1).errorText.contains(
        "has no"))
    #expect(try treering("wal", "fetch", segment(2), back, "-r", push.far.root, "--database", "main").errorText == "")
    #expect(
      try treering("wal", "fetch", segment(2), back, "-r", push.far.root, "--database", "none", status: 126).errorText
        .contains("has no logs of a database \"none\""))
    _ = try treering("wal", "fetch", segment(2), back, "-r", "far", status: 126)
    try there.write(segment(2) + ".zst", "damaged")
    #expect(
      try treering("wal", "fetch", segment(2), back, "-r", "far", "--database", "main", status: 126).errorText.contains(
        "damaged"))
  }

  @Test("a damaged log does not arrive, and a read-only server takes none")
  func refusals() throws {
    for number in 1...3 { try archiveLog(segment(number), "content") }
    let damaged = archive.root / (segment(2) + ".zst")
    try tool("sh", ["-c", ByteString("printf x | dd of=\(damaged) bs=1 seek=20 conv=notrunc status=none")])
    for _ in 1...2 {
      #expect(try treering("push", "far", "--logs", status: 6).errorText.contains(damaged.text))
      #expect(try there.names() == [".lock", segment(1) + ".zst", segment(3) + ".zst"])
    }
    try archiveLog(segment(4), "content")
    try tool("sed", ["-i", "s/--append-only/--read-only/", world.directory.path / "c.toml"])
    #expect(try treering("push", "far", "--logs", status: 4).errorText.contains("read-only"))
  }

  @Test("after a damaged log nothing is sent that would pass for the beginning")
  func damagedFirst() throws {
    for number in 1...2 { try archiveLog(segment(number), "content") }
    let damaged = archive.root / (segment(1) + ".zst")
    try tool("sh", ["-c", ByteString("printf x | dd of=\(damaged) bs=1 seek=20 conv=notrunc status=none")])
    _ = try treering("push", "far", "--logs", status: 6)
    #expect(!there.exists(""))
    try tool("rm", [damaged])
    try archiveLog(segment(1), "content")
    _ = try treering("push", "far", "--logs")
    #expect(try there.names() == [".lock", segment(1) + ".zst", segment(2) + ".zst"])
  }

  @Test("a run, and a push of a snapshot, send the logs")
  func withSnapshots() throws {
    try tool("sed", ["-i", "/^.*database/,/^archive/d", world.directory.path / "c.toml"])
    try archiveLog(segment(1), "content")
    // The server of the database does not run, so its table comes after the snapshot.
    _ = try treering("run", "--now")
    let table = "[[database]]\nname = 'main'\nkind = 'postgresql'\nmode = 'physical'\narchive = '\(archive.root)'\n"
    try Tree(world.directory.path).append("c.toml", table)
    #expect(!there.exists(""))
    _ = try treering("push", "far")
    #expect(try there.names() == [".lock", segment(1) + ".zst"])
  }
}

import Foundation
import TestSupport
import Testing

/// Base backups and the archived log of a real PostgreSQL server, and the way back to a moment.
@Suite("PostgreSQL: base backups, and a moment between two rows", .waits)
final class PointInTimeTests {
  private let push: PushWorld
  private var world: World { push.world }
  private let server: PostgreSQLServer
  private let archive: ByteString
  private let program: ByteString
  private var configuration: ByteString { world.directory.path / "c.toml" }

  init() throws {
    push = try PushWorld("moment")
    let place = push.world.directory.path
    // The server's account must reach the program and the archive.
    program = place / "treering"
    try tool("install", ["-m", "755", try treeringBinary(), program])
    archive = place / "wal"
    try tool("install", ["-d", "-o", "postgres", "-m", "700", archive])
    server = try PostgreSQLServer(settings: [
      "archive_mode=on", "archive_command='\(program) wal push %p --archive \(archive)'",
    ])
    try configure()
  }

  private func configure(_ more: String = "", of other: PostgreSQLServer? = nil) throws {
    let server = other ?? server
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [retention]
      daily = 3
      [[database]]
      name = "main"
      kind = "postgresql"
      mode = "physical"
      archive = "\(archive)"
      user = "postgres"
      socket = "\(server.directory)"
      port = \(server.port)
      \(more)

      """, mode: 0o600)
  }

  private func treering(
    _ words: ByteString..., status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", configuration], inRepository: false, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func status(_ expected: Int32 = 0) throws -> [String: Any] {
    let json = try JSONSerialization.jsonObject(with: Data(try treering("status", "--json", status: expected).output))
    return try #require(((json as? [String: Any])?["databases"] as? [[String: Any]])?.first)
  }

  private func segments() throws -> [String] {
    try Tree(archive).names().map(\.text).filter { $0.wholeMatch(of: /[0-9A-F]{24}\.zst/) != nil }
  }

  @Test("a server is destroyed and comes back as it was between two rows")
  func betweenTwoRows() throws {
    try server.query("CREATE TABLE t (row int, at timestamptz DEFAULT clock_timestamp())")
    try server.query("INSERT INTO t VALUES (1)")
    _ = try treering("run", "--now")
    for row in 2...4 {
      usleep(1_100_000)
      try server.query(ByteString("INSERT INTO t VALUES (\(row))"))
    }
    let moment = try server.query(
      "SELECT to_char((SELECT at FROM t WHERE row = 2) + ((SELECT at FROM t WHERE row = 3) - (SELECT at FROM t WHERE row = 2)) / 2, 'YYYY-MM-DD HH24:MI:SS.US+00')"
    )
    let before = try server.query("SELECT string_agg(row || ' ' || at, ',' ORDER BY row) FROM t WHERE row <= 2")
    try server.archiveAll()
    try server.crash()
    try tool("rm", ["-rf", server.data])

    _ = try treering("restore", "latest", "databases/main", "--to", server.directory / "back")
    let back = server.directory / "back/main"
    try Tree(back).append(
      "postgresql.conf",
      """
      restore_command='\(program) wal fetch %f %p --archive \(archive)'
      recovery_target_time='\(moment)'
      recovery_target_action=promote
      """)
    try Tree(back).write("recovery.signal", "")
    try tool("chown", ["-R", "postgres:", server.directory / "back"])
    try server.start(on: back)
    while try server.query("SELECT pg_is_in_recovery()") == "t" { usleep(100_000) }
    #expect(try server.query("SELECT string_agg(row || ' ' || at, ',' ORDER BY row) FROM t") == before)
    #expect(try server.log().contains("recovery stopping before commit"))

    // The new timeline is archived, too, and is no gap.
    try server.query("INSERT INTO t VALUES (5)")
    try server.archiveAll()
    #expect(Tree(archive).exists("00000002.history.zst"))
    #expect((try status()["missing_logs"] as? [[String: Any]])?.isEmpty == true)
    try server.crash()
  }

  @Test("the machine is lost, and the server comes back from the remote alone, as it was between two rows")
  func fromTheRemote() throws {
    try configure(
      """
      [remote.far]
      url = "\(push.address)"
      ssh = "\(push.ssh)"
      remote_command = "\(program) serve --append-only"
      logs = true
      """)
    try server.query("CREATE TABLE t (row int); INSERT INTO t VALUES (1)")
    _ = try treering("run", "--now")
    usleep(1_100_000)
    try server.query("INSERT INTO t VALUES (2)")
    usleep(1_100_000)
    let moment = ByteString(try tool("date", ["-u", "+%F %T"]).dropLast())
    usleep(1_100_000)
    try server.query("INSERT INTO t VALUES (3)")
    try server.archiveAll()
    _ = try treering("push", "far", "--logs")
    try server.crash()
    try tool("rm", ["-rf", server.data, archive, world.repository.root, configuration])

    let back = server.directory / "back"
    let result = try runCommand(
      program,
      [
        "database", "restore", "main", "--at", moment, "--to", back, "-r", push.address, "--ssh", ByteString(push.ssh),
        "--remote-command", "\(program) serve --read-only",
      ])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(result.outputText.contains("the server will recover to "))
    try server.start(on: back)
    try PostgreSQLServer.wait(for: "the end of the recovery") { try server.query("SELECT pg_is_in_recovery()") == "f" }
    #expect(try server.query("SELECT string_agg(row::text, ',' ORDER BY row) FROM t") == "1,2")
  }

  /// Restores to a moment, starts the server there, and returns its rows and its timeline.
  private func rows(at moment: ByteString, _ options: ByteString..., in name: ByteString) throws -> String {
    let back = server.directory / name
    let words: [ByteString] = ["database", "restore", "main", "--at", moment, "--to", back, "-c", configuration]
    let result = try world.treering(words + options, inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    try server.crash()
    try server.start(on: back)
    try PostgreSQLServer.wait(for: "the end of the recovery") { try server.query("SELECT pg_is_in_recovery()") == "f" }
    return try server.query("SELECT string_agg(row::text, ',' ORDER BY row) FROM t")
  }

  @Test("after a recovery, each moment is on the timeline that was current then")
  func timelines() throws {
    func moment() throws -> ByteString {
      usleep(1_100_000)
      defer { usleep(1_100_000) }
      return ByteString(try tool("date", ["-u", "+%F %T"]).dropLast())
    }
    try server.query("CREATE TABLE t (row int); INSERT INTO t VALUES (1)")
    _ = try treering("run", "--now")
    try server.query("INSERT INTO t VALUES (2)")
    let before = try moment()
    try server.query("INSERT INTO t VALUES (3)")
    let thrownAway = try moment()
    try server.query("INSERT INTO t VALUES (4)")
    try server.archiveAll()

    #expect(try rows(at: before, in: "first") == "1,2")
    // The server takes over, and goes on.
    try tool("sed", ["-i", "/^archive_mode/d", server.directory / "first/postgresql.auto.conf"])
    try server.crash()
    try server.start(on: server.directory / "first")
    try server.query("INSERT INTO t VALUES (5)")
    let after = try moment()
    try server.query("INSERT INTO t VALUES (6)")
    try server.archiveAll()

    #expect(try rows(at: before, in: "before") == "1,2")
    #expect(try rows(at: thrownAway, in: "old") == "1,2,3")
    #expect(try rows(at: after, in: "new") == "1,2,5")
    #expect(try rows(at: thrownAway, "--timeline", "2", in: "named") == "1,2")
    let unknown = try treering(
      "database", "restore", "main", "--timeline", "7", "--to", server.directory / "none", status: 2)
    #expect(unknown.errorText.contains("no base backup leads to the timeline 7"), "\(unknown.errorText)")
    try server.crash()
  }

  @Test("without its archive, a backup that lacks its log is no server, and the answer says so")
  func withoutArchive() throws {
    _ = try treering("run", "--now")
    let back = server.directory / "back"
    let result = try runCommand(program, ["database", "restore", "main", "--to", back, "-r", world.repository.root])
    #expect(result.status == 1 && result.errorText.contains("has no log"), "\(result.errorText)")
    #expect(!result.outputText.contains("start it with"), "\(result.outputText)")
  }

  @Test("a server that was made anew does not mix its log with the old one's")
  func anotherServer() throws {
    _ = try treering("run", "--now")
    let other = try PostgreSQLServer(settings: ["archive_mode=on", "archive_command=true"])
    var segment = ""
    for row in 1...5 {
      try other.query("CREATE TABLE t\(row) (i int)")
      segment = try other.query("SELECT pg_walfile_name(pg_switch_wal())")
    }
    let copy = world.directory.path / ByteString(segment)
    try tool("cp", [other.data / "pg_wal" / ByteString(segment), copy])
    func store(in archive: ByteString) throws -> CommandResult {
      try runCommand(program, ["wal", "push", copy, "--archive", archive])
    }
    let mixed = try store(in: archive)
    #expect(mixed.status == 4 && mixed.errorText.contains("has the log of another server"), "\(mixed.errorText)")
    #expect(
      try server.query("SELECT system_identifier FROM pg_control_system()") == Tree(archive).text(".system").dropLast())

    try configure(of: other)
    let run = try treering("run", "--now", status: 3)
    #expect(run.errorText.contains("has the log of another server"), "\(run.errorText)")

    try configure()
    let own = world.directory.path / "other"
    try tool("install", ["-d", "-o", "postgres", "-m", "700", own])
    #expect(try store(in: own).status == 0)
    let restored = try treering(
      "database", "restore", "main", "--to", world.directory.path / "data", "--archive", own, status: 4)
    #expect(restored.errorText.contains("and that of the base backup is"), "\(restored.errorText)")
  }

  @Test("gaps and late logs in status, and logs that only a deleted base backup needed")
  func archiveState() throws {
    func write() throws {
      try server.query("CREATE TABLE IF NOT EXISTS t (i int); INSERT INTO t VALUES (1)")
      try server.archiveAll()
    }
    try configure("rpo = \"1h\"")
    _ = try treering("run", "--now")
    for _ in 1...3 { try write() }
    _ = try treering("run", "--now")
    try write()
    let all = try segments().sorted()
    #expect(try status()["state"] as? String == "well")

    let (middle, newest) = (ByteString(all[all.count - 3]), ByteString(all[all.count - 1]))
    try tool("mv", [archive / middle, world.directory.path / middle])
    let past = try status()
    let missing = try #require((past["missing_logs"] as? [[String: Any]])?.first)
    #expect(missing["first"] as? String == String(middle.text.dropLast(4)) && missing["count"] as? Int == 1)
    let page = try treering("status").outputText.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    #expect(page.contains("this concerns the dumps before") && page.contains("all is well"))
    try tool("mv", [world.directory.path / middle, archive / middle])
    // The newest base backup needs all logs from its own on.
    let own = ByteString(all[all.count - 2])
    try tool("mv", [archive / own, world.directory.path / own])
    #expect(try status(1)["state"] as? String == "gap")
    try tool("mv", [world.directory.path / own, archive / own])

    try tool("touch", ["-d", "2 hours ago", archive / newest])
    #expect(try status(1)["state"] as? String == "late")
    try tool("touch", [archive / newest])
    #expect(try status()["state"] as? String == "well")

    // The archive ends before the time.
    usleep(1_100_000)
    let late = try treering(
      "database", "restore", "main", "--at", "now", "--to", world.directory.path / "late", status: 1)
    #expect(late.errorText.contains("SELECT pg_switch_wal()") && late.outputText.contains("recovery.log"))

    // Both base backups need their logs.
    _ = try treering("rotate")
    #expect(try segments().sorted() == all)
    let snapshots = try world.snapshotNames()
    _ = try treering("delete", snapshots[0], "--yes")
    _ = try treering("rotate")
    let label = try Tree(world.repository.root / snapshots[1] / "databases/main").text("backup_label")
    let first = try #require(label.firstMatch(of: /\(file ([0-9A-F]{24})\)/)).1
    #expect(try segments().sorted() == all.filter { $0 >= first } && first + ".zst" > all[0])
    #expect(Tree(archive).exists(newest))
    #expect(try status()["state"] as? String == "well")
    // Another repository has no dumps that need the logs.
    let kept = try segments()
    let other = world.directory.path / "other"
    _ = try treering("init", other)
    let refused = try treering("run", "--now", "-r", other, status: 1)
    #expect(refused.errorText.contains("is kept for the dumps of another repository"), "\(refused.errorText)")
    #expect(Set(kept).isSubset(of: try segments()))
  }
}

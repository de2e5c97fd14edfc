import Foundation
import TestSupport
import Testing

/// A MariaDB server is lost, and comes back as it was at a moment between two rows.
@Suite("database: a moment of a MariaDB server", .serialized, .waitsFirst)
struct DatabaseMomentTests {
  private let push: PushWorld
  private let server: MariaDBServer
  private var world: World { push.world }
  private var archive: ByteString { world.directory.path / "archive" }

  init() throws {
    push = try PushWorld("moments")
    server = try MariaDBServer()
    try tool("install", ["-d", "-m", "700", archive])
  }

  private func configure(_ more: String) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [retention]
      daily = 3
      [[database]]
      name = "web"
      kind = "mysql"
      socket = "\(server.socket)"
      user = "mysql"
      \(more)

      """)
  }

  @discardableResult
  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", world.directory.path / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private static let name = "a 'b' c"

  /// Makes a database with a row, and later rows. Returns the time between the last two.
  private func rows(afterFirst run: () throws -> Void) throws -> ByteString {
    try server.make(
      Self.name,
      """
      CREATE TABLE t (i INT PRIMARY KEY, v TEXT) ENGINE=InnoDB; INSERT INTO t VALUES (1, 'one');
      CREATE TABLE gone (i INT); INSERT INTO gone VALUES (1);
      """)
    try server.make("other", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1)")
    try run()
    usleep(1_100_000)
    // A statement that names its database, and one of another database.
    try server.query(ByteString("INSERT INTO `\(Self.name)`.t VALUES (2, 'it''s two')"), in: "other")
    try server.query("UPDATE t SET i = 2", in: "other")
    usleep(1_100_000)
    let time = String(decoding: try tool("date", ["-u", "+%F %T"]), as: UTF8.self).dropLast()
    usleep(1_100_000)
    try server.query("INSERT INTO t VALUES (3, 'three'); DROP TABLE gone", in: ByteString(Self.name))
    return ByteString(String(time))
  }

  private func lose() throws {
    try server.crash()
    try tool("rm", ["-rf", server.directory / "data"])
  }

  /// The rows that a server on the data directory has, by the command that was printed.
  private func rows(in directory: ByteString, by answer: CommandResult) throws -> String {
    let line = try #require(answer.outputText.split(separator: "\n").last?.split(separator: "with: ").last)
    let process = try RunningCommand("sh", ["-c", ByteString("exec " + String(line))])
    defer { _ = try? tool("sh", ["-c", ByteString("kill -KILL $(cat '\(directory)'/*.pid)")]) }
    let query =
      "SELECT GROUP_CONCAT(v ORDER BY i) FROM t; SELECT COUNT(*) FROM gone; SELECT i FROM other.t;"
      + "SELECT COUNT(*) FROM mysql.global_priv WHERE user LIKE 'treering%'"
    for _ in 0..<300 {
      let result = try runCommand(
        "runuser",
        [
          "-u", "mysql", "--", "mariadb", "--no-defaults", "-BN", "-S", directory / "socket", ByteString(Self.name),
          "-e",
          ByteString(query),
        ])
      if result.status == 0 { return result.outputText }
      usleep(100_000)
    }
    throw TestSupportError("the server did not start: \(try process.wait(timeoutSeconds: 1).errorText)")
  }

  private static let expected = "one,it's two\n1\n2\n0\n"

  @Test("the log in which the server crashed is archived as every other")
  func crash() throws {
    try configure("archive = \"\(archive)\"")
    try server.make("other", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1)")
    try treering(["run"])
    try server.query("INSERT INTO t VALUES (2)", in: "other")
    try server.crash()
    try server.start()
    try server.query("INSERT INTO t VALUES (3)", in: "other")
    let stored = try treering(["database", "archive", "web", "-v"]).outputText
    #expect(stored.contains("stored 2 binary logs"), "\(stored)")
  }

  @Test("a dump of all databases, and the archived logs: a data directory, and one database in another server")
  func archived() throws {
    try configure("archive = \"\(archive)\"")
    let time = try rows { try treering(["run"]) }
    let stored = try treering(["database", "archive", "web", "-v"]).outputText
    #expect(stored.contains("stored 1 binary log"))
    #expect(try treering(["database", "archive", "web", "-v"]).outputText.contains("nothing was written"))
    try server.query("INSERT INTO t VALUES (4)", in: "other")
    try treering(["database", "archive", "web"])
    try expectRefusalOfAnotherServer()
    try lose()
    try restoreOverMissingLogs()
    let directory = world.directory.path / "data"
    let built = try treering(["database", "restore", "web", "--at", time, "--to", directory, "--work-dir", "/tmp"])
    #expect(try rows(in: directory, by: built) == Self.expected)
    // Into a server that has a database of this name, which stays as it is.
    let second = try MariaDBServer.shared()
    try second.make(Self.name, "CREATE TABLE mine (i INT)")
    let words: [ByteString] = [
      "database", "restore", "web", ByteString(Self.name), "--into", second.socket, "--user", "mysql", "--yes",
    ]
    try treering(words + ["--at", time, "--as", "back"])
    #expect(try second.query("SELECT GROUP_CONCAT(v ORDER BY i) FROM t", in: "back") == "one,it's two")
    #expect(try second.query("SHOW TABLES", in: ByteString(Self.name)) == "mine")
    // The logs end before the time.
    let late = try treering(words + ["--at", "now", "--as", "late"], status: 1)
    let reached = try #require(late.errorText.firstMatch(of: /the binary logs reach only ([-0-9]+ [:0-9]+)/)?.1)
    #expect(late.outputText.contains("with the binary logs up to \(reached) into"))
    #expect(try second.query("SELECT GROUP_CONCAT(v ORDER BY i) FROM t", in: "late") == "one,it's two,three")
    try second.query(ByteString("DROP DATABASE back; DROP DATABASE late; DROP DATABASE `\(Self.name)`"))
  }

  /// The server counts its logs anew.
  private func expectRefusalOfAnotherServer() throws {
    let copy = world.directory.path / "copy"
    try tool("cp", ["-a", archive, copy])
    try treering(["database", "archive", "web"])
    // A log is of the same size as that of another, and begins in another way.
    let newest = try #require(logs().last)
    try tool("rm", [archive / newest])
    let plain = world.directory.path / ByteString(String(newest.text.dropLast(4)))
    try tool("zstd", ["-dq", copy / newest, "-o", plain])
    try tool("sh", ["-c", "printf X | dd of=\"$0\" bs=1 seek=5 conv=notrunc status=none", plain])
    try storeAsLog(plain)
    let other = try treering(["database", "archive", "web"], status: 4)
    #expect(other.errorText.contains("has the binary logs of another server"))
    try tool("sh", ["-c", "rm -r \"$0\" && mv \"$1\" \"$0\"", archive, copy])
  }

  private func logs() throws -> [ByteString] {
    try Tree(archive).names().filter { $0.text.hasSuffix(".zst") }.sorted { $0.text < $1.text }
  }

  /// Stores a file as the archive does: a frame, and one with the size and the digest.
  private func storeAsLog(_ path: ByteString) throws {
    let script = """
      import hashlib, os, struct, subprocess, sys
      plain = open(sys.argv[1], "rb").read()
      frame = subprocess.run(["zstd", "-qc"], input=plain, capture_output=True, check=True).stdout
      trailer = bytes.fromhex("5f2a4d1828000000") + struct.pack("<Q", len(plain)) + hashlib.sha256(plain).digest()
      open(os.path.join(sys.argv[2], os.path.basename(sys.argv[1]) + ".zst"), "wb").write(frame + trailer)
      """
    try tool("python3", ["-c", ByteString(script), path, archive])
  }

  /// The dump's own log is gone, and a later one is there; then there is none.
  private func restoreOverMissingLogs() throws {
    let copy = world.directory.path / "copy"
    try tool("cp", ["-a", archive, copy])
    let logs = try logs()
    #expect(logs.count >= 2)
    for (number, reason) in ["is missing", "there is no binary log after the dump"].enumerated() {
      for log in logs.prefix(logs.count - 1 + number) { try tool("rm", ["-f", archive / log]) }
      let place = world.directory.path / ByteString("part\(number)")
      let result = try treering(["database", "restore", "web", "--at", "now", "--to", place], status: 4)
      #expect(result.errorText.contains(reason), "\(result.errorText)")
      #expect(result.errorText.contains("give --in \(try world.snapshotNames()[0]) in place of --at"))
      #expect(!Tree(world.directory.path).exists(ByteString("part\(number)")))
    }
    let words: [ByteString] = ["database", "restore", "web", "--at", "now", "--to", world.directory.path / "no", "-n"]
    #expect(try treering(words + ["--archive", copy]).outputText.contains("with the binary logs up to"))
    try tool("sh", ["-c", "rm -r \"$0\" && mv \"$1\" \"$0\"", archive, copy])
  }

  @Test("without logs a moment after the dump is refused, unless the server had written nothing since")
  func withoutLogs() throws {
    try configure("")
    try server.make("other", "CREATE TABLE t (i INT); INSERT INTO t VALUES (1)")
    try treering(["run"])
    usleep(1_100_000)
    let words: [ByteString] = ["database", "restore", "web", "--at", "now", "-n", "--to", world.directory.path / "no"]
    for options in [[], ["--into", server.socket, "--user", "mysql"]] as [[ByteString]] {
      let refused = try treering(options.isEmpty ? words : Array(words.dropLast(2)) + options, status: 4)
      #expect(refused.errorText.contains("there is no binary log after the dump"), "\(refused.errorText)")
      #expect(refused.errorText.contains("the newest state before it is that of the dump"))
    }
    try configure("archive = \"\(archive)\"")
    // The first of these runs closes the log that has the tables.
    for _ in 1...2 { try treering(["run", "--now"]) }
    usleep(1_100_000)
    try treering(words, status: 4)
    try treering(["database", "archive", "web"])
    let time = ByteString(try tool("date", ["-u", "+%F %T"]).dropLast())
    try treering(words.map { $0 == "now" ? time : $0 })
  }

  @Test("the logs of a later snapshot, here and on a remote")
  func stored() throws {
    try configure("logs = true")
    let time = try rows { try treering(["run"]) }
    try treering(["run", "--now"])
    let snapshots = try world.snapshotNames()
    #expect(try world.repository.names(snapshots[1] / "databases/web").contains("binary-logs"))
    try treering(["push", push.far.root, "--all"])
    try lose()
    for (number, options) in [[], ["-r", push.far.root]].enumerated() {
      let directory = world.directory.path / ByteString("data\(number)")
      let built = try treering(["database", "restore", "web", "--at", time, "--to", directory] + options)
      #expect(try rows(in: directory, by: built) == Self.expected)
    }
  }

  @Test("a copy of the server's files, with and without logs")
  func physical() throws {
    try configure("mode = \"physical\"\narchive = \"\(archive)\"")
    let time = try rows { try treering(["run"]) }
    try treering(["run", "--now"])
    try lose()
    // Unchanged files are linked.
    let links = try tool(
      "sh", ["-c", "find 2*/databases/web -name 'innodb_table_stats.frm' -links 2 | wc -l"], in: world.repository.root)
    #expect(String(decoding: links, as: UTF8.self) == "2\n")
    let directory = world.directory.path / "data"
    let built = try treering(["database", "restore", "web", "--at", time, "--to", directory])
    #expect(try rows(in: directory, by: built) == Self.expected)
    let first = world.directory.path / "first"
    let plain = try treering(
      ["database", "restore", "web", "--in", try world.snapshotNames()[0], "--to", first])
    #expect(try rows(in: first, by: plain) == "one\n1\n1\n0\n")
    let refused = try treering(["database", "restore", "web", "--into", "configured", "--yes"], status: 2)
    #expect(refused.errorText.contains("--to"))
  }
}

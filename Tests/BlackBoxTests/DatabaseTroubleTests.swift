import Foundation
import TestSupport
import Testing

/// Troubles of real servers in a run: the files are saved, the reason is named, and the last good dump stays.
@Suite("run: a dump that fails", .serialized, .waits)
struct DatabaseTroubleTests {
  private let world: World
  private var place: Tree { Tree(world.directory.path) }
  private static let programs: ByteString = "/usr/lib/postgresql/15/bin"

  init() throws {
    world = try World("troubles")
    try world.source.write("file", "first")
  }

  private func configure(_ table: String) throws {
    try place.write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [retention]
      daily = 3
      [[source]]
      path = "\(world.source.root)"
      [[database]]
      name = "shop"
      \(table)

      """)
  }

  private func expectGood(_ table: String, at location: SourceLocation = #_sourceLocation) throws {
    try configure(table)
    let result = try world.treering(["run", "--now", "-c", place.root / "c.toml"], inRepository: false)
    #expect(result.status == 0 && result.errorText == "", "\(result.errorText)", sourceLocation: location)
  }

  /// Runs with the table, and expects the whole answer to a failed dump. `words` come before the program.
  private func expectFailure(
    _ table: String, _ message: String, words: [ByteString] = ["env"], environment: [String: String] = [:],
    at location: SourceLocation = #_sourceLocation
  ) throws {
    try configure(table)
    try world.source.write("file", message)
    let before = try #require(try world.snapshotNames().last)
    let command = words + [try treeringBinary(), "run", "--now", "-c", place.root / "c.toml"]
    let result = try runCommand(command[0], Array(command[1...]), environment: environment)
    #expect(result.status == 1, "\(result.errorText)", sourceLocation: location)
    #expect(result.errorText.contains("shop"), sourceLocation: location)
    #expect(result.errorText.contains(message), "\(result.errorText)", sourceLocation: location)
    let newest = try #require(try world.snapshotNames().last)
    #expect(newest != before, sourceLocation: location)
    #expect(
      try world.repository.text(newest / "localhost" / world.source.root / "file") == message, sourceLocation: location)
    #expect(!world.repository.exists(newest / "databases"), sourceLocation: location)
    #expect(try world.repository.names(".treering/dumps") == [], sourceLocation: location)
    func treering(_ words: ByteString..., status: Int32 = 0) throws -> String {
      let found = try world.treering(words + ["-c", place.root / "c.toml"], inRepository: false)
      #expect(found.status == status, "\(found.errorText)", sourceLocation: location)
      return found.outputText
    }
    #expect(try treering("status", "--json", status: 1).contains("\"state\" : \"failed\""), sourceLocation: location)
    #expect(try treering("ls", "latest", "databases/shop").contains("shop"), sourceLocation: location)
    let good = try #require(try world.snapshotNames().first)
    _ = try treering("rotate", "--keep-last", "1")
    #expect(try world.snapshotNames().first == good, sourceLocation: location)
  }

  @Test("PostgreSQL: wrong password, missing database, full disk, old programs, a crash in the middle, and no server")
  func postgreSQL() throws {
    let server = try PostgreSQLServer()
    try server.make(
      "shop", "CREATE TABLE t AS SELECT repeat('x', 1000000) v FROM generate_series(1, 40); ALTER TABLE t OWNER TO app")
    let socket = "socket = \"\(server.directory)\"\nport = \(server.port)\nuser = \"postgres\"\n"
    let bySocket = "kind = \"postgresql\"\ndatabases = [\"shop\"]\n" + socket
    try expectGood(bySocket)
    try place.write("wrong", "wrong\n", mode: 0o600)
    try expectFailure(
      "kind = \"postgresql\"\nurl = \"postgresql://app@localhost:\(server.port)/shop\"\n"
        + "password_file = \"\(place.root)/wrong\"", "password authentication failed for user \"app\"")
    try expectFailure(
      "kind = \"postgresql\"\ndatabases = [\"gone\"]\n" + socket, "database \"gone\" does not exist")
    // The text of the table is much larger than its pages, which are compressed.
    let disk = try LoopFileSystem("tmpfs", mebibytes: 16, at: place.root / "disk")
    try expectFailure(bySocket + "directory = \"\(disk.tree.root)\"", "No space left on device")
    withExtendedLifetime(disk) {}
    try expectOldProgram(bySocket)
    let holder = try server.start("BEGIN; LOCK TABLE t; SELECT pg_sleep(100)", in: "shop")
    try PostgreSQLServer.wait(for: "the lock") {
      try server.query("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'", in: "shop") != "0"
    }
    let crash = Thread {
      let waiting: ByteString =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pg_dump' AND wait_event_type = 'Lock'"
      try? PostgreSQLServer.wait(for: "pg_dump") { try server.query(waiting) != "0" }
      try? server.crash()
    }
    crash.start()
    try expectFailure(bySocket, "pg_dump ended with status 1")
    _ = try holder.wait()
    try expectFailure(bySocket, "see whether the server runs")
  }

  /// Runs where the newest pg_dump is older than the server.
  private func expectOldProgram(_ table: String) throws {
    try tool("mkdir", [place.root / "bin", place.root / "none"])
    try tool("chmod", ["755", place.root])
    try tool("cp", [Self.programs / "psql", place.root / "bin/psql"])
    try place.write("bin/pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9 (Debian 14.9-1)'\n", mode: 0o755)
    let hide = ByteString("mount --bind '\(place.root)/none' /usr/lib/postgresql; exec \"$@\"")
    let path = "\(place.root)/bin:" + (pinnedEnvironment["PATH"] ?? "")
    try expectFailure(
      table, "the server has version 15, and the newest pg_dump here has version 14",
      words: ["unshare", "--mount", "--", "sh", "-euc", hide, "hide"], environment: ["PATH": path])
  }

  @Test("MariaDB: wrong password, missing database, missing program, full disk, a crash in the middle, and no server")
  func mariaDB() throws {
    let server = try MariaDBServer()
    try server.make(
      "shop", "CREATE TABLE t (b LONGBLOB); INSERT INTO t SELECT REPEAT(x'ff', 1000000) FROM seq_1_to_100")
    let socket = "kind = \"mysql\"\nsocket = \"\(server.socket)\"\nuser = \"mysql\"\n"
    let good = socket + "databases = [\"shop\"]\n"
    try expectGood(good)
    try place.write("wrong", "wrong\n", mode: 0o600)
    try expectFailure(
      "kind = \"mysql\"\nurl = \"mysql://app@localhost:\(server.port)/shop\"\n"
        + "password_file = \"\(place.root)/wrong\"", "Access denied for user 'app'")
    try expectFailure(socket + "databases = [\"gone\"]", "the server has no database \"gone\"")
    try tool("mkdir", [place.root / "bin"])
    try tool("ln", ["-s", "/usr/bin/mariadb", place.root / "bin/mariadb"])
    try expectFailure(
      good, "the program mariadb-dump is missing; install it: Debian's package is mariadb-client",
      environment: ["PATH": "\(place.root)/bin"])
    // As digits, its bytes are twice as many.
    let disk = try LoopFileSystem("tmpfs", mebibytes: 150, at: place.root / "disk")
    try expectFailure(good + "directory = \"\(disk.tree.root)\"", "No space left on device")
    withExtendedLifetime(disk) {}
    let dumps = place.root / "dumps"
    try tool("mkdir", [dumps])
    let crash = Thread {
      // The dump has begun when it has written something.
      let isBegun = "find '\(dumps)' -name 'table-t.sql' -size +1M | grep -q ."
      try? MariaDBServer.wait(for: "the dump") { try runCommand("sh", ["-c", ByteString(isBegun)]).status == 0 }
      try? server.crash()
    }
    crash.start()
    try expectFailure(good + "directory = \"\(dumps)\"", "mariadb-dump ended with status")
    try expectFailure(good, "see whether the server runs")
  }
}

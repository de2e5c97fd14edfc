import Foundation
import TestSupport
import Testing

/// The recipe for Barman in treering-databases(7), with a real server whose log Barman receives.
@Suite("run: Barman", .waits) struct BarmanTests {
  private static let programs: ByteString = "/usr/lib/postgresql/15/bin"
  private let world: World
  private let home: TemporaryDirectory
  private var place: ByteString { home.path }

  init() throws {
    world = try World("barman")
    world.provesOlderUnchanged = false
    home = try TemporaryDirectory("barman", below: "/tmp")
    try tool("chmod", ["755", place])
    try tool("install", ["-d", "-o", "postgres", place / "pg"])
    try tool("install", ["-d", "-o", "barman", place / "barman", place / "log"])
    try tool("install", ["-d", "-m", "777", place / "sockets"])
    try Tree(place).write(
      "barman.conf",
      """
      [barman]
      barman_user = barman
      barman_home = \(place)/barman
      barman_lock_directory = \(place)/barman
      log_file = \(place)/log/barman.log
      [main]
      description = main
      conninfo = host=\(place)/sockets user=barman dbname=postgres
      streaming_conninfo = host=\(place)/sockets user=barman
      backup_method = postgres
      streaming_archiver = on
      slot_name = barman
      path_prefix = \(Self.programs)

      """, mode: 0o644)
  }

  private func asPostgres(_ words: [ByteString]) throws { try tool("runuser", ["-u", "postgres", "--"] + words) }

  private func server(_ verb: ByteString, on data: ByteString) throws {
    let start: [ByteString] = verb == "start" ? ["-w", "-l", place / "pg/log"] : ["-m", "immediate"]
    try asPostgres([Self.programs / "pg_ctl", "-s", "-D", data] + start + [verb])
  }

  /// The words of Barman, which needs the directory of shared memory that every machine but some for tests has.
  private var barman: [ByteString] {
    let script = "mount -t tmpfs -o mode=1777 tmpfs /dev/shm; exec \"$@\""
    let words = ["unshare", "--mount", "--", "sh", "-euc", script, "sh", "runuser", "-u", "barman", "--", "barman"]
    return words.map { ByteString($0) } + ["-c", place / "barman.conf"]
  }

  private func callBarman(_ words: ByteString...) throws { try tool(barman[0], Array(barman[1...]) + words) }

  private func query(_ statement: ByteString) throws -> String {
    let words: [ByteString] = ["-u", "postgres", "--", "psql", "-h", place / "sockets", "-Atqc", statement, "postgres"]
    return String(decoding: try tool("runuser", words), as: UTF8.self)
  }

  private func treering(_ words: ByteString...) throws {
    let words = words + ["-c", world.directory.path / "c.toml"]
    let result = try world.treering(words, inRepository: false)
    #expect(result.status == 0 && result.errorText == "", "\(result.outputText)\(result.errorText)")
  }

  @Test("a hook makes the backup, its directory is a source, and a new server starts on the recovered data")
  func recipe() throws {
    let data = place / "pg/data"
    try asPostgres([Self.programs / "initdb", "--auth=peer", "--no-sync", "-D", data])
    try Tree(data).append(
      "postgresql.conf", "listen_addresses = ''\nunix_socket_directories = '\(place)/sockets'\nfsync = off\n")
    try server("start", on: data)
    defer { try? server("stop", on: data) }
    _ = try query("CREATE ROLE barman LOGIN SUPERUSER REPLICATION; CREATE TABLE t AS SELECT 42 AS i")
    try callBarman("receive-wal", "--create-slot", "main")
    let receiver = try RunningCommand(barman[0], Array(barman[1...]) + ["receive-wal", "main"])
    defer { receiver.signal(SIGTERM) }
    try PostgreSQLServer.wait(for: "the receiver") { try query("SELECT count(*) FROM pg_stat_replication") == "1\n" }
    try callBarman("switch-wal", "--archive", "--force", "main")
    let hook = (barman + ["backup", "--wait", "main"]).map { word in
      "\"" + word.text.replacingOccurrences(of: "\"", with: "\\\"") + "\""
    }
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [[source]]
      path = "\(place)/barman"
      [hooks]
      before = [[\(hook.joined(separator: ", ").replacingOccurrences(of: "\"unshare\"", with: "\"/usr/bin/unshare\""))]]

      """)
    try treering("run")
    _ = try query("INSERT INTO t VALUES (43)")

    // The machine is lost.
    try server("stop", on: data)
    try tool("rm", ["-rf", data, place / "barman"])
    try treering("restore", "latest", place / "barman", "--to", "/")
    try callBarman("recover", "main", "latest", place / "barman/back")
    try tool("mv", [place / "barman/back", place / "pg/new"])
    try tool("chown", ["-R", "postgres:", place / "pg/new"])
    try server("start", on: place / "pg/new")
    defer { try? server("stop", on: place / "pg/new") }
    #expect(try query("TABLE t") == "42\n")
  }
}

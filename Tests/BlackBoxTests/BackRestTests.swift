import Foundation
import TestSupport
import Testing

/// pgBackRest in a run, with a real server that archives its log.
@Suite("run: pgBackRest", .waits) struct BackRestTests {
  private static let programs: ByteString = "/usr/lib/postgresql/15/bin"

  @Test("a run makes a backup, has the repository as a source, and status shows since when all can be recovered")
  func backup() throws {
    let world = try World("pgbackrest")
    world.provesOlderUnchanged = false
    let home = try TemporaryDirectory("pgbackrest", below: "/tmp")
    let place = home.path
    try tool("chown", ["postgres", place])
    func asPostgres(_ words: [ByteString]) throws { try tool("runuser", ["-u", "postgres", "--"] + words) }
    try asPostgres([Self.programs / "initdb", "--auth=peer", "--no-sync", "-D", place / "data"])
    for name in ["repo", "log", "spool", "lock"] { try asPostgres(["mkdir", place / ByteString(name)]) }
    try Tree(place).write(
      "pgbackrest.conf",
      """
      [global]
      repo1-path=\(place)/repo
      log-path=\(place)/log
      spool-path=\(place)/spool
      lock-path=\(place)/lock
      start-fast=y
      [main]
      pg1-path=\(place)/data
      pg1-socket-path=\(place)

      """, mode: 0o644)
    try Tree(place).append(
      "data/postgresql.conf",
      """
      listen_addresses = ''
      unix_socket_directories = '\(place)'
      fsync = off
      archive_mode = on
      archive_command = 'pgbackrest --config=\(place)/pgbackrest.conf --stanza=main archive-push %p'

      """)
    try asPostgres([Self.programs / "pg_ctl", "-w", "-s", "-D", place / "data", "-l", place / "log/server", "start"])
    defer { try? asPostgres([Self.programs / "pg_ctl", "-s", "-m", "immediate", "-D", place / "data", "stop"]) }
    let options: [ByteString] = ["pgbackrest", "--config=" + place / "pgbackrest.conf", "--stanza=main"]
    func configure(_ more: String) throws {
      try Tree(world.directory.path).write(
        "c.toml",
        """
        repository = "\(world.repository.root)"
        [[database]]
        name = "cluster"
        kind = "pgbackrest"
        user = "postgres"
        config = "\(place)/pgbackrest.conf"
        \(more)
        """)
    }
    func treering(_ words: [ByteString], status: Int32 = 0) throws -> CommandResult {
      let words = words + ["-c", world.directory.path / "c.toml"]
      let result = try world.treering(words, inRepository: false)
      #expect(result.status == status, "\(result.outputText)\(result.errorText)")
      return result
    }
    try configure("stanza = \"main\"\npath = \"\(place)/repo\"")
    let unknown = try treering(["config", "check"], status: 2)
    #expect(unknown.errorText.contains("make it: pgbackrest stanza-create"), "\(unknown.errorText)")
    try asPostgres(options + ["stanza-create"])
    _ = try treering(["config", "check"])
    #expect(try treering(["run"]).errorText == "")
    let name = try #require(try world.snapshotNames().first)
    let stored = world.repository.root / name / "localhost" / place / "repo"
    let backups = try Tree(place / "repo/backup/main").names().filter { $0.text.hasSuffix("F") }
    #expect(backups.count == 1 && Tree(stored / "backup/main").exists(backups[0] / "backup.manifest"))
    let shown = try treering(["status"]).outputText
    #expect(shown.contains("recoverable: any moment since 20") && shown.contains(backups[0].text), "\(shown)")
    #expect(try world.repository.text(name / "databases/cluster/info.json").contains("\"name\":\"main\""))

    // The stored repository alone brings the server back.
    try tool("cp", ["-a", stored, place / "back"])
    try asPostgres([Self.programs / "pg_ctl", "-s", "-m", "immediate", "-D", place / "data", "stop"])
    try tool("rm", ["-rf", place / "data", place / "repo"])
    try tool("mv", [place / "back", place / "repo"])
    try asPostgres(options + ["restore"])
    try asPostgres([Self.programs / "pg_ctl", "-w", "-s", "-D", place / "data", "-l", place / "log/server", "start"])

    try configure("stanza = \"main\"\npath = \"\(place)/log\"")
    #expect(try treering(["run", "--now"], status: 1).errorText.contains("the new backup is not in \(place)/log"))
    try asPostgres([Self.programs / "pg_ctl", "-s", "-m", "immediate", "-D", place / "data", "stop"])
    try configure("stanza = \"main\"\npath = \"\(place)/repo\"")
    let failed = try treering(["run", "--now"], status: 1)
    #expect(failed.errorText.contains("pgbackrest ended with status"), "\(failed.errorText)")
  }
}

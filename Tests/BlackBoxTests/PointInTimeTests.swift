import Foundation
import TestSupport
import Testing

/// Base backups and the archived log of a real PostgreSQL server, and the way back to a moment.
@Suite("PostgreSQL: base backups, and a moment between two rows", .waits)
final class PointInTimeTests {
  private let world: World
  private let server: PostgreSQLServer
  private let archive: ByteString
  private let program: ByteString
  private var configuration: ByteString { world.directory.path / "c.toml" }

  init() throws {
    world = try World("moment")
    // The server's account must reach the program and the archive.
    program = world.directory.path / "treering"
    try tool("install", ["-m", "755", try treeringBinary(), program])
    archive = world.directory.path / "wal"
    try tool("install", ["-d", "-o", "postgres", "-m", "700", archive])
    server = try PostgreSQLServer(settings: [
      "archive_mode=on", "archive_command='\(program) wal push %p --archive \(archive)'",
    ])
    try configure()
  }

  private func configure(_ more: String = "") throws {
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
}

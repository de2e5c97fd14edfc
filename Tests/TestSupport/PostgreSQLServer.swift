internal import Foundation

/// A real PostgreSQL server.
public final class PostgreSQLServer: DatabaseServer, @unchecked Sendable {
  private static let programs: ByteString = "/usr/lib/postgresql/15/bin"

  /// The one that all tests share.
  public static func shared() throws -> PostgreSQLServer { try one.get() }
  private static let one = Result<PostgreSQLServer, any Error> { try PostgreSQLServer() }

  /// `settings` are further lines of `postgresql.conf`.
  public init(settings: [String] = []) throws {
    try super.init(account: "postgres")
    try tool("runuser", asServer([Self.programs / "initdb", "--auth=peer", "--no-sync", "-D", data]))
    try Tree(data).write(
      "pg_hba.conf",
      """
      local all,replication all peer
      host closed all 127.0.0.1/32 reject
      host all all 127.0.0.1/32 scram-sha-256

      """)
    let own = [
      "fsync=off", "full_page_writes=off", "listen_addresses='127.0.0.1'", "port=\(port)",
      "unix_socket_directories='\(directory)'", "ssl=on", "ssl_cert_file='\(directory)/server.crt'",
      "ssl_key_file='\(directory)/server.key'", "max_locks_per_transaction=512",
    ]
    try Tree(data).append("postgresql.conf", (own + settings).joined(separator: "\n") + "\n")
    try start()
    try query(#"CREATE ROLE app LOGIN PASSWORD 'right: \ "pass" ''word'' #'"#)
  }

  /// Starts the server on its data directory, or on another one.
  public func start(on other: ByteString? = nil) throws {
    try launch("\(Self.programs)/postgres -D \(other ?? data)")
  }

  override func client(_ sql: ByteString, in database: ByteString) -> [ByteString] {
    asServer([
      "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", directory, "-p", ByteString("\(port)"), "-d",
      database.bytes.isEmpty ? "postgres" : database, "-c", sql,
    ])
  }

  /// Ends all statements that `start` began in a database.
  public func endStatements(in database: String) {
    let others = "datname = '\(database)' AND application_name = 'psql' AND pid <> pg_backend_pid()"
    _ = try? query(ByteString("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE \(others)"))
  }

  /// Makes a database anew, with these statements.
  public func make(_ database: String, _ sql: ByteString) throws {
    let name = "\"\(database.replacingOccurrences(of: "\"", with: "\"\""))\""
    try query(ByteString("DROP DATABASE IF EXISTS \(name)"))
    try query(ByteString("CREATE DATABASE \(name) TEMPLATE template0"))
    if !sql.bytes.isEmpty { try query(sql, in: ByteString(database)) }
  }

  /// Loads a dump of pg_dump(1) in directory format into a new database.
  public func restore(_ dump: ByteString, into database: String) throws {
    try make(database, "")
    // A copy that the account of the server can read.
    let copy = directory / "restore"
    try tool("cp", ["-r", dump, copy])
    try tool("chown", ["-R", "postgres", copy])
    defer { _ = try? tool("rm", ["-rf", copy]) }
    try tool(
      "runuser",
      asServer([
        "pg_restore", "--exit-on-error", "-h", directory, "-p", ByteString("\(port)"), "-d", ByteString(database), copy,
      ]))
  }

  /// Chooses the certificate for new connections.
  public func choose(_ certificate: ServerCertificates.Kind) throws {
    try certificates.choose(certificate)
    try query("SELECT pg_reload_conf()")
    // The server reads it within moments, and says nothing.
    usleep(500_000)
  }

  /// Archives everything that was written until now.
  public func archiveAll() throws {
    let segment = try query("SELECT pg_walfile_name(pg_switch_wal())")
    try Self.wait(for: "the archive") {
      try query(ByteString("SELECT coalesce(last_archived_wal >= '\(segment)', false) FROM pg_stat_archiver")) == "t"
    }
  }
}

internal import Foundation

/// A real PostgreSQL server with a directory, a socket and a port of its own. Needs root.
///
/// The account `postgres` of the machine is its superuser, over the socket. The role `app` has the password of
/// `passwordFile`, over TCP. Its end comes with that of the tests.
public final class PostgreSQLServer: @unchecked Sendable {
  /// Of the socket, and of the files of the tests.
  public let directory: ByteString
  public let port: Int
  /// With the right password of the role `app`.
  public let passwordFile: ByteString
  public let certificates: ServerCertificates
  private let process: ServerProcess
  private static let programs = "/usr/lib/postgresql/15/bin"

  /// The one that all tests share.
  public static func shared() throws -> PostgreSQLServer { try one.get() }
  private static let one = Result<PostgreSQLServer, any Error> { try PostgreSQLServer() }

  public init() throws {
    let home = try ServerProcess.directory("postgresql", account: "postgres")
    directory = home.path
    port = try ServerProcess.freePort()
    certificates = try ServerCertificates(in: directory, account: "postgres")
    try certificates.choose(.right)
    let data = directory / "data"
    try tool(
      "runuser",
      ["-u", "postgres", "--", ByteString("\(Self.programs)/initdb"), "--auth=peer", "--no-sync", "-D", data])
    try Tree(data).write(
      "pg_hba.conf",
      """
      local all postgres peer
      host closed all 127.0.0.1/32 reject
      host all all 127.0.0.1/32 scram-sha-256

      """)
    let settings = [
      "fsync=off", "listen_addresses=127.0.0.1", "port=\(port)", "unix_socket_directories=\(directory)", "ssl=on",
      "ssl_cert_file=\(directory)/server.crt", "ssl_key_file=\(directory)/server.key", "max_locks_per_transaction=512",
    ]
    let options = settings.map { "-c \($0)" }.joined(separator: " ")
    process = try ServerProcess("\(Self.programs)/postgres -D \(data) \(options)", in: home, account: "postgres")
    passwordFile = directory / "password"
    try Tree(directory).write("password", "right: \\ \"pass\" 'word'\n", mode: 0o600)
    try ServerProcess.wait(for: "PostgreSQL") {
      try runCommand("runuser", ["-u", "postgres", "--"] + psql("postgres", "SELECT 1")).status == 0
    }
    try query(#"CREATE ROLE app LOGIN PASSWORD 'right: \ "pass" ''word'''"#)
  }

  private func psql(_ database: ByteString, _ sql: ByteString) -> [ByteString] {
    ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", directory, "-p", ByteString("\(port)"), "-d", database, "-c", sql]
  }

  /// Runs statements as the superuser, and returns the rows.
  @discardableResult
  public func query(_ sql: ByteString, in database: ByteString = "postgres") throws -> String {
    let output = try tool("runuser", ["-u", "postgres", "--"] + psql(database, sql))
    return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Starts statements without waiting for their end.
  public func start(_ sql: ByteString, in database: ByteString = "postgres") throws -> RunningCommand {
    try RunningCommand("runuser", ["-u", "postgres", "--"] + psql(database, sql))
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
      [
        "-u", "postgres", "--", "pg_restore", "--exit-on-error", "-h", directory, "-p", ByteString("\(port)"), "-d",
        ByteString(database), copy,
      ])
  }

  /// Chooses the certificate for new connections.
  public func choose(_ certificate: ServerCertificates.Kind) throws {
    try certificates.choose(certificate)
    try query("SELECT pg_reload_conf()")
    // The server reads it within moments, and says nothing.
    usleep(500_000)
  }

  /// Ends the server as a crash does.
  public func crash() throws {
    let first = try String(contentsOfFile: "\(directory)/data/postmaster.pid", encoding: .utf8).split(separator: "\n")[
      0]
    try tool("sh", ["-c", ByteString("pkill -KILL -P \(first); kill -KILL \(first)")])
  }
}

internal import Foundation

/// A real MariaDB server with a directory, a socket and a port of its own. Needs root.
///
/// The account `mysql` of the machine is its superuser, over the socket. The role `app` has the password of
/// `passwordFile`. Its end comes with that of the tests.
public final class MariaDBServer: @unchecked Sendable {
  /// Of the socket, and of the files of the tests.
  public let directory: ByteString
  public let port: Int
  /// With the right password of the role `app`.
  public let passwordFile: ByteString
  public let certificates: ServerCertificates
  private let process: ServerProcess

  public var socket: ByteString { directory / "socket" }

  /// The one that all tests share.
  public static func shared() throws -> MariaDBServer { try one.get() }
  private static let one = Result<MariaDBServer, any Error> { try MariaDBServer() }

  public init() throws {
    let home = try ServerProcess.directory("mariadb", account: "mysql")
    directory = home.path
    port = try ServerProcess.freePort()
    certificates = try ServerCertificates(in: directory, account: "mysql")
    try certificates.choose(.right)
    let data = directory / "data"
    try tool(
      "runuser",
      [
        "-u", "mysql", "--", "mariadb-install-db", "--no-defaults", "--skip-test-db", "--auth-root-socket-user=mysql",
        ByteString("--datadir=\(data)"), ByteString("--tmpdir=\(data)"),
      ])
    let options = [
      "datadir=\(data)", "tmpdir=\(data)", "socket=\(directory)/socket", "pid-file=\(directory)/pid",
      "bind-address=127.0.0.1",
      "port=\(port)", "log-bin=bin", "server-id=1", "innodb-flush-log-at-trx-commit=0", "skip-name-resolve",
      "ssl-cert=\(directory)/server.crt", "ssl-key=\(directory)/server.key", "ssl-ca=\(certificates.authority)",
    ]
    let words = options.map { "--\($0)" }.joined(separator: " ")
    process = try ServerProcess("mariadbd --no-defaults \(words)", in: home, account: "mysql")
    passwordFile = directory / "password"
    try Tree(directory).write("password", "right: \\ \"pass\" 'word' #\n", mode: 0o600)
    try ServerProcess.wait(for: "MariaDB") {
      try runCommand("runuser", client("SELECT 1")).status == 0
    }
    try query(#"CREATE USER app@'%' IDENTIFIED BY 'right: \\ "pass" \'word\' #'"#)
  }

  private func client(_ sql: ByteString, in database: ByteString = "") -> [ByteString] {
    [
      "-u", "mysql", "--", "mariadb", "--no-defaults", "--batch", "--skip-column-names", "--socket=" + socket,
      "--user=mysql", "--execute=" + sql,
    ] + (database.bytes.isEmpty ? [] : ["--database=" + database])
  }

  /// Runs statements as the superuser, and returns the rows.
  @discardableResult
  public func query(_ sql: ByteString, in database: ByteString = "") throws -> String {
    let output = try tool("runuser", client(sql, in: database))
    return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Starts statements without waiting for their end.
  public func start(_ sql: ByteString, in database: ByteString = "") throws -> RunningCommand {
    try RunningCommand("runuser", client(sql, in: database))
  }

  /// Makes a database anew, with the statements of a script.
  public func make(_ database: String, _ script: String) throws {
    let name = "`\(database.replacingOccurrences(of: "`", with: "``"))`"
    try query(ByteString("DROP DATABASE IF EXISTS \(name); CREATE DATABASE \(name) CHARACTER SET utf8mb4"))
    if !script.isEmpty { try load("USE \(name);\n" + script) }
  }

  /// Runs a script, as of a dump.
  public func load(_ script: String) throws {
    let name = ByteString("script-\(UUID().uuidString)")
    try Tree(directory).write(name, script, mode: 0o644)
    let words: [ByteString] = ["-u", "mysql", "--", "mariadb", "--no-defaults", "--socket=" + socket, "--user=mysql"]
    let result = try runCommand("runuser", words, input: directory / name)
    guard result.status == 0 else { throw TestSupportError("mariadb: \(result.errorText)") }
  }

  /// Chooses the certificate for new connections.
  public func choose(_ certificate: ServerCertificates.Kind) throws {
    try certificates.choose(certificate)
    try query("FLUSH SSL")
  }

  /// Ends the server as a crash does.
  public func crash() throws {
    let first = try String(contentsOfFile: "\(directory)/pid", encoding: .utf8).trimmingCharacters(in: .newlines)
    try tool("kill", ["-KILL", ByteString(first)])
  }
}

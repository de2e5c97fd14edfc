internal import Foundation

/// A real MariaDB server, with binary logs.
public final class MariaDBServer: DatabaseServer, @unchecked Sendable {
  public var socket: ByteString { directory / "socket" }
  private var command = ""

  /// The one that all tests share.
  public static func shared() throws -> MariaDBServer { try one.get() }
  private static let one = Result<MariaDBServer, any Error> { try MariaDBServer() }

  public init() throws {
    try super.init(account: "mysql")
    let inMemory = ["innodb-flush-method=nosync", "innodb-flush-log-at-trx-commit=0"]
    let install =
      ["skip-test-db", "auth-root-socket-user=mysql", "datadir=\(data)", "tmpdir=\(directory)"] + inMemory
    try tool("runuser", asServer(["mariadb-install-db", "--no-defaults"] + install.map { ByteString("--" + $0) }))
    let options =
      [
        "datadir=\(data)", "tmpdir=\(data)", "socket=\(socket)", "pid-file=\(directory)/pid",
        "bind-address=127.0.0.1", "port=\(port)", "log-bin=bin", "server-id=1", "sync-binlog=0", "skip-name-resolve",
        "ssl-cert=\(directory)/server.crt", "ssl-key=\(directory)/server.key", "ssl-ca=\(certificates.authority)",
      ] + inMemory
    command = "mariadbd --no-defaults " + options.map { "--" + $0 }.joined(separator: " ")
    try start()
    try query(#"CREATE USER app@'%' IDENTIFIED BY 'right: \\ "pass" \'word\' #'"#)
  }

  /// Starts the server after a crash, too.
  public func start() throws { try launch(command) }

  override func client(_ sql: ByteString, in database: ByteString) -> [ByteString] {
    asServer(
      [
        "mariadb", "--no-defaults", "--batch", "--skip-column-names", "--socket=" + socket, "--user=mysql",
        "--execute=" + sql,
      ] + (database.bytes.isEmpty ? [] : ["--database=" + database]))
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
    let words = asServer(["mariadb", "--no-defaults", "--socket=" + socket, "--user=mysql"])
    let result = try runCommand("runuser", words, input: directory / name)
    guard result.status == 0 else { throw TestSupportError("mariadb: \(result.errorText)") }
  }

  /// Chooses the certificate for new connections.
  public func choose(_ certificate: ServerCertificates.Kind) throws {
    try certificates.choose(certificate)
    try query("FLUSH SSL")
  }
}

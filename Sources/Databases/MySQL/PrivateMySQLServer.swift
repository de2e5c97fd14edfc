internal import Model
internal import Posix
internal import Settings

/// A MySQL or MariaDB server of one's own, on a data directory in private hands, without a network unless it has an
/// address.
///
/// It makes the state of a moment without touching any other server.
final class PrivateMySQLServer {
  /// The connection of its temporary role.
  let connection: DatabaseConfiguration
  private let tools: Tools
  private let process: RunningServer

  private static let role = "treering_restore"
  /// The statement that removes the role again.
  static let removal = Array("\nDROP USER IF EXISTS \(role)@localhost;\n".utf8)

  struct Places {
    var data: [UInt8]
    /// A private directory of this user that the account of the tools may enter, for socket and files.
    var work: DumpDirectory
    /// The options that a physical copy of a server came with: a file of the data directory.
    var options: [UInt8]?
  }

  /// Makes a new data directory, which is there and empty.
  static func makeData(at path: [UInt8], by tools: Tools) throws(DumpFailure) {
    let program = try tools.find("mariadb-install-db", "mysql_install_db", package: "mariadb-server")
    let root = (tools.account ?? Account.current())?.name ?? "root"
    _ = try tools.run(
      [program] + words("--no-defaults", "--skip-test-db", "--auth-root-socket-user=\(root)")
        + [Array("--datadir=".utf8) + path, temporaryFiles(in: path)])
  }

  /// The option for a directory of temporary files. A server that starts removes the tables of others from a shared
  /// one, even of a server that runs.
  private static func temporaryFiles(in directory: [UInt8]) -> [UInt8] { Array("--tmpdir=".utf8) + directory }

  /// With `address` the server listens there, too. Without accounts it lets every account in.
  init(
    at places: Places, as address: ServerAddress? = nil, hasAccounts: Bool = true, by tools: Tools
  ) throws(DumpFailure) {
    self.tools = tools
    let programs = ProgramSearch(path: Array("/usr/sbin:/usr/local/sbin".utf8))
    guard let server = tools.programs.find(["mariadbd", "mysqld"]) ?? programs.find(["mariadbd", "mysqld"]) else {
      throw DumpFailure(
        name: tools.name, reason: "the program mariadbd is missing",
        hint: "install the server of the dump's version: Debian's package is mariadb-server")
    }
    let work = places.work
    let socket = address.map { $0.directory + [slash] + $0.socket } ?? work.path + Array("/socket".utf8)
    guard socket.count < 104 else {
      throw DumpFailure(
        name: tools.name, reason: "the path \(displayName(socket)) is too long for a socket",
        hint: "name a directory with a short path as --work-dir")
    }
    let password = try work.attempt("make a password in") { () throws(Errno) in
      "Aa1-" + (try CurrentProcess.randomBytes(count: 24).map { String($0, radix: 16) }.joined())
    }
    try Self.write(password, to: "password", in: work)
    let role = "\(Self.role)@localhost"
    try Self.write(
      "DROP USER IF EXISTS \(role);\nCREATE USER \(role) IDENTIFIED BY '\(password)';\n"
        + "GRANT ALL ON *.* TO \(role) WITH GRANT OPTION;\n",
      to: "init.sql", in: work, for: tools.account)
    var connection = DatabaseConfiguration()
    (connection.name, connection.kind) = (tools.name, .mysql)
    (connection.socket, connection.role) = (String(decoding: socket, as: UTF8.self), Self.role)
    connection.passwordFile = String(decoding: work.path, as: UTF8.self) + "/password"
    connection.user = tools.account?.name
    self.connection = connection
    let access =
      (address.map { words("--port=\($0.port)", "--bind-address=127.0.0.1") } ?? words("--skip-networking"))
      + (hasAccounts
        ? [Array("--init-file=".utf8) + work.path + Array("/init.sql".utf8)] : words("--skip-grant-tables"))
    process = RunningServer(
      Self.arguments(server: server, places: places, socket: socket) + access, by: tools, inNetworkOf: address?.process)
    try process.waitUntilReady { () throws(DumpFailure) in
      _ = try MySQLServer(of: connection, tools: tools).rows("SELECT 1")
    }
  }

  private static func write(
    _ text: String, to name: String, in work: DumpDirectory, for account: Account? = nil
  ) throws(DumpFailure) {
    let file = try work.makeFile(Array(name.utf8))
    try work.attempt("write") { () throws(Errno) in
      try file.descriptor.write(Array(text.utf8))
      if let account { try file.descriptor.setOwner(user: account.user, group: account.group) }
    }
  }

  private static func arguments(server: [UInt8], places: Places, socket: [UInt8]) -> [[UInt8]] {
    func option(_ name: String, _ value: [UInt8]) -> [UInt8] { Array("--\(name)=".utf8) + value }
    let first = places.options.map { option("defaults-file", $0) } ?? Array("--no-defaults".utf8)
    return [server, first, option("datadir", places.data), temporaryFiles(in: places.data), option("socket", socket)]
      + [option("pid-file", socket + Array(".pid".utf8))]
      + words("--skip-log-bin", "--skip-slave-start", "--event-scheduler=OFF")
  }

  /// Runs a script, from the beginning of its file.
  func run(_ script: SharedFile) throws(DumpFailure) {
    let server = try MySQLServer(of: connection, tools: tools)
    do { try script.descriptor.seek(to: 0) } catch {
      throw DumpFailure(name: tools.name, reason: "cannot read the statements: \(error)")
    }
    var setting = server.setting()
    setting.input = script
    let options = words("--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G")
    do { _ = try tools.run(server.command(server.client) + options, setting) } catch { throw server.explained(error) }
  }

  /// Waits for the server's end, after a statement `SHUTDOWN`.
  func waitForEnd() throws(DumpFailure) { try process.waitForEnd() }
}

internal import Model
internal import Posix
internal import Settings

/// A PostgreSQL server of one's own, on a data directory in private hands, without a network unless it has an
/// address.
final class PrivatePostgreSQLServer {
  /// The connection of its superuser. The directory of the socket is private, so no password is needed.
  let connection: DatabaseConfiguration
  /// The major version.
  let version: Int
  private let tools: Tools
  private let programs, data: [UInt8]
  private let process: RunningServer

  /// Starts a server on `data`, which is an empty directory of the account, or has the files of a server.
  ///
  /// `work` is a private directory of the account, for the socket. With `address` the server listens there, too. Over
  /// TCP it asks for the passwords of the roles.
  init(
    onDataAt data: [UInt8], work: DumpDirectory, as address: ServerAddress? = nil, by tools: Tools
  ) throws(DumpFailure) {
    (self.tools, self.data) = (tools, data)
    let wanted = try work.attempt("read the version in", at: data) { () throws(Errno) in try Self.version(at: data) }
    (version, programs) = try Self.programs(ofVersion: wanted, by: tools)
    // A copy of a standby becomes a server of its own.
    try? Descriptor.open(path: data, [.read, .directory]).unlink(Array("standby.signal".utf8).span)
    if wanted == nil {
      let options = words("--username=\(Self.role)", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")
      _ = try tools.run([programs + Array("/initdb".utf8)] + options + words("-D") + [data])
    }
    let rules = try work.makeFile(Array("rules".utf8))
    try work.attempt("write") { () throws(Errno) in
      try rules.descriptor.write(
        Array("local all all trust\nhost all all 127.0.0.1/32 md5\nhost all all ::1/128 md5\n".utf8))
      if let account = tools.account { try rules.descriptor.setOwner(user: account.user, group: account.group) }
    }
    func setting(_ name: String, _ value: [UInt8]) -> [[UInt8]] { words("-c") + [Array("\(name)=".utf8) + value] }
    let port = address?.port ?? 5432
    let own = [
      address == nil ? "listen_addresses=" : "listen_addresses=127.0.0.1,::1", "fsync=off", "full_page_writes=off",
      "ssl=off", "logging_collector=off", "archive_mode=off",
      "port=\(port)", "autovacuum=off",
      // The settings of a copy lead to the live server's files, and to another server.
      "external_pid_file=", "primary_conninfo=", "primary_slot_name=",
    ].flatMap { words("-c", $0) }
    process = RunningServer(
      [programs + Array("/postgres".utf8)] + words("-D") + [data] + own
        + setting("unix_socket_directories", work.path + (address.map { [UInt8(ascii: ",")] + $0.directory } ?? []))
        + setting("hba_file", work.path + Array("/rules".utf8)),
      by: tools, inNetworkOf: address?.process)
    var connection = DatabaseConfiguration()
    (connection.name, connection.kind, connection.user) = (tools.name, .postgresql, tools.account?.name)
    (connection.socket, connection.port) = (String(decoding: work.path, as: UTF8.self), port)
    connection.role = Self.role
    self.connection = connection
    try process.waitUntilReady { () throws(DumpFailure) in
      _ = try PostgreSQLServer(of: connection, tools: tools).facts()
    }
  }

  private static let role = "postgres"

  /// The version of the files of a server; `nil` if the directory is empty.
  private static func version(at data: [UInt8]) throws(Errno) -> Int? {
    let directory = Directory(try Descriptor.open(path: data, [.read, .directory]))
    if try directory.names().isEmpty { return nil }
    let text = try directory.descriptor.openToRead(Array("PG_VERSION".utf8).span).readToEnd(limit: 64)
    return Int(String(decoding: text.prefix { isDigit($0) }, as: UTF8.self))
  }

  /// The directory of the server's programs: of this version, or of the newest one.
  private static func programs(ofVersion wanted: Int?, by tools: Tools) throws(DumpFailure) -> (Int, [UInt8]) {
    let found = tools.programs.postgreSQLVersions().last { version, directory in
      (wanted == nil || wanted == version) && ProgramSearch.isProgram(directory + Array("/postgres".utf8))
    }
    if let found { return found }
    let package = wanted.map { "postgresql-\($0)" } ?? "postgresql"
    throw DumpFailure(
      name: tools.name, reason: "there is no PostgreSQL server of \(wanted.map { "version \($0)" } ?? "any version")",
      hint: "install it: Debian's package is \(package)")
  }

  /// The numbers of databases and of tables that the users made.
  func counts() throws(DumpFailure) -> (databases: Int, tables: Int) {
    let server = try PostgreSQLServer(of: connection, tools: tools)
    let names = try server.databases().map(\.name)
    var tables = 0
    for name in names {
      let query = """
        SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        """
      let text = try server.rows(query, fields: 1, in: name).first?.first ?? []
      tables += Int(String(decoding: text, as: UTF8.self)) ?? 0
    }
    return (names.count { !ServersOwn.postgreSQL.contains($0) }, tables)
  }

  /// A killed server would leave its shared memory behind.
  deinit {
    var setting = Tools.Setting()
    setting.cleansUp = true
    let stop = words("-D") + [data] + words("-m", "immediate", "-w", "-t", "30", "stop")
    _ = try? tools.run([programs + Array("/pg_ctl".utf8)] + stop, setting)
  }
}

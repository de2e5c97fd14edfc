internal import Model
public import Posix
public import Settings

/// Makes the state of a MySQL or MariaDB server at a moment: a dump, and the binary logs after it.
///
/// The statements of the logs may name any database, so they never go to a server that has other data. A private server
/// of this machine carries them out.
public struct MySQLRecovery {
  /// The logs after a dump, in a directory.
  public struct Logs {
    var directory: Directory
    var path: [UInt8]
    /// In their order.
    var names: [BinaryLogName]
    /// The place in the first.
    var position: UInt64
    /// Everything before this second is carried out.
    var end: Int64

    public init(in directory: Directory, at path: [UInt8], names: [BinaryLogName], from position: UInt64, end: Int64) {
      (self.directory, self.path, self.names, self.position, self.end) = (directory, path, names, position, end)
    }
  }

  private let tools: Tools
  private let work: DumpDirectory

  /// `database` has the account and the time limit. `work` is a private directory of this user, for temporary files.
  public init(
    for database: DatabaseConfiguration, programs: ProgramSearch, in work: Directory, at path: [UInt8]
  ) throws(DumpFailure) {
    var database = database
    // The server refuses to run as root.
    if CurrentProcess.effectiveUser == 0, database.user == nil || database.user == "root" { database.user = "mysql" }
    tools = try Tools(of: database, programs: programs)
    self.work = DumpDirectory(work, path: path, account: tools.account, name: database.name)
  }

  /// The account that the data must belong to; `nil` for that of this process.
  public var account: Account? { tools.account }

  /// Loads a dump into new data, and carries out the logs.
  ///
  /// `data` is an empty directory of this user.
  public func build(
    _ dump: Directory, at dumpPath: [UInt8], databases: [[UInt8]], into data: Directory, at path: [UInt8], logs: Logs?
  ) throws(DumpFailure) {
    let server = try start(onNew: data, at: path)
    let parts = DumpDirectory(dump, path: dumpPath, account: tools.account, name: tools.name)
    let script = try DumpJoiner(of: parts).join(databases.map { ($0, $0) })
    try append(logs, of: databases, to: script)
    try finish(server, after: script)
  }

  /// Starts a server on the data of a physical copy, which belong to the account, and carries out the logs.
  public func rollForward(_ data: Directory, at path: [UInt8], logs: Logs?) throws(DumpFailure) {
    let options = path + Array("/backup-my.cnf".utf8)
    let server = try PrivateMySQLServer(at: .init(data: path, work: try enter(), options: options), by: tools)
    let script = try work.makeFile(Array("statements".utf8))
    try append(logs, of: nil, to: script)
    try finish(server, after: script)
  }

  /// Loads databases of a dump, carries out the logs, and makes a new dump of some of them.
  public func dump(
    _ dump: Directory, at dumpPath: [UInt8], databases: [[UInt8]], after logs: Logs, data: Directory, at path: [UInt8],
    dumping wanted: [[UInt8]], into target: Directory, at targetPath: [UInt8]
  ) throws(DumpFailure) {
    let server = try start(onNew: data, at: path)
    let parts = DumpDirectory(dump, path: dumpPath, account: tools.account, name: tools.name)
    let script = try DumpJoiner(of: parts).join(databases.map { ($0, $0) })
    try append(logs, of: databases, to: script)
    try server.run(script)
    let place = DumpDirectory(target, path: targetPath, account: tools.account, name: tools.name)
    var connection = server.connection
    connection.databases = wanted.map { String(decoding: $0, as: UTF8.self) }
    _ = try MySQLDump(of: connection, by: tools, into: place).make()
  }

  private func start(onNew data: Directory, at path: [UInt8]) throws(DumpFailure) -> PrivateMySQLServer {
    let place = DumpDirectory(data, path: path, account: tools.account, name: tools.name)
    try place.give()
    let work = try enter()
    try PrivateMySQLServer.makeData(at: path, by: tools)
    return try PrivateMySQLServer(at: .init(data: path, work: work), by: tools)
  }

  /// Lets the account of the tools make its socket in the directory.
  private func enter() throws(DumpFailure) -> DumpDirectory {
    let directory = try work.makeDirectory(for: Array("run".utf8))
    try directory.give()
    return directory
  }

  /// Removes the temporary role, and ends the server so that its files are whole.
  private func finish(_ server: PrivateMySQLServer, after script: SharedFile) throws(DumpFailure) {
    try work.attempt("write") { () throws(Errno) in
      try script.descriptor.write(PrivateMySQLServer.removal + Array("SHUTDOWN;\n".utf8))
    }
    try server.run(script)
    try server.waitForEnd()
  }

  /// Writes the statements of the logs behind a script.
  private func append(_ logs: Logs?, of databases: [[UInt8]]?, to script: SharedFile) throws(DumpFailure) {
    try work.attempt("write") { () throws(Errno) in try script.descriptor.seek(to: try script.descriptor.status().size)
    }
    guard let logs, !logs.names.isEmpty else { return }
    let program = try BinaryLogSource.program(of: tools)
    let time = String(CalendarTime(seconds: logs.end).rfc3339.prefix(19).map { $0 == "T" ? " " : $0 })
    var options = words("--no-defaults", "--start-position=\(logs.position)", "--stop-datetime=\(time)")
    // A dump of the server has its own database, and takes all that the logs have.
    if let databases, !databases.contains(ServersOwn.mysql) {
      guard databases.count == 1 else {
        throw DumpFailure(
          name: tools.name, reason: "the binary logs can be added to one database, or to all of a server",
          hint: "name one database")
      }
      options += words("--database") + databases
    }
    var setting = Tools.Setting()
    // The tools read the time in this zone.
    setting.variables = [("TZ", Array("UTC0".utf8))]
    let directory = DumpDirectory(logs.directory, path: logs.path, account: tools.account, name: tools.name)
    try directory.giveAll()
    (setting.directory, setting.output) = (logs.directory, script)
    let files = logs.names.map { Array("\(Tools.directoryPath)/".utf8) + $0.text }
    _ = try tools.run([program] + options + files, setting)
    try work.attempt("write") { () throws(Errno) in try script.descriptor.seek(to: try script.descriptor.status().size)
    }
  }
}

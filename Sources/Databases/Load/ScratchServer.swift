internal import Model
public import Posix
public import Settings

/// Loads dumps into servers that exist only for that, to show that it is possible.
///
/// No other server is touched, and a scratch server has no network.
public struct ScratchServer {
  /// A successful load.
  public struct Result: Sendable, Equatable {
    /// The program, such as `PostgreSQL 15`.
    public var server: String
    /// `nil` if they are not counted.
    public var databases: Int?
    public var tables: Int?
    public var warnings: [String] = []
  }

  private(set) var database: DatabaseConfiguration
  private let programs: ProgramSearch
  let tools: Tools
  let work: DumpDirectory

  /// `work` is a private directory of this user through which other accounts may pass.
  public init(
    for kind: DatabaseConfiguration.Kind, named name: String, programs: ProgramSearch, in work: Directory,
    at path: [UInt8]
  ) throws(DumpFailure) {
    database = DatabaseConfiguration()
    (database.name, database.kind, self.programs) = (name, kind, programs)
    // The servers refuse to run as root.
    let accounts: [DatabaseConfiguration.Kind: String] = [.postgresql: "postgres", .mysql: "mysql"]
    if CurrentProcess.effectiveUser == 0 { database.user = accounts[kind] }
    tools = try Tools(of: database, programs: programs)
    self.work = DumpDirectory(work, path: path, account: tools.account, name: name)
  }

  /// The account of the server; `nil` for that of this process.
  public var account: Account? { tools.account }

  /// Loads the databases of a dump into a new server, or checks the copy of an SQLite file.
  public func load(_ databases: [[UInt8]], of dump: Directory, at path: [UInt8]) throws(DumpFailure) -> Result {
    switch database.kind {
    case .postgresql: return try loadPostgreSQL(databases, of: dump, at: path).result
    case .mysql:
      let data = try work.makeDirectory(for: Array("data".utf8))
      try recovery().build(dump, at: path, databases: databases, into: data.directory, at: data.path, logs: nil)
      return Result(server: "MariaDB or MySQL", databases: databases.count)
    case .sqlite:
      guard let name = databases.first else { throw DumpFailure(name: database.name, reason: "the dump has no file") }
      let tables = try SQLiteDump(of: database, by: tools).tables(of: name, in: dump)
      return Result(server: "SQLite", databases: 1, tables: tables)
    case .command, .pgbackrest:
      throw DumpFailure(name: database.name, reason: "the program that loads it is not known")
    }
  }

  /// Starts a server on a copy of a server's files, which belong to the account.
  public func start(onFilesIn data: Directory, at path: [UInt8]) throws(DumpFailure) -> Result {
    guard database.kind == .postgresql else {
      try recovery().rollForward(data, at: path, logs: nil)
      return Result(server: "MariaDB or MySQL")
    }
    let server = try PrivatePostgreSQLServer(onDataAt: path, work: try enter(), by: tools)
    return try result(of: server)
  }

  func loadPostgreSQL(
    _ databases: [[UInt8]], of dump: Directory, at path: [UInt8], as address: ServerAddress? = nil
  ) throws(DumpFailure) -> (server: PrivatePostgreSQLServer, result: Result) {
    let data = try work.makeDirectory(for: Array("data".utf8))
    try data.give()
    let server = try PrivatePostgreSQLServer(onDataAt: data.path, work: try enter(), as: address, by: tools)
    let loaded = try load(databases, of: dump, at: path, into: server.connection)
    var result = try result(of: server)
    let others = loaded.versions.subtracting([server.version]).sorted()
    result.warnings = loaded.warnings + others.map { "it was dumped from PostgreSQL \($0), so this was a migration" }
    return (server, result)
  }

  /// Loads databases into a scratch server that runs.
  func load(
    _ databases: [[UInt8]], of dump: Directory, at path: [UInt8], into connection: DatabaseConfiguration
  ) throws(DumpFailure) -> LoadResult {
    let loader = try DumpLoader(into: connection, programs: programs)
    var options = LoadOptions(moment: Clock.now())
    options.makesRoles = true
    let steps = try loader.plan(databases, options: options)
    if let taken = steps.first(where: { $0.target != $0.database }) {
      throw DumpFailure(
        name: database.name, reason: "the scratch server has the database \(displayName(taken.database)) already")
    }
    return try loader.load(steps, from: dump, at: path, options: options)
  }

  func result(of server: PrivatePostgreSQLServer) throws(DumpFailure) -> Result {
    let counts = try server.counts()
    return Result(server: "PostgreSQL \(server.version)", databases: counts.databases, tables: counts.tables)
  }

  func recovery() throws(DumpFailure) -> MySQLRecovery {
    try MySQLRecovery(for: database, programs: programs, in: work.directory, at: work.path)
  }

  /// A directory in which the account of the server makes its socket.
  func enter(_ name: String = "run") throws(DumpFailure) -> DumpDirectory {
    let directory = try work.makeDirectory(for: Array(name.utf8))
    try directory.give()
    return directory
  }
}

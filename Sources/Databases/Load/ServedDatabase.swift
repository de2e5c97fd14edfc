internal import Model
public import Posix
internal import Settings

/// The address at which the programs of a drill find a server.
public struct ServerAddress: Sendable {
  /// A process in the network namespace of the programs.
  public var process: Int32
  /// The directory of the socket.
  public var directory: [UInt8]
  /// The name of MySQL's socket; PostgreSQL names its own by the port.
  public var socket: [UInt8]
  /// The port of loopback.
  public var port: Int

  public init(inNetworkOf process: Int32, directory: [UInt8], socket: [UInt8], port: Int) {
    (self.process, self.directory, self.socket, self.port) = (process, directory, socket, port)
  }
}

/// Restored data of a database, with the server that has them as long as the value lives.
public final class ServedDatabase {
  public let result: ScratchServer.Result
  /// `nil` if there is no server.
  fileprivate let connection: DatabaseConfiguration?
  private let ask: (String) throws(DumpFailure) -> [UInt8]?

  fileprivate init(
    _ result: ScratchServer.Result, at connection: DatabaseConfiguration? = nil,
    ask: @escaping (String) throws(DumpFailure) -> [UInt8]?
  ) {
    (self.result, self.connection, self.ask) = (result, connection, ask)
  }

  /// The last field of the last row that a statement returns; `nil` if there is none.
  public func answer(to statement: String) throws(DumpFailure) -> [UInt8]? { try ask(statement) }
}

extension ScratchServer {
  /// Loads a dump as `load` does, or starts a server on a copy of a server's files as `start` does. The server stays.
  ///
  /// `queried` is the database for questions; `nil` for the first one.
  public func serve(
    _ databases: [[UInt8]], isPhysical: Bool, of dump: Directory, at path: [UInt8], as address: ServerAddress,
    queried: [UInt8]?
  ) throws(DumpFailure) -> ServedDatabase {
    if let account {
      do throws(Errno) {
        let directory = try Descriptor.open(path: address.directory, [.read, .directory])
        try directory.setOwner(user: account.user, group: account.group)
      } catch { throw DumpFailure(name: database.name, reason: "cannot make the directory of the socket: \(error)") }
    }
    switch database.kind {
    case .postgresql:
      let (server, result) = try servePostgreSQL(databases, isPhysical: isPhysical, of: dump, at: path, as: address)
      return served(result, by: server, at: server.connection, queried: queried)
    case .mysql:
      let (server, result) = try serveMySQL(databases, isPhysical: isPhysical, of: dump, at: path, as: address)
      return served(result, by: server, at: server.connection, queried: queried ?? Self.first(of: databases))
    case .sqlite, .command, .pgbackrest:
      let result = try load(databases, of: dump, at: path)
      let copy = try SQLiteDump(of: database, by: tools)
      return ServedDatabase(result) { statement throws(DumpFailure) in
        let lines = try copy.answer(to: statement, of: databases.first ?? [], in: dump).split(separator: 10)
        return lines.last?.split(separator: UInt8(ascii: "|")).last.map(Array.init)
      }
    }
  }

  /// Loads a dump into the server of another one, whose address is the same.
  public func add(
    _ databases: [[UInt8]], of dump: Directory, at path: [UInt8], to other: ServedDatabase, queried: [UInt8]?
  ) throws(DumpFailure) -> ServedDatabase {
    guard let connection = other.connection
    else { throw DumpFailure(name: database.name, reason: "the other database has no server") }
    let loaded = try load(databases, of: dump, at: path, into: connection)
    let result = Result(server: other.result.server, databases: databases.count, warnings: loaded.warnings)
    return served(result, by: other, at: connection, queried: queried ?? Self.first(of: databases))
  }

  private static func first(of databases: [[UInt8]]) -> [UInt8]? {
    databases.first { $0 != ServersOwn.mysql && !ServersOwn.postgreSQL.contains($0) }
  }

  /// `server` lives as long as the result.
  private func served(
    _ result: Result, by server: AnyObject, at connection: DatabaseConfiguration, queried: [UInt8]?
  ) -> ServedDatabase {
    let (tools, isMySQL) = (tools, database.kind == .mysql)
    return ServedDatabase(result, at: connection) { statement throws(DumpFailure) in
      defer { withExtendedLifetime(server) {} }
      if isMySQL {
        let choice = queried.map { "USE \(String(decoding: quoted($0, by: "`"), as: UTF8.self)); " } ?? ""
        return try MySQLServer(of: connection, tools: tools).rows(choice + statement).last?.last
      }
      let present = try PostgreSQLServer(of: connection, tools: tools)
      var name = queried
      if name == nil { name = Self.first(of: try present.databases().map(\.name)) }
      // The tables of a user are not in the only schema that the other questions search.
      return try present.rows("RESET search_path; " + statement, fields: 1, in: name ?? present.firstDatabase).last?
        .last
    }
  }

  private func servePostgreSQL(
    _ databases: [[UInt8]], isPhysical: Bool, of dump: Directory, at path: [UInt8], as address: ServerAddress
  ) throws(DumpFailure) -> (PrivatePostgreSQLServer, Result) {
    guard isPhysical else { return try loadPostgreSQL(databases, of: dump, at: path, as: address) }
    let server = try PrivatePostgreSQLServer(onDataAt: path, work: try enter(), as: address, by: tools)
    return (server, try result(of: server))
  }

  /// A server without accounts lets every account in.
  private func serveMySQL(
    _ databases: [[UInt8]], isPhysical: Bool, of dump: Directory, at path: [UInt8], as address: ServerAddress
  ) throws(DumpFailure) -> (PrivateMySQLServer, Result) {
    var places = PrivateMySQLServer.Places(data: path, work: try enter("serve"))
    if isPhysical {
      try recovery().rollForward(dump, at: path, logs: nil)
      places.options = path + Array("/backup-my.cnf".utf8)
    } else {
      let data = try work.makeDirectory(for: Array("data".utf8))
      try recovery().build(dump, at: path, databases: databases, into: data.directory, at: data.path, logs: nil)
      places.data = data.path
    }
    let hasAccounts = isPhysical || databases.contains(ServersOwn.mysql)
    let server = try PrivateMySQLServer(at: places, as: address, hasAccounts: hasAccounts, by: tools)
    var result = Result(server: "MariaDB or MySQL", databases: isPhysical ? nil : databases.count)
    if !hasAccounts { result.warnings = ["the dump has no accounts of the server, so every account may log in"] }
    return (server, result)
  }
}

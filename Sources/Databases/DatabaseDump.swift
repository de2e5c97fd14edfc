public import Model
public import Posix
public import Settings

/// A finished dump: a tree of regular files and directories, of this process's user or the tools' account.
public struct DatabaseDump: Sendable, Equatable {
  public var name: String
  public var kind: DatabaseConfiguration.Kind
  /// The path of the tree, as given.
  public var directory: [UInt8]
  public var began, ended: Timestamp
  /// The consistent point in the server's own words: a place in its log, if known.
  public var point: String?
  /// The parts that the dump does not have, or not consistently; a sentence each.
  public var warnings: [String]
}

/// The reason that there is no dump.
public struct DumpFailure: Error, Sendable, Equatable, CustomStringConvertible {
  public var name, reason: String
  /// The last lines that the tool wrote, safe to show.
  public var lastLines: [String] = []
  public var hint: String?
  /// This process was asked to end.
  public var isInterrupted = false

  /// The tool's line that tells the error; others may explain it.
  var mainLine: String? { lastLines.first { $0.lowercased().contains("error") } ?? lastLines.last }

  /// The reason, and the tool's main line.
  public var message: String { reason + (mainLine.map { ": \($0)" } ?? "") }

  /// One line: the database, the reason, and the remedy.
  public var description: String { "the database \(name): \(message)" + (hint.map { "; \($0)" } ?? "") }
}

/// The newest dump before another one.
public struct PreviousDump: Sendable {
  public var point: [UInt8]
  public var byteCount: UInt64

  public init(point: [UInt8], byteCount: UInt64) { (self.point, self.byteCount) = (point, byteCount) }
}

/// Makes the dump of one database.
public struct Dumper {
  /// The directory of a dump with the binary logs since the dump before.
  public static let logDirectory = "binary-logs"

  private let database: DatabaseConfiguration
  private let programs: ProgramSearch

  public init(of database: DatabaseConfiguration, programs: ProgramSearch) {
    (self.database, self.programs) = (database, programs)
  }

  /// Looks for the account, the programs and the password, and asks a server for its version and the named databases;
  /// dumps nothing.
  public func check() throws(DumpFailure) {
    let tools = try Tools(of: database, programs: programs)
    switch database.kind {
    case .postgresql:
      let server = try PostgreSQLServer(of: database, tools: tools)
      let facts = try server.programs().facts
      if database.mode == .physical { try server.checkBaseBackups(isArchived: database.archive != nil, facts: facts) }
      try checkNames(among: try server.databases().map(\.name))
    case .mysql:
      let server = try MySQLServer(of: database, tools: tools)
      _ = try server.options()
      try checkNames(among: try server.databases().map(\.name))
      if database.mode == .physical { _ = try MySQLPhysicalDump.program(of: tools) }
      if database.logs || database.archive != nil {
        var source = try BinaryLogSource(of: database, by: tools)
        _ = try source.list()
        if database.databases != nil, database.mode == .logical { try server.checkRowFormat() }
      }
    case .sqlite: try SQLiteDump(of: database, by: tools).check()
    case .command: try CommandDump(of: database, by: tools).check()
    case .pgbackrest: try BackRestDump(of: database, by: tools).check()
    }
  }

  /// Fills a directory with a dump that is provably complete.
  ///
  /// The directory must be empty and this user's, and `path` is its path for messages. After a failure it holds
  /// remains. The account that runs the tools owns the files that they made.
  public func dump(
    into directory: Directory, at path: [UInt8], after previous: PreviousDump? = nil
  ) throws(DumpFailure) -> DatabaseDump {
    let began = Clock.now()
    let tools = try Tools(of: database, programs: programs)
    var target = DumpDirectory(directory, path: path, account: tools.account, name: database.name)
    target.lastBytes = previous?.byteCount
    let result: DumpResult =
      switch database.kind {
      case .postgresql where database.mode == .physical:
        try PostgreSQLBase(of: database, by: tools, into: target).make()
      case .postgresql: try PostgreSQLDump(of: database, by: tools, into: target).make()
      case .mysql: try makeMySQL(by: tools, into: target, after: previous)
      case .sqlite: try SQLiteDump(of: database, by: tools).make(into: target)
      case .command: try CommandDump(of: database, by: tools).make(into: target)
      case .pgbackrest: try BackRestDump(of: database, by: tools).make(into: target)
      }
    return DatabaseDump(
      name: database.name, kind: database.kind, directory: path, began: began, ended: Clock.now(),
      point: result.point, warnings: result.warnings)
  }
}

extension Dumper {
  private func checkNames(among present: [[UInt8]]) throws(DumpFailure) {
    for name in database.databases ?? [] where !present.contains(where: { $0.elementsEqual(name.utf8) }) {
      let known = present.prefix(20).map { displayName($0) }.joined(separator: ", ")
      throw DumpFailure(
        name: database.name, reason: "the server has no database \"\(name)\", or the role may not see it",
        hint: known.isEmpty ? nil : "it has: \(known)")
    }
  }

  private func makeMySQL(
    by tools: Tools, into target: DumpDirectory, after previous: PreviousDump?
  ) throws(DumpFailure) -> DumpResult {
    // The logs end where the dump begins, or the next dump has the rest.
    var warnings: [String] = []
    let logs = database.logs ? try MySQLLogs(of: database, by: tools, after: previous, warnings: &warnings) : nil
    var result =
      database.mode == .physical
      ? try MySQLPhysicalDump(of: database, by: tools, into: target).make()
      : try MySQLDump(of: database, by: tools, into: target).make()
    try logs?.fetch(into: target)
    result.warnings += warnings
    return result
  }
}

/// The server's point and the warnings of a finished dump.
struct DumpResult {
  var point: String?
  var warnings: [String] = []
}

public import Model
public import Posix
public import Settings

/// The wishes for a load.
public struct LoadOptions: Sendable {
  /// The name for the only database; `nil` for the dump's own name, or a new one beside it.
  public var newName: [UInt8]?
  /// Takes the place of a database that has data.
  public var replaces = false
  /// Keeps the database whose place is taken, under another name.
  public var keepsReplaced = true
  /// Makes the roles of the dump that the server lacks (PostgreSQL).
  public var makesRoles = false
  /// Gives everything to the role that loads, and sets no privileges (PostgreSQL).
  public var leavesOwners = false
  /// The moment of the dump, for names of new databases.
  public var moment: Timestamp
  /// The present, for names of databases whose place is taken.
  public var now: Timestamp

  public init(moment: Timestamp, now: Timestamp = Clock.now()) { (self.moment, self.now) = (moment, now) }
}

/// A database of the dump, and its place on the server.
public struct LoadStep: Sendable, Equatable {
  public enum State: Sendable, Equatable {
    /// The server has no database of this name.
    case new
    /// The server has it, without data.
    case empty
    /// The server has it, with data.
    case occupied(connections: Int)
  }

  /// The name in the dump.
  public var database: [UInt8]
  /// The name on the server, or the path of the file.
  public var target: [UInt8]
  public var state: State
  /// The name that the present database gets; `nil` if none is replaced.
  public var replacedName: [UInt8]?
}

/// The result of a load.
public struct LoadResult: Sendable, Equatable {
  /// The roles that were made.
  public var roles: [[UInt8]] = []
  /// The parts that could not be loaded as they were; a sentence each.
  public var warnings: [String] = []
  /// The major versions of the servers that the dumps are from, as far as they tell.
  var versions: Set<Int> = []

  public init(warnings: [String] = []) { self.warnings = warnings }
}

/// Loads a dump into a server, or to its file.
///
/// Present data are never overwritten: a load goes into a database that it makes, or that has nothing. A database that
/// a failed load made is removed again. A killed load leaves one that shows this, and the next load warns of it.
public struct DumpLoader {
  private let loader: any DumpLoading
  private let name: String

  /// `target` has the connection to the server, or the path of the SQLite database.
  public init(into target: DatabaseConfiguration, programs: ProgramSearch) throws(DumpFailure) {
    let tools = try Tools(of: target, programs: programs)
    name = target.name
    switch target.kind {
    case .postgresql: loader = try PostgreSQLLoader(into: target, by: tools)
    case .mysql: loader = try MySQLLoader(into: target, by: tools)
    case .sqlite: loader = SQLiteLoader(into: target, by: tools)
    case .pgbackrest:
      throw DumpFailure(
        name: target.name, reason: "pgBackRest restores its backups itself",
        hint: "restore its repository if it is lost, and run: pgbackrest restore")
    case .command:
      throw DumpFailure(name: target.name, reason: "the program that loads the dump of a command is not known")
    }
  }

  /// Asks the server for the place of each database. Changes nothing.
  public func plan(_ databases: [[UInt8]], options: LoadOptions) throws(DumpFailure) -> [LoadStep] {
    try loader.plan(databases, options)
  }

  /// Loads the dump in a directory of this user, whose content the load may change.
  ///
  /// The steps are those of `plan`; none is `occupied` unless it is to be replaced.
  public func load(
    _ steps: [LoadStep], from directory: Directory, at path: [UInt8], options: LoadOptions
  ) throws(DumpFailure) -> LoadResult {
    try loader.load(steps, from: directory, at: path, options)
  }

  /// The command line by which a person looks at a loaded database.
  public func command(toLookAt target: [UInt8]) -> [[UInt8]] { loader.command(toLookAt: target) }
}

/// A kind's way of loading; see `DumpLoader`.
protocol DumpLoading {
  func plan(_ databases: [[UInt8]], _ options: LoadOptions) throws(DumpFailure) -> [LoadStep]
  func load(
    _ steps: [LoadStep], from directory: Directory, at path: [UInt8], _ options: LoadOptions
  ) throws(DumpFailure) -> LoadResult
  func command(toLookAt target: [UInt8]) -> [[UInt8]]
}

extension LoadOptions {
  /// The steps for databases on a server that has `present`. `longest` is the longest name in bytes.
  func steps(for databases: [[UInt8]], among present: [[UInt8]: LoadStep.State], longest: Int) -> [LoadStep] {
    var taken = Set(present.keys)
    return databases.map { database in
      let wanted = newName ?? database
      var step = LoadStep(database: database, target: wanted, state: present[wanted] ?? .new)
      if case .occupied = step.state {
        let free = unusedName(for: wanted, at: replaces ? now : moment, among: taken, longest: longest)
        if replaces {
          step.replacedName = free
        } else if newName == nil {
          (step.target, step.state) = (free, .new)
        }
        taken.insert(free)
      }
      taken.insert(step.target)
      return step
    }
  }

  /// A name with a time, such as `shop_20261129_020000`.
  private func unusedName(
    for name: [UInt8], at moment: Timestamp, among taken: Set<[UInt8]>, longest: Int
  ) -> [UInt8] {
    let time = Self.timeText(of: moment)
    for number in 1... {
      let end = Array("_\(time)\(number == 1 ? "" : "_\(number)")".utf8)
      let found = Array(Self.prefix(of: name, count: longest - end.count)) + end
      if !taken.contains(found) { return found }
    }
    return name
  }

  private static func timeText(of moment: Timestamp) -> String {
    let digits = SnapshotName(seconds: moment.seconds).description.filter { $0 != "-" && $0 != "Z" }
    return String(digits.map { $0 == "T" ? "_" : $0 })
  }

  /// The end of the names of databases whose load has not ended.
  static let unfinished = "_unfinished"

  /// The name of a database until its load has ended. A killed load leaves it, so it has the present time.
  func temporaryName(for name: [UInt8], longest: Int) -> [UInt8] {
    let end = Array("_\(Self.timeText(of: now))\(Self.unfinished)".utf8)
    return Self.prefix(of: name, count: longest - end.count) + end
  }

  /// The warning of databases that killed loads left; `nil` if there is none.
  static func warning(ofUnfinished names: [[UInt8]]) -> String? {
    guard !names.isEmpty else { return nil }
    return "incomplete, because a load was killed or still runs: "
      + names.map { displayName($0) }.joined(separator: ", ") + "; if none runs, drop it"
  }

  /// The first bytes of a name, without a part of a character.
  private static func prefix(of name: [UInt8], count: Int) -> ArraySlice<UInt8> {
    guard name.count > count else { return name[...] }
    var end = count
    while end > 0, name[end] & 0xC0 == 0x80 { end -= 1 }
    return name[..<end]
  }
}

/// A name in quotes, each of which is doubled in it.
func quoted(_ name: [UInt8], by quote: Unicode.Scalar) -> [UInt8] {
  let quote = UInt8(ascii: quote)
  return [quote] + name.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
}

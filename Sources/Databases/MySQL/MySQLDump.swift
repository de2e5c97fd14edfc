internal import Model
internal import Posix
internal import Settings

/// The dump of a MySQL or MariaDB server: one consistent transaction of mysqldump(1), with a file for each table.
struct MySQLDump {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let target: DumpDirectory
  private let server: MySQLServer

  init(of database: DatabaseConfiguration, by tools: Tools, into target: DumpDirectory) throws(DumpFailure) {
    (self.database, self.tools, self.target) = (database, tools, target)
    server = try MySQLServer(of: database, tools: tools)
  }

  func make() throws(DumpFailure) -> DumpResult {
    var result = DumpResult()
    let chosen = try choose(from: try server.databases(), warnings: &result.warnings)
    try target.checkSpace(forBytes: chosen.reduce(0) { $0 + $1.byteCount })
    let names = chosen.map(\.name)
    var options = try server.options().map { Array($0.utf8) }
    options += database.excludeTables.map { Array("--ignore-table=\($0)".utf8) }
    if let prefix = database.tablePrefix {
      let others = try server.tables().filter { names.contains($0.database) && !$0.name.starts(with: prefix.utf8) }
      options += others.map { Self.ignore($0.name, of: $0.database) }
    }
    let grants = try server.grants()
    options += try deniedObjects(in: names, by: grants, warnings: &result.warnings)
    options += try privilegedOptions(beside: options, for: names, warnings: &result.warnings)
    result.warnings += hiddenObjects(in: names, by: grants)
    if !database.acceptsMixedMoments { result.warnings += try warnings(ofTablesIn: names) }
    result.point = try dump(names, options: options)
    return result
  }

  /// The databases to dump. One that is half loaded is left out with a warning, unless it is named.
  private func choose(
    from all: [(name: [UInt8], byteCount: UInt64)], warnings: inout [String]
  ) throws(DumpFailure) -> [(name: [UInt8], byteCount: UInt64)] {
    let unfinished = Set(try server.unfinished())
    guard let names = database.databases else {
      let left = all.map(\.name).filter(unfinished.contains)
      warnings += LoadOptions.warning(ofUnfinished: left).map { ["not in the dump: " + $0] } ?? []
      return all.filter { !unfinished.contains($0.name) }
    }
    return try names.map { name throws(DumpFailure) in
      if unfinished.contains(Array(name.utf8)) {
        throw DumpFailure(
          name: tools.name, reason: "the database \"\(name)\" is incomplete, because a load was killed or still runs",
          hint: "if none runs, drop it, and load the dump again")
      }
      guard let found = all.first(where: { $0.name.elementsEqual(name.utf8) }) else {
        throw DumpFailure(
          name: tools.name, reason: "the server has no database \"\(name)\", or the role may not see it")
      }
      return found
    }
  }

  // MARK: Rights

  /// The options that the role has the rights for: a dump without any table shows whether it has all.
  private func privilegedOptions(
    beside options: [[UInt8]], for names: [[UInt8]], warnings: inout [String]
  ) throws(DumpFailure) -> [[UInt8]] {
    let all = try server.privilegedOptions()
    if try canDumpNothing(names, options: options + all.map { Array($0.option.utf8) }) == nil {
      return all.map { Array($0.option.utf8) }
    }
    if let failure = try canDumpNothing(names, options: options) { throw server.explained(failure) }
    var allowed: [[UInt8]] = []
    for privilege in all {
      let option = Array(privilege.option.utf8)
      if let failure = try canDumpNothing(names, options: options + [option]) {
        if privilege.lack == MySQLServer.logPlace, database.isWithoutLogPlace { continue }
        warnings.append("the dump has no \(privilege.lack): \(failure.mainLine ?? failure.reason)")
      } else {
        allowed.append(option)
      }
    }
    return allowed
  }

  /// The failure of a dump with these options and without tables, or `nil`. Throws if the run is interrupted.
  private func canDumpNothing(_ names: [[UInt8]], options: [[UInt8]]) throws(DumpFailure) -> DumpFailure? {
    let nothing = words("--no-data", "--no-create-info", "--skip-triggers")
    do {
      _ = try tools.run(command(names, options: options + nothing), server.setting()) { _ in }
      return nil
    } catch {
      if error.isInterrupted { throw error }
      return error
    }
  }

  private func command(_ names: [[UInt8]], options: [[UInt8]]) -> [[UInt8]] {
    server.command(server.dumpProgram) + options + words("--databases", "--") + names
  }

  /// Warnings of objects that the server would hide from the role.
  private func hiddenObjects(in names: [[UInt8]], by grants: MySQLGrants) -> [String] {
    let lacks = [
      ("triggers", grants.withoutTriggers(names), "GRANT TRIGGER on them to the role"),
      (
        "routines", grants.withoutRoutines(names),
        "GRANT EXECUTE on them to the role, or SHOW_ROUTINE (MySQL), or SELECT on mysql.proc (MariaDB)"
      ),
    ]
    return lacks.filter { !$0.1.isEmpty }.map { kind, databases, remedy in
      "the dump may lack \(kind) that the role may not see, of: " + Self.text(of: databases.map { displayName($0) })
        + "; \(remedy)"
    }
  }

  /// The options that leave out the tables and views that the role sees and may not dump. One alone would cost the whole
  /// dump.
  private func deniedObjects(
    in names: [[UInt8]], by grants: MySQLGrants, warnings: inout [String]
  ) throws(DumpFailure) -> [[UInt8]] {
    let doubtful = grants.withoutReading(names)
    guard !doubtful.isEmpty else { return [] }
    let excluded = Set(database.excludeTables.map { Array($0.utf8) })
    var (options, denied): ([[UInt8]], [String]) = ([], [])
    for table in try server.tables() where doubtful.contains(table.database) {
      let isLeftOut = excluded.contains(table.database + [UInt8(ascii: ".")] + table.name)
      guard !isLeftOut, table.name.starts(with: (database.tablePrefix ?? "").utf8) else { continue }
      guard try server.denies(table.name, of: table.database, isView: table.isView) else { continue }
      options.append(Self.ignore(table.name, of: table.database))
      denied.append("\(displayName(table.database)).\(displayName(table.name))")
    }
    if !denied.isEmpty {
      warnings.append(
        "the dump does not have tables and views that the role may not read: " + Self.text(of: denied)
          + "; GRANT SELECT, SHOW VIEW on them to the role")
    }
    return options
  }

  private static func ignore(_ name: [UInt8], of database: [UInt8]) -> [UInt8] {
    Array("--ignore-table=".utf8) + database + [UInt8(ascii: ".")] + name
  }

  /// The first of some names, and the number of the others.
  private static func text(of names: [String]) -> String {
    names.prefix(namedTables).joined(separator: ", ")
      + (names.count > namedTables ? ", and \(names.count - namedTables) more" : "")
  }

  // MARK: Tables

  /// The most tables that a warning names.
  private static let namedTables = 20

  private func warnings(ofTablesIn names: [[UInt8]]) throws(DumpFailure) -> [String] {
    let excluded = Set(database.excludeTables.map { Array($0.utf8) })
    let tables = try server.tablesWithoutTransactions().filter { table in
      names.contains(table.database) && !excluded.contains(table.database + [UInt8(ascii: ".")] + table.name)
        && table.name.starts(with: (database.tablePrefix ?? "").utf8)
    }
    guard !tables.isEmpty else { return [] }
    let shown = tables.map { "\(displayName($0.database)).\(displayName($0.name)) (\(displayName($0.engine)))" }
    return [
      "tables whose engine has no transactions may be of another moment than the rest: " + Self.text(of: shown)
        + "; convert them to InnoDB, or accept that with mixed_moments = \"accept\""
    ]
  }

  /// Makes the dump; returns the place in the binary log.
  private func dump(_ names: [[UInt8]], options: [[UInt8]]) throws(DumpFailure) -> String? {
    let writer = DumpWriter(to: target)
    var failure: DumpFailure?
    do {
      _ = try tools.run(command(names, options: options), server.setting()) { bytes throws(Errno) in
        do throws(DumpFailure) { try writer.pass(bytes) } catch {
          failure = error
          throw .inputOutput
        }
      }
      try writer.finish()
    } catch { throw failure ?? server.explained(error) }
    guard writer.isComplete
    else { throw DumpFailure(name: tools.name, reason: "the dump lacks its end marker, \"-- Dump completed\"") }
    return Self.place(in: writer.begin)
  }

  /// The file and the position that a commented statement such as `CHANGE MASTER TO MASTER_LOG_FILE='bin.000001',
  /// MASTER_LOG_POS=1641;` has.
  static func place(in text: [UInt8]) -> String? {
    let lines = text.split(separator: 10).map { String(decoding: $0, as: UTF8.self) }
    guard let line = lines.first(where: { $0.hasPrefix("-- CHANGE ") && $0.contains("_LOG_FILE='") })
    else { return nil }
    let parts = line.split(separator: "'", omittingEmptySubsequences: false)
    guard parts.count >= 3, let position = parts[2].split(separator: "=").last else { return nil }
    return "binary log \(displayName(parts[1].utf8)), position \(position.filter(\.isNumber))"
  }
}

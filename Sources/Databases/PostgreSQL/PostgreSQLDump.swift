internal import Catalog
internal import Model
internal import Posix
internal import Settings

/// The dump of a PostgreSQL server: a directory of pg_dump(1) for each database, and the globals.
///
/// Each table is a file, uncompressed, with its rows in the order of the server. So an unchanged table has an
/// unchanged file. Of the other files, only `toc.dat` differs, because it has the time of the dump.
struct PostgreSQLDump {
  private let database: DatabaseConfiguration
  private let tools: Tools
  private let target: DumpDirectory
  private let server: PostgreSQLServer
  static let globals = "globals.sql"
  /// About the size of a database without any object.
  private static let newDatabaseBytes: UInt64 = 7 << 20
  /// The names of files beside the directories of the databases.
  static let reserved: Set = [globals]

  init(of database: DatabaseConfiguration, by tools: Tools, into target: DumpDirectory) throws(DumpFailure) {
    (self.database, self.tools, self.target) = (database, tools, target)
    server = try PostgreSQLServer(of: database, tools: tools)
  }

  func make() throws(DumpFailure) -> DumpResult {
    let (facts, programs) = try server.programs()
    var result = DumpResult(point: facts.logPlace.map { "LSN \($0)" })
    let chosen = try choose(from: try server.databases(), warnings: &result.warnings)
    // A database begins with a copy of the system's tables, which no dump has.
    try target.checkSpace(forBytes: chosen.reduce(0) { $0 + ($1.byteCount - min($1.byteCount, Self.newDatabaseBytes)) })
    try dumpGlobals(by: programs, withPasswords: facts.mayReadPasswords)
    for found in chosen {
      guard let lacks = try lacks(of: found.name, isNamed: database.databases != nil, warnings: &result.warnings)
      else { continue }
      try dump(found.name, without: lacks, by: programs, warnings: &result.warnings)
    }
    return result
  }

  /// The databases to dump. Databases that the role may not use, and those of
  /// loads that have not ended, are left out with a warning, unless they are named.
  private func choose(
    from all: [PostgreSQLServer.Found], warnings: inout [String]
  ) throws(DumpFailure) -> [PostgreSQLServer.Found] {
    guard let names = database.databases else {
      let unfinished = try server.unfinished(orRun: true)
      warnings += LoadOptions.warning(ofUnfinished: unfinished).map { ["not in the dump: " + $0] } ?? []
      let whole = all.filter { !unfinished.contains($0.name) }
      for found in whole where !found.mayConnect { warnings.append(noConnection(to: found.name)) }
      return whole.filter(\.mayConnect)
    }
    return try names.map { name throws(DumpFailure) in
      guard let found = all.first(where: { $0.name.elementsEqual(name.utf8) }) else {
        throw DumpFailure(name: tools.name, reason: "the server has no database \"\(name)\"", hint: "see: psql --list")
      }
      return found
    }
  }

  private func noConnection(to name: [UInt8]) -> String {
    "the database \(displayName(name)) is not in the dump, because the role may not connect to it"
  }

  /// The parts of a database that the role may not read; `nil` if it cannot connect by the server's rules.
  private func lacks(
    of name: [UInt8], isNamed: Bool, warnings: inout [String]
  ) throws(DumpFailure) -> PostgreSQLLacks? {
    do { return try PostgreSQLLacks(of: name, on: server) } catch {
      // The rules of pg_hba.conf are visible only by trying.
      guard !isNamed, error.lastLines.contains(where: { $0.contains("pg_hba.conf") }) else { throw error }
      warnings.append(noConnection(to: name))
      return nil
    }
  }

  // MARK: Globals

  /// Dumps roles and tablespaces.
  private func dumpGlobals(by programs: PostgreSQLPrograms, withPasswords: Bool) throws(DumpFailure) {
    var command = [programs.dumpAll] + words("--globals-only", "--no-password")
    if !withPasswords { command += words("--no-role-passwords") }
    command += [Array("--database=".utf8) + server.connectionString(for: server.firstDatabase)]
    let name = Array(Self.globals.utf8)
    do {
      _ = try tools.run(command, server.setting(for: server.firstDatabase, output: try target.makeFile(name)))
    } catch {
      throw server.explained(error)
    }
    let isComplete = try target.attempt("write", at: target.path + [slash] + name) { () throws(Errno) in
      let file = try target.directory.descriptor.open(name.span, .readWrite)
      let text = try file.readToEnd(limit: Self.longestGlobals)
      try file.write(Self.withLastingKey(text), at: 0)
      return firstIndex(of: Array(Self.endMarker.utf8), in: Array(text.suffix(256))) != nil
    }
    guard isComplete else {
      throw DumpFailure(name: tools.name, reason: "the dump of roles lacks its end marker, \"\(Self.endMarker)\"")
    }
  }

  private static let longestGlobals = 256 << 20
  /// Only a command `\unrestrict` with its key follows.
  private static let endMarker = "-- PostgreSQL database cluster dump complete"

  /// The text with a key that depends on its content alone.
  ///
  /// The commands `\restrict` and `\unrestrict` of psql enclose a dump with a key that no content can know, and
  /// pg_dumpall draws one at random. A digest of the rest is as unknown to the content, and as long as the content
  /// stays, so does the file. A text of another form is returned unchanged.
  static func withLastingKey(_ text: [UInt8]) -> [UInt8] {
    let begin = Array("\n\\restrict ".utf8)
    guard let start = firstIndex(of: begin, in: text) else { return text }
    let key = text[(start + begin.count)...].prefix { $0 != 10 }
    let end = Array("\n\\unrestrict ".utf8) + key + [10]
    guard let other = firstIndex(of: end, in: text), (32...64).contains(key.count), other > start else { return text }
    let last = other + end.count - 1 - key.count
    let rest = text[..<key.startIndex] + text[key.endIndex..<last] + text[(last + key.count)...]
    // The new key has the same length, so the file keeps its own.
    let lasting = String(describing: SHA256().digest(of: Array(rest))).utf8.prefix(key.count)
    var result = text
    result.replaceSubrange(key.startIndex..<key.endIndex, with: lasting)
    result.replaceSubrange(last..<last + key.count, with: lasting)
    return result
  }

  // MARK: One database

  private func dump(
    _ name: [UInt8], without lacks: PostgreSQLLacks, by programs: PostgreSQLPrograms, warnings: inout [String]
  ) throws(DumpFailure) {
    let directory = try target.makeDirectory(for: name, reserved: Self.reserved)
    try directory.give()
    var command =
      [programs.dump]
      + words(
        "--format=directory", "--compress=0", "--no-sync", "--file=\(Tools.directoryPath)", "--no-password",
        "--jobs=\(database.jobs)")
    command += database.schemas.map { Array("--schema=\($0)".utf8) }
    command += database.excludeTables.map { Array("--exclude-table=\($0)".utf8) }
    command += lacks.options
    let setting = server.setting(for: name, directory: directory.directory)
    do {
      let result = try tools.run(command, setting)
      let remarks = result.errors.filter { $0.starts(with: "pg_dump: warning:".utf8) }
      warnings += remarks.map { "\(displayName(name)): \(displayName($0))" }
      let list = try tools.run([programs.restore] + words("--list", Tools.directoryPath), setting)
      try PostgreSQLContents(list: list.output).check(in: directory, name: tools.name)
    } catch { throw server.explained(error) }
    warnings += lacks.warnings
  }
}

/// The first place of some bytes in a text.
func firstIndex(of part: [UInt8], in text: [UInt8]) -> Int? {
  text.indices.first { text[$0] == part[0] && text[$0...].starts(with: part) }
}

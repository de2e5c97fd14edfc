internal import Model
internal import Posix
internal import Settings

/// Loads the databases of a PostgreSQL dump, by pg_restore(1).
struct PostgreSQLLoader: DumpLoading {
  private let target: DatabaseConfiguration
  private let tools: Tools
  private let server: PostgreSQLServer
  private let programs: PostgreSQLPrograms
  private static let longestName = 63

  init(into target: DatabaseConfiguration, by tools: Tools) throws(DumpFailure) {
    (self.target, self.tools) = (target, tools)
    (server, programs) = try Self.connect(to: target, by: tools)
  }

  /// The configured database may be the one that is lost, so the server's own are tried first.
  private static func connect(
    to target: DatabaseConfiguration, by tools: Tools
  ) throws(DumpFailure) -> (PostgreSQLServer, PostgreSQLPrograms) {
    var first: DumpFailure?
    for name in ["postgres", target.initialDatabase, "template1"].compactMap(\.self) {
      var target = target
      (target.initialDatabase, target.databases) = (name, nil)
      let server = try PostgreSQLServer(of: target, tools: tools)
      do throws(DumpFailure) { return (server, try server.programs().programs) } catch {
        let text = error.lastLines.joined()
        let isRefused = ["does not exist", "pg_hba.conf", "permission denied for database"].contains(
          where: text.contains)
        guard isRefused, !error.isInterrupted else { throw error }
        first = first ?? error
      }
    }
    throw first!
  }

  func command(toLookAt name: [UInt8]) -> [[UInt8]] {
    var command = tools.account?.runWords ?? []
    command += words("psql")
    if let host = target.socket ?? target.host { command += words("-h", host) }
    if let port = target.port { command += words("-p", "\(port)") }
    if let role = target.role { command += words("-U", role) }
    return command + words("-d") + [name]
  }

  // MARK: Plan

  /// The number of objects that a user made, without those of extensions.
  private static let objects = """
    SELECT count(*) FROM (SELECT oid, 'pg_class'::regclass AS class, relnamespace AS schema FROM pg_class
      UNION ALL SELECT oid, 'pg_proc'::regclass, pronamespace FROM pg_proc
      UNION ALL SELECT oid, 'pg_type'::regclass, typnamespace FROM pg_type) o JOIN pg_namespace n ON n.oid = o.schema
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
    """

  func plan(_ databases: [[UInt8]], _ options: LoadOptions) throws(DumpFailure) -> [LoadStep] {
    let query =
      "SELECT d.datname, d.datallowconn, count(a.pid) FROM pg_database d LEFT JOIN pg_stat_activity a "
      + "ON a.datid = d.oid AND a.pid <> pg_backend_pid() AND a.backend_type = 'client backend' GROUP BY 1, 2"
    var present: [[UInt8]: LoadStep.State] = [:]
    for row in try server.rows(query, fields: 3, in: server.firstDatabase).map(Array.init) {
      let connections = Int(String(decoding: row[2], as: UTF8.self)) ?? 0
      present[row[0]] = .occupied(connections: connections)
      let isWanted = row[0] == options.newName || options.newName == nil && databases.contains(row[0])
      guard isWanted, row[1] == [UInt8(ascii: "t")] else { continue }
      // A database that the role may not use is not empty.
      let count = try? server.rows(Self.objects, fields: 1, in: row[0]).first?.first
      if count == [UInt8(ascii: "0")] { present[row[0]] = .empty }
    }
    return options.steps(for: databases, among: present, longest: Self.longestName)
  }

  // MARK: Load

  func load(
    _ steps: [LoadStep], from directory: Directory, at path: [UInt8], _ options: LoadOptions
  ) throws(DumpFailure) -> LoadResult {
    var result = LoadResult()
    let dump = DumpDirectory(directory, path: path, account: tools.account, name: tools.name)
    if options.makesRoles { try makeRoles(of: dump, into: &result) }
    for step in steps { try load(step, from: dump, options, into: &result) }
    if let warning = LoadOptions.warning(ofUnfinished: try server.unfinished()) { result.warnings.append(warning) }
    return result
  }

  private func load(
    _ step: LoadStep, from dump: DumpDirectory, _ options: LoadOptions, into result: inout LoadResult
  ) throws(DumpFailure) {
    let part = try dump.openDirectory(of: step.database, reserved: PostgreSQLDump.reserved)
    try part.giveAll()
    let creation = try creation(of: part)
    if let version = creation.version { result.versions.insert(version) }
    // It gets its name when it is whole. The load of an empty database is one transaction.
    let name =
      step.state == .empty ? step.target : options.temporaryName(for: step.target, longest: Self.longestName)
    if step.state != .empty { try run(creation.statement(for: name)) }
    do {
      let lacks = try restore(part, into: name, inOneTransaction: step.state == .empty, options)
      result.warnings += lacks.map { "\(displayName(step.target)): \($0)" }
      if !options.leavesOwners {
        for statement in creation.others {
          do throws(DumpFailure) { try run(statement(name)) } catch {
            result.warnings.append("\(displayName(step.target)): \(error.message)")
          }
        }
      }
      if let kept = step.replacedName {
        try exchange(name, with: step.target, keptAs: kept)
      } else if step.state != .empty {
        try run(Self.renaming(name, to: step.target))
      }
    } catch {
      var failure = error
      if step.state != .empty {
        do throws(DumpFailure) {
          try run(Array("DROP DATABASE ".utf8) + quoted(name, by: "\""), cleansUp: true)
        } catch let other {
          failure.reason += "; and the new database \(displayName(name)) cannot be removed: \(other.message)"
        }
      }
      throw failure
    }
    guard let kept = step.replacedName, !options.keepsReplaced else { return }
    do throws(DumpFailure) { try run(Array("DROP DATABASE ".utf8) + quoted(kept, by: "\"")) } catch {
      result.warnings.append("the replaced database \(displayName(kept)) cannot be removed: \(error.message)")
    }
  }

  /// Loads everything, and returns a sentence for each foreign key to a table that the dump does not have.
  private func restore(
    _ part: DumpDirectory, into name: [UInt8], inOneTransaction: Bool, _ options: LoadOptions
  ) throws(DumpFailure) -> [String] {
    var setting = server.setting(for: server.firstDatabase, directory: part.directory)
    let list = try tools.run([programs.restore] + words("--list", "--verbose", Tools.directoryPath), setting).output
    let order = PostgreSQLLoadOrder(list: list)
    var command = [programs.restore] + words("--exit-on-error", "--no-password", "--use-list=/dev/fd/0")
    command += inOneTransaction ? words("--single-transaction") : words("--jobs=\(target.jobs)")
    if options.leavesOwners { command += words("--no-owner", "--no-privileges") }
    command += [Array("--dbname=".utf8) + server.connectionString(for: name)] + words(Tools.directoryPath)
    do {
      setting.input = try Password.secretFile(order.text, of: target, for: tools.account)
      _ = try tools.run(command, setting)
    } catch {
      var failure = server.explained(error)
      let text = failure.lastLines.joined(separator: "\n")
      if text.contains("role \"") && text.contains("does not exist") {
        failure.hint = "--globals makes the roles that the server lacks; --no-owners does without them"
      } else if text.contains("unsupported version") {
        failure.hint = "a newer pg_dump made this dump: load it into a server of that version, or a newer one"
      }
      throw failure
    }
    return order.lacks.map { "without the foreign key \(displayName($0)), whose other table is not in the dump" }
  }

  /// Gives the new database the name, and the present one another.
  private func exchange(_ new: [UInt8], with present: [UInt8], keptAs kept: [UInt8]) throws(DumpFailure) {
    // Several statements of one call are one transaction.
    do throws(DumpFailure) {
      try run(Self.renaming(present, to: kept) + Array("; ".utf8) + Self.renaming(new, to: present))
    } catch {
      var failure = error
      if failure.lastLines.contains(where: { $0.contains("being accessed") }) {
        failure.hint = "stop the programs that use it; nothing was replaced"
      }
      throw failure
    }
  }

  private static func renaming(_ name: [UInt8], to newName: [UInt8]) -> [UInt8] {
    Array("ALTER DATABASE ".utf8) + quoted(name, by: "\"") + Array(" RENAME TO ".utf8) + quoted(newName, by: "\"")
  }

  private func run(_ statement: [UInt8], cleansUp: Bool = false) throws(DumpFailure) {
    _ = try server.rows(statement, fields: 1, in: server.firstDatabase, cleansUp: cleansUp)
  }

  // MARK: The database itself

  /// The statements that make a database; each is a function of its name.
  private struct Creation {
    /// The options of `CREATE DATABASE`.
    var options = Array(" TEMPLATE template0".utf8)
    /// Owner, settings, privileges and comment.
    var others: [([UInt8]) -> [UInt8]] = []
    /// The major version of the server of the dump.
    var version: Int?

    func statement(for name: [UInt8]) -> [UInt8] {
      Array("CREATE DATABASE ".utf8) + quoted(name, by: "\"") + options
    }
  }

  /// The statements of the dump. pg_restore(1) itself can use them only with the name of the dump.
  private func creation(of part: DumpDirectory) throws(DumpFailure) -> Creation {
    let setting = server.setting(for: server.firstDatabase, directory: part.directory)
    let list = try tools.run([programs.restore] + words("--list", "--create", Tools.directoryPath), setting).output
    let kinds = ["DATABASE - ", "DATABASE PROPERTIES - ", "ACL - DATABASE ", "COMMENT - DATABASE "]
    let lines = list.split(separator: 10).filter { line in
      let parts = line.split(separator: 32, maxSplits: 3, omittingEmptySubsequences: false)
      return line.first != UInt8(ascii: ";") && parts.count == 4 && kinds.contains { parts[3].starts(with: $0.utf8) }
    }
    var result = Creation(version: Self.version(inList: list))
    guard !lines.isEmpty else { return result }
    var reading = setting
    reading.input = try Password.secretFile(Array(lines.joined(separator: [10])) + [10], of: target, for: tools.account)
    let command = words("--create", "--schema-only", "--use-list=/dev/fd/0", "--file=-", Tools.directoryPath)
    let text = try tools.run([programs.restore] + command, reading).output
    for statement in SQLStatements(text).texts {
      if let (_, rest) = SQLStatements.name(in: statement, after: "CREATE DATABASE ") {
        result.options = Array(rest)
      } else {
        let grant = firstIndex(of: Array(" ON DATABASE ".utf8), in: statement).map { statement[..<($0 + 13)] }
        let beginnings =
          ["ALTER DATABASE ", "COMMENT ON DATABASE "].map { Array($0.utf8)[...] } + (grant.map { [$0] } ?? [])
        for beginning in beginnings {
          let words = String(decoding: beginning, as: UTF8.self)
          guard let (_, rest) = SQLStatements.name(in: statement, after: words) else { continue }
          result.others.append { Array(beginning) + quoted($0, by: "\"") + rest }
          break
        }
      }
    }
    return result
  }

  /// The major version of the server that a list of pg_restore(1) names.
  static func version(inList list: [UInt8]) -> Int? {
    let words = Array("Dumped from database version: ".utf8)
    guard let start = firstIndex(of: words, in: list) else { return nil }
    return Int(String(decoding: list[(start + words.count)...].prefix(while: isDigit), as: UTF8.self))
  }

  // MARK: Roles

  /// Makes the roles that the server lacks. Roles that it has stay as they are, and so do their passwords.
  private func makeRoles(of dump: DumpDirectory, into result: inout LoadResult) throws(DumpFailure) {
    let name = Array(PostgreSQLDump.globals.utf8)
    let text = try dump.attempt("read", at: dump.path + [slash] + name) { () throws(Errno) in
      try dump.directory.descriptor.openToRead(name.span).readToEnd(limit: 256 << 20)
    }
    let present = Set(
      try server.rows("SELECT rolname FROM pg_roles", fields: 1, in: server.firstDatabase).compactMap(\.first))
    let roles = MissingRoles(in: text, beside: present)
    guard !roles.names.isEmpty else { return }
    var setting = server.setting(for: server.firstDatabase)
    // Passwords are in the statements, so they are no arguments.
    let script = roles.statements.flatMap { $0 + Array(";\n".utf8) }
    setting.input = try Password.secretFile(script, of: target, for: tools.account)
    do {
      _ = try tools.run(
        [programs.query]
          + words(
            "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--single-transaction", "--file=-"),
        setting)
    } catch { throw server.explained(error) }
    result.roles = roles.names
  }
}

/// The statements of pg_dumpall(1) that make the roles a server lacks.
struct MissingRoles {
  private(set) var names: [[UInt8]] = []
  private(set) var statements: [[UInt8]] = []

  init(in globals: [UInt8], beside present: Set<[UInt8]>) {
    let all = SQLStatements(globals).texts
    names = all.compactMap { SQLStatements.name(in: $0, after: "CREATE ROLE ")?.name }.filter { !present.contains($0) }
    let missing = Set(names)
    for statement in all {
      let found = ["CREATE ROLE ", "ALTER ROLE ", "COMMENT ON ROLE "].lazy
        .compactMap { SQLStatements.name(in: statement, after: $0)?.name }.first
      if let found, missing.contains(found) { statements.append(statement) }
      // The member of `GRANT group TO member`.
      guard let (_, rest) = SQLStatements.name(in: statement, after: "GRANT "),
        let (member, end) = SQLStatements.name(in: Array(rest), after: " TO "), missing.contains(member)
      else { continue }
      // The server may lack the role that granted it.
      let grantor = firstIndex(of: Array(" GRANTED BY ".utf8), in: Array(end)) ?? end.count
      statements.append(statement.dropLast(end.count - grantor))
    }
  }
}

internal import Model
internal import Posix
internal import Settings

/// A PostgreSQL server, as the configured role sees it.
struct PostgreSQLServer {
  private let database: DatabaseConfiguration
  let tools: Tools
  private let psql: [UInt8]
  private let secret: SharedFile?

  /// The first field of each row has a constant number of fields after it.
  typealias Row = ArraySlice<[UInt8]>

  init(of database: DatabaseConfiguration, tools: Tools) throws(DumpFailure) {
    (self.database, self.tools) = (database, tools)
    psql = try PostgreSQLPrograms.anyQueryProgram(of: tools)
    let password = try Password.read(of: database)
    // One line of the file, see "The Password File" in PostgreSQL's manual: for any host, port, database and role.
    secret = try password.map { password throws(DumpFailure) in
      let escaped = password.flatMap { [UInt8(ascii: "\\"), UInt8(ascii: ":")].contains($0) ? [92, $0] : [$0] }
      return try Password.secretFile(Array("*:*:*:*:".utf8) + escaped + [10], of: database, for: tools.account)
    }
  }

  /// The database for questions about the whole server.
  var firstDatabase: [UInt8] { Array((database.initialDatabase ?? database.databases?.first ?? "postgres").utf8) }

  /// The variables that connect a program to a database, without its password. A name in a variable is no connection
  /// string, which a name on the command line could be.
  func setting(for name: [UInt8], directory: Directory? = nil, output: SharedFile? = nil) -> Tools.Setting {
    var variables: [(name: String, value: [UInt8])] = [("PGDATABASE", name), ("PGCONNECT_TIMEOUT", Array("30".utf8))]
    func add(_ name: String, _ value: String?) { if let value { variables.append((name, Array(value.utf8))) } }
    add("PGHOST", database.socket ?? database.host)
    add("PGPORT", database.port.map(String.init))
    add("PGUSER", database.role)
    if let tls = database.effectiveTLS {
      add("PGSSLMODE", tls == .off ? "disable" : tls.rawValue)
      add("PGSSLROOTCERT", database.caFile ?? Self.systemAuthorities)
    }
    if secret != nil { add("PGPASSFILE", Password.secretPath) }
    return Tools.Setting(variables: variables, directory: directory, secret: secret, output: output)
  }

  /// The database for a program that takes a connection string only.
  func connectionString(for name: [UInt8]) -> [UInt8] {
    let escaped = name.flatMap { [UInt8(ascii: "\\"), UInt8(ascii: "'")].contains($0) ? [92, $0] : [$0] }
    return Array("dbname='".utf8) + escaped + [UInt8(ascii: "'")]
  }

  /// The authorities of the system; libpq would look only into the account's home directory.
  private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

  /// The rows of a query in a database. Nothing that a user put into the database can replace a function of the
  /// query: they are looked up in `pg_catalog` alone.
  func rows(_ query: String, fields: Int, in name: [UInt8]) throws(DumpFailure) -> [Row] {
    try rows(Array(query.utf8), fields: fields, in: name)
  }

  /// The rows of a query that has names of any bytes.
  func rows(_ query: [UInt8], fields: Int, in name: [UInt8], cleansUp: Bool = false) throws(DumpFailure) -> [Row] {
    let command = words(
      "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--field-separator-zero", "--record-separator-zero",
      "--no-password", "--set=ON_ERROR_STOP=1", "--command=SET search_path = pg_catalog")
    let output: [UInt8]
    var setting = setting(for: name)
    setting.cleansUp = cleansUp
    do {
      output = try tools.run([psql] + command + [Array("--command=".utf8) + query], setting).output
    } catch { throw explained(error) }
    let all = output.split(separator: 0, omittingEmptySubsequences: false).dropLast().map(Array.init)
    return stride(from: 0, to: all.count - all.count % fields, by: fields).map { all[$0..<$0 + fields] }
  }

  /// The databases of loads that have not ended: of those that were killed, and `orRun` of those that run, too.
  func unfinished(orRun: Bool = false) throws(DumpFailure) -> [[UInt8]] {
    let query =
      "SELECT datname FROM pg_database d WHERE datname ~ '_[0-9]{8}_[0-9]{6}\(LoadOptions.unfinished)$' "
      + (orRun ? "" : "AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid) ") + "ORDER BY 1"
    return try rows(query, fields: 1, in: firstDatabase).compactMap(\.first)
  }

  /// A failure with a remedy for the most common reasons.
  func explained(_ failure: DumpFailure) -> DumpFailure {
    var failure = failure
    let text = failure.lastLines.joined(separator: "\n")
    let hints = [
      ("Peer authentication failed", "name the account that the server expects as \"user\", such as \"postgres\""),
      ("password authentication failed", "correct the password in the file that \"password_file\" names"),
      ("no password supplied", "put the password into a file with mode 0600 and name it as \"password_file\""),
      ("certificate has expired", "renew the server's certificate"),
      ("certificate", "name the file of the server's authority as \"ca_file\", and the host as in its certificate"),
      ("does not support SSL", "the server must offer TLS; tls = \"off\" sends everything unprotected"),
      (
        "permission denied to create database",
        "let the role make databases (CREATEDB), or name an empty one of its own"
      ),
      ("permission denied", "let the role read everything: GRANT pg_read_all_data TO the role"),
      ("database \"", "correct the name; the server's databases: psql --list"),
      ("connection to server", "see whether the server runs, and check where \"host\", \"port\" or \"socket\" lead"),
    ]
    failure.hint = failure.hint ?? hints.first { text.contains($0.0) }?.1
    return failure
  }

  /// The facts that choose the programs and their options.
  struct Facts {
    var majorVersion: Int
    var mayReadPasswords: Bool
    /// The place in the write-ahead log, as an LSN; the dumps have everything that was committed before it.
    var logPlace: String?
  }

  func facts() throws(DumpFailure) -> Facts {
    let query = "SELECT current_setting('server_version_num'), has_table_privilege('pg_authid', 'SELECT')"
    let row = try rows(query, fields: 2, in: firstDatabase).first ?? []
    guard let first = row.first, let version = Int(String(decoding: first, as: UTF8.self))
    else { throw DumpFailure(name: tools.name, reason: "the server does not tell its version") }
    let place = "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
    // Servers that only speak the protocol have no such log.
    let found = try? rows("SELECT \(place)", fields: 1, in: firstDatabase).first?.first
    return Facts(
      majorVersion: version / 10000, mayReadPasswords: row.last == [UInt8(ascii: "t")],
      logPlace: found.map { String(decoding: $0, as: UTF8.self) })
  }

  /// The facts, and the programs for this version.
  func programs() throws(DumpFailure) -> (facts: Facts, programs: PostgreSQLPrograms) {
    let facts = try facts()
    return (facts, try PostgreSQLPrograms(forServer: facts.majorVersion, tools: tools))
  }

  /// A database of the server.
  struct Found {
    var name: [UInt8]
    var mayConnect: Bool
    var byteCount: UInt64
  }

  /// All databases that accept connections, as pg_dumpall(1) chooses them.
  func databases() throws(DumpFailure) -> [Found] {
    let may = "has_database_privilege(oid, 'CONNECT')"
    let query =
      "SELECT datname, \(may), CASE WHEN \(may) THEN pg_database_size(oid) ELSE 0 END FROM pg_database "
      + "WHERE datallowconn ORDER BY datname"
    return try rows(query, fields: 3, in: firstDatabase).map { row in
      let fields = Array(row)
      return Found(
        name: fields[0], mayConnect: fields[1] == [UInt8(ascii: "t")],
        byteCount: UInt64(String(decoding: fields[2], as: UTF8.self)) ?? 0)
    }
  }
}

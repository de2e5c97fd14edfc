internal import Model
internal import Posix
internal import Settings

/// A MySQL or MariaDB server, as the configured role sees it.
struct MySQLServer {
  private let database: DatabaseConfiguration
  private let tools: Tools
  let client, dumpProgram: [UInt8]
  /// The options that the dump program knows.
  private let help: String
  /// The only option file that the programs read: options of another could leave rows out.
  private let secret: SharedFile

  init(of database: DatabaseConfiguration, tools: Tools) throws(DumpFailure) {
    (self.database, self.tools) = (database, tools)
    client = try tools.find("mariadb", "mysql", package: "mariadb-client")
    dumpProgram = try tools.find("mariadb-dump", "mysqldump", package: "mariadb-client")
    help = String(decoding: try tools.run([dumpProgram] + words("--no-defaults", "--help")).output, as: UTF8.self)
    var lines = ["[client]"]
    func add(_ key: String, _ value: String?) {
      guard let value else { return }
      let escaped = value.map { "\\\"".contains($0) ? "\\\($0)" : "\($0)" }.joined()
      lines.append("\(key)=\"\(escaped)\"")
    }
    add("socket", database.socket)
    add("host", database.host)
    // The name localhost alone would mean the socket.
    add("protocol", database.host == nil ? nil : "tcp")
    add("port", database.port.map(String.init))
    add("user", database.role ?? tools.account?.name ?? Account.current()?.name)
    let password = try Password.read(of: database)
    add("password", password.map { String(decoding: $0, as: UTF8.self) })
    lines += try Self.tlsLines(for: database, isMySQL: help.contains("--ssl-mode"))
    if database.tls != .off, let file = database.caFile ?? (database.verifies ? Self.systemAuthorities : nil) {
      add("ssl-ca", file)
    }
    let text = Array((lines.joined(separator: "\n") + "\n").utf8)
    secret = try Password.secretFile(text, of: database, for: tools.account)
  }

  private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

  /// The options for the protection of the connection; MySQL's programs and MariaDB's have different ones.
  private static func tlsLines(for database: DatabaseConfiguration, isMySQL: Bool) throws(DumpFailure) -> [String] {
    guard let tls = database.effectiveTLS else { return [] }
    if isMySQL {
      let mode =
        switch tls {
        case .verifyFull: "VERIFY_IDENTITY"
        case .verifyCA: "VERIFY_CA"
        case .require: "REQUIRED"
        case .off: "DISABLED"
        }
      return ["ssl-mode=\(mode)"]
    }
    switch tls {
    case .verifyFull: return ["ssl", "ssl-verify-server-cert"]
    case .require: return ["ssl", "skip-ssl-verify-server-cert"]
    case .off: return ["skip-ssl"]
    case .verifyCA:
      throw DumpFailure(
        name: database.name, reason: "MariaDB's programs cannot verify a certificate without its host name",
        hint: "use tls = \"verify-full\", and the host of the certificate")
    }
  }

  /// A program with the option file.
  func command(_ program: [UInt8]) -> [[UInt8]] {
    [program, Array("--defaults-file=".utf8) + Array(Password.secretPath.utf8)]
  }

  func setting() -> Tools.Setting { Tools.Setting(secret: secret) }

  /// The rows of a query whose fields have neither tabs nor newlines.
  func rows(_ query: String) throws(DumpFailure) -> [[[UInt8]]] {
    let options = words("--batch", "--skip-column-names", "--connect-timeout=30", "--execute=\(query)")
    do {
      return try tools.run(command(client) + options, setting()).output.split(separator: 10).map { line in
        line.split(separator: 9, omittingEmptySubsequences: false).map(Array.init)
      }
    } catch { throw explained(error) }
  }

  /// A failure with a remedy for the most common reasons.
  func explained(_ failure: DumpFailure) -> DumpFailure {
    var failure = failure
    let text = failure.lastLines.joined(separator: "\n")
    let hints = [
      ("Access denied for user", "check \"role\", and the password in the file that \"password_file\" names"),
      ("certificate has expired", "renew the server's certificate"),
      ("SSL", "name the file of the server's authority as \"ca_file\", and the host as in its certificate"),
      ("TLS", "name the file of the server's authority as \"ca_file\", and the host as in its certificate"),
      ("Can't connect", "see whether the server runs, and check where \"host\", \"port\" or \"socket\" lead"),
      ("Unknown database", "correct the name; the server's databases: SHOW DATABASES"),
      ("Table definition has changed", "a table was altered during the dump; the next run tries again"),
    ]
    failure.hint = failure.hint ?? hints.first { text.contains($0.0) }?.1
    return failure
  }

  // MARK: Facts

  /// The databases that the role sees, without the server's own views, with their bytes.
  func databases() throws(DumpFailure) -> [(name: [UInt8], byteCount: UInt64)] {
    let query =
      "SELECT HEX(CONVERT(s.schema_name USING utf8mb4)), CAST(COALESCE(SUM(t.data_length), 0) AS UNSIGNED) "
      + "FROM information_schema.schemata s LEFT JOIN information_schema.tables t ON t.table_schema = s.schema_name "
      + "WHERE s.schema_name NOT IN ('information_schema', 'performance_schema', 'sys') "
      + "GROUP BY s.schema_name ORDER BY s.schema_name"
    return try rows(query).compactMap { row in
      guard row.count == 2 else { return nil }
      return (bytes(ofHexadecimal: row[0]), UInt64(String(decoding: row[1], as: UTF8.self)) ?? 0)
    }
  }

  /// All databases that the role sees, with the number of their tables.
  func tableCounts() throws(DumpFailure) -> [(name: [UInt8], tables: Int)] {
    let query =
      "SELECT HEX(CONVERT(s.schema_name USING utf8mb4)), COUNT(t.table_name) FROM information_schema.schemata s "
      + "LEFT JOIN information_schema.tables t ON t.table_schema = s.schema_name GROUP BY s.schema_name"
    return try rows(query).compactMap { row in
      row.count == 2 ? (bytes(ofHexadecimal: row[0]), Int(String(decoding: row[1], as: UTF8.self)) ?? 0) : nil
    }
  }

  /// The databases that other sessions use, with the number of these. A role without PROCESS sees its own alone.
  func connections() throws(DumpFailure) -> [(name: [UInt8], count: Int)] {
    let query =
      "SELECT HEX(CONVERT(db USING utf8mb4)), COUNT(*) FROM information_schema.processlist "
      + "WHERE db IS NOT NULL AND id <> CONNECTION_ID() GROUP BY db"
    return try rows(query).compactMap { row in
      row.count == 2 ? (bytes(ofHexadecimal: row[0]), Int(String(decoding: row[1], as: UTF8.self)) ?? 0) : nil
    }
  }

  /// Throws unless the binary log has rows, by which alone the changes of some databases can be told from others.
  func checkRowFormat() throws(DumpFailure) {
    let format = try value("SELECT @@GLOBAL.binlog_format") ?? ""
    guard format != "ROW" else { return }
    throw DumpFailure(
      name: tools.name, reason: "the binary log of some databases alone needs binlog_format = ROW, and it is \(format)",
      hint: "set it in the server's configuration, or leave \"databases\" out")
  }

  /// The size of all tables and indexes.
  func fileBytes() throws(DumpFailure) -> UInt64 {
    let query = "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS UNSIGNED) FROM information_schema.tables"
    return try value(query).flatMap { UInt64($0) } ?? 0
  }

  /// Runs a statement that returns no rows.
  func run(_ statement: [UInt8], cleansUp: Bool = false) throws(DumpFailure) {
    var setting = setting()
    setting.cleansUp = cleansUp
    do {
      _ = try tools.run(command(client) + words("--batch") + [Array("--execute=".utf8) + statement], setting)
    } catch { throw explained(error) }
  }

  /// The tables of all databases whose rows a transaction does not hold still. The server's own are left out.
  func tablesWithoutTransactions() throws(DumpFailure) -> [(database: [UInt8], name: [UInt8], engine: [UInt8])] {
    let query =
      "SELECT HEX(CONVERT(t.table_schema USING utf8mb4)), HEX(CONVERT(t.table_name USING utf8mb4)), t.engine "
      + "FROM information_schema.tables t JOIN information_schema.engines e ON e.engine = t.engine "
      + "WHERE t.table_type = 'BASE TABLE' AND e.transactions <> 'YES' AND t.table_schema NOT IN "
      + "('information_schema', 'performance_schema', 'sys', 'mysql') ORDER BY t.table_schema, t.table_name"
    return try rows(query).compactMap { row in
      row.count == 3 ? (bytes(ofHexadecimal: row[0]), bytes(ofHexadecimal: row[1]), row[2]) : nil
    }
  }

  /// The tables and views of all databases that the role sees.
  func tables() throws(DumpFailure) -> [(database: [UInt8], name: [UInt8], isView: Bool)] {
    let query =
      "SELECT HEX(CONVERT(table_schema USING utf8mb4)), HEX(CONVERT(table_name USING utf8mb4)), table_type = 'VIEW' "
      + "FROM information_schema.tables WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'sys')"
    return try rows(query).compactMap { row in
      row.count == 3
        ? (bytes(ofHexadecimal: row[0]), bytes(ofHexadecimal: row[1]), row[2] == [UInt8(ascii: "1")]) : nil
    }
  }

  /// True if the server refuses the role what the dump program asks of a table or view.
  func denies(_ name: [UInt8], of database: [UInt8], isView: Bool) throws(DumpFailure) -> Bool {
    let place = quoted(database, by: "`") + [UInt8(ascii: ".")] + quoted(name, by: "`")
    let (begin, end) = isView ? ("SHOW CREATE VIEW ", "") : ("SELECT 1 FROM ", " LIMIT 0")
    do {
      try run(Array(begin.utf8) + place + Array(end.utf8))
      return false
    } catch {
      if error.isInterrupted { throw error }
      return error.lastLines.contains { $0.contains(" command denied to user ") }
    }
  }

  /// The databases of loads that have not ended.
  func unfinished() throws(DumpFailure) -> [[UInt8]] {
    try tables().filter { $0.name == DumpJoiner.unfinished }.map(\.database)
  }

  /// The privileges of the role.
  func grants() throws(DumpFailure) -> MySQLGrants {
    // The client doubles each backslash.
    MySQLGrants(lines: try rows("SHOW GRANTS").compactMap(\.first).map { $0.replacing([92, 92], with: [92]) })
  }

  /// The first field of a query's only row, or `nil`.
  private func value(_ query: String) throws(DumpFailure) -> String? {
    try rows(query).first?.first.map { String(decoding: $0, as: UTF8.self) }
  }

  /// The options of the dump program for this server, without those that a role may lack the right to.
  func options() throws(DumpFailure) -> [String] {
    // Locks are refused by some managed servers, and a transaction does not need them.
    var options = [
      "--single-transaction", "--quick", "--skip-lock-tables", "--no-tablespaces", "--triggers", "--hex-blob",
      "--comments", "--skip-dump-date", "--default-character-set=utf8mb4", "--max-allowed-packet=1G",
    ]
    let isMariaDB = try value("SELECT VERSION()")?.contains("MariaDB") ?? false
    // Older servers, and MariaDB, have no such statistics.
    if help.contains("--column-statistics") && isMariaDB { options.append("--skip-column-statistics") }
    if help.contains("--set-gtid-purged") {
      options.append("--set-gtid-purged=\(help.contains("COMMENTED") ? "COMMENTED" : "OFF")")
    }
    return options
  }

  /// An option, and the words for its lack.
  typealias Privilege = (option: String, lack: String)

  static let logPlace = "place in the binary log"

  /// The options that need further rights.
  func privilegedOptions() throws(DumpFailure) -> [Privilege] {
    var options: [Privilege] = [("--routines", "routines"), ("--events", "events")]
    if try value("SELECT @@log_bin") == "1" {
      let option = help.contains("--source-data") ? "--source-data=2" : "--master-data=2"
      options.append((option, Self.logPlace))
    }
    return options
  }
}

/// The bytes of hexadecimal digits.
private func bytes(ofHexadecimal text: [UInt8]) -> [UInt8] {
  func value(_ digit: UInt8) -> UInt8 { digit < 58 ? digit &- 48 : (digit | 0x20) &- 87 }
  return stride(from: 0, to: text.count - 1, by: 2).map { value(text[$0]) << 4 | value(text[$0 + 1]) & 15 }
}

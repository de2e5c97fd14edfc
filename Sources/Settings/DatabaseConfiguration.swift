internal import Model
internal import TOMLKit

/// A database whose dump belongs to each snapshot: one table `[[database]]`.
public struct DatabaseConfiguration: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable { case postgresql, mysql, sqlite, command, pgbackrest }

  /// The form of the dump.
  public enum Mode: String, Sendable, CaseIterable {
    /// The content, table by table.
    case logical
    /// The server's files.
    case physical
  }

  /// The checks of a connection to a server.
  public enum TLS: String, Sendable, CaseIterable {
    /// Encrypted; the certificate and its host name are verified.
    case verifyFull = "verify-full"
    /// Encrypted; the certificate is verified.
    case verifyCA = "verify-ca"
    /// Encrypted; the server can be any.
    case require
    case off
  }

  /// The dump's directory in the snapshot: letters, digits, `-` and `_`.
  public var name = ""
  public var kind = Kind.postgresql
  public var mode = Mode.logical
  /// The directory of the archived logs of the server; `nil` if they are not archived.
  public var archive: String?
  /// Each snapshot has the binary logs since the one before.
  public var logs = false
  /// The databases to dump; `nil` for all.
  public var databases: [String]?
  /// Patterns of pg_dump(1).
  public var schemas: [String] = []
  /// Patterns of pg_dump(1), or `database.table` of a MySQL server.
  public var excludeTables: [String] = []
  /// The beginning of the names of the tables to dump; `nil` for all.
  public var tablePrefix: String?
  /// It is no warning that the role may not ask for the place in the binary log, as that of a web site.
  public var isWithoutLogPlace = false
  /// It is no warning that a transaction does not hold some tables still, because their engine has none.
  public var acceptsMixedMoments = false
  /// A directory (PostgreSQL) or a file (MySQL).
  public var socket: String?
  public var host: String?
  public var port: Int?
  /// The server's account.
  public var role: String?
  /// The first database to connect to, named by `url`.
  public var initialDatabase: String?
  public var passwordFile: String?
  /// The password itself, of a site's own file; `nil` for that of `passwordFile`. No message may show it.
  public var password: [UInt8]?
  /// `nil` for verified connections to other hosts only.
  public var tls: TLS?
  public var caFile: String?
  /// The account of this machine that runs the tools; `nil` for that of this process.
  public var user: String?
  /// The number of tables that are dumped at the same time.
  public var jobs = 1
  public var timeoutSeconds: Int64 = 6 * 3600
  /// The greatest age of the newest good dump.
  public var rpoSeconds: Int64?
  /// Nothing is published without this dump.
  public var isRequired = false
  /// The directory below which the dump is made; `nil` for the repository's own.
  public var directory: String?
  /// The file of an SQLite database, or the repository of pgBackRest; `nil` for one on another machine.
  public var path: String?
  /// The name of pgBackRest for a server.
  public var stanza = ""
  /// pgBackRest's own configuration; `nil` for its default.
  public var config: String?
  /// `full`, `diff` or `incr`; `nil` for pgBackRest's default.
  public var backupType: String?
  /// The program, by its absolute path, and its arguments.
  public var command: [String] = []
  /// The name of the file with the command's output.
  public var file: String?
  /// The line number in the file, from 1.
  public var line = 0

  public init() {}

  /// The kind of its dumps, in the catalog: `postgresql`, or `postgresql-physical`.
  public var recordedKind: String { kind.rawValue + (kind == .postgresql && mode == .physical ? "-physical" : "") }

  /// The place of a database to load: the URL of a server, the path of its socket, or of an SQLite file.
  public init(name: String, kind: Kind, at place: String) throws(DatabaseAddressError) {
    (self.name, self.kind) = (name, kind)
    if place.hasPrefix("/") {
      if kind == .sqlite { path = place } else { socket = place }
    } else {
      try setAddress(place)
    }
  }

  fileprivate mutating func setAddress(_ url: String) throws(DatabaseAddressError) {
    let address = try DatabaseAddress(url, schemes: kind == .postgresql ? ["postgresql", "postgres"] : ["mysql"])
    (host, port, role, initialDatabase) = (address.host, address.port, address.role, address.database)
  }
}

extension DatabaseConfiguration {
  private static let commonKeys = ["name", "kind", "timeout", "rpo", "required", "directory"]
  private static let serverKeys = [
    "databases", "exclude_tables", "url", "socket", "host", "port", "role", "password_file", "tls", "ca_file",
    "user",
  ]

  private static func keys(of kind: Kind) -> [String] {
    switch kind {
    case .postgresql: serverKeys + ["schemas", "jobs", "mode", "archive"]
    case .mysql: serverKeys + ["mode", "archive", "logs", "mixed_moments"]
    case .sqlite: ["path", "user"]
    case .command: ["command", "file", "user"]
    case .pgbackrest: ["stanza", "path", "elsewhere", "config", "backup", "user"]
    }
  }

  init(table: TableReader) {
    self.init()
    line = table.line
    table.know(Self.commonKeys + Array(Set(Kind.allCases.flatMap(Self.keys(of:)))))
    table.require("name")
    table.require("kind")
    name = table.name(for: "name") ?? ""
    let word = table.choice(for: "kind", words: Kind.allCases.map(\.rawValue))
    readCommon(from: table)
    guard let kind = word.flatMap(Kind.init(rawValue:)) else { return }
    self.kind = kind
    let allowed = Self.commonKeys + Self.keys(of: kind)
    for key in Set(Kind.allCases.flatMap(Self.keys(of:))).sorted() where table.has(key) && !allowed.contains(key) {
      table.complain(key: key, message: "\"\(key)\" has no meaning for the kind \"\(kind.rawValue)\"")
    }
    switch kind {
    case .postgresql, .mysql: readServer(from: table)
    case .sqlite:
      table.require("path")
      path = table.path(for: "path")
    case .command: readCommand(from: table)
    case .pgbackrest: readBackRest(from: table)
    }
  }

  private mutating func readCommon(from table: TableReader) {
    user = table.word(for: "user")
    timeoutSeconds = table.duration(for: "timeout") ?? timeoutSeconds
    rpoSeconds = table.duration(for: "rpo")
    isRequired = table.bool(for: "required") ?? false
    directory = table.path(for: "directory")
  }

  private mutating func readBackRest(from table: TableReader) {
    table.require("stanza")
    stanza = table.word(for: "stanza") ?? ""
    config = table.path(for: "config")
    backupType = table.choice(for: "backup", words: ["full", "diff", "incr"])
    let isElsewhere = table.bool(for: "elsewhere") ?? false
    path = table.path(for: "path") ?? (isElsewhere ? nil : "/var/lib/pgbackrest")
    if isElsewhere, table.has("path") {
      table.complain(key: "path", message: "\"path\" and \"elsewhere\" exclude each other; name one")
    }
  }

  private mutating func readCommand(from table: TableReader) {
    table.require("command")
    table.require("file")
    command =
      table.value(for: "command", expecting: Configuration.Hook.form, read: Configuration.Hook.command(from:)) ?? []
    file = table.value(for: "file", expecting: "the name of a file, without a slash") { found in
      found.string.flatMap { Name($0.utf8) == nil ? nil : $0 }
    }
  }

  private mutating func readServer(from table: TableReader) {
    let form = "an array of names, at least one"
    databases = table.value(for: "databases", expecting: form) { found in
      TableReader.strings(in: found).flatMap { $0.isEmpty || $0.contains(where: isNoWord) ? nil : $0 }
    }
    schemas = table.patterns(for: "schemas")
    excludeTables = table.patterns(for: "exclude_tables")
    jobs = table.integer(for: "jobs", range: 1...64, expecting: "a number from 1 to 64") ?? jobs
    mode = table.choice(for: "mode", words: Mode.allCases.map(\.rawValue)).flatMap(Mode.init(rawValue:)) ?? mode
    archive = table.path(for: "archive")
    logs = table.bool(for: "logs") ?? false
    readURL(from: table)
    readConnection(from: table)
    if mode == .physical {
      for key in ["databases", "schemas", "exclude_tables", "jobs"] where table.has(key) {
        table.complain(key: key, message: "\"\(key)\" has no meaning with mode = \"physical\", which copies all files")
      }
    }
    if kind == .postgresql, archive != nil, mode == .logical {
      table.complain(key: "archive", message: "\"archive\" needs mode = \"physical\", with which a log can be replayed")
    }
    if !schemas.isEmpty, databases == nil {
      table.complain(key: "schemas", message: "\"schemas\" needs \"databases\", because not every database has them")
    }
    if kind == .mysql, excludeTables.contains(where: { $0.split(separator: ".").count != 2 }) {
      table.complain(key: "exclude_tables", message: "\"exclude_tables\" should be tables such as \"shop.sessions\"")
    }
  }

  private mutating func readConnection(from table: TableReader) {
    socket = table.path(for: "socket")
    host = table.word(for: "host") ?? host
    port = table.integer(for: "port", range: 1...65535, expecting: "a port's number") ?? port
    role = table.word(for: "role") ?? role
    passwordFile = table.path(for: "password_file")
    tls = table.choice(for: "tls", words: TLS.allCases.map(\.rawValue)).flatMap(TLS.init(rawValue:))
    caFile = table.path(for: "ca_file")
    acceptsMixedMoments = table.choice(for: "mixed_moments", words: ["warn", "accept"]) == "accept"
    if socket != nil, host != nil {
      table.complain(key: "socket", message: "\"socket\" and a host exclude each other; name one")
    }
  }

  /// The keys of a table `[[wordpress]]` that are those of a database.
  static let wordPressKeys =
    ["timeout", "rpo", "required", "directory", "user", "database"] + ["socket", "host", "port", "role"]
    + ["password_file", "tls", "ca_file", "mixed_moments"]

  /// The database of a WordPress site, without its name.
  init(wordPress table: TableReader) {
    self.init()
    line = table.line
    kind = .mysql
    readCommon(from: table)
    readConnection(from: table)
    isWithoutLogPlace = true
    if let database = table.word(for: "database") { databases = [database] }
  }

  private mutating func readURL(from table: TableReader) {
    guard let text = table.string(for: "url") else { return }
    for key in ["host", "port", "role"] where table.has(key) {
      table.complain(key: key, message: "\"\(key)\" and \"url\" exclude each other; name one")
    }
    do throws(DatabaseAddressError) {
      try setAddress(text)
      if let database = initialDatabase, databases == nil { databases = [database] }
    } catch { table.complain(key: "url", message: "\"url\" is wrong: \(error)") }
  }
}

/// True for a text that is no name: empty, or with a NUL or a newline.
private func isNoWord(_ text: String) -> Bool { text.isEmpty || text.utf8.contains { $0 == 0 || $0 == 10 } }

extension TableReader {
  /// A name that can be that of a directory.
  func name(for key: String) -> String? {
    value(for: key, expecting: "letters, digits, \"-\" and \"_\"") { found in
      found.string.flatMap { RemoteConfiguration.isName($0) ? $0 : nil }
    }
  }

  func word(for key: String) -> String? {
    value(for: key, expecting: "a name") { $0.string.flatMap { isNoWord($0) ? nil : $0 } }
  }

  func patterns(for key: String) -> [String] {
    value(for: key, expecting: "an array of names") { found in
      TableReader.strings(in: found).flatMap { $0.contains(where: isNoWord) ? nil : $0 }
    } ?? []
  }
}

internal import Settings

/// The commands of the databases' own programs that load a dump's files.
struct PlanLoading {
  private let settings: DatabaseConfiguration
  private let contents: [(file: String, name: String)]
  private let dump: String

  init(of database: PlanFacts.Database, in parent: String) {
    settings = database.settings
    contents = database.contents
    dump = "\(parent)/databases/\(database.name)"
  }

  private func line(_ words: [String]) -> String { PlanCommands.line(words) }

  /// The superuser of a new PostgreSQL server.
  private static let superuser = "postgres"

  /// The words after `--into`: the server's URL, or the socket on the new machine; `nil` for a socket with another port
  /// than the usual one.
  var place: [String]? {
    let isPostgreSQL = settings.kind == .postgresql
    guard let host = settings.host else {
      if !isPostgreSQL { return [settings.socket ?? "/run/mysqld/mysqld.sock"] }
      if settings.port ?? 5432 != 5432 { return nil }
      return [settings.socket ?? "/run/postgresql", "--user", Self.superuser]
    }
    let port = settings.port.map { ":\($0)" } ?? ""
    let role = settings.role.map { "\($0)@" } ?? ""
    let address = host.contains(":") ? "[\(host)]" : host
    let password = settings.passwordFile.map { ["--server-password-file", $0] } ?? []
    return ["\(isPostgreSQL ? "postgresql" : "mysql")://\(role)\(address)\(port)"] + password
  }

  /// The beginning of a command of a client of the server. On the new machine, root or the superuser is the role.
  private func client(_ program: String) -> [String] {
    let isPostgreSQL = settings.kind == .postgresql
    let port = settings.port.map { [isPostgreSQL ? "-p" : "-P", "\($0)"] } ?? []
    guard let host = settings.host else {
      let socket = settings.socket.map { [isPostgreSQL ? "-h" : "-S", $0] } ?? []
      return (isPostgreSQL ? ["runuser", "-u", Self.superuser, "--"] : []) + [program] + socket
        + (isPostgreSQL ? port : [])
    }
    let role = settings.role.map { [isPostgreSQL ? "-U" : "-u", $0] } ?? []
    return [program, "-h", host] + port + role + (!isPostgreSQL && settings.passwordFile != nil ? ["-p"] : [])
  }

  var lines: [String] { load + looks }

  private var load: [String] {
    switch (settings.kind, settings.mode) {
    case (.postgresql, .logical):
      return [
        line(["chmod", "755"] + parents), line(["chown", "-R", "\(Self.superuser):", dump]),
        line(client("psql") + ["-q", "-d", "template1", "-f", "\(dump)/globals.sql"]),
      ]
        + contents.map { content in
          line(
            client("pg_restore") + ["--clean", "--if-exists", "--create", "-d", "template1", "\(dump)/\(content.file)"])
        }
    case (.mysql, .logical):
      return [
        "(cd \(line([dump])); while IFS= read -r file; do cat \"$file\"; done < order) | \(line(client("mariadb")))"
      ]
    case (.sqlite, _):
      let path = settings.path ?? ""
      let names = path.split(separator: "/")
      return [
        line(["mkdir", "-p", "/" + names.dropLast().joined(separator: "/")]),
        line(["cp", "-a", "\(dump)/\(names.last ?? "")", path]),
      ]
    case (.pgbackrest, _):
      return [
        line([
          "runuser", "-u", settings.user ?? Self.superuser, "--", "pgbackrest", "--stanza=\(settings.stanza)",
          "restore",
        ])
      ]
    case (.postgresql, .physical), (.mysql, .physical), (.command, _): return [line(["ls", "-l", dump])]
    }
  }

  private var parents: [String] {
    let names = dump.split(separator: "/").dropLast()
    return [names.dropLast(), names].map { "/" + $0.joined(separator: "/") }
  }

  /// Commands that show whether it worked.
  var looks: [String] {
    switch (settings.kind, settings.mode) {
    case (.postgresql, .logical): contents.map { line(client("psql") + ["-d", $0.name, "-c", "\\dt"]) }
    case (.mysql, .logical): contents.map { line(client("mariadb") + ["-e", "SHOW TABLES", $0.name]) }
    case (.sqlite, _): [line(["sqlite3", settings.path ?? "", "PRAGMA integrity_check"])]
    default: []
    }
  }

  /// Debian's packages with the programs that the commands need.
  var packages: [String] {
    switch settings.kind {
    case .postgresql: settings.host == nil ? ["postgresql"] : ["postgresql-client"]
    case .mysql: settings.host == nil ? ["mariadb-server"] : ["mariadb-client"]
    case .sqlite: ["sqlite3"]
    case .pgbackrest: ["postgresql", "pgbackrest"]
    case .command: []
    }
  }

  /// A remark on the way back, if there is one.
  var remark: String? {
    switch (settings.kind, settings.mode) {
    case (.postgresql, .logical):
      "psql may say that the role postgres exists already, which is no failure."
    case (.mysql, .logical):
      "The accounts of the server are not loaded. Create those in the configuration files of your programs, with CREATE USER and GRANT."
    case (.postgresql, .physical):
      "The first command makes a data directory, and prints the command that starts a server on it. Without treering see PostgreSQL's manual on base backups."
    case (.mysql, .physical):
      "The first command makes a data directory. Without treering see mariadb-backup --prepare. Then stop the server, and move this directory to the place of its data directory."
    case (.command, _):
      "The dump comes from \(settings.command.first ?? "a program"). Load \(settings.file ?? "it") with the program of that database."
    default: nil
    }
  }
}

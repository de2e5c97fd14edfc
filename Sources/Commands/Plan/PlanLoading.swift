internal import Databases
internal import Settings

/// The commands of the databases' own programs that load a dump's files.
struct PlanLoading {
  private let settings: DatabaseConfiguration
  private let contents: [(file: String, name: String)]
  private let hasLogsInSource: Bool
  /// The directory of the dump.
  private let dump: String

  init(of database: PlanFacts.Database, in parent: String) {
    settings = database.settings
    (contents, hasLogsInSource) = (database.contents, database.hasLogsInSource)
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
    case (.postgresql, .physical):
      return [line(["mkdir", "-p", data]), line(["cp", "-a", "\(dump)/.", "\(data)/"])] + baseBackupSettings
        + [line(["chown", "-R", "\(Self.superuser):", data]), line(["chmod", "700", data])] + start
    case (.mysql, .physical):
      let logs = settings.logs ? [line(["rm", "-rf", "\(dump)/\(Dumper.logDirectory)"])] : []
      return logs + stop
        + [line(["mariadb-backup", "--no-defaults", "--copy-back", "--target-dir=\(dump)", "--datadir=\(data)"])]
        + start
    case (.command, _): return [line(["ls", "-l", dump])]
    }
  }

  // MARK: Copies of a server's files

  /// The data directory on the new machine. That of PostgreSQL's package belongs to an empty server.
  var data: String { settings.kind == .postgresql ? "/var/lib/postgresql/\(settings.name)" : "/var/lib/mysql" }

  /// Makes a base backup the data of a server: settings that Debian keeps elsewhere, the log, and tablespaces.
  private var baseBackupSettings: [String] {
    func lines(_ texts: [String]) -> String { line(["printf", "%s\\n"] + texts) }
    var own = ["archive_mode = off"]
    if let archive = settings.archive {
      let path = archive.replacing("'", with: "''").replacing("%", with: "%%")
      own.append("restore_command = 'zstd -q -d -f \"\(path)/%f.zst\" -o \"%p\"'")
    }
    let tablespaces =
      "for space in \(data)/pg_tblspc/*; do if [ -d \"$space\" ] && [ ! -L \"$space\" ]; then "
      + "to=\(data)-tablespace-${space##*/}; mv \"$space\" \"$to\"; ln -s \"$to\" \"$space\"; "
      + "chown -R \(Self.superuser): \"$to\"; fi; done"
    return [
      "[ -e \(data)/postgresql.conf ] || \(lines(["hot_standby = off"])) > \(data)/postgresql.conf",
      "[ -e \(data)/pg_hba.conf ] || \(lines(["local all all peer"])) > \(data)/pg_hba.conf",
      "\(lines(own)) >> \(data)/postgresql.auto.conf",
    ] + (settings.archive == nil ? [] : [line(["touch", "\(data)/recovery.signal"])]) + [tablespaces]
  }

  /// Stops the server of the package, whose data are empty.
  var stop: [String] {
    if settings.kind == .postgresql { return ["service postgresql stop"] }
    return ["service mariadb stop", "if [ -e \(data) ]; then mv \(data) \(data).new; fi"]
  }

  /// Starts a server on the data directory.
  var start: [String] {
    if settings.kind == .mysql { return [line(["chown", "-R", "mysql:", data]), "service mariadb start"] }
    let socket = settings.socket ?? "/run/postgresql"
    let options = line(["-k", socket]) + (settings.port.map { " -p \($0)" } ?? "")
    return stop + [
      line(["install", "-d", "-o", Self.superuser, socket]),
      "runuser -u \(Self.superuser) -- /usr/lib/postgresql/$(cat \(data)/PG_VERSION)/bin/pg_ctl -D \(data) "
        + "-l \(data)/recovery.log -t 3600 -o \(line([options])) start",
    ]
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
    case (.postgresql, .physical): [line(client("psql") + ["-d", "template1", "-c", "\\l"])]
    case (.mysql, .physical): [line(client("mariadb") + ["-e", "SHOW DATABASES"])]
    case (.sqlite, _): [line(["sqlite3", settings.path ?? "", "PRAGMA integrity_check"])]
    default: []
    }
  }

  /// Debian's packages with the programs that the commands need.
  var packages: [String] {
    if settings.mode == .physical, settings.kind == .postgresql { return ["postgresql", "zstd"] }
    if settings.mode == .physical, settings.kind == .mysql { return ["mariadb-server", "mariadb-backup"] }
    return switch settings.kind {
    case .postgresql: settings.host == nil ? ["postgresql"] : ["postgresql-client"]
    case .mysql: settings.host == nil ? ["mariadb-server"] : ["mariadb-client"]
    case .sqlite: ["sqlite3"]
    case .pgbackrest: ["postgresql", "pgbackrest"]
    case .command: []
    }
  }

  /// A remark on the way back from a copy, if there is one.
  func remark(isEncrypted: Bool) -> String? {
    switch (settings.kind, settings.mode) {
    case (.postgresql, .logical):
      "psql may say that the role postgres exists already, which is no failure."
    case (.mysql, .logical):
      "The accounts of the server are not loaded. Create those in the configuration files of your programs, with CREATE USER and GRANT."
    case (.postgresql, .physical):
      "The server of the base backup starts on \(data), with the major version that it had. It does not archive its log until archive_mode is removed from postgresql.auto.conf there. "
        + logRemark(isEncrypted: isEncrypted)
    case (.mysql, .physical):
      "The copy of the server's files is consistent; it was prepared when it was made. The empty data of the new server go to \(data).new."
    case (.command, _):
      "The dump comes from \(settings.command.first ?? "a program"). Load \(settings.file ?? "it") with the program of that database."
    default: nil
    }
  }

  private func logRemark(isEncrypted: Bool) -> String {
    guard let archive = settings.archive else { return "Its state is that of the end of the backup." }
    if !isEncrypted { return "It replays the log to its end." }
    return hasLogsInSource
      ? "It replays the log of \(archive) to its end; restore the source with that directory first."
      : "It needs the log of \(archive), which is in no source and not in this copy. Bring that directory back from another copy first."
  }
}

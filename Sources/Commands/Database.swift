internal import ArgumentParser
internal import Catalog
internal import Databases
internal import Model
internal import Repository
internal import Settings

struct DatabaseCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "database", abstract: "List the dumps of databases, and load them.",
    discussion: """
      list prints the dumps in the snapshots, the newest first. restore copies the files of a dump with --to, or loads \
      it with --into: the server of the configuration, the URL of a server, the path of its socket, or an SQLite file.

      A load goes into a database that the server does not have, or that is empty: the name of the dump if it is free, \
      else one with the time of the dump, or that of --as. With --replace the new database takes the place of the \
      present one once it is complete. Every file is checked against its SHA-256 before anything is loaded.

      With --at, the binary logs of a MySQL server after the dump are carried out up to that time. archive closes the \
      current log, and stores the closed ones that the archive lacks; let a timer do it every few minutes.

      Examples:
        treering database list
        treering database restore shop --into configured
        treering database restore blog --files / --into configured
        treering database restore shop --at '2026-11-29 14:00' --to /var/tmp/shop
        treering database archive web
        treering database restore main shop --into postgresql://admin@db2.example.org/postgres --as shop_test
      """)

  enum Action: String, CaseIterable, Sendable { case list, restore, archive }

  @Argument(
    help: ArgumentHelp("list, restore or archive.", valueName: "action"), completion: .words(of: Action.self),
    transform: oneOf(for: "database"))
  var action: Action

  @Argument(
    help: ArgumentHelp("The database, by its name in the configuration.", valueName: "name"),
    completion: .database)
  var name: PathArgument?

  @Argument(
    help: ArgumentHelp("Of the dump of a server: the databases to load; all, if left out.", valueName: "database"))
  var databases: [PathArgument] = []

  @Option(
    name: .customLong("in"), help: ArgumentHelp("The snapshot; the newest one with a dump.", valueName: "snapshot"),
    completion: .snapshot)
  var inSnapshot: String?

  @Option(
    help: ArgumentHelp(
      "The state of this time: the newest dump before it, and the binary logs after that.", valueName: "time"),
    transform: parsed(
      by: { Moment.seconds(of: $0, atEnd: !$0.contains(":")) },
      or: "--at takes a time such as '2026-11-29 14:03', 20:00, yesterday or 3d"))
  var at: Int64?

  @Option(
    help: ArgumentHelp(
      "PostgreSQL: follow this timeline, in place of the one that was current at the time.", valueName: "number"))
  var timeline: UInt32?

  @Option(
    help: ArgumentHelp("Copy the files of the dump to this new directory.", valueName: "dir"), completion: .directory)
  var to: PathArgument?

  @Option(
    help: ArgumentHelp(
      "Load the dump: configured, for the connection of the configuration; a URL; the path of a socket or of a file.",
      valueName: "place"), completion: .list(["configured"]))
  var into: PathArgument?

  @Option(
    help: ArgumentHelp(
      "Of a WordPress site: first restore its files from the same snapshot, below this directory.", valueName: "dir"),
    completion: .directory)
  var files: PathArgument?

  @Option(name: .customLong("as"), help: ArgumentHelp("The name of the new database.", valueName: "name"))
  var newName: PathArgument?

  @Flag(help: "Take the place of the database that is there. It stays, under another name.")
  var replace = false

  @Flag(help: "With --replace, remove the database whose place is taken.")
  var noKeep = false

  @Flag(help: "PostgreSQL: first make the roles of the dump that the server lacks.")
  var globals = false

  @Flag(help: "PostgreSQL: everything belongs to the role that loads, without privileges.")
  var noOwners = false

  @Option(
    help: ArgumentHelp(
      "The archive of the logs up to the time, in place of the configuration's.", valueName: "dir"),
    completion: .directory)
  var archive: PathArgument?

  @Option(help: ArgumentHelp("With the path of a socket: the server's role.", valueName: "role"))
  var role: String?

  @Option(
    name: .customLong("server-password-file"),
    help: ArgumentHelp("With a URL or a socket: a file with the password.", valueName: "file"))
  var passwordFile: PathArgument?

  @Option(
    help: ArgumentHelp("With a URL: verify-full, verify-ca, require or off.", valueName: "mode"),
    completion: .words(of: DatabaseConfiguration.TLS.self), transform: oneOf(for: "--tls"))
  var tls: DatabaseConfiguration.TLS?

  @Option(help: ArgumentHelp("With a URL: the certificate of the server's authority.", valueName: "file"))
  var caFile: PathArgument?

  @Option(
    help: ArgumentHelp(
      "With a URL or a socket: the account of this machine that runs the programs.", valueName: "account"))
  var user: String?

  @Option(
    help: ArgumentHelp("The directory for the checked copy of the dump; /var/tmp.", valueName: "dir"),
    completion: .directory)
  var workDir: PathArgument?

  @Flag(name: [.customShort("y"), .long], help: "Do not ask.")
  var yes = false

  @Flag(name: [.customShort("n"), .long], help: "Change nothing; say what would be done.")
  var dryRun = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  var isConfigured: Bool { into?.bytes.elementsEqual("configured".utf8) == true }
  /// True for an option that describes a connection.
  private var describesConnection: Bool {
    role != nil || passwordFile != nil || tls != nil || caFile != nil || user != nil
  }

  func validate() throws {
    let loads =
      files != nil || newName != nil || replace || globals || noOwners || describesConnection || yes
    switch action {
    case .list, .archive:
      let hasOthers =
        !databases.isEmpty || inSnapshot != nil || at != nil || timeline != nil || to != nil || into != nil
        || archive != nil || loads
      if hasOthers || noKeep || dryRun || workDir != nil {
        throw ValidationError("\(action.rawValue) takes the name of a database, and none of the options of restore")
      }
      if action == .archive, name == nil { throw ValidationError("name the database whose logs are archived") }
    case .restore:
      if name == nil { throw ValidationError("name a database; list shows those that have dumps") }
      if (to == nil) == (into == nil) { throw ValidationError("give either --to DIR or --into PLACE") }
      if inSnapshot != nil, at != nil { throw ValidationError("give either --in or --at") }
      if into == nil, loads || !databases.isEmpty {
        throw ValidationError("names of databases, and the options of a load, need --into")
      }
      if archive != nil, to == nil, at == nil { throw ValidationError("--archive needs --to or --at") }
      if timeline != nil, to == nil { throw ValidationError("--timeline needs --to") }
      if noKeep, !replace { throw ValidationError("--no-keep needs --replace") }
      if isConfigured, describesConnection {
        throw ValidationError("the connection is that of the configuration; with a URL or a path, give options for it")
      }
    }
  }

  func execute() throws -> ExitStatus {
    switch action {
    case .list: try DatabaseList(of: name?.bytes, connection: connection, common: common).execute()
    case .restore: try DatabaseRestore(by: self).execute()
    case .archive: try archiveLogs()
    }
  }

  /// The table of the configuration; `nil` if there is none of this name.
  func configured(_ name: [UInt8]) throws(Failure) -> DatabaseConfiguration? {
    try common.configuration()?.settings.databases.first { name.elementsEqual($0.name.utf8) }
  }

  /// The archived logs of a database: those of `--archive`, those that were pushed to the repository of `-r`, or those
  /// of the configuration. The archive of this machine may be lost, or of another server.
  func logs(
    of database: DatabaseConfiguration?, named name: [UInt8], in store: any SnapshotStore
  ) throws(Failure) -> (any LogSource)? {
    if let archive { return try LogArchive(at: absolutePath(of: archive.bytes)) }
    if common.repository != nil, let pushed = try store.logs(of: name) { return pushed }
    return try database?.archive.map { path throws(Failure) in try LogArchive(at: Array(path.utf8)) }
  }

  /// The connection of `--into`.
  func target(for dump: StoredDump) throws(Failure) -> DatabaseConfiguration {
    if dump.isBaseBackup {
      throw Failure(
        .usage, "a base backup is a whole server, and cannot be loaded into one", hint: "restore it with --to DIR")
    }
    guard let kind = dump.kind
    else { throw Failure(.usage, "this version cannot load a dump of the kind \(displayName(dump.record.kind))") }
    let name = String(decoding: dump.record.name, as: UTF8.self)
    if isConfigured {
      let file = try common.requiredConfiguration()
      if let site = file.sites.first(where: { $0.settings.database.name == name }),
        case .failure(let failure) = site.site
      {
        throw Failure(.usage, failure.message, hint: "restore its files first, with --files")
      }
      guard let found = file.databaseSettings.first(where: { $0.name == name }) else {
        throw Failure(
          .usage, "\(displayName(file.path)) has no [[database]] of the name \(name)",
          hint: "name the place to load it as a URL, or as the path of a socket")
      }
      guard found.kind == kind else {
        throw Failure(
          .usage, "the dump is of the kind \(kind.rawValue), and the configuration of \(found.kind.rawValue)")
      }
      return found
    }
    let place = into!.bytes
    let text = place.contains(UInt8(ascii: ":")) && place.first != slash ? place : try absolutePath(of: place)
    var target: DatabaseConfiguration
    do {
      target = try DatabaseConfiguration(name: name, kind: kind, at: String(decoding: text, as: UTF8.self))
    } catch { throw Failure(.usage, "--into is wrong: \(error)") }
    func path(_ argument: PathArgument?) throws(Failure) -> String? {
      try argument.map { argument throws(Failure) in
        String(decoding: try absolutePath(of: argument.bytes), as: UTF8.self)
      }
    }
    target.role = role ?? target.role
    (target.tls, target.user) = (tls, user)
    (target.passwordFile, target.caFile) = (try path(passwordFile), try path(caFile))
    return target
  }
}

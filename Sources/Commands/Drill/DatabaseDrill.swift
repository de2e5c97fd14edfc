internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// Loads the newest dump of each database of a copy into a scratch server.
///
/// A dump can start programs of its maker: by `COPY TO PROGRAM`, libraries to load, commands of the clients. So servers
/// and clients run in namespaces that have the copies of the dumps and nothing else of this machine.
struct DatabaseDrill {
  private let store: any VerifiableStore
  private let work: PrivateDirectory
  private let now: Timestamp
  private let threads: ThreadCount
  private let common: CommonOptions
  private let namespaces: DrillNamespaces?
  /// The reason that this user can make no namespaces; nothing is loaded then.
  let obstacle: String?
  private let keeps: Bool

  /// `place` is the directory of the drill, and `sockets` has those of the servers' addresses.
  init(
    of store: any VerifiableStore, in place: PrivateDirectory, sockets: [[UInt8]] = [], at now: Timestamp,
    threads: ThreadCount, keeps: Bool = false, common: CommonOptions
  ) throws {
    (self.store, self.now, self.threads, self.keeps, self.common) = (store, now, threads, keeps, common)
    work = try place.make("databases")
    try work.letPass()
    let root = try place.make("servers")
    try root.openToAll()
    do {
      namespaces = try DrillNamespaces(
        root: root.path, work: place.make("hidden-servers").path, shown: ([work.path] + sockets).map { ($0, $0) })
      obstacle = nil
    } catch {
      try checkForSignal()
      guard CurrentProcess.effectiveUser != 0 else { throw error }
      (namespaces, obstacle) = (nil, "a dump can start programs, and nothing would confine them: \(error)")
    }
  }

  func end() { namespaces?.end() }

  static func newestDumps(
    in list: SnapshotList, of store: any SnapshotStore, configured: [DatabaseConfiguration],
    where isWanted: (DatabaseRecord) -> Bool = { _ in true }
  ) throws -> [StoredDump] {
    var seen: Set<[UInt8]> = []
    return try list.snapshots.reversed().flatMap { snapshot in
      try records(of: snapshot.summary, configured: configured)
        .filter { isWanted($0) && seen.insert($0.name).inserted }
        .compactMap { try StoredDump($0, in: snapshot, of: store) }
    }
  }

  /// The good dumps of a snapshot. A copy of restic's format does not tell their kinds, but the configuration does.
  static func records(of summary: CatalogSummary, configured: [DatabaseConfiguration]) -> [DatabaseRecord] {
    let recorded = summary.databases.filter { !$0.isLeftOut }
    let names = summary.otherSources.map { TreePath(parsing: $0) }
      .filter { $0.count == 2 && $0[0] == DatabaseRecord.label }.map { $0[1] }
    let others = names.filter { name in !summary.databases.contains { $0.name == name } }
    return recorded
      + others.map { name in
        let kind = configured.first { name.elementsEqual($0.name.utf8) }?.recordedKind ?? "unknown"
        return DatabaseRecord(name: name, kind: Array(kind.utf8), began: summary.started, ended: summary.started)
      }
  }

  /// A dump that was loaded, or the reason that it was not.
  struct Loaded {
    var answer: DrillAnswer.Database
    var damage: String?
    /// The last lines of the program that failed.
    var lines: [String] = []
    /// The server, if it stays.
    var served: ServedDatabase?
  }

  /// Loads one dump. `number` names its directory.
  func load(_ dump: StoredDump, number: Int) throws -> Loaded {
    try attempt(dump, number: number) { kind, place in
      defer { if !keeps { try? place.directory.removeContent() } }
      let scratch = try scratchServer(for: dump, of: kind, in: place)
      let staged = try stage(dump, databases: dump.loadable, to: place.path(of: "dump"), for: scratch)
      return dump.hasServerFiles
        ? (try scratch.start(onFilesIn: staged.directory, at: staged.path), nil)
        : (try scratch.load(dump.loadable, of: staged.directory, at: staged.path), nil)
    }
  }

  /// Loads one dump into a server that stays. The copy of an SQLite database is in the directory of the address.
  ///
  /// `other` is a database whose server has the same address, and gets this one, too.
  func serve(
    _ dump: StoredDump, number: Int, as address: ServerAddress, beside other: ServedDatabase?, queried: String?
  ) throws -> Loaded {
    try attempt(dump, number: number) { kind, place in
      let scratch = try scratchServer(for: dump, of: kind, in: place)
      if other != nil, dump.hasServerFiles {
        throw Failure(.failed, "a copy of a server's files cannot be added to a server that runs")
      }
      // The accounts of MySQL are in a database.
      let databases = kind == .mysql && other == nil ? dump.contents : dump.loadable
      let path = kind == .sqlite ? address.directory + Array("/dump".utf8) : place.path(of: "dump")
      let staged = try stage(dump, databases: databases, to: path, for: scratch)
      let queried = queried.map { Array($0.utf8) }
      let served =
        try other.map { try scratch.add(databases, of: staged.directory, at: staged.path, to: $0, queried: queried) }
        ?? scratch.serve(
          databases, isPhysical: dump.hasServerFiles, of: staged.directory, at: staged.path, as: address,
          queried: queried)
      return (served.result, served)
    }
  }

  private func attempt(
    _ dump: StoredDump, number: Int,
    load: (DatabaseConfiguration.Kind, PrivateDirectory) throws -> (ScratchServer.Result, ServedDatabase?)
  ) throws -> Loaded {
    let start = Clock.monotonic()
    var answer = DrillAnswer.Database(
      name: displayName(dump.record.name), kind: displayName(dump.record.kind),
      snapshot: dump.snapshot.name.description, ageSeconds: now.seconds - dump.record.ended.seconds)
    var (damage, served): (String?, ServedDatabase?)
    var lines: [String] = []
    do {
      guard let kind = dump.kind, kind != .command, kind != .pgbackrest else {
        answer.result = .notTested
        answer.message =
          dump.kind == nil
          ? "its kind is not known; name the database in the configuration"
          : "treering does not know the program that loads it"
        return Loaded(answer: answer)
      }
      if let obstacle {
        (answer.result, answer.message) = (.notTested, obstacle)
        return Loaded(answer: answer)
      }
      let place = try work.make("database-\(number)")
      try place.letPass()
      let result: ScratchServer.Result
      (result, served) = try load(kind, place)
      (answer.server, answer.databases, answer.tables) = (result.server, result.databases, result.tables)
      if !result.warnings.isEmpty { answer.message = result.warnings.joined(separator: "; ") }
    } catch {
      try checkForSignal()
      answer.result = .failed
      lines = (error as? DumpFailure)?.lastLines ?? []
      let failure = (error as? DumpFailure).map { Failure(.failed, $0.message, hint: $0.hint) } ?? error as? Failure
      answer.message = failure?.description ?? "\(error)"
      if failure?.kind == .damaged { damage = answer.message }
    }
    answer.elapsedSeconds = Clock.monotonic() - start
    return Loaded(answer: answer, damage: damage, lines: lines, served: served)
  }

  private func scratchServer(
    for dump: StoredDump, of kind: DatabaseConfiguration.Kind, in place: PrivateDirectory
  ) throws -> ScratchServer {
    try ScratchServer(
      for: kind, named: displayName(dump.record.name),
      programs: namespaces.map { .ofEnvironment.entering(process: $0.process) } ?? .ofEnvironment, in: place.directory,
      at: place.path)
  }

  /// Copies a dump, and prepares a copy of a server's files for its start.
  private func stage(
    _ dump: StoredDump, databases: [[UInt8]], to path: [UInt8], for scratch: ScratchServer
  ) throws -> (directory: Directory, path: [UInt8]) {
    let wanted =
      dump.hasServerFiles ? dump.entries.filter { $0.isDirectory && !$0.hasLogs }.map(\.object) : databases
    try dump.stage(databases: wanted, of: store, to: path, threads: threads, common: common)
    do {
      let directory = Directory(try Descriptor.open(path: path, [.read, .directory]))
      if dump.isBaseBackup {
        _ = try RecoveryDirectory(withoutArchiveAt: path, account: scratch.account, seconds: nil).prepare()
      } else if dump.isPhysical, let account = scratch.account {
        try directory.give(to: account)
      }
      return (directory, path)
    } catch let error as Errno { throw Failure.writing("prepare the dump", at: path, because: error) }
  }
}

internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// Loads the newest dump of each database of a copy into a scratch server.
struct DatabaseDrill {
  let store: any VerifiableStore
  let work: PrivateDirectory
  let now: Timestamp
  let threads: Int
  let common: CommonOptions

  /// The newest dump of each database.
  static func newestDumps(
    in list: SnapshotList, of store: any SnapshotStore, configured: [DatabaseConfiguration]
  ) throws -> [StoredDump] {
    var seen: Set<[UInt8]> = []
    return try list.snapshots.reversed().flatMap { snapshot in
      try records(of: snapshot.summary, configured: configured).filter { seen.insert($0.name).inserted }
        .compactMap { try StoredDump($0, in: snapshot, of: store) }
    }
  }

  /// The good dumps of a snapshot. A copy of restic's format does not tell their kinds, but the configuration does.
  static func records(of summary: CatalogSummary, configured: [DatabaseConfiguration]) -> [DatabaseRecord] {
    let recorded = summary.databases.filter { !$0.isLeftOut }
    let names = summary.otherSources.map { $0.split(separator: slash).map(Array.init) }
      .filter { $0.count == 2 && $0[0] == DatabaseRecord.label }.map { $0[1] }
    let others = names.filter { name in !summary.databases.contains { $0.name == name } }
    return recorded
      + others.map { name in
        let kind = configured.first { name.elementsEqual($0.name.utf8) }?.recordedKind ?? "unknown"
        return DatabaseRecord(name: name, kind: Array(kind.utf8), began: summary.started, ended: summary.started)
      }
  }

  /// Loads one dump. `number` names its directory.
  func load(_ dump: StoredDump, number: Int) throws -> (DrillAnswer.Database, damage: String?) {
    let start = Clock.monotonic()
    var answer = DrillAnswer.Database(
      name: displayName(dump.record.name), kind: displayName(dump.record.kind),
      snapshot: dump.snapshot.name.description, ageSeconds: now.seconds - dump.record.ended.seconds)
    var damage: String?
    do {
      guard let kind = dump.kind, kind != .command, kind != .pgbackrest else {
        answer.result = .notTested
        answer.message =
          dump.kind == nil
          ? "its kind is not known; name the database in the configuration"
          : "treering does not know the program that loads it"
        return (answer, nil)
      }
      let place = try work.make("database-\(number)")
      try place.letPass()
      defer { try? place.directory.removeContent() }
      let result = try load(dump, of: kind, in: place)
      (answer.server, answer.databases, answer.tables) = (result.server, result.databases, result.tables)
      if !result.warnings.isEmpty { answer.message = result.warnings.joined(separator: "; ") }
    } catch {
      try checkForSignal()
      answer.result = .failed
      let failure = (error as? DumpFailure).map { Failure(.failed, $0.message, hint: $0.hint) } ?? error as? Failure
      answer.message = failure?.description ?? "\(error)"
      if failure?.kind == .damaged { damage = answer.message }
    }
    answer.elapsedSeconds = Clock.monotonic() - start
    return (answer, damage)
  }

  private func load(
    _ dump: StoredDump, of kind: DatabaseConfiguration.Kind, in place: PrivateDirectory
  ) throws -> ScratchServer.Result {
    let scratch = try ScratchServer(
      for: kind, named: displayName(dump.record.name), programs: .ofEnvironment, in: place.directory, at: place.path)
    let isPhysical = dump.isPhysical || dump.isBaseBackup
    let databases = isPhysical ? dump.entries.filter { $0.isDirectory && !$0.hasLogs }.map(\.object) : dump.loadable
    try dump.stage(
      databases: databases, of: store, to: place.path(of: "dump"), threads: threads, common: common)
    let staged = try place.open("dump")
    guard isPhysical else { return try scratch.load(databases, of: staged.directory, at: staged.path) }
    if dump.isBaseBackup {
      _ = try RecoveryDirectory(path: staged.path, account: scratch.account, fetchCommand: nil, seconds: nil).prepare()
    } else if let account = scratch.account {
      do { try staged.directory.give(to: account) } catch {
        throw Failure.writing("change the owner of", at: staged.path, because: error)
      }
    }
    return try scratch.start(onFilesIn: staged.directory, at: staged.path)
  }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Restic
internal import Synchronization

extension PushJob {
  /// Pushes a snapshot to a repository of restic's format.
  func workWithRestic(
    _ access: ResticAccess, snapshot: Snapshot, isDryRun: Bool, isPartOfAll: Bool, at start: Timestamp
  ) throws -> PushAnswer {
    let restic = try access.open()
    let there = try PushedSnapshots(in: restic)
    let isFirst = repository.pushMemory.last(address: target.options.recordedAddress) == nil
    let list = try repository.snapshots()
    let base = list.snapshots.last { $0.name != snapshot.name && there.contains($0) }
    let (entries, monitor) = (try entriesChanged(in: snapshot, since: base), ConsoleMonitor())
    var result = ResticPushResult()
    if isDryRun {
      result.isNew = !there.contains(snapshot)
    } else {
      let progress = Progress()
      let line = ProgressLine(for: "push", of: progress, options: common)
      defer { line.stop() }
      result = try ResticPush(
        from: repository, to: restic, address: target.options.recordedAddress,
        program: Array("treering \(Treering.version)".utf8), bytesPerSecond: target.options.bytesPerSecond
      ).push(snapshot, progress: progress)
    }
    for loss in result.losses {
      monitor.warn(Warning(path: target.options.path, message: "of the snapshot \(snapshot.name), \(loss)"))
    }
    if common.verbose { for note in result.notes { Console.note("of the snapshot \(snapshot.name), \(note)") } }
    var answer = PushAnswer(
      remote: target.name, snapshot: snapshot.name.description, base: base?.name.description,
      result: !result.isNew ? "there" : isDryRun ? "would_send" : "sent", bytesSent: result.bytesWritten,
      bytesReceived: 0, bytesOfTree: snapshot.summary.root.totals.bytes, entriesChanged: result.isNew ? entries : 0,
      warnings: monitor.warnings.count, elapsedSeconds: result.elapsedSeconds)
    if !isPartOfAll, let newest = list.newest, newest.name != snapshot.name, there.contains(newest) {
      answer.newestThere = newest.name.description
    }
    return finish(answer, isFirst: isFirst, isDryRun: isDryRun, monitor: monitor, at: start)
  }

  /// The number of entries that differ from a base; all, without one.
  private func entriesChanged(in snapshot: Snapshot, since base: Snapshot?) throws -> UInt64 {
    guard let base else { return snapshot.summary.root.totals.entries }
    var count: UInt64 = 0
    try forEachDifference(
      from: CatalogReader(reading: try repository.openCatalog(of: base.name)),
      to: CatalogReader(reading: try repository.openCatalog(of: snapshot.name)), under: [], entering: { _, _ in true }
    ) { _, _ in count += 1 }
    return count
  }
}

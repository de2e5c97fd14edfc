internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

extension StoredDump {
  /// Copies the files of the dump to a new directory. Throws if one of them is damaged.
  ///
  /// A server's dump has a directory for each database; only those of `databases` are copied.
  func stage(
    databases: [[UInt8]], of store: any SnapshotStore, to path: [UInt8], threads: ThreadCount, common: CommonOptions
  ) throws {
    let progress = Progress()
    let monitor = ConsoleMonitor()
    var options = RestoreOptions(paths: [], destination: path, overwrite: .ifChanged, isDryRun: false, threads: threads)
    options.top = place
    let wanted = entries.filter { !$0.isDirectory || databases.contains($0.object) }
    if wanted.count < entries.count { options.paths = wanted.map { place + [$0.name] } }
    let line = ProgressLine(for: "fetch", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(snapshot, from: store, options: options, progress: progress, monitor: monitor)
    line.stop()
    if result.damaged > 0 {
      throw Failure(
        .damaged, "the dump of \(displayName(record.name)) in \(snapshot.name) is damaged; nothing was loaded",
        hint: "take another one with --in, or repair it: treering verify --repair-from REMOTE")
    }
    guard monitor.warnings.isEmpty
    else { throw Failure(.failed, "the dump could not be copied as a whole; nothing was loaded") }
  }
}

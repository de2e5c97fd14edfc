internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The files of a WordPress site, restored from the snapshot that has the dump of its database.
struct SiteRestore {
  private let dump: StoredDump
  private let store: any SnapshotStore
  private let destination: [UInt8]
  private let paths: SitePaths

  /// Reads the paths of the site, which are in the dump. A copy of that file is below `parent` for a moment.
  init(
    of dump: StoredDump, in store: any SnapshotStore, to destination: [UInt8], by command: DatabaseCommand,
    below parent: [UInt8]
  ) throws {
    (self.dump, self.store, self.destination) = (dump, store, destination)
    let name = displayName(dump.record.name)
    guard dump.entries.contains(where: { $0.name == SitePaths.name }) else {
      throw Failure(
        .usage, "the dump of \(name) in \(dump.snapshot.name) belongs to no WordPress site", hint: "leave --files out")
    }
    let work = try PrivateDirectory(below: parent, forBytes: 0)
    defer { work.remove() }
    try dump.stage(databases: [], of: store, to: work.path(of: "dump"), threads: 1, common: command.common)
    let staged = try work.open("dump")
    do { paths = try SitePaths(in: staged.directory) } catch {
      throw Failure(.damaged, "the file site.txt in the dump of \(name) cannot be read: \(error)")
    }
  }

  /// The sentence for a person.
  var text: String {
    paths.all.map { displayName($0) }.joined(separator: ", ") + " of \(dump.snapshot.name) below "
      + displayName(destination)
  }

  /// Restores the files. Throws if a path is missing, if something is damaged, or if another file is there.
  func restoreFiles(isDry: Bool, threads: ThreadCount, common: CommonOptions) throws {
    let progress = Progress()
    let monitor = ConsoleMonitor()
    let options = RestoreOptions(
      paths: paths.all.map { dump.snapshot.summary.label + TreePath(parsing: $0) }, destination: destination,
      overwrite: .never, isDryRun: isDry, threads: threads)
    let line = ProgressLine(for: "restore", of: progress, options: common)
    defer { line.stop() }
    let result = try restore(dump.snapshot, from: store, options: options, progress: progress, monitor: monitor)
    line.stop()
    if result.damaged > 0 {
      throw Failure(
        .damaged, counted(result.damaged, "damaged file") + " of the site, named above; the database was not loaded",
        hint: "take another snapshot with --in, or repair it: treering verify --repair-from REMOTE")
    }
    if progress.left.value > 0 {
      throw Failure(
        .refused,
        "\(counted(progress.left.value, "file")) of the site \(progress.left.value == 1 ? "was" : "were") there already "
          + "and left as they were; the database was not loaded",
        path: destination, hint: "name a new directory with --files, or move the old site away")
    }
    guard monitor.warnings.isEmpty
    else { throw Failure(.failed, "the site was not restored as a whole; the database was not loaded") }
  }

  /// The connection that the restored site has: that of its own file, and of its table `[[wordpress]]` if there is one.
  func connection(configured: WordPressConfiguration?) throws -> DatabaseConfiguration {
    var settings = configured ?? WordPressConfiguration()
    settings.database.name = String(decoding: dump.record.name, as: UTF8.self)
    settings.path = String(decoding: restored(paths.path), as: UTF8.self)
    settings.config = String(decoding: restored(paths.config), as: UTF8.self)
    return try reporting { try WordPressSite(reading: settings).database }
  }

  private func restored(_ path: [UInt8]) -> [UInt8] { destination == [slash] ? path : destination + path }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

extension ExpectedDatabase {
  /// The source that its dump is in a snapshot.
  var source: [UInt8] { record(began: Timestamp(seconds: 0, nanoseconds: 0)).source }

  fileprivate func record(began: Timestamp, ended: Timestamp? = nil, point: [UInt8] = []) -> DatabaseRecord {
    DatabaseRecord(name: name, kind: kind, began: began, ended: ended ?? began, point: point)
  }
}

/// A finished dump: a complete directory of regular files and directories.
struct FinishedDump {
  var began, ended: Timestamp
  /// See `DatabaseRecord.point`.
  var point: [UInt8] = []
  /// The parts that the dump does not have, or not consistently; a sentence each.
  var warnings: [String] = []
}

/// The dumps of a run: made just before the walk, and removed after it.
struct DatabaseDumps {
  let databases: [ExpectedDatabase]
  /// The sites with these databases, by name.
  var sites: [[UInt8]: MaintainedSite] = [:]
  /// Fills an empty directory with the dump of one database. The path is for messages. `previous` is the newest dump.
  let fill:
    (_ database: ExpectedDatabase, _ directory: Directory, _ path: [UInt8], _ previous: StoredDump?) throws
      -> FinishedDump

  struct End {
    let database: ExpectedDatabase
    /// `Clock.monotonic` at the beginning.
    let start: Timestamp
    let failure: Failure?
    /// The failure, or the shortcomings of the dump.
    let warnings: [Warning]
  }

  /// Dumps each database, and adds it to a snapshot's options. The caller holds the lock, and later calls
  /// `removeDumps`.
  ///
  /// Throws if a required dump fails, and after a signal. Every other failure is told to `ended` alone.
  func make(
    in repository: Repository, for options: inout SnapshotOptions, during maintenance: SiteMaintenance,
    ended: (End) -> Void
  ) throws {
    maintenance.clear(sites.values.map(\.path))
    try repository.dumps.prepare()
    let list = try repository.snapshots()
    // A site in its maintenance mode must not wait for other dumps.
    func isMaintained(_ database: ExpectedDatabase) -> Bool { sites[database.name]?.isMaintained == true }
    for database in databases.filter({ !isMaintained($0) }) + databases.filter(isMaintained) {
      try checkForSignal()
      let site = sites[database.name].flatMap { $0.isMaintained && maintenance.begin($0) ? $0 : nil }
      if let site { options.maintain(site, by: maintenance) }
      let (began, start) = (Clock.now(), Clock.monotonic())
      do {
        // A damaged catalog costs an estimate.
        let previous = try? list.newestDump(of: database.name, in: repository)
        let (dump, warnings) = try make(database, after: previous, in: repository, threads: options.threads)
        options.add(dump)
        let named = warnings.map { Warning(path: database.source, message: $0) }
        ended(End(database: database, start: start, failure: nil, warnings: named))
      } catch {
        if let site { maintenance.end(site.path) }
        try checkForSignal()
        let failure = Failure(wrapping: error)
        options.leaveOut(database.record(began: began, ended: Clock.now()))
        let warning = Warning(path: database.source, message: "is left out: there is no good dump: \(failure)")
        let isRequired = database.isRequired
        ended(End(database: database, start: start, failure: failure, warnings: isRequired ? [] : [warning]))
        guard isRequired else { continue }
        throw Failure(
          .failed, "the required database \(displayName(database.name)) has no good dump: \(failure.message)",
          hint: "nothing was published")
      }
    }
  }

  /// The bytes of a catalog's trailer are read by every command.
  private static let longestShortcomings = 4096

  private func make(
    _ database: ExpectedDatabase, after previous: StoredDump?, in repository: Repository, threads: ThreadCount
  ) throws -> (Dump, warnings: [String]) {
    let path = try repository.dumps.path(of: database.name, below: database.directory)
    let (parent, name) = splitLast(of: path)
    let directory: Directory
    do {
      try removeTree(at: path, threads: threads)
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      try above.descriptor.makeDirectory(name.span, mode: 0o700)
      directory = try above.directory(name.span)
      try directory.descriptor.dropInheritedACLs()
    } catch {
      throw Failure.writing("make the directory", at: path, because: error)
    }
    do {
      let made = try fill(database, directory, path, previous)
      var record = database.record(began: made.began, ended: made.ended, point: made.point)
      record.shortcomings = Array(made.warnings.joined(separator: "; ").utf8.prefix(Self.longestShortcomings))
      return (
        Dump(of: record, in: path, isRequired: database.isRequired, changesInPlace: database.isPhysical), made.warnings
      )
    } catch {
      // The failure says more than what stays of its dump; the next run tries again.
      try? removeTree(at: path, threads: threads)
      throw error
    }
  }
}

public import Catalog
internal import Posix
public import Repository
internal import Synchronization

/// What makes a file of the source pass for the one that the previous snapshot stored, unread.
public enum ChangeDetection: String, Sendable, CaseIterable {
  /// Inode, size, mtime and ctime are the same, and the ctime was not too recent to trust.
  case ctime
  /// Size, mode, owner and mtime of a regular file with one name are the same: for file systems whose inode
  /// numbers or ctimes do not last.
  case mtime
  /// Nothing does: every file is read and hashed.
  case content
}

/// What a snapshot is taken of, and how.
public struct SnapshotOptions: Sendable {
  /// Absolute paths without `.`, `..` and empty components.
  public var sources: [[UInt8]]
  /// The first directory inside the snapshot.
  public var label: [UInt8]
  public var threads: Int
  public var changeDetection: ChangeDetection

  public init(
    sources: [[UInt8]], label: [UInt8] = Array("localhost".utf8), threads: Int,
    changeDetection: ChangeDetection = .ctime
  ) {
    self.sources = sources
    self.label = label
    self.threads = threads
    self.changeDetection = changeDetection
  }
}

/// A published snapshot and what it took.
public struct SnapshotResult: Sendable {
  public var snapshot: Snapshot
  /// The snapshot that unchanged files were linked to.
  public var previous: SnapshotName?
  public var elapsedSeconds: Double
}

/// Takes a snapshot: one walk of the sources against the newest catalog, then publication.
///
/// The caller holds the repository's lock. Throws a `Failure`; nothing is published then, except where
/// the failure says so.
public func takeSnapshot(
  of options: SnapshotOptions, in repository: Repository, program: String, progress: Progress,
  monitor: any Monitor
) throws(Failure) -> SnapshotResult {
  do {
    return try walkAndPublish(options, repository, program, progress, monitor)
  } catch let failure as Failure {
    throw failure
  } catch let error as Errno {
    throw .writing("take a snapshot in", repository.path, error)
  } catch {
    throw Failure(.failed, "cannot take a snapshot in \(displayName(repository.path)): \(error)")
  }
}

private func walkAndPublish(
  _ options: SnapshotOptions, _ repository: Repository, _ program: String, _ progress: Progress,
  _ monitor: any Monitor
) throws -> SnapshotResult {
  let start = Clock.monotonic()
  try repository.recover()
  let list = try repository.snapshots()
  // Older ones are the business of list and verify; without a newer one, files are copied again.
  for damaged in list.damaged
  where damaged.name.description > list.newest?.name.description ?? "" {
    progress.warnings.count()
    monitor.warn(
      Warning(
        path: Array(damaged.name.description.utf8),
        message: "this snapshot cannot be linked to: \(damaged.reason)"))
  }

  var base: Base?
  if let newest = list.newest {
    // A run that was killed may have published without it.
    try repository.pointLatest(to: newest.name)
    base = Base(
      name: newest.name, catalog: try repository.openCatalog(newest.name),
      tree: try? repository.openTree(newest.name))
    progress.expectedEntries.store(newest.summary.root.totals.entries, ordering: .relaxed)
  }

  let pending = try repository.beginSnapshot(at: Clock.now())
  // After the wait for a name of its own, where two runs fall into one second.
  let started = Clock.now()
  do {
    let work = try SnapshotWork(
      options: options, repository: repository, pending: pending, base: base, progress: progress,
      monitor: monitor)
    let root = work.rootNode()
    defer { root.release() }
    try walkTree(work, from: root, threads: options.threads)
    try checkForSignal()
    guard let tree = root.result else { throw Failure(.failed, "the walk ended without a root") }

    var summary = CatalogSummary(root: tree)
    summary.sequence = list.nextSequence
    summary.started = started
    summary.finished = Clock.now()
    summary.warnings = progress.warnings.value
    summary.outcome = summary.warnings > 0 ? .warnings : .complete
    summary.files = progress.files.value
    summary.directories = progress.directories.value
    summary.filesLinked = progress.linked.value
    summary.filesCopied = progress.copied.value
    summary.bytesCopied = progress.bytesCopied.value
    summary.label = options.label
    summary.sources = options.sources
    summary.repositoryID = repository.id
    summary.fileSystemID = work.fileSystemID
    summary.program = Array(program.utf8)
    try pending.publish(summary, FrameWriter(sink: pending.sink), previous: base?.name)
    try? repository.emptyTrash()
    return SnapshotResult(
      snapshot: Snapshot(name: pending.name, summary: summary), previous: base?.name,
      elapsedSeconds: Clock.monotonic() - start)
  } catch {
    try? repository.recover()
    try? repository.emptyTrash()
    throw error
  }
}

/// The newest snapshot, which unchanged files are linked to.
struct Base {
  let name: SnapshotName
  let catalog: OpenCatalog
  let tree: Directory?
}

public import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// Builds a received snapshot under its own name, and publishes it.
///
/// The caller holds the repository's lock, and has called `recover`. `sent` has the origin and time of the snapshot.
/// Retention goes by that time if `isDatedByClient`. With `keepsMounts`, the hints of the received records are of its file
/// systems.
/// The numbers of linked and copied files are counted anew. Nothing is published if the built tree does not have the
/// root digest of `sent`: `ReceiveWork.leave` compares the digests of every directory.
public func buildSnapshot(
  _ name: SnapshotName, as sent: CatalogSummary, isDatedByClient: Bool = false, keepsMounts: Bool = false,
  from wanted: any WantedTree,
  base: Snapshot?, in repository: Repository, threads: ThreadCount, program: String, progress: Progress,
  monitor: any Monitor
) throws -> Snapshot {
  let reception = Reception(
    name: name, sent: sent, isDatedByClient: isDatedByClient, keepsMounts: keepsMounts, wanted: wanted, base: base,
    repository: repository,
    threads: threads, program: program,
    progress: progress, monitor: monitor)
  do { return try reception.build(mayRecycle: true) } catch is SpareUnusable {
    progress.restart()
    return try reception.build(mayRecycle: false)
  }
}

private struct Reception {
  let name: SnapshotName
  let sent: CatalogSummary
  let isDatedByClient, keepsMounts: Bool
  let wanted: any WantedTree
  let base: Snapshot?
  let repository: Repository
  let threads: ThreadCount
  let program: String
  let progress: Progress
  let monitor: any Monitor

  func build(mayRecycle: Bool) throws -> Snapshot {
    let list = try repository.snapshots()
    let tree = try base.map {
      StoredTree(
        of: $0.name, catalog: try repository.openCatalog(of: $0.name), root: try? repository.openTree(of: $0.name),
        in: repository)
    }
    let capabilities = try repository.fileSystem.run()
    let received = Clock.now()
    let pending = try repository.publication.beginSnapshot(
      named: name, catalogBytes: tree?.catalog.byteCount ?? 0, mayRecycle: mayRecycle && capabilities.recycles)
    let context = BuildContext(
      repository: repository, capabilities: capabilities, space: SpaceGuard(in: repository), progress: progress,
      monitor: monitor)
    let work = ReceiveWork(wanted, sent: sent, base: tree, into: SnapshotBuilder(pending, in: context))
    let root = try work.rootNode()
    defer { root.release() }
    do {
      try checkAnnouncedSize(isRecycled: pending.isRecycled)
      try walkTree(work, from: root, threads: threads)
      try checkForSignal()
      guard let built = root.build.result else { throw Failure(.failed, "the walk ended without a root") }
      return try publish(pending, built: built, after: list, received: received)
    } catch {
      if let error = error as? SpareUnusable {
        repository.publication.setAside(pending, at: error.path, because: error.reason)
      }
      try? repository.publication.recover()
      // A snapshot that was not published no longer holds rotation.
      if let list = try? repository.snapshots() { _ = try? examineArrivals(in: repository, among: list) }
      throw error
    }
  }

  private func publish(
    _ pending: PendingSnapshot, built: Subtree, after list: SnapshotList, received: Timestamp
  ) throws -> Snapshot {
    var summary = sent
    try summary.complete(root: built, sequence: list.nextSequence, counts: progress, in: repository, program: program)
    summary.received = received
    summary.isDatedByClient = isDatedByClient
    if !keepsMounts { summary.mounts = [] }
    let snapshot = Snapshot(name: pending.name, summary: summary)
    // Rotation is held until this snapshot has been examined. It must never continue with a suspect snapshot.
    let arrival = UnexaminedArrival(name: pending.name, movedFileCount: progress.moved.value)
    if repository.onlyPath == nil { try repository.rotationFreeze.begin(for: arrival, at: received) }
    progress.isSynchronizing.store(true, ordering: .relaxed)
    defer { progress.isSynchronizing.store(false, ordering: .relaxed) }
    try pending.publish(summary, with: FrameWriter(sink: pending.sink))
    var now = list
    now.add(snapshot)
    for trouble in completePublication(now, in: repository) + repository.problems.drain() { monitor.warn(trouble) }
    return snapshot
  }

  /// Throws if the announced snapshot does not fit; called before any entry is made.
  ///
  /// A small record can stand for more directories than a disk has room for. A directory takes an inode, and a name
  /// takes some bytes of its directory, unless the spare has them.
  private func checkAnnouncedSize(isRecycled: Bool) throws {
    let system = try repository.root.descriptor.fileSystem()
    let inodes = isRecycled ? system.inodes : system.inodesFree
    let bytes = isRecycled ? system.bytesUsed &+ system.bytesAvailable : system.bytesAvailable
    let nameBytes: UInt64 = 12
    guard sent.root.totals.entries <= bytes / nameBytes, system.inodes == 0 || sent.directories <= inodes else {
      throw Failure(
        .noSpace,
        "a snapshot of \(sent.root.totals.entries) entries, \(sent.directories) of them directories, does "
          + "not fit in \(displayName(repository.path))", hint: "make room there")
    }
  }
}

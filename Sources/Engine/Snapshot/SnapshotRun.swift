internal import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// The test by which a source file counts as unchanged, so that it is not read.
public enum ChangeDetection: String, Sendable, CaseIterable {
  /// Inode, size, mtime and ctime are equal, and the ctime was not too recent to trust.
  case ctime
  /// Size, mode, owner and mtime of a regular file with one name are equal.
  ///
  /// This test is for file systems whose inode numbers or ctimes do not last.
  case mtime
  /// No test: every file is read and hashed.
  case content
}

/// The sources of a snapshot, and its settings.
public struct SnapshotOptions: Sendable {
  /// Absolute paths without `.`, `..` and empty components.
  public var sources: [[UInt8]]
  /// The first directory inside the snapshot.
  public var label: [UInt8]
  public var threads: Int
  public var changeDetection: ChangeDetection
  public var guardLimits: GuardLimits
  /// The exclusion rules of every source that `excludesOfSource` does not name.
  public var excludes: Excludes
  /// Sources that also count as absent if their directory is empty, such as a removable disk.
  public var optionalSources: Set<[UInt8]> = []
  /// Sources whose absence is no warning.
  public var excusedSources: Set<[UInt8]> = []
  /// The exclusion rules of single sources, by the source's path.
  public var excludesOfSource: [[UInt8]: Excludes] = [:]

  public init(
    sources: [[UInt8]], label: [UInt8] = Array("localhost".utf8), threads: Int,
    changeDetection: ChangeDetection = .ctime, guardLimits: GuardLimits = GuardLimits(),
    excludes: Excludes = Excludes()
  ) {
    self.sources = sources
    self.label = label
    self.threads = threads
    self.changeDetection = changeDetection
    self.guardLimits = guardLimits
    self.excludes = excludes
  }

  /// The path of a source from the snapshot's root.
  func place(of source: [UInt8]) -> [[UInt8]] {
    [label] + source.split(separator: UInt8(ascii: "/")).map(Array.init)
  }
}

/// A published snapshot, and the time that it took.
public struct SnapshotResult: Sendable {
  public var snapshot: Snapshot
  /// The snapshot whose unchanged files were linked.
  public var previous: SnapshotName?
  public var elapsedSeconds: Double
}

/// Takes a snapshot of the present sources: one walk against the newest catalog, then publication.
///
/// A source that is missing, or that a guard refuses, is left out with a warning. If no source is left, nothing is
/// published. The caller holds the repository's lock, and empties the trash afterwards, without the lock. Throws a
/// `Failure`; nothing is published then, unless the failure says so.
public func takeSnapshot(
  of options: SnapshotOptions, in repository: Repository, program: String, progress: Progress,
  monitor: any Monitor
) throws(Failure) -> SnapshotResult {
  do {
    return try snapshotOfPresent(options, repository, program, progress, OnceMonitor(monitor))
  } catch let failure as Failure {
    throw failure
  } catch let error as Errno {
    throw .writing("take a snapshot in", at: repository.path, because: error)
  } catch {
    throw Failure(.failed, "cannot take a snapshot in \(displayName(repository.path)): \(error)")
  }
}

private func snapshotOfPresent(
  _ options: SnapshotOptions, _ repository: Repository, _ program: String, _ progress: Progress,
  _ monitor: any Monitor
) throws -> SnapshotResult {
  var absent = try options.absentSources()
  var present = options
  present.sources.removeAll { source in absent.contains { $0.path == source } }
  guard !present.sources.isEmpty else {
    let named = absent.map { "\(displayName($0.path)) \($0.reason)" }.joined(separator: ", ")
    throw Failure(.failed, "no source is there: \(named)", hint: "nothing was published; are the disks mounted?")
  }
  var mayRecycle = true
  while true {
    do {
      return try compareAndPublish(present, absent, mayRecycle, repository, program, progress, monitor)
    } catch is SpareUnusable {
      mayRecycle = false
      progress.restart()
    } catch let refusal as SourceRefusal {
      guard present.sources.count > 1 else { throw refusal.failure }
      present.sources.removeAll { $0 == refusal.path }
      absent.append(AbsentSource(path: refusal.path, reason: "is left out: \(refusal.failure)", isThere: true))
      progress.restart()
    }
  }
}

/// The number of snapshots before the newest that are searched for a returned file.
private let olderSnapshotsSearched = 50

/// The older trees with which a run compares the sources.
private struct Comparison {
  let list: SnapshotList
  /// The trees whose entries may be linked, in the search order for moved files.
  var trees: [StoredTree] = []
  /// The index of the newest snapshot in `trees`.
  var base: Int?
  var bases: [[UInt8]: SourceBase] = [:]

  func guards(_ options: SnapshotOptions) -> Guards {
    Guards(options.guardLimits, list.snapshots, bases, newest: base.map { trees[$0] })
  }

  /// Walks the sources and writes nothing.
  ///
  /// The returned guards have counted the changes, and `space` has counted the needs.
  func lookAhead(
    _ options: SnapshotOptions, _ absent: [AbsentSource], _ repository: Repository, _ capabilities: Capabilities,
    _ space: SpaceGuard
  ) throws -> Guards {
    let ahead = SnapshotWork(
      options: options, leftOut: absent, repository: repository, pending: nil, trees: trees, base: base,
      guards: guards(options), capabilities: capabilities, space: space, isDry: true, progress: Progress(),
      monitor: Silence())
    try walkTree(ahead, from: ahead.rootNode(), threads: options.threads)
    try checkForSignal()
    return ahead.guards
  }
}

private func compareAndPublish(
  _ options: SnapshotOptions, _ absent: [AbsentSource], _ mayRecycle: Bool, _ repository: Repository,
  _ program: String, _ progress: Progress, _ monitor: any Monitor
) throws -> SnapshotResult {
  func cannotLink(to name: SnapshotName, _ reason: String) {
    progress.warnings.count()
    monitor.warn(
      Warning(path: Array(name.description.utf8), message: "this snapshot cannot be linked to: \(reason)"))
  }
  try repository.publication.recover()
  let list = try repository.snapshots()
  // `list` and `verify` report older unusable snapshots. Without a newer snapshot, files are copied again.
  for unusable in list.unusable where unusable.name.description > list.newest?.name.description ?? "" {
    cannotLink(to: unusable.name, unusable.reason)
  }

  // An absent source is trouble of the run, not of the snapshot, which has all of its own sources.
  let unwelcome = absent.filter { $0.isThere || !options.excusedSources.contains($0.path) }
  progress.warnings.count(UInt64(unwelcome.count))
  for source in unwelcome { monitor.warn(Warning(path: source.path, message: source.reason)) }

  var comparison = Comparison(list: list)
  if let newest = list.newest {
    // A killed run may have published a snapshot without `latest`.
    do { try repository.publication.pointLatest(to: newest.name) } catch { repository.problems.note(error) }
    comparison.base = 0
    var tree: Directory?
    do { tree = try repository.openTree(newest.name) } catch { cannotLink(to: newest.name, error.message) }
    comparison.trees.append(StoredTree(newest.name, try repository.openCatalog(newest.name), tree, in: repository))
    progress.expectedEntries.store(newest.summary.root.totals.entries, ordering: .relaxed)
  }

  // A file that the newest snapshot lacks may be in an older one. An unreadable catalog only costs a copy, except for
  // the snapshot that a source is compared with. There, an error must not make the source pass for new.
  for (age, snapshot) in list.snapshots.reversed().enumerated() {
    let lacking = options.sources.filter { comparison.bases[$0] == nil }
    if age > olderSnapshotsSearched && lacking.isEmpty { break }
    let covered = lacking.filter { snapshot.summary.covers(options.place(of: $0)) }
    guard age <= olderSnapshotsSearched || !covered.isEmpty else { continue }
    let tree: StoredTree
    if age == 0, let newest = comparison.trees.first {
      tree = newest
    } else {
      do {
        let catalog = try repository.openCatalog(snapshot.name)
        tree = StoredTree(snapshot.name, catalog, try? repository.openTree(snapshot.name), in: repository)
      } catch {
        if error.kind != .damaged && !covered.isEmpty { throw error }
        continue
      }
    }
    let reader = CatalogReader(tree.catalog)
    let found = covered.compactMap { source -> (source: [UInt8], subtree: Subtree)? in
      guard case .directory(_, let subtree)? = try? reader.find(options.place(of: source)) else { return nil }
      return (source, subtree)
    }
    for (source, subtree) in found {
      comparison.bases[source] = SourceBase(place: options.place(of: source), tree: tree, subtree: subtree)
    }
    if age > 0 && (age <= olderSnapshotsSearched || !found.isEmpty) { comparison.trees.append(tree) }
  }
  do {
    return try walkAndPublish(
      options, absent, unwelcome: unwelcome.count, comparison, mayRecycle, repository, program, progress, monitor)
  } catch let error where meansNoRoom(error) && (error as? Failure)?.isSuspect != true {
    // A disaster makes the older snapshots necessary, even if it cannot be published.
    let guards: Guards
    do {
      guards = try comparison.lookAhead(options, absent, repository, Capabilities(), SpaceGuard(repository))
      try guards.checkGone()
    } catch let trouble where !(trouble is SourceRefusal) {
      try checkForSignal()
      throw keepingAll(error, because: "the sources cannot be looked through: \(trouble)", in: repository)
    }
    throw noRoom(error, guards, in: repository, options)
  }
}

private func meansNoRoom(_ error: any Error) -> Bool {
  (error as? Failure)?.kind == .noSpace || (error as? Errno)?.meansNoRoom == true
}

/// The failure of a run without room, if a guard suspects a disaster or cannot decide.
private func keepingAll(_ error: any Error, because reason: String, in repository: Repository) -> Failure {
  var failure = Failure.writing("take a snapshot in", at: repository.path, because: error)
  failure.isSuspect = true
  failure.message += "; nothing expires to make room: \(reason)"
  return failure
}

/// The failure of a run without room; the same error if its guards suspect nothing.
///
/// If they suspect a disaster, rotation is held: no older snapshot may make room for it.
private func noRoom(_ error: any Error, _ guards: Guards, in repository: Repository, _ options: SnapshotOptions)
  -> any Error
{
  guard let suspect = guards.suspects(in: repository).first else { return error }
  var failure = keepingAll(error, because: "in \(displayName(suspect.path)) \(suspect.message)", in: repository)
  failure.hint = "if it is right, run again after that with --accept-changes"
  func hold() throws {
    try repository.rotationFreeze.begin(
      "a snapshot that did not fit: \(displayName(suspect.path)): most files have another content than before",
      at: Clock.now())
  }
  do {
    do { try hold() } catch {
      // The hold is worth more than the copies that the next run could use.
      try repository.publication.recover(keepingUnfinished: false)
      repository.retirement.discardSpare()
      tidyTrash(of: repository, threads: options.threads)
      try hold()
    }
  } catch { failure.message += "; and rotation could not be held: \(error)" }
  return failure
}

private func walkAndPublish(
  _ options: SnapshotOptions, _ absent: [AbsentSource], unwelcome: Int, _ comparison: Comparison, _ mayRecycle: Bool,
  _ repository: Repository, _ program: String, _ progress: Progress, _ monitor: any Monitor
) throws -> SnapshotResult {
  let start = Clock.monotonic()
  let list = comparison.list
  let capabilities: Capabilities
  do { capabilities = try repository.fileSystem.run() } catch {
    guard error.kind == .noSpace, try !repository.publication.unfinished().isEmpty else { throw error }
    // The leftovers of earlier runs are all that can be given up.
    try repository.publication.recover(keepingUnfinished: false)
    repository.retirement.discardSpare()
    tidyTrash(of: repository, threads: options.threads)
    capabilities = try repository.fileSystem.run()
  }
  for shortcoming in try repository.fileSystem.newLimitations(of: capabilities) { monitor.note(shortcoming) }
  let unfinished = try repository.publication.unfinished().map {
    StoredTree($0.name, $0.catalog, $0.tree, in: repository, isUnfinished: true)
  }
  var comparison = comparison
  comparison.trees = unfinished + comparison.trees
  comparison.base = comparison.base.map { $0 + unfinished.count }
  let (trees, base) = (comparison.trees, comparison.base)

  let space = SpaceGuard(repository)
  if try space.isInDoubt(list.newest?.summary, sources: options.sources) {
    // The trash is emptied first.
    tidyTrash(of: repository, threads: options.threads)
  }
  if try space.isInDoubt(list.newest?.summary, sources: options.sources) {
    _ = try comparison.lookAhead(options, absent, repository, capabilities, space)
    do { try space.checkNeeds() } catch {
      guard repository.retirement.discardSpare() else { throw error }
      tidyTrash(of: repository, threads: options.threads)
      try space.checkNeeds()
    }
  }

  let pending = try repository.publication.beginSnapshot(
    at: Clock.now(), catalogBytes: base.map { trees[$0].catalog.byteCount } ?? 0,
    mayRecycle: mayRecycle && capabilities.recycles)
  // The time is taken after the wait for a unique name, in case two runs fall into one second.
  let started = Clock.now()
  let work = SnapshotWork(
    options: options, leftOut: absent, repository: repository, pending: pending, trees: trees, base: base,
    guards: comparison.guards(options), capabilities: capabilities, space: space, progress: progress, monitor: monitor)
  let root = work.rootNode()
  defer { root.release() }
  func summary(of tree: Subtree) throws -> CatalogSummary {
    var summary = CatalogSummary(root: tree)
    try summary.complete(
      root: tree, sequence: list.nextSequence, counts: progress, in: repository, program: program)
    summary.started = started
    summary.finished = Clock.now()
    summary.warnings = progress.warnings.value - UInt64(unwelcome)
    summary.outcome = summary.warnings > 0 ? .warnings : .complete
    summary.label = options.label
    summary.sources = options.sources
    summary.absentSources = absent.map(\.path)
    summary.mounts = work.guards.mounts
    return summary
  }
  var isWalking = true
  do {
    try walkTree(work, from: root, threads: options.threads)
    try checkForSignal()
    guard let tree = root.build.result else { throw Failure(.failed, "the walk ended without a root") }
    try work.guards.checkGone()
    let suspects = work.guards.suspects(in: repository)
    for suspect in suspects { work.warn(suspect.path, suspect.message) }
    if let first = suspects.first {
      // Rotation is held before publication. It must never continue with a suspect snapshot.
      try repository.rotationFreeze.begin(
        "\(pending.name): \(displayName(first.path)): most files have another content than before",
        at: started)
    }

    isWalking = false
    let summary = try summary(of: tree)
    try pending.publish(summary, with: FrameWriter(sink: pending.sink))
    do { try repository.publication.recover(keepingUnfinished: false) } catch { repository.problems.note(error) }
    let snapshot = Snapshot(name: pending.name, summary: summary)
    var now = list
    now.snapshots.append(snapshot)
    for trouble in completePublication(now, in: repository) { work.warn(trouble.path, trouble.message) }
    for trouble in repository.problems.drain() { work.warn(trouble.path, trouble.message) }
    return SnapshotResult(
      snapshot: snapshot, previous: list.newest?.name, elapsedSeconds: Clock.monotonic() - start)
  } catch {
    if let error = error as? SpareUnusable {
      repository.publication.setAside(pending, at: error.path, because: error.reason)
    }
    // The copied files serve the next run, unless their content is in doubt. Without room, older unfinished trees are
    // given up: otherwise they might block every later run.
    let isFull = meansNoRoom(error)
    if isFull { try? repository.publication.discardUnfinished(but: pending.name) }
    if isWalking, mayBeKept(error), progress.copied.value + progress.moved.value > 0 {
      let writer = FrameWriter(sink: pending.sink)
      if let tree = try? work.closeUnfinished(root, into: writer), (try? writer.flush()) != nil,
        var summary = try? summary(of: tree)
      {
        summary.outcome = .unfinished
        try? pending.keepUnfinished(summary, with: writer)
      }
    }
    try? repository.publication.recover()
    if isFull { tidyTrash(of: repository, threads: options.threads) }
    throw isFull ? noRoom(error, work.guards, in: repository, options) : error
  }
}

private func mayBeKept(_ error: any Error) -> Bool {
  if error is SourceRefusal { return true }
  return switch (error as? Failure)?.kind {
  case .noSpace, .refused, .interrupted: true
  default: (error as? Errno)?.meansNoRoom ?? false
  }
}

/// Ignores the warnings of a look-ahead: the run that follows gives them all.
private final class Silence: Monitor {
  func warn(_ warning: Warning) {}
}

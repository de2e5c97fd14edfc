public import Catalog
internal import Model
internal import Posix
public import Repository
internal import Synchronization

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
    let absent = try options.absentSources()
    var present = options
    present.sources.removeAll { source in absent.contains { $0.path == source } }
    var run = SnapshotRun(
      options: present, absent: absent, repository: repository, program: program, progress: progress,
      monitor: OnceMonitor(monitor: monitor))
    return try run.takeOfPresentSources()
  } catch { throw .writing("take a snapshot in", at: repository.path, because: error) }
}

/// The snapshots of a remote before a direct one.
public struct RemoteSnapshots {
  public let list: SnapshotList
  /// Those with which the guards compare the sources that the cache does not have.
  public let compared: [(snapshot: Snapshot, catalog: OpenCatalog)]

  public init(_ list: SnapshotList, compared: [(snapshot: Snapshot, catalog: OpenCatalog)] = []) {
    (self.list, self.compared) = (list, compared)
  }
}

/// Makes the catalog of a snapshot whose files go from the sources straight to a remote.
///
/// `cache` holds the catalogs of the remote and no files. The new catalog becomes a snapshot of the cache. The files
/// that are copied are in its tree, each named by its digest.
public func takeCatalog(
  of options: SnapshotOptions, in cache: Repository, behind remote: RemoteSnapshots, copying copied: CopiedFiles,
  program: String, progress: Progress, monitor: any Monitor
) throws(Failure) -> SnapshotResult {
  do {
    let absent = try options.absentSources()
    var present = options
    present.sources.removeAll { source in absent.contains { $0.path == source } }
    var run = SnapshotRun(
      options: present, absent: absent, repository: cache, program: program, progress: progress,
      monitor: OnceMonitor(monitor: monitor), treeless: (remote, copied))
    return try run.takeOfPresentSources()
  } catch { throw .writing("keep the catalog of a snapshot in", at: cache.path, because: error) }
}

/// The phases of a run. They are repeated if a source or the spare turns out to be unusable.
private struct SnapshotRun {
  /// The options, with the present sources alone.
  var options: SnapshotOptions
  var absent: [AbsentSource]
  let repository: Repository
  let program: String
  let progress: Progress
  let monitor: any Monitor
  let start = Clock.monotonic()
  var mayRecycle = true
  /// For a snapshot without a local tree: the remote's snapshots, and the files to copy; otherwise `nil`.
  var treeless: (remote: RemoteSnapshots, copied: CopiedFiles)?

  mutating func takeOfPresentSources() throws -> SnapshotResult {
    for source in absent {
      guard let dump = options.dumps[source.path], dump.isRequired else { continue }
      throw Failure(
        .failed, "the database \(displayName(dump.record.name)) \(source.reason)", path: source.path,
        hint: "it is required, so nothing was published")
    }
    guard !options.sources.isEmpty else {
      let named = absent.map { "\(displayName($0.path)) \($0.reason)" }.joined(separator: ", ")
      let question = absent.contains { !$0.isThere } ? "; are the disks mounted?" : ""
      throw Failure(.failed, "no source is there: \(named)", hint: "nothing was published\(question)")
    }
    while true {
      do { return try compareAndPublish() } catch is SpareUnusable {
        mayRecycle = false
      } catch let refusal as SourceRefusal {
        let isRequired = options.dumps[refusal.path]?.isRequired ?? false
        guard options.sources.count > 1, !isRequired else { throw refusal.failure }
        options.sources.removeAll { $0 == refusal.path }
        absent.append(AbsentSource(path: refusal.path, reason: "is left out: \(refusal.failure)", isThere: true))
      }
      progress.restart()
    }
  }

  private func warn(at path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  // MARK: Comparison

  /// The absent sources that the operator must know about.
  private var unwelcome: [AbsentSource] { absent.filter { $0.isThere || !options.excusedSources.contains($0.path) } }

  private func compareAndPublish() throws -> SnapshotResult {
    try repository.publication.recover()
    let list = try repository.snapshots()
    func cannotLink(to name: SnapshotName, because reason: String) {
      warn(at: Array(name.description.utf8), "this snapshot cannot be linked to: \(reason)")
    }
    // `list` and `verify` report older unusable snapshots. Without a newer snapshot, files are copied again.
    for unusable in list.unusable where unusable.name.description > list.newest?.name.description ?? "" {
      cannotLink(to: unusable.name, because: unusable.reason)
    }
    // An absent source is trouble of the run, not of the snapshot, which has all of its own sources.
    for source in unwelcome { warn(at: source.path, source.reason) }
    var newest: StoredTree?
    if let name = list.newest?.name {
      var tree: Directory?
      if treeless == nil {
        // A killed run may have published a snapshot without `latest`.
        do { try repository.publication.pointLatest(to: name) } catch { repository.problems.note(error) }
        do { tree = try repository.openTree(of: name) } catch { cannotLink(to: name, because: error.message) }
      }
      newest = StoredTree(of: name, catalog: try repository.openCatalog(of: name), root: tree, in: repository)
      progress.expectedEntries.store(list.newest?.summary.root.totals.entries ?? 0, ordering: .relaxed)
    }
    let older = try OlderTrees(
      list, newest: newest, of: options, in: repository, remote: treeless?.remote.compared ?? [])
    do {
      return try treeless == nil ? buildAndPublish(comparedWith: older) : makeCatalog(comparedWith: older)
    } catch let error
      where treeless == nil && meansNoRoom(error) && (error as? Failure)?.isSuspect != true
    {
      // A disaster makes the older snapshots necessary, even if it cannot be published.
      let guards: Guards
      do {
        guards = try lookAhead(comparedWith: older, capabilities: Capabilities(), space: SpaceGuard(in: repository))
        try guards.checkGone()
      } catch let trouble where !(trouble is SourceRefusal) {
        try checkForSignal()
        throw keepingAll(error, because: "the sources cannot be looked through: \(trouble)")
      }
      throw noRoom(error, guards: guards)
    }
  }

  // MARK: Preparation

  private func probe() throws -> Capabilities {
    do { return try repository.fileSystem.run() } catch {
      guard error.kind == .noSpace, try !repository.publication.unfinished().isEmpty else { throw error }
      // The leftovers of earlier runs are all that can be given up.
      try giveUpLeftovers()
      return try repository.fileSystem.run()
    }
  }

  private func giveUpLeftovers() throws {
    try repository.publication.recover(keepingUnfinished: false)
    repository.retirement.discardSpare()
    emptyTrash()
  }

  private func emptyTrash() { emptyTrashNotingErrors(of: repository, threads: options.threads) }

  /// Throws `noSpace` if the snapshot does not fit, even after the trash and the spare are given up.
  private func ensureSpace(comparedWith older: OlderTrees, capabilities: Capabilities, space: SpaceGuard) throws {
    let newest = older.list.newest?.summary
    let directories = options.sources.filter { options.hosts[$0] == nil }.map(options.origin)
    guard try space.isInDoubt(newest, sources: directories) else { return }
    emptyTrash()
    guard try space.isInDoubt(newest, sources: directories) else { return }
    _ = try lookAhead(comparedWith: older, capabilities: capabilities, space: space)
    do { try space.checkNeeds() } catch {
      guard repository.retirement.discardSpare() else { throw error }
      emptyTrash()
      try space.checkNeeds()
    }
  }

  /// Walks the sources and writes nothing.
  ///
  /// The returned guards have counted the changes, and `space` has counted the needs.
  private func lookAhead(
    comparedWith older: OlderTrees, capabilities: Capabilities, space: SpaceGuard
  ) throws -> Guards {
    // The run that follows gives all warnings.
    let context = BuildContext(
      repository: repository, capabilities: capabilities, space: space, progress: Progress(),
      monitor: SilentMonitor())
    let ahead = work(comparedWith: older, context: context, for: .lookAhead)
    try walkTree(ahead, from: ahead.rootNode(), threads: options.threads)
    try checkForSignal()
    return ahead.guards
  }

  private func work(
    comparedWith older: OlderTrees, context: BuildContext, for purpose: SnapshotWork.Purpose
  ) -> SnapshotWork {
    SnapshotWork(
      options: options, leftOut: absent, trees: older.trees, base: older.base,
      guards: older.guards(limits: options.guardLimits), in: context, for: purpose)
  }

  // MARK: The snapshot

  /// A snapshot that is being built.
  private struct Draft {
    let pending: PendingSnapshot
    let work: SnapshotWork
    let root: SnapshotNode
    let started: Timestamp
    let sequence: UInt64
  }

  private func buildAndPublish(comparedWith found: OlderTrees) throws -> SnapshotResult {
    var older = found
    let capabilities = try probe()
    for shortcoming in try repository.fileSystem.newLimitations(of: capabilities) { monitor.note(shortcoming) }
    older.search(
      first: try repository.publication.unfinished().map {
        StoredTree(of: $0.name, catalog: $0.catalog, root: $0.tree, in: repository, isUnfinished: true)
      })
    let space = SpaceGuard(in: repository)
    try ensureSpace(comparedWith: older, capabilities: capabilities, space: space)
    let context = BuildContext(
      repository: repository, capabilities: capabilities, space: space, progress: progress, monitor: monitor)
    let draft = try begin(comparedWith: older, context: context)
    defer { draft.root.release() }
    var isBuilt = false
    do {
      let tree = try build(draft)
      isBuilt = true
      return try publish(draft, summary: try summary(of: tree, in: draft), after: older.list)
    } catch {
      if let error = error as? SpareUnusable {
        repository.publication.setAside(draft.pending, at: error.path, because: error.reason)
      }
      // Without room, older unfinished trees are given up: otherwise they might block every later run.
      if meansNoRoom(error) { try? repository.publication.discardUnfinished(but: draft.pending.name) }
      if !isBuilt, mayBeKept(error) { salvage(draft) }
      for source in options.sources { options.fetchedTree(of: source)?.takeBack() }
      try? repository.publication.recover()
      guard meansNoRoom(error) else { throw error }
      emptyTrash()
      throw noRoom(error, guards: draft.work.guards)
    }
  }

  private func begin(comparedWith older: OlderTrees, context: BuildContext) throws -> Draft {
    let pending = try repository.publication.beginSnapshot(
      at: Clock.now(), catalogBytes: older.base.map { older.trees[$0].catalog.byteCount } ?? 0,
      mayRecycle: mayRecycle && context.capabilities.recycles)
    let builder = SnapshotBuilder(pending, in: context)
    let work = work(comparedWith: older, context: context, for: .tree(builder))
    // The time is taken after the wait for a unique name, in case two runs fall into one second.
    return Draft(
      pending: pending, work: work, root: work.rootNode(), started: Clock.now(), sequence: older.list.nextSequence)
  }

  /// Walks the sources, and judges the changes before anything is published.
  private func build(_ draft: Draft) throws -> Subtree {
    let tree = try walk(draft)
    let suspects = draft.work.guards.suspects()
    for suspect in suspects { warn(at: suspect.source, sentence(about: suspect)) }
    if let first = suspects.first {
      // Rotation is held before publication. It must never continue with a suspect snapshot.
      try repository.holdRotation(
        "in the snapshot \(draft.pending.name), \(first.description) since the snapshot \(first.previous)",
        because: suspects, at: draft.started)
    }
    for dump in draft.work.dumpedTrees.withLock({ $0 }) { try holdLast(before: dump, at: draft.started) }
    return tree
  }

  private func walk(_ draft: Draft) throws -> Subtree {
    try walkTree(draft.work, from: draft.root, threads: options.threads)
    try checkForSignal()
    guard let tree = draft.root.build.result else { throw Failure(.failed, "the walk ended without a root") }
    try checkFrozen()
    try draft.work.guards.checkGone()
    return tree
  }

  /// Refuses a source whose frozen snapshot did not stay whole while it was read.
  private func checkFrozen() throws(SourceRefusal) {
    for source in options.sources {
      do { try options.frozen[source]?.check() } catch { throw SourceRefusal(path: source, failure: error) }
    }
  }

  /// Holds the last snapshot with a database that its server no longer has. Nobody may have dropped it on purpose.
  private func holdLast(before dump: DumpedTree, at time: Timestamp) throws {
    guard let last = dump.base?.tree.name else { return }
    // Where the older catalog is damaged, nothing can be compared.
    for name in (try? dump.lostDirectories()) ?? [] {
      let lost = "\(displayName(name)) of \(displayName(dump.dump.record.source))"
      try repository.marks.hold(last, asLastBefore: "the database \(lost) was gone", at: time)
      warn(
        at: dump.dump.record.source,
        "the database \(displayName(name)) is in the dump no more: the server has lost it, or the configuration leaves "
          + "it out; the last snapshot with it, \(last), is held until you run: \(repository.advice("release \(last)"))"
      )
    }
  }

  private func sentence(about suspect: SuspectChange) -> String {
    "\(observation(of: suspect)); rotation is held until you run: \(repository.advice("release"))"
  }

  private func observation(of suspect: SuspectChange) -> String {
    "\(suspect.amount) \(suspect.state) than in the snapshot \(suspect.previous); look whether that is right"
  }

  private func summary(of tree: Subtree, in draft: Draft) throws -> CatalogSummary {
    var summary = CatalogSummary(root: tree)
    try summary.complete(root: tree, sequence: draft.sequence, counts: progress, in: repository, program: program)
    summary.started = draft.started
    summary.finished = Clock.now()
    summary.warnings = progress.warnings.value - UInt64(unwelcome.count)
    summary.outcome = summary.warnings > 0 ? .warnings : .complete
    summary.label = options.label
    summary.sources = options.sources.filter(options.isOwn)
    summary.otherSources = options.sources.filter { !options.isOwn($0) }
    summary.absentSources = absent.map(\.path).filter { options.isOwn($0) || options.hosts[$0] != nil }
    summary.databases = options.databases.map { database in
      var database = database
      database.isLeftOut = !options.sources.contains(database.source)
      return database
    }
    summary.mounts = draft.work.guards.mounts
    return summary
  }

  private func publish(_ draft: Draft, summary: CatalogSummary, after list: SnapshotList) throws -> SnapshotResult {
    try draft.pending.publish(summary, with: FrameWriter(sink: draft.pending.sink))
    do { try repository.publication.recover(keepingUnfinished: false) } catch { repository.problems.note(error) }
    let snapshot = Snapshot(name: draft.pending.name, summary: summary)
    var now = list
    now.add(snapshot)
    for trouble in completePublication(now, in: repository) + repository.problems.drain() {
      warn(at: trouble.path, trouble.message)
    }
    return SnapshotResult(snapshot: snapshot, previous: list.newest?.name, elapsedSeconds: Clock.monotonic() - start)
  }

  // MARK: Without a tree

  /// Makes the catalog alone. Rotation is a matter of the remote.
  private func makeCatalog(comparedWith found: OlderTrees) throws -> SnapshotResult {
    var older = found
    older.search(
      first: try repository.publication.unfinished().map {
        StoredTree(of: $0.name, catalog: $0.catalog, root: nil, in: repository, isUnfinished: true)
      })
    var context = BuildContext(
      repository: repository, capabilities: Capabilities(), space: SpaceGuard(in: repository), progress: progress,
      monitor: monitor)
    context.isRoot = false
    let remote = treeless?.remote.list ?? SnapshotList()
    var now = Clock.now()
    while remote.snapshots.contains(where: { $0.name.seconds == now.seconds }) {
      CurrentProcess.sleep(milliseconds: 100)
      now = Clock.now()
    }
    let pending = try repository.publication.beginSnapshot(
      at: now, catalogBytes: older.base.map { older.trees[$0].catalog.byteCount } ?? 0, mayRecycle: false)
    let work = work(
      comparedWith: older, context: context,
      for: .sending(
        TreelessSnapshot(records: pending.sink, copies: pending.tree, copied: treeless?.copied ?? CopiedFiles())))
    let draft = Draft(
      pending: pending, work: work, root: work.rootNode(), started: Clock.now(),
      sequence: max(older.list.nextSequence, (remote.snapshots.map(\.summary.sequence).max() ?? 0) &+ 1))
    defer { draft.root.release() }
    var isBuilt = false
    do {
      let tree = try walk(draft)
      for suspect in work.guards.suspects() { warn(at: suspect.source, observation(of: suspect)) }
      let summary = try summary(of: tree, in: draft)
      isBuilt = true
      try pending.publishCatalog(summary, with: FrameWriter(sink: pending.sink))
      try repository.publication.recover(keepingUnfinished: false)
      return SnapshotResult(
        snapshot: Snapshot(name: pending.name, summary: summary), previous: older.list.newest?.name,
        elapsedSeconds: Clock.monotonic() - start)
    } catch {
      if !isBuilt, mayBeKept(error) { salvage(draft) }
      try? repository.publication.recover()
      throw error
    }
  }

  /// Keeps the copied files for the next run.
  private func salvage(_ draft: Draft) {
    guard progress.copied.value + progress.moved.value > 0 else { return }
    let writer = FrameWriter(sink: draft.pending.sink)
    guard let tree = try? draft.work.closeUnfinished(draft.root, into: writer), (try? writer.flush()) != nil,
      var summary = try? summary(of: tree, in: draft)
    else { return }
    summary.outcome = .unfinished
    try? draft.pending.keepUnfinished(summary, with: writer)
  }

  // MARK: No room

  /// The failure of a run without room, if a guard suspects a disaster or cannot decide.
  private func keepingAll(_ error: any Error, because reason: String) -> Failure {
    var failure = Failure.writing("take a snapshot in", at: repository.path, because: error)
    failure.isSuspect = true
    failure.message += "; nothing expires to make room: \(reason)"
    return failure
  }

  /// The failure of a run without room; the same error if its guards suspect nothing.
  ///
  /// If they suspect a disaster, rotation is held: no older snapshot may make room for it.
  private func noRoom(_ error: any Error, guards: Guards) -> any Error {
    let suspects = guards.suspects()
    guard let first = suspects.first else { return error }
    var failure = keepingAll(error, because: "in \(displayName(first.source)) \(sentence(about: first))")
    failure.hint = "if it is right, run again after that with --accept-changes"
    func hold() throws {
      try repository.holdRotation(
        "in a snapshot that did not fit, \(first.description) since the snapshot \(first.previous)",
        because: suspects, at: Clock.now())
    }
    do {
      do { try hold() } catch {
        // The hold is worth more than the copies that the next run could use.
        try giveUpLeftovers()
        try hold()
      }
    } catch { failure.message += "; and rotation could not be held: \(error)" }
    return failure
  }
}

private func meansNoRoom(_ error: any Error) -> Bool {
  (error as? Failure)?.kind == .noSpace || (error as? Errno)?.meansNoRoom == true
}

/// True if the files that a failed run has copied are surely right.
private func mayBeKept(_ error: any Error) -> Bool {
  if error is SourceRefusal { return true }
  return switch (error as? Failure)?.kind {
  case .noSpace, .refused, .interrupted: true
  default: (error as? Errno)?.meansNoRoom ?? false
  }
}

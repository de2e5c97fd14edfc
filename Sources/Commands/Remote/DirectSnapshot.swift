internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Restic
internal import Settings
internal import Synchronization

/// A snapshot without a local repository: changed files go from the sources straight to a remote.
struct DirectSnapshot {
  let target: RemoteTarget
  let cache: CatalogCache
  let common: CommonOptions

  /// The most attempts while files change between the walk and the push.
  private static let attempts = 8
  /// The size up to which new and changed files are copied after the first attempt.
  private static let smallByteCount: UInt64 = 1 << 20
  /// A server waits longer than this for a request.
  private static let idleSeconds = 60.0

  /// Opens the cache of the remote that `--repository` names; `nil` for a repository that is here.
  init?(connection: RemoteConnectionOptions, options common: CommonOptions) throws(Failure) {
    guard try common.isElsewhere() else {
      try connection.refuseRate(for: try common.repositoryPath())
      return nil
    }
    target = try common.remoteTarget(connection: connection)
    cache = try CatalogCache(at: try Self.cachePath(of: target), time: Clock.now())
    self.common = common
  }

  private static func cachePath(of target: RemoteTarget) throws(Failure) -> [UInt8] {
    if let path = CacheDirectory.path(for: target.options.recordedAddress) { return path }
    throw Failure(.usage, "there is no place for the cache of \(target.name)", hint: "set XDG_CACHE_HOME")
  }

  /// A published snapshot, and the bytes that it took on the wire.
  struct Result {
    var snapshot: SnapshotResult
    let transfer: Transfer
  }

  struct Transfer: Sendable {
    let bytesSent: UInt64
    let bytesReceived: UInt64
  }

  private enum Remote {
    case server(Connection)
    case restic(ResticRepository)
  }

  private func connect() throws -> Remote {
    if let access = target.restic { return .restic(try access.open()) }
    return .server(try Connection(options: target.options))
  }

  func snapshots() throws -> SnapshotList { try CommonOptions.openStore(at: target).snapshots() }

  /// Takes a snapshot. The caller holds the lock of the cache.
  func take(_ options: SnapshotOptions, progress: Progress, monitor: ConsoleMonitor) throws -> Result {
    let start = Clock.monotonic()
    var remote: Remote? = try connect()
    let list = try prepare(for: options, from: remote!)
    var copied = CopiedFiles()
    let once = OnceMonitor(monitor: monitor)
    for attempt in 1...Self.attempts {
      let walkBegan = Clock.monotonic()
      let made = try walk(options, behind: list, copying: copied, progress: progress, monitor: once)
      let name = made.snapshot.name
      if Clock.monotonic() - walkBegan > Self.idleSeconds { remote = nil }
      do {
        let known = monitor.warnings.count
        let sent = try send(made.snapshot, of: options, to: remote ?? connect(), monitor: monitor)
        remote = nil
        switch sent {
        case .done(let transfer):
          tidy(after: name, monitor: monitor)
          progress.warnings.add(UInt64(monitor.warnings.count - known), ordering: .relaxed)
          var result = Result(snapshot: made, transfer: transfer)
          result.snapshot.elapsedSeconds = Clock.monotonic() - start
          return result
        case .filesChanged(let paths):
          copied.unsteady.formUnion(paths)
          // The other files of this attempt were sent.
          copied.areRequired = attempt + 1 == Self.attempts
          copied.largestByteCount = copied.areRequired ? .max : Self.smallByteCount
          try cache.keepUnfinished(name)
        }
      } catch {
        try? cache.keepUnfinished(name)
        throw error
      }
    }
    throw Failure(
      .failed, "files keep changing before they are sent, \(counted(copied.unsteady.count, "file")) in all",
      hint: "nothing was published; what was sent is kept for the next run")
  }

  /// Removes the copies and older catalogs. The snapshot is published, so a failure is a warning.
  private func tidy(after name: SnapshotName, monitor: ConsoleMonitor) {
    do {
      try cache.removeCopies(of: name)
      try cache.prune()
    } catch { monitor.warn(Warning(path: cache.repository.path, message: "the cache cannot be tidied: \(error)")) }
  }

  /// Brings the cache up to date, and returns the remote's snapshots, as far as names may collide with them.
  private func prepare(for options: SnapshotOptions, from remote: Remote) throws -> RemoteSnapshots {
    let places = options.places.map(\.place)
    switch remote {
    case .server(let connection):
      return RemoteSnapshots(try cache.update(from: RemoteRepository(over: connection), for: places))
    case .restic(let restic):
      // restic's trees have no digests of whole files, so a lost cache costs a reading of all files.
      let there = try PushedSnapshots(in: restic)
      try cache.update(from: SnapshotList(), for: places, isThere: there.contains) { name in
        throw Failure(.failed, "there is no catalog of \(name)")
      }
      return RemoteSnapshots(SnapshotList(), compared: try lacking(options, in: ResticStore(restic)))
    }
  }

  /// The newest snapshots of the sources that the cache has no catalog of.
  ///
  /// The catalog of a repository of restic is made of its trees, for the guards alone.
  private func lacking(
    _ options: SnapshotOptions, in store: ResticStore
  ) throws -> [(snapshot: Snapshot, catalog: OpenCatalog)] {
    if options.guardLimits.acceptsChanges { return [] }
    let cached = try cache.repository.snapshots().snapshots
    let lacking = options.places.map(\.place).filter { place in !cached.contains { $0.summary.covers(place) } }
    if lacking.isEmpty { return [] }
    var found: [SnapshotName: Snapshot] = [:]
    let list = try store.snapshots().snapshots
    for place in lacking {
      if let newest = list.last(where: { $0.summary.covers(place) }) { found[newest.name] = newest }
    }
    return try found.values.map { ($0, try store.openCatalog(of: $0.name)) }
  }

  private func walk(
    _ options: SnapshotOptions, behind list: RemoteSnapshots, copying copied: CopiedFiles, progress: Progress,
    monitor: any Monitor
  ) throws -> SnapshotResult {
    progress.restart()
    let line = ProgressLine(for: "snapshot", of: progress, options: common)
    defer { line.stop() }
    return try takeCatalog(
      of: options, in: cache.repository, behind: list, copying: copied, program: "treering \(Treering.version)",
      progress: progress, monitor: monitor)
  }

  private func send(
    _ snapshot: Snapshot, of options: SnapshotOptions, to remote: Remote, monitor: ConsoleMonitor
  ) throws -> SourcePush<Transfer> {
    switch remote {
    case .server(let connection): try send(snapshot, of: options, over: connection, monitor: monitor)
    case .restic(let restic): try send(snapshot, of: options, to: restic, monitor: monitor)
    }
  }

  private func send(
    _ snapshot: Snapshot, of options: SnapshotOptions, over connection: Connection, monitor: ConsoleMonitor
  ) throws -> SourcePush<Transfer> {
    let progress = PushProgress()
    let line = ProgressLine(options: common) { elapsed in
      PushJob.line(for: progress, sent: connection.bytesSent, elapsedSeconds: elapsed)
    }
    defer { line.stop() }
    let files = SourceFiles(of: options, copies: try cache.repository.openTree(of: snapshot.name))
    let push = try push(
      snapshot, of: cache.repository, files: files, over: connection, progress: progress, monitor: monitor)
    return push.map { Transfer(bytesSent: $0.bytesSent, bytesReceived: $0.bytesReceived) }
  }

  private func send(
    _ snapshot: Snapshot, of options: SnapshotOptions, to restic: ResticRepository, monitor: ConsoleMonitor
  ) throws -> SourcePush<Transfer> {
    let progress = Progress()
    let line = ProgressLine(for: "push", of: progress, options: common)
    defer { line.stop() }
    let push = try ResticPush(
      from: cache.repository, to: restic, address: target.options.recordedAddress,
      program: Array("treering \(Treering.version)".utf8), bytesPerSecond: target.options.bytesPerSecond
    ).push(snapshot, of: options, progress: progress)
    if case .done(let result) = push {
      guard result.isNew else {
        throw Failure(.remote, "\(target.name) has another snapshot \(snapshot.name) already", hint: "run again")
      }
      for loss in result.losses { monitor.warn(Warning(path: target.options.path, message: loss)) }
      if common.verbose { for note in result.notes { Console.note(note) } }
    }
    return push.map { Transfer(bytesSent: $0.bytesWritten, bytesReceived: 0) }
  }
}

extension CatalogCache {
  /// Brings the cache up to date with a server's repository, and returns its snapshots.
  func update(from server: RemoteRepository, for places: [TreePath]) throws -> SnapshotList {
    let list = try server.snapshots()
    let digests = Dictionary(
      list.snapshots.map { ($0.name, $0.summary.root.digest) }, uniquingKeysWith: { first, _ in first })
    try update(from: list, for: places, isThere: { digests[$0.name] == $0.summary.root.digest }) {
      try server.catalogSource(of: $0)
    }
    return list
  }
}

extension CommonOptions {
  /// True if the repository is a remote over ssh, or of restic's format.
  fileprivate func isElsewhere() throws(Failure) -> Bool {
    guard let address = try remoteAddress() else { return false }
    if case .local = address { return false }
    return true
  }

  /// True if the repository is surely elsewhere.
  var isRepositoryElsewhere: Bool { (try? isElsewhere()) ?? false }
}

internal import Catalog
internal import Engine
internal import Model
internal import Patterns
internal import Posix
internal import Replication
internal import Repository
internal import Synchronization

/// `serve --source`: sends a directory of this machine to the machine that asks for it, and changes nothing.
struct SourceSending {
  /// The directories that may be sent.
  let sources: [[UInt8]]
  let threads: ThreadCount
  let timeoutSeconds: Double

  /// The size up to which new and changed files are copied in the second attempt.
  private static let smallByteCount: UInt64 = 1 << 20

  func run() throws -> ExitStatus {
    let host = try SourceConnection(
      options: RemoteOptions(
        command: [], path: [], displayName: "the receiving machine", timeoutSeconds: timeoutSeconds,
        program: "treering \(Treering.version)", onLine: { _ in }))
    do {
      try send(over: host)
      return .done
    } catch {
      let failure = error as? Failure ?? Failure(.failed, "\(error)")
      host.end(with: failure)
      return ExitStatus(failure.kind)
    }
  }

  private func send(over host: SourceConnection) throws {
    let wanted = host.wanted
    // The name is the operator's on this machine, and the machine that asks may write it with more slashes.
    let isNamed = sources.contains { TreePath(parsing: $0) == TreePath(parsing: wanted.path) }
    guard isNamed, wanted.path.first == slash else {
      throw Failure(.refused, "\(displayName(wanted.path)) may not be read: serve --source does not name it")
    }
    let options = options(for: wanted)
    if let absent = try options.absentSources().first {
      guard !absent.isThere else { throw Failure(.failed, "\(displayName(absent.path)) \(absent.reason)") }
      return try host.reportAbsence(because: "it is not there on the host")
    }
    guard let path = CacheDirectory.path(for: host.connection.repositoryID, in: Self.cacheDirectory) else {
      return try host.reportInability(because: "treering has no place for its cache there: set XDG_CACHE_HOME")
    }
    let cache: CatalogCache
    do { cache = try CatalogCache(at: path, time: Clock.now()) } catch {
      return try host.reportInability(because: error.message)
    }
    // The machine that asks chooses the cache and its size. The next run tries again.
    try? cache.removeOthers(beyond: Self.cacheByteCount)
    let isSent: Bool
    do {
      isSent = try cache.repository.withLock(for: "serve", at: Clock.now()) {
        try send(options, attempt: wanted.attempt, from: cache, over: host)
      }
    } catch let failure as Failure where failure.kind == .locked {
      // Kind 5 asks for another attempt at once.
      throw Failure(.failed, failure.message, hint: failure.hint)
    }
    guard isSent else { throw Failure(.locked, "files keep changing before they are sent") }
  }

  /// The directory of the caches. It holds nothing but caches that can be lost, and those of one user alone.
  private static var cacheDirectory: String { "sources-\(CurrentProcess.effectiveUser)" }
  /// The most bytes that all caches take.
  private static let cacheByteCount: UInt64 = 1 << 30

  private func options(for wanted: WantedSource) -> SnapshotOptions {
    var excludes = Excludes()
    for line in wanted.patterns { excludes.patterns.add(line, origin: "the receiving machine") }
    excludes.isOneFileSystem = wanted.isOneFileSystem
    excludes.largestFile = wanted.largestFile
    // Only this machine sees its mounts. The other guards are those of the receiving machine.
    var limits = GuardLimits(acceptsChanges: wanted.acceptsChanges)
    limits.leavesCounts = true
    return SnapshotOptions(
      sources: [wanted.path], label: wanted.label.bytes, threads: threads, changeDetection: wanted.changeDetection,
      guardLimits: limits, excludes: excludes)
  }

  /// Sends the source, or reports that it is unchanged. False if files changed before they were sent.
  private func send(
    _ options: SnapshotOptions, attempt: Int, from cache: CatalogCache, over host: SourceConnection
  ) throws -> Bool {
    let monitor = SourceMonitor(for: host.wanted.path)
    let list = try cache.update(from: RemoteRepository(over: host.connection), for: options.places.map(\.place))
    var copied = CopiedFiles()
    copied.areRequired = attempt == WantedSource.attempts
    if attempt > 1 { copied.largestByteCount = copied.areRequired ? .max : Self.smallByteCount }
    let progress = Progress()
    let made = try host.whileWorking(progress: { progress.entries.value &+ progress.bytesRead.value }) {
      try takeCatalog(
        of: options, in: cache.repository, behind: RemoteSnapshots(list), copying: copied,
        program: "treering \(Treering.version)", progress: progress, monitor: monitor)
    }
    let name = made.snapshot.name
    // A file that was read again may have new hints for the next time.
    if progress.bytesRead.value == 0, try isUnchanged(options, in: cache.repository, from: list.newest, to: name) {
      try cache.keepUnfinished(name)
      for warning in monitor.warnings { try host.report(warning) }
      try host.reportUnchanged()
      return true
    }
    do {
      let files = SourceFiles(of: options, copies: try cache.repository.openTree(of: name))
      let sent = try push(
        made.snapshot, of: cache.repository, files: files, over: host.connection, progress: PushProgress(),
        monitor: monitor)
      guard case .done = sent else {
        try cache.keepUnfinished(name)
        return false
      }
    } catch {
      try? cache.keepUnfinished(name)
      throw error
    }
    for warning in monitor.warnings { try host.report(warning) }
    try host.reportEnd()
    // The source is sent, and the next run tries again.
    try? cache.removeCopies(of: name)
    try? cache.prune()
    return true
  }

  /// True if the source itself has the same digest in both snapshots. The times of the directories above it change.
  private func isUnchanged(
    _ options: SnapshotOptions, in cache: Repository, from last: Snapshot?, to name: SnapshotName
  ) throws -> Bool {
    guard let last, let place = options.places.first?.place,
      let digest = try? cache.digest(of: place, in: last.name)
    else { return false }
    return try cache.digest(of: place, in: name) == digest
  }
}

/// Keeps the warnings for the receiving machine, which takes a limited amount.
private final class SourceMonitor: Monitor {
  private static let mostWarnings = 1000
  private static let mostBytes = 200_000
  private let kept = Mutex<(warnings: [Warning], byteCount: Int, others: Int)>(([], 0, 0))
  private let source: [UInt8]

  init(for source: [UInt8]) { self.source = source }

  func warn(_ warning: Warning) {
    kept.withLock { kept in
      kept.byteCount += warning.path.count + warning.message.utf8.count
      if kept.warnings.count < Self.mostWarnings, kept.byteCount < Self.mostBytes {
        kept.warnings.append(warning)
      } else {
        kept.others += 1
      }
    }
  }

  var warnings: [Warning] {
    kept.withLock { kept in
      kept.others == 0
        ? kept.warnings
        : kept.warnings + [Warning(path: source, message: "has \(kept.others) more entries that are not as there")]
    }
  }
}

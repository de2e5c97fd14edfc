internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A lock file in the repository, as restic takes it: shared for work that only adds, exclusive for removal.
///
/// The lock is refreshed until `release`. restic ignores one that is older than 30 minutes. No file is written where
/// nothing may be removed; the locks of others are respected there, too.
final class RepositoryLock: Sendable {
  private let repository: ResticRepository
  private let isExclusive: Bool
  private let id: Mutex<Digest?>
  private let taken = Clock.monotonic()
  private let confirmed = Atomic<Bool>(false)
  private let refreshFailure = Mutex<(any Error)?>(nil)
  private let ticker = Mutex<Ticker?>(nil)

  private static let staleSeconds = 30.0 * 60
  private static let refreshMilliseconds = 5 * 60 * 1000
  /// The time in which a lock file of another process shows in a listing; restic waits as long. Where listings are
  /// never late, of two processes that write first and list then, at least one sees the other.
  private static let settlingSeconds = 0.2

  /// Takes a lock. Before the first change, `confirm` must be called.
  init(_ repository: ResticRepository, isExclusive: Bool = false) throws {
    self.repository = repository
    self.isExclusive = isExclusive
    if repository.isAppendOnly, isExclusive {
      throw Failure(
        .refused, "nothing can be removed from \(repository.displayName), because it only takes new data from here",
        hint: "let its administrator do it, with a credential that this machine does not have")
    }
    try Self.refuseOthers(in: repository, isExclusive: isExclusive, except: nil)
    if repository.isAppendOnly {
      id = Mutex(nil)
      return
    }
    id = Mutex(try repository.save(.locks, Self.file(isExclusive: isExclusive).json))
    ticker.withLock {
      $0 = Ticker(intervalMilliseconds: Self.refreshMilliseconds) { [weak self] in self?.refresh() }
    }
  }

  private static func file(isExclusive: Bool) -> LockFile {
    var file = LockFile(time: Clock.now())
    file.isExclusive = isExclusive
    file.host = CurrentProcess.hostName()
    file.user = Array(accountName(ofUser: CurrentProcess.effectiveUser).utf8)
    file.process = Int64(CurrentProcess.identifier)
    file.userID = UInt64(CurrentProcess.effectiveUser)
    return file
  }

  /// Throws if another process took a lock at the same time, or if the lock could not be kept fresh.
  func confirm() throws {
    if let failure = refreshFailure.withLock({ $0 }) { throw failure }
    if confirmed.load(ordering: .relaxed) { return }
    let settlingSeconds = repository.store.showsWritesAtOnce ? 0 : Self.settlingSeconds
    let left = settlingSeconds - (Clock.monotonic() - taken)
    if left > 0 { CurrentProcess.sleep(milliseconds: Int(left * 1000) + 1) }
    try refuseOthers()
    confirmed.store(true, ordering: .relaxed)
  }

  private func refresh() {
    do {
      guard let old = id.withLock({ $0 }) else { return }
      let new = try repository.save(.locks, Self.file(isExclusive: isExclusive).json)
      id.withLock { $0 = new }
      try repository.store.remove(ObjectName(.locks, old))
    } catch { refreshFailure.withLock { $0 = error } }
  }

  /// Removes the lock. A failure is not reported: the lock becomes stale.
  func release() {
    ticker.withLock {
      $0?.stop()
      $0 = nil
    }
    if let id = id.withLock({ id in
      defer { id = nil }
      return id
    }) {
      try? repository.store.remove(ObjectName(.locks, id))
    }
  }

  /// Throws if another process removes data now. It may not know of this one, which could write no lock file.
  func refuseOthers() throws {
    try Self.refuseOthers(in: repository, isExclusive: isExclusive, except: id.withLock { $0 })
  }

  private static func refuseOthers(in repository: ResticRepository, isExclusive: Bool, except own: Digest?) throws {
    for (id, _) in try repository.store.list(.locks) where id != own {
      let name = ObjectName(.locks, id)
      let other: LockFile
      do {
        guard let json = try repository.load(name) else { continue }
        other = try LockFile(json: json)
      } catch let failure as Failure where failure.kind != .damaged { throw failure } catch {
        // restic ignores a damaged lock, too; otherwise a lock that was cut off would lock for ever.
        continue
      }
      guard isExclusive || other.isExclusive else { continue }
      let since = CalendarTime(seconds: other.time.seconds).rfc3339
      let owner =
        "process \(other.process) of \(displayName(other.user)) on \(displayName(other.host)), since \(since)"
      let isStale = Self.isStale(other)
      throw Failure(
        .locked,
        "the repository \(repository.displayName) is locked \(other.isExclusive ? "exclusively " : "")by \(owner)"
          + (isStale ? "; the lock is stale" : ""),
        hint: isStale ? "remove stale locks with: restic unlock" : "wait for it to end")
    }
  }

  /// True if the lock is old, or if its process on this machine has ended.
  private static func isStale(_ lock: LockFile) -> Bool {
    if Clock.now() - lock.time > staleSeconds { return true }
    guard lock.host == CurrentProcess.hostName(), let process = Int32(exactly: lock.process) else { return false }
    return !CurrentProcess.exists(process: process)
  }
}

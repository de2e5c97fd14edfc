package import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// A path of a snapshot that differs from its catalog.
public struct Problem: Sendable {
  public var snapshot: SnapshotName
  /// The path at the source; empty for the snapshot as a whole.
  public var path: [UInt8]
  /// The difference in words, such as "its bytes have changed".
  public var message: String
  /// False if the entry could not be checked, because the user may not open it.
  public var isDamage: Bool
  /// The same path from the snapshot's root, if the problem was found in this repository.
  public var place: TreePath

  public init(snapshot: SnapshotName, path: [UInt8], message: String, isDamage: Bool, place: TreePath = []) {
    self.snapshot = snapshot
    self.place = place
    self.path = path
    self.message = message
    self.isDamage = isDamage
  }
}

public struct VerifyResult: Sendable {
  public var problems: UInt64
  /// The part of `problems` that is damage. The other paths could not be checked.
  public var damaged: UInt64
  /// Regular files whose bytes were read; an inode that several snapshots share counts once.
  public var filesRead: UInt64
  /// Chunks that were not read, because they are in an archive.
  public var archivedChunks: UInt64 = 0
  /// The number of differing paths of each snapshot; `nil` if none was found but a path could not be checked.
  public var damage: [SnapshotName: UInt64?] = [:]
  /// Snapshots that expired before they were reached.
  public var expired: Set<SnapshotName> = []
  public var elapsedSeconds = 0.0

  public init(problems: UInt64, damaged: UInt64, filesRead: UInt64) {
    (self.problems, self.damaged, self.filesRead) = (problems, damaged, filesRead)
  }
}

/// The extent of a verification.
public struct VerifyOptions: Sendable {
  public var threads: ThreadCount
  public var part = VerificationPart.whole
  /// The most bytes of files that all threads read in a second.
  public var bytesPerSecond: UInt64?

  public init(threads: ThreadCount, part: VerificationPart = .whole, bytesPerSecond: UInt64? = nil) {
    (self.threads, self.part, self.bytesPerSecond) = (threads, part, bytesPerSecond)
  }
}

/// A store that can compare its snapshots with their catalogs.
public protocol VerifiableStore: SnapshotStore {
  /// Compares presence, kind, bytes and metadata of every entry of a part.
  ///
  /// Each stored inode is read once, however many of the snapshots hold it. `report` is called from any thread.
  func verify(
    _ names: [SnapshotName], options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult
  /// Measures the space that each of the named snapshots holds alone, and all of them together; of all, if none is named.
  func heldSpace(
    of named: Set<SnapshotName>, in list: SnapshotList, threads: ThreadCount, progress: Progress
  ) throws -> HeldSpace
}

extension Repository: VerifiableStore {
  public func verify(
    _ names: [SnapshotName], options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    let start = Clock.monotonic()
    let shared = VerifyShared(keepsLinked: names.count > 1, options: options, progress: progress, report: report)
    var damage: [SnapshotName: UInt64?] = [:]
    var expired: Set<SnapshotName> = []
    progress.expect(names.compactMap { try? openCatalog(of: $0).summary }, part: options.part)
    for name in names {
      // A concurrent rotation does not remove a snapshot in use. A snapshot that had expired before is no damage.
      let use = try? locks.lockShared(name)
      defer { withExtendedLifetime(use) {} }
      if use == nil, (try? hasExpired(name)) == true {
        expired.insert(name)
        continue
      }
      let before = (problems: shared.problems.value, damaged: shared.damaged.value)
      defer {
        let damaged = shared.damaged.value - before.damaged
        let isSure = damaged > 0 || shared.problems.value == before.problems
        damage[name] = .some(isSure ? damaged : nil)
      }
      let catalog: OpenCatalog
      let tree: Directory
      do throws(Failure) {
        catalog = try openCatalog(of: name)
        tree = try openTree(of: name)
      } catch {
        shared.found(Problem(snapshot: name, path: [], message: error.message, isDamage: error.kind == .damaged))
        continue
      }
      let root = WalkNode(VerifyEntry(subject: .directory(catalog.summary.root), stored: tree))
      try walkTree(VerifyWork(of: name, catalog: catalog, shared: shared), from: root, threads: options.threads)
    }
    var result = VerifyResult(
      problems: shared.problems.value, damaged: shared.damaged.value, filesRead: shared.filesRead.value)
    result.damage = damage
    result.expired = expired
    result.elapsedSeconds = Clock.monotonic() - start
    return result
  }
}

extension Progress {
  /// Sets the totals of a verification. After the first snapshot, each adds about the bytes that it copied.
  package func expect(_ summaries: [CatalogSummary], part: VerificationPart) {
    var (entries, bytes): (UInt64, UInt64) = (0, 0)
    for summary in summaries {
      let totals = summary.root.totals
      bytes &+= entries == 0 ? totals.bytes : min(totals.bytes, summary.bytesCopied)
      entries &+= totals.entries
    }
    expectedEntries.store(entries / UInt64(part.count), ordering: .relaxed)
    expectedBytes.store(bytes / UInt64(part.count), ordering: .relaxed)
  }
}

/// An inode, and the form of the digest that its content is compared with.
struct VerifiedContent: Hashable, Sendable {
  var inode: UInt64
  var isSparse: Bool
}

/// The content and attributes of an inode, for its other names.
struct VerifiedInode: Sendable {
  var content: Result<PassResult, Errno>
  var attributes: AttributeBlock
}

/// The state that all snapshots of one run share.
final class VerifyShared: Sendable {
  /// True if inodes with several links are remembered, because another snapshot may hold them.
  let keepsLinked: Bool
  let part: VerificationPart
  let limiter: SharedRateLimiter?
  let progress: Progress
  let problems = Atomic<UInt64>(0)
  let damaged = Atomic<UInt64>(0)
  let filesRead = Atomic<UInt64>(0)
  let inodes = LinkTable<VerifiedContent, VerifiedInode>()
  private let report: @Sendable (Problem) -> Void

  init(keepsLinked: Bool, options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void) {
    self.keepsLinked = keepsLinked
    part = options.part
    limiter = options.bytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) }
    (self.progress, self.report) = (progress, report)
  }

  func found(_ problem: Problem) {
    problems.count()
    if problem.isDamage { damaged.count() }
    report(problem)
  }
}

/// A directory of a snapshot that is being verified, or one of its large files.
struct VerifyEntry {
  enum Subject {
    case directory(Subtree)
    case file(FileRow, of: DirectoryRecord)
  }
  let subject: Subject
  var stored: Directory?
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Watches the free space of the repository's file system.
///
/// A run that does not fit ends before it fills the disk.
final class SpaceGuard: Sendable {
  private let repository: Repository
  /// The bytes that may be written before the free space is queried again.
  private let budget = Mutex<Int64>(0)
  private let neededBytes = Atomic<UInt64>(0)
  private let neededInodes = Atomic<UInt64>(0)

  init(in repository: Repository) { self.repository = repository }

  // MARK: Before

  /// Counts an entry that the look-ahead found and that needs a new inode.
  func needs(bytes: UInt64) {
    neededBytes.count(bytes)
    neededInodes.count()
  }

  /// Throws `noSpace` if the entries that the look-ahead found do not fit.
  func checkNeeds() throws {
    let free = try repository.root.descriptor.fileSystem()
    let bytes = neededBytes.value
    let inodes = neededInodes.value
    guard free.lacks(bytes: bytes, inodes: inodes) else { return }
    var failure = Failure.lack(ofBytes: bytes, inodes: inodes, at: repository.path, in: free)
    failure.hint = "nothing was copied; make room, or leave something out"
    throw failure
  }

  /// True if the run may not fit, so that a look-ahead is worthwhile.
  ///
  /// Without an earlier snapshot, all data on the sources' file systems is the most that can be copied. Otherwise the
  /// run may need twice the data copied then, a block per directory, and 1/20 of the whole.
  func isInDoubt(_ summary: CatalogSummary?, sources: [[UInt8]]) throws -> Bool {
    let free = try repository.root.descriptor.fileSystem()
    var bytes: UInt64 = 0
    var inodes: UInt64 = 0
    if let summary {
      let isFirst = summary.filesLinked == 0
      bytes = summary.directories &* 4096 &+ summary.root.totals.bytes / 20
      if !isFirst { bytes &+= summary.bytesCopied &* 2 }
      inodes = summary.directories &+ (isFirst ? 0 : summary.filesCopied &* 2) &+ summary.files / 20
    } else {
      var seen: Set<UInt64> = []
      for source in sources {
        guard let directory = try? Descriptor.open(path: source, .pathOnly),
          let status = try? directory.status(), seen.insert(status.device).inserted,
          let system = try? directory.fileSystem()
        else { continue }
        bytes &+= system.bytesUsed
        inodes &+= system.inodes &- system.inodesFree
      }
    }
    return free.lacks(bytes: bytes, inodes: inodes)
  }

  // MARK: During

  /// Throws `noSpace` if a file that is about to be copied does not fit.
  func take(bytes: UInt64, for path: @autoclosure () -> [UInt8]) throws {
    let bytes = Int64(clamping: bytes)
    let fits = budget.withLock { budget in
      budget -= bytes
      return budget >= 0
    }
    if fits { return }
    let free = Int64(clamping: try repository.root.descriptor.fileSystem().bytesAvailable)
    guard free >= bytes else {
      throw Failure(
        .noSpace,
        "cannot copy \(displayName(path())): it takes \(byteText(UInt64(bytes))), and "
          + "\(byteText(UInt64(free))) are free in \(displayName(repository.path))",
        hint: "free some space on the repository's file system, or leave the file out", neededBytes: UInt64(bytes))
    }
    // Other processes write too, so the unchecked budget is a small part of the free space.
    budget.withLock { $0 = (free - bytes) / 64 }
  }
}

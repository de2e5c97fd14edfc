internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Keeps some space on the disk free from a push: before it begins, and while it is received.
final class SpaceBudget: Sendable {
  private let repository: Repository
  private let minimumFree: MinimumFree?
  /// Bytes that may be written before the next check of the free space.
  private let budget = Atomic<UInt64>(0)
  private static let budgetLimit: UInt64 = 64 << 20
  /// A directory takes one block on most file systems.
  private static let directoryBytes: UInt64 = 4096

  init(of repository: Repository, minimumFree: MinimumFree?) {
    (self.repository, self.minimumFree) = (repository, minimumFree)
  }

  /// Bytes that must stay free. The default is a small reserve that keeps the repository usable.
  private func reserve(of system: FileSystemStatus) -> UInt64 {
    minimumFree?.byteCount(of: system) ?? min(16 << 20, (system.bytesUsed &+ system.bytesAvailable) / 100)
  }

  /// Throws `noSpace` if a push of a snapshot does not fit; `baseCatalogBytes` is the size of the base's catalog.
  /// `makeSpace` is called once if there is too little.
  func check(
    _ needs: SpaceNeeds, for snapshot: CatalogSummary, baseCatalogBytes: UInt64, makeSpace: () throws -> Void
  ) throws {
    func shortage() throws -> Failure? {
      try self.shortage(for: needs, directories: snapshot.directories, baseCatalogBytes: baseCatalogBytes)
    }
    guard try shortage() != nil else { return }
    try makeSpace()
    if let failure = try shortage() { throw failure }
  }

  private func shortage(for needs: SpaceNeeds, directories: UInt64, baseCatalogBytes: UInt64) throws -> Failure? {
    let system = try repository.root.descriptor.fileSystem()
    let reserve = reserve(of: system)
    var bytes = needs.bytes.saturatingAdd(baseCatalogBytes)
    var inodes = needs.inodes
    if try !repository.retirement.hasSpare() {
      bytes = bytes.saturatingAdd(directories.saturatingMultiply(Self.directoryBytes))
      inodes = inodes.saturatingAdd(directories)
    }
    let free = system.bytesAvailable - min(system.bytesAvailable, reserve)
    let withCopies = bytes.saturatingAdd(needs.copiedBytes)
    // A copy takes no space if the file system lets two files share their blocks.
    if bytes <= free, withCopies > free, try !repository.fileSystem.run().reflinks { bytes = withCopies }
    guard system.lacks(bytes: bytes, inodes: inodes, reserve: reserve) else { return nil }
    var failure = Failure.lack(ofBytes: bytes, inodes: inodes, at: repository.path, in: system)
    if minimumFree != nil { failure.message += ", of which \(byteText(reserve)) must stay free" }
    failure.hint = "nothing was sent; make room there"
    return failure
  }

  /// Counts bytes written of a file of `fileByteCount` bytes; called by one thread at a time. Throws `noSpace` if too
  /// little space is left.
  ///
  /// Only written bytes count. A sparse file takes less space than its size.
  func consume(byteCount: UInt64, ofFileWith fileByteCount: UInt64) throws {
    if byteCount == 0 { return }
    let left = budget.load(ordering: .relaxed)
    if byteCount <= left {
      budget.store(left - byteCount, ordering: .relaxed)
      return
    }
    let system = try repository.root.descriptor.fileSystem()
    let reserve = reserve(of: system)
    guard system.bytesAvailable > reserve else {
      throw Failure(
        .noSpace,
        "a file of \(byteText(fileByteCount)) does not fit: \(byteText(system.bytesAvailable)) are free in "
          + displayName(repository.path) + (minimumFree == nil ? "" : ", and \(byteText(reserve)) must stay free"),
        hint: "free some space there", neededBytes: fileByteCount)
    }
    budget.store(min(Self.budgetLimit, system.bytesAvailable - reserve), ordering: .relaxed)
  }
}

extension UInt64 {
  fileprivate func saturatingAdd(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }

  fileprivate func saturatingMultiply(_ other: UInt64) -> UInt64 {
    let (product, overflow) = multipliedReportingOverflow(by: other)
    return overflow ? .max : product
  }
}

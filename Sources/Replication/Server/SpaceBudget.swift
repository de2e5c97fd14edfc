internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// The space that a push needs. The client computes it from the merge of the catalogs.
struct PushNeeds {
  /// Bytes of the contents and records to send.
  var bytes: UInt64 = 0
  /// Bytes of files that the server must store once more, although it has or gets their content once.
  var copiedBytes: UInt64 = 0
  /// The number of files that become new inodes.
  var inodes: UInt64 = 0

  var encoded: [UInt8] {
    var message = MessageWriter()
    for number in [bytes, copiedBytes, inodes] { message.integer(number) }
    return message.bytes
  }

  init() {}

  init(_ payload: [UInt8]) throws {
    var reader = MessageReader(payload)
    bytes = try reader.quantity()
    copiedBytes = try reader.quantity()
    inodes = try reader.quantity()
    try reader.end()
  }
}

/// Keeps some space on the disk free from a push: before it begins, and while it is received.
final class Room {
  private let repository: Repository
  private let minimumFree: MinimumFree?
  /// Bytes that may be written before the next check of the free space.
  private var budget: UInt64 = 0
  private static let most: UInt64 = 64 << 20

  init(_ repository: Repository, _ minimumFree: MinimumFree?) {
    self.repository = repository
    self.minimumFree = minimumFree
  }

  /// Bytes that must stay free. The default is a small reserve that keeps the repository usable.
  private func reserve(_ system: FileSystemStatus) -> UInt64 {
    minimumFree?.byteCount(of: system) ?? min(16 << 20, (system.bytesUsed &+ system.bytesAvailable) / 100)
  }

  /// Throws `noSpace` if a push does not fit. `sent` announces the snapshot; `baseCatalogBytes` is the size of the
  /// base's catalog. `makeRoom` is called once if there is too little space.
  func check(_ needs: PushNeeds, for sent: CatalogSummary, baseCatalogBytes: UInt64, makeRoom: () throws -> Void) throws
  {
    func shortage() throws -> Failure? {
      let system = try repository.root.descriptor.fileSystem()
      let reserve = reserve(system)
      let hasSpare = try repository.retirement.hasSpare()
      var bytes = needs.bytes.saturatingAdd(baseCatalogBytes)
      var inodes = needs.inodes
      if !hasSpare {
        bytes = bytes.saturatingAdd(sent.directories.saturatingMultiply(Self.directoryBytes))
        inodes = inodes.saturatingAdd(sent.directories)
      }
      let free = system.bytesAvailable - min(system.bytesAvailable, reserve)
      let withCopies = bytes.saturatingAdd(needs.copiedBytes)
      // A copy takes no space if the file system lets two files share their blocks.
      if bytes <= free, withCopies > free, try !repository.fileSystem.run().reflinks { bytes = withCopies }
      guard bytes > free || system.inodes > 0 && inodes > system.inodesFree else { return nil }
      var message =
        "the snapshot needs about \(byteText(bytes)) and \(inodes) inodes, and "
        + "\(displayName(repository.path)) has \(byteText(system.bytesAvailable)) and \(system.inodesFree) inodes free"
      if minimumFree != nil { message += ", of which \(byteText(reserve)) must stay free" }
      return Failure(.noSpace, message, hint: "nothing was sent; make room there", neededBytes: bytes)
    }
    guard try shortage() != nil else { return }
    try makeRoom()
    if let failure = try shortage() { throw failure }
  }

  /// A directory takes one block on most file systems.
  private static let directoryBytes: UInt64 = 4096

  /// Counts bytes written of a file of `size` bytes. Throws `noSpace` if too little space is left.
  ///
  /// Only written bytes count. A sparse file takes less space than its size.
  func took(_ byteCount: UInt64, of size: UInt64) throws {
    if byteCount == 0 { return }
    if byteCount <= budget {
      budget -= byteCount
      return
    }
    let system = try repository.root.descriptor.fileSystem()
    let reserve = reserve(system)
    guard system.bytesAvailable > reserve else {
      throw Failure(
        .noSpace,
        "a file of \(byteText(size)) does not fit: \(byteText(system.bytesAvailable)) are free in "
          + displayName(repository.path) + (minimumFree == nil ? "" : ", and \(byteText(reserve)) must stay free"),
        hint: "free some space there", neededBytes: size)
    }
    budget = min(Self.most, system.bytesAvailable - reserve)
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

internal import Catalog
internal import Engine
internal import Posix
internal import Repository

/// The room that a push takes, as the client knows it from the merge of the catalogs.
struct PushNeeds {
  /// Of contents and records that are to come.
  var bytes: UInt64 = 0
  /// Of files whose content the server has, or gets, once already, and must store once more.
  var copiedBytes: UInt64 = 0
  /// Of files that become new inodes.
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

/// Sees to it that a push leaves some room on the disk: before it begins, and while it is received.
final class Room {
  private let repository: Repository
  private let minimumFree: MinimumFree?
  /// What may be written before the file system is asked again.
  private var budget: UInt64 = 0
  private static let most: UInt64 = 64 << 20

  init(_ repository: Repository, _ minimumFree: MinimumFree?) {
    self.repository = repository
    self.minimumFree = minimumFree
  }

  /// What must stay free: with nothing else said, a little, so that the repository can still be worked with.
  private func reserve(_ system: FileSystemStatus) -> UInt64 {
    minimumFree?.byteCount(of: system) ?? min(16 << 20, (system.bytesUsed &+ system.bytesAvailable) / 100)
  }

  /// Throws `noSpace` where a push does not fit. `sent` announces the snapshot; `baseCatalogBytes` is the size of the
  /// catalog that it is built upon. `makeRoom` is called once, where there is too little.
  func check(_ needs: PushNeeds, for sent: CatalogSummary, baseCatalogBytes: UInt64, makeRoom: () throws -> Void) throws {
    func shortage() throws -> Failure? {
      let system = try repository.root.descriptor.fileSystem()
      let reserve = reserve(system)
      let hasSpare = try repository.hasSpare()
      var bytes = needs.bytes.saturatingAdd(baseCatalogBytes)
      var inodes = needs.inodes
      if !hasSpare {
        bytes = bytes.saturatingAdd(sent.directories.saturatingMultiply(Self.directoryBytes))
        inodes = inodes.saturatingAdd(sent.directories)
      }
      let free = system.bytesAvailable - min(system.bytesAvailable, reserve)
      let withCopies = bytes.saturatingAdd(needs.copiedBytes)
      // A copy takes no room where the file system lets two files share their blocks.
      if bytes <= free, withCopies > free, try !repository.probe().reflinks { bytes = withCopies }
      guard bytes > free || system.inodes > 0 && inodes > system.inodesFree else { return nil }
      var message = "the snapshot needs about \(byteText(bytes)) and \(inodes) inodes, and "
        + "\(displayName(repository.path)) has \(byteText(system.bytesAvailable)) and \(system.inodesFree) inodes free"
      if minimumFree != nil { message += ", of which \(byteText(reserve)) must stay free" }
      return Failure(.noSpace, message, hint: "nothing was sent; make room there", neededBytes: bytes)
    }
    guard try shortage() != nil else { return }
    try makeRoom()
    if let failure = try shortage() { throw failure }
  }

  /// On most file systems a directory takes a block.
  private static let directoryBytes: UInt64 = 4096

  /// Throws `noSpace` where so much of a file of `size` bytes has been written that too little is left.
  ///
  /// How large a file is does not say how much it takes, for it may be sparse: what is written counts.
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
        .noSpace, "a file of \(byteText(size)) does not fit: \(byteText(system.bytesAvailable)) are free in "
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

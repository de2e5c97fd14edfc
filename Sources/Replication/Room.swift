internal import Catalog
internal import Posix
internal import Repository

/// Sees to it that what comes leaves some room on the disk.
///
/// How large a file is does not say how much it takes, for it may have holes: what is written counts.
final class Room {
  private let repository: Repository
  /// What may be written before the file system is asked again.
  private var budget: UInt64 = 0
  private static let most: UInt64 = 64 << 20

  init(_ repository: Repository) { self.repository = repository }

  /// Throws `noSpace` where so much of a file of `size` bytes has been written that too little is left.
  func took(_ byteCount: UInt64, of size: UInt64) throws {
    if byteCount == 0 { return }
    if byteCount <= budget {
      budget -= byteCount
      return
    }
    let system = try repository.root.descriptor.fileSystem()
    let reserve = min(16 << 20, (system.bytesUsed &+ system.bytesAvailable) / 100)
    guard system.bytesAvailable > reserve else {
      throw Failure(
        .noSpace, "a file of \(byteText(size)) does not fit: \(byteText(system.bytesAvailable)) are free in "
          + displayName(repository.path), hint: "free some space there", neededBytes: size)
    }
    budget = min(Self.most, system.bytesAvailable - reserve)
  }
}

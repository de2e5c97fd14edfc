internal import Model
internal import Posix
internal import Repository

/// A directory of the spare that becomes a directory of the new snapshot.
///
/// It offers its names in the order of the merge. Only the thread that entered the directory uses it. A name stays if
/// its inode is the wanted one. Any other name is removed before a new entry takes it, or after the merge has passed
/// it.
final class RecycledDirectory {
  private let directory: Directory
  private let repository: Repository
  private var listing = DirectoryListing()
  private var next = 0
  /// The entry under the current name, if it is neither kept nor removed yet.
  private var present: DirectoryListing.Entry?
  /// True once the directory's old mode and default ACL cannot affect new entries.
  private var isOpened: Bool

  init(_ directory: Directory, isOpened: Bool, in repository: Repository) throws(Errno) {
    (self.directory, self.repository, self.isOpened) = (directory, repository, isOpened)
    try listing.read(directory.descriptor)
  }

  /// Advances to a name and removes the names before it. Names must come in ascending order.
  func advance(to name: Span<UInt8>) throws(Errno) {
    try clear()
    while next < listing.entries.count {
      let entry = listing.entries[next]
      let order = compareNames(listing.bytes.span.extracting(entry.range), name)
      if order == .after { return }
      next += 1
      present = entry
      if order == .same { return }
      try clear()
    }
  }

  /// True if the current name already has this inode; then the name stays.
  func keeps(inode: UInt64) -> Bool {
    guard let entry = present, entry.inode == inode, inode != 0, !entry.isSurelyDirectory else { return false }
    present = nil
    return true
  }

  /// True if the current name is a directory; then it stays.
  func keepsDirectory() -> Bool {
    guard let entry = present, entry.isSurelyDirectory else { return false }
    present = nil
    return true
  }

  /// Removes the entry under the current name.
  func clear() throws(Errno) {
    guard let entry = present else { return }
    present = nil
    try open()
    let name = Array(listing.bytes[entry.range])
    if !entry.isSurelyDirectory {
      do {
        try directory.descriptor.unlink(name.span)
        return
      } catch {
        if error == .noSuchEntry { return }
        guard error == .isADirectory else { throw error }
      }
    }
    try repository.retirement.discard(name, of: directory)
  }

  /// Removes all remaining names.
  func finish() throws(Errno) {
    try clear()
    while next < listing.entries.count {
      present = listing.entries[next]
      next += 1
      try clear()
    }
  }

  /// Shuts out the old owner until the directory is complete.
  ///
  /// It must be called before an entry is made in the directory.
  func open() throws(Errno) {
    if isOpened { return }
    isOpened = true
    try directory.descriptor.takeOwnership()
    try directory.descriptor.dropInheritedACLs()
  }
}

/// An entry of the recycled tree cannot be changed: the snapshot must be built without that tree.
struct SpareUnusable: Error, CustomStringConvertible {
  /// The path as the operator knows it.
  let path: [UInt8]
  let reason: any Error

  var description: String { "\(displayName(path)): \(reason)" }
}

internal import Catalog
internal import Posix
internal import Repository

/// A directory of the spare on its way to become one of the new snapshot: its names, in the order in which the
/// merge comes to them.
///
/// Used by the one thread that has entered the directory. A name stays where its inode is the wanted one;
/// every other is taken away before something else gets it, or when the merge has passed it.
final class RecycledDirectory {
  private let directory: Directory
  private let repository: Repository
  private var listing = DirectoryListing()
  private var next = 0
  /// What stands under the name that is worked on, and is neither kept nor taken away yet.
  private var present: DirectoryListing.Entry?
  /// True once the directory can be changed without its old mode and default ACL reaching what is made in it.
  private var isOpened: Bool

  init(_ directory: Directory, isOpened: Bool, _ repository: Repository) throws(Errno) {
    self.directory = directory
    self.repository = repository
    self.isOpened = isOpened
    try listing.read(directory.descriptor)
  }

  /// Comes to a name; names must come in ascending order. What lies before it goes.
  func come(to name: Span<UInt8>) throws(Errno) {
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

  /// True where the name that is worked on has this inode already; then it stays.
  func keeps(_ inode: UInt64) -> Bool {
    guard let entry = present, entry.inode == inode, inode != 0, !entry.isSurelyDirectory else { return false }
    present = nil
    return true
  }

  /// True where the name that is worked on is a directory; then it stays.
  func keepsDirectory() -> Bool {
    guard let entry = present, entry.isSurelyDirectory else { return false }
    present = nil
    return true
  }

  /// Takes away what stands under the name that is worked on.
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
    try repository.discard(directory: name, of: directory)
  }

  /// Takes away all that is left.
  func finish() throws(Errno) {
    try clear()
    while next < listing.entries.count {
      present = listing.entries[next]
      next += 1
      try clear()
    }
  }

  /// Called before anything is made in the directory: until it is complete, whoever owned it is shut out.
  func open() throws(Errno) {
    if isOpened { return }
    isOpened = true
    try directory.descriptor.takeOwnership()
    try directory.descriptor.dropInheritedACLs()
  }
}

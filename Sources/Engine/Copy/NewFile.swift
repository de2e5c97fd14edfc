internal import Catalog
internal import Model
internal import Posix

/// A new regular file of the repository. Unless it is finished, its name is removed.
struct NewFile: ~Copyable {
  private let directory: Directory
  private let name: [UInt8]
  private var opened: Descriptor?
  private var isRemovable: Bool

  var descriptor: Descriptor { _read { yield opened! } }

  /// Makes a file; on an error, an existing entry of this name stays.
  init(_ name: [UInt8], in directory: Directory, mode: UInt32 = 0o600) throws(Errno) {
    // An error after the last property is set would run `deinit`, which removes the entry.
    let file = try directory.descriptor.open(name.span, [.write, .create, .exclusive], mode: mode)
    (self.directory, self.name) = (directory, name)
    opened = consume file
    isRemovable = true
  }

  deinit {
    let name = name
    if isRemovable { try? directory.descriptor.unlink(name.span) }
  }

  /// Gives the file its metadata and closes it. Returns its inode, and flags for the values that it did not take.
  ///
  /// If this throws, the file can still be removed.
  mutating func finish(
    _ metadata: Metadata, attributes: AttributeBlock
  ) throws(Errno) -> (inode: UInt64, missing: StorageFlags) {
    let made = try opened!.status()
    let stored = try applyMetadata(metadata, attributes: attributes, to: opened!, by: .descriptor, currently: made)
    try opened.take()!.close()
    isRemovable = false
    return (made.inode, stored.missing)
  }

  /// Removes the file. Unlike `deinit`, throws if that fails.
  consuming func remove() throws(Errno) {
    isRemovable = false
    let name = name
    try directory.descriptor.unlink(name.span)
  }
}

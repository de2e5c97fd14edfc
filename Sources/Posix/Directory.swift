public import Model

/// An open directory, shared by the code that works below it; closed with the last reference.
public final class Directory: Sendable {
  public let descriptor: Descriptor

  public init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }

  /// Opens a directory below this one for reading, never through a symbolic link.
  public func directory(_ name: Span<UInt8>) throws(Errno) -> Directory {
    Directory(try descriptor.openDirectory(name))
  }

  /// Descends component by component, never through a symbolic link.
  public func directory(path: TreePath) throws(Errno) -> Directory {
    var directory = self
    for name in path { directory = try directory.directory(name.span) }
    return directory
  }

  /// All names in a directory, in the order of their bytes. It may have been read before, but by no other thread now.
  public func names() throws(Errno) -> [[UInt8]] {
    try descriptor.seek(to: 0)
    var listing = DirectoryListing()
    try listing.read(descriptor)
    return listing.entries.map { Array(listing.bytes[$0.range]) }
  }
}

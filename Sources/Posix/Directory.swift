public import Model

/// An open directory, shared by the code that works below it; closed with the last reference.
public final class Directory: Sendable {
  public let descriptor: Descriptor
  /// A directory from elsewhere that stands below this one, and its name there; `nil` for most.
  private let shown: (name: [UInt8], directory: Directory)?

  public init(_ descriptor: consuming Descriptor) {
    self.descriptor = descriptor
    shown = nil
  }

  private init(_ descriptor: consuming Descriptor, showing directory: Directory, as name: [UInt8]) {
    self.descriptor = descriptor
    shown = (name, directory)
  }

  /// This directory, with another one at a path below it. All names above it on the path must be there.
  public func showing(_ directory: Directory, at path: TreePath) throws(Errno) -> Directory {
    guard let name = path.first else { return directory }
    let below = path.count == 1 ? directory : try self.directory(name.span).showing(directory, at: path.dropFirst())
    return Directory(try descriptor.reopenDirectory(), showing: below, as: name)
  }

  /// The same directory, opened again: a listing moves the position of a descriptor.
  public func reopened() throws(Errno) -> Directory {
    let descriptor = try descriptor.reopenDirectory()
    guard let shown else { return Directory(descriptor) }
    return Directory(descriptor, showing: shown.directory, as: shown.name)
  }

  /// Opens a directory below this one for reading, never through a symbolic link.
  public func directory(_ name: Span<UInt8>) throws(Errno) -> Directory {
    if let shown, compareNames(shown.name.span, name) == .same { return try shown.directory.reopened() }
    return Directory(try descriptor.openDirectory(name))
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

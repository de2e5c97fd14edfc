internal import Model
internal import Posix

extension Directory {
  /// The names in a directory, in the order of their bytes. The directory must have been opened for this reading.
  func names() throws(Errno) -> [[UInt8]] {
    var listing = DirectoryListing()
    try listing.read(descriptor)
    return listing.entries.map { Array(listing.bytes[$0.range]) }
  }
}

extension SnapshotName {
  static let catalogSuffix = Array(".catalog".utf8)

  /// Parses a name with a suffix; `nil` for any other form.
  init?(_ name: [UInt8], suffix: [UInt8]) {
    guard Array(name.suffix(suffix.count)) == suffix else { return nil }
    self.init(name.dropLast(suffix.count))
  }
}

public import Catalog
public import Model
internal import Posix
public import Repository

/// Delivers the content of a stored file in pieces and checks it against the catalog.
public struct FileContent {
  private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

  private let contents: any ContentFetcher
  private let hasher = ContentHasher()

  public init(from contents: any ContentFetcher) { self.contents = contents }

  /// Delivers the file that the catalog has at `path`, from the snapshot's root on. Holes come as zeros.
  ///
  /// Returns the reason if the content is not that of the catalog, otherwise `nil`. The pieces were delivered then.
  public func read(
    _ row: FileRow, at path: TreePath, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
    try request(path)
    return try receive(row, take)
  }

  /// Requests a file. Several may be requested before the first is received; they come in the same order.
  public func request(_ path: TreePath) throws { try contents.request(path) }

  /// Delivers the requested file that is due.
  public func receive(_ row: FileRow, _ take: (UnsafeRawBufferPointer) throws -> Void) throws -> String? {
    hasher.reset(elidingZeros: row.digest.isSparse)
    let problem = try contents.receive(byteCount: row.size) { count in
      hasher.updateZeros(byteCount: count)
      var left = count
      while left > 0 {
        let part = Int(min(left, UInt64(Self.zeros.count)))
        try Self.zeros.withUnsafeBytes { try take(UnsafeRawBufferPointer(rebasing: $0[..<part])) }
        left -= UInt64(part)
        try checkForSignal()
      }
    } _: { bytes in
      hasher.update(bytes)
      try take(bytes)
      try checkForSignal()
    }
    if let problem { return problem }
    // The fetcher has compared each chunk with its ID.
    return hasher.finish() == row.digest || row.digest.form == .chunks
      ? nil : "its bytes are not those that the catalog names"
  }
}

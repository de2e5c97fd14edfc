public import Catalog
public import Posix

/// A directory of a snapshot that comes from elsewhere.
public struct WantedDirectory: Sendable {
  /// `nil` where the base has just this directory, at `basePath`.
  public var record: DirectoryRecord?
  /// Where the base has it, or what it was before; `nil` for the base's directory under the same path.
  public var basePath: [[UInt8]]?

  public init(record: DirectoryRecord?, basePath: [[UInt8]]?) {
    self.record = record
    self.basePath = basePath
  }
}

/// What came of a snapshot that is to be built, by digests; used by several threads.
public protocol WantedTree: AnyObject, Sendable {
  /// What came of the directory with this digest; `nil` where nothing did.
  func directory(_ digest: Digest) throws -> WantedDirectory?
  /// Asks for a directory that did not come, or for which what came does not serve. `path` is in the new snapshot.
  func fetchDirectory(_ digest: Digest, at path: [[UInt8]]) throws -> DirectoryRecord
  /// Where the base has a file with this content under another path.
  func baseFile(_ digest: Digest) -> [[UInt8]]?
  /// Contents that came, each in a file named by its digest's 64 digits.
  var contents: Directory { get }
  /// Asks for the content of a file that did not come; it is among `contents` then.
  func fetchContent(_ digest: Digest, byteCount: UInt64, at path: [[UInt8]]) throws
}

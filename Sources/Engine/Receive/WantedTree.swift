public import Catalog
public import Posix

/// What came of a snapshot that is to be built, by digests; used by several threads.
public protocol WantedTree: AnyObject, Sendable {
  /// The record of the directory with this digest; `nil` where none came.
  func record(_ digest: Digest) throws -> DirectoryRecord?
  /// Where the base has a directory, or what it was before; `nil` where that is under the same name.
  func basePath(_ digest: Digest) throws -> [[UInt8]]?
  /// Asks for the record of a directory that did not come, or for which what came does not serve. `path` is in the
  /// new snapshot.
  func fetchRecord(_ digest: Digest, at path: [[UInt8]]) throws -> DirectoryRecord
  /// Where the base has a file with this content under another path.
  func baseFile(_ digest: ContentDigest) throws -> [[UInt8]]?
  /// Contents that came, each in a file named by `ContentDigest.fileName`.
  var contents: Directory { get }
  /// Asks for the content of a file that did not come; it is among `contents` then.
  /// True for a content that came, or began to come, and is larger than a file can be here.
  func isTooLarge(_ digest: ContentDigest) -> Bool
  func fetchContent(_ digest: ContentDigest, byteCount: UInt64, at path: [[UInt8]]) throws
}

public import Catalog
public import Model
public import Posix

/// The received parts of a snapshot to be built, by digest; used by several threads.
public protocol WantedTree: AnyObject, Sendable {
  /// The record of the directory with this digest; `nil` if none came.
  func record(for digest: Digest) throws -> DirectoryRecord?
  /// The path at which the base has a directory or its previous version; `nil` if the name is the same.
  func basePath(of digest: Digest) throws -> TreePath?
  /// Requests the record of a directory if none came, or if the received parts do not suffice.
  ///
  /// `path` is in the new snapshot.
  func fetchRecord(_ digest: Digest, at path: TreePath) throws -> DirectoryRecord
  /// Another path at which the base has a file with this content; `nil` if there is none.
  func baseFile(for digest: ContentDigest) throws -> TreePath?
  /// The received contents, each in a file named by `ContentDigest.fileName`.
  var contents: Directory { get }
  /// True for a received or partly received content that is larger than a file can be here.
  func isTooLarge(_ digest: ContentDigest) -> Bool
  /// Requests the content of a file that did not come; afterwards it is among `contents`.
  func fetchContent(_ digest: ContentDigest, byteCount: UInt64, at path: TreePath) throws
}

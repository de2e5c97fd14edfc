internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// One side of a comparison: a snapshot, or the source as it is now.
protocol DiffSide: AnyObject {
  /// The name for messages and JSON.
  var name: String { get }
  var reader: CatalogReader { get }
  /// The content of a regular file of at most `Patch.largest` bytes. Throws `UnreadableContent` if there is none.
  func content(of row: FileRow, at path: TreePath) throws -> [UInt8]
}

/// The content of a file cannot be shown.
struct UnreadableContent: Error {
  let reason: String
  let isDamage: Bool
}

/// A snapshot to compare.
final class StoredSide: DiffSide {
  let name: String
  let reader: CatalogReader
  private let contents: FileContent
  private let lock: (any Sendable)?

  init(of snapshot: Snapshot, in store: any SnapshotStore) throws {
    name = snapshot.name.description
    // The snapshot must not be recycled while its files are read.
    lock = try? store.local?.locks.lockShared(snapshot.name)
    reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
    contents = FileContent(from: store.contents(of: snapshot.name))
  }

  func content(of row: FileRow, at path: TreePath) throws -> [UInt8] {
    if row.size == 0 { return [] }
    var bytes: [UInt8] = []
    if let damage = try contents.read(row, at: path, { bytes += $0 }) {
      throw UnreadableContent(reason: "is damaged in \(name): \(damage)", isDamage: true)
    }
    return bytes
  }
}

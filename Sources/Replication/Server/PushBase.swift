internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The snapshot that both client and server have.
final class PushBase {
  let snapshot: Snapshot
  let catalog: OpenCatalog
  let tree: Directory
  private let reader: CatalogReader
  private let files: StoredFiles

  private init(snapshot: Snapshot, catalog: OpenCatalog, tree: Directory) {
    (self.snapshot, self.catalog, self.tree) = (snapshot, catalog, tree)
    reader = CatalogReader(reading: catalog)
    files = StoredFiles(in: tree)
  }

  /// The first of the client's candidates that the repository can use.
  static func choose(among candidates: [Digest], in list: SnapshotList, of repository: Repository) throws -> PushBase? {
    let damaged = try repository.marks.all(.damaged)
    for digest in candidates {
      guard let found = list.snapshots.last(where: { $0.summary.root.digest == digest }),
        let catalog = try? repository.openCatalog(of: found.name), let tree = try? repository.openTree(of: found.name)
      else { continue }
      // The intact files of a damaged tree can serve. A damaged catalog does not tell which files are intact.
      if damaged[found.name] != nil, (try? CatalogReader(reading: catalog).check()) == nil { continue }
      return PushBase(snapshot: found, catalog: catalog, tree: tree)
    }
    return nil
  }

  /// The record of a directory; `nil` if there is none at the path.
  func directory(at path: TreePath) throws -> DirectoryRecord? {
    guard case .directory(let record, _)? = try reader.find(path) else { return nil }
    return record
  }

  /// The row of a regular file; `nil` if there is none at the path.
  func file(at path: TreePath) throws -> FileRow? {
    guard case .file(let row, _)? = try reader.find(path), row.kind == .regular else { return nil }
    return row
  }

  func open(_ path: TreePath, byteCount: UInt64, onRead: @escaping (UInt64) -> Void) -> StoredVersion {
    files.open(path, byteCount: byteCount, onRead: onRead)
  }

  /// Returns the error to report for `error`. Marks the base if its catalog is damaged, so that the next push avoids
  /// it.
  func damage(behind error: CatalogError, in repository: Repository) throws -> any Error {
    do {
      try CatalogReader(reading: catalog).check()
      return error
    } catch let damage as CatalogError {
      let name = snapshot.name
      try repository.marks.add(.damaged, to: name, reason: "by push: its catalog: \(damage)", at: Clock.now())
      return Failure(
        .damaged, "the catalog of \(name) there, of which only the changes were sent, is damaged: \(damage)",
        hint: "push again: that snapshot is not built upon any more; there, see: treering verify \(name)")
    }
  }
}

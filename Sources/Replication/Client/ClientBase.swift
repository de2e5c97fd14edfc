internal import Catalog
internal import Model
internal import Repository

/// The snapshot that both client and server have.
struct ClientBase {
  let name: SnapshotName
  let finder: BaseFinder
  /// `nil` if only the catalog is left in this repository.
  let files: StoredFiles?
  /// The lock on the tree of `files`.
  private let lock: FileLock?

  init(candidate: BaseCandidate, in repository: Repository) throws {
    name = candidate.name
    finder = BaseFinder(for: CatalogReader(reading: try repository.pushMemory.openCatalog(of: candidate)))
    lock = candidate.isHere ? try? repository.locks.lockShared(candidate.name) : nil
    let tree = lock == nil ? nil : try? repository.openTree(of: candidate.name)
    files = tree.map { StoredFiles(in: $0) }
  }
}

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
  private let use: SnapshotLock?

  init(_ candidate: BaseCandidate, in repository: Repository) throws {
    name = candidate.name
    finder = BaseFinder(CatalogReader(try repository.pushMemory.openCatalog(of: candidate)))
    use = candidate.isHere ? try? repository.locks.lockShared(candidate.name) : nil
    let tree = use == nil ? nil : try? repository.openTree(candidate.name)
    files = tree.map { StoredFiles($0) }
  }
}

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

  /// Without `hasFiles`, the repository is a cache of catalogs.
  init(candidate: BaseCandidate, in repository: Repository, hasFiles: Bool) throws {
    name = candidate.name
    finder = BaseFinder(for: CatalogReader(reading: try repository.pushMemory.openCatalog(of: candidate)))
    lock = hasFiles && candidate.isHere ? try? repository.locks.lockShared(candidate.name) : nil
    let tree = lock == nil ? nil : try? repository.openTree(of: candidate.name)
    files = tree.map { StoredFiles(in: $0) }
  }
}

/// Finds entries that were renamed or moved since the base, by their source inodes.
final class BaseFinder {
  let reader: CatalogReader
  /// Made at the first new name, because it reads the whole catalog.
  private var index: InodeIndex?

  init(for reader: CatalogReader) { self.reader = reader }

  private func allInodes() throws -> InodeIndex {
    let made = try index ?? InodeIndex(of: reader)
    index = made
    return made
  }

  func file(sourceInode inode: UInt64, on fileSystem: FileSystemKey) throws -> PushPlan.BaseFile? {
    guard inode != 0 else { return nil }
    let index = try allInodes()
    for folder in index.directoriesHolding(inode: inode, on: fileSystem) {
      let path = index.path(of: folder)
      guard let found = try reader.findDirectory(path), let row = try found.file(sourceInode: inode),
        row.kind == .regular
      else { continue }
      return PushPlan.BaseFile(path: path + found.record.bytes[row.name], row: row, record: found.record)
    }
    return nil
  }

  func directory(sourceInode inode: UInt64, on fileSystem: FileSystemKey) throws -> (path: TreePath, subtree: Subtree)?
  {
    guard inode != 0 else { return nil }
    let index = try allInodes()
    for folder in index.directoriesBeing(inode: inode, on: fileSystem) {
      let path = index.path(of: folder)
      if case .directory(let record, let subtree)? = try reader.find(path), record.hints.sourceInode == inode,
        !record.isSynthetic
      {
        return (path, subtree)
      }
    }
    return nil
  }
}

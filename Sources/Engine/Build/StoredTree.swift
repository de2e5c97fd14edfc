internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// A tree in the repository whose files may be reused.
///
/// It is the newest snapshot (the base of the merge), an older snapshot, or an earlier run's unfinished tree.
final class StoredTree: Sendable {
  let name: SnapshotName
  let catalog: OpenCatalog
  /// `nil` if the tree is lost.
  let root: Directory?
  /// True for the rest of an interrupted run: never published, so nothing is compared with it.
  let isUnfinished: Bool
  /// True if the catalog's inode numbers are from this file system.
  ///
  /// A number counts only if the entry's directory has the inode that the directory's own hints name.
  let inodeNumbersAreValid: Bool
  /// The file systems of the tree's sources by path, and the last components of those paths.
  let mounts: [[UInt8]: MountRecord]
  let mountNames: Set<[UInt8]>
  /// The first search for a moved file reads the whole catalog; other threads wait for it.
  fileprivate let index: LinkTable<Int, InodeIndex>

  init(
    of name: SnapshotName, catalog: OpenCatalog, root: Directory?, in repository: Repository,
    isUnfinished: Bool = false
  ) {
    (self.isUnfinished, self.name, self.catalog, self.root) = (isUnfinished, name, catalog, root)
    index = LinkTable()
    mounts = Dictionary(catalog.summary.mounts.map { ($0.path, $0) }) { _, last in last }
    mountNames = Set(mounts.keys.map { splitLast(of: $0).name })
    let id = try? repository.root.descriptor.fileSystem().id
    inodeNumbersAreValid =
      catalog.summary.repositoryID == repository.id && catalog.summary.fileSystemID == id
      && !repository.marks.contains(.repaired, on: name)
  }
}

/// A file of a stored tree that may be reused for a file of the source.
struct StoredFile {
  let row: FileRow
  let record: DirectoryRecord
  /// The directory that holds the file; `nil` if it is lost.
  let directory: Directory?
  let tree: StoredTree
  /// False for a file that the base has under the same path.
  let isFoundByInode: Bool

  var name: [UInt8] { Array(record.bytes[row.name]) }

  /// The inode in the repository, before it is linked; `nil` if the file is lost.
  var inode: UInt64? {
    let name = self.name
    return try? directory?.descriptor.status(of: name.span).inode
  }
}

/// A directory of a stored tree that may be merged with a directory of the source.
struct StoredDirectory {
  let path: TreePath
  let subtree: Subtree
  let record: DirectoryRecord
  let directory: Directory?
  let tree: StoredTree
}

/// Finds renamed, moved and returned entries by their inode. Each thread has its own finder.
final class StoredFinder {
  /// Few directories are kept open: each takes a descriptor.
  private static var keptDirectories: Int { 8 }
  /// The limit of names of an inode that are examined in one tree. All names of one inode were alike.
  private static var candidates: Int { 8 }

  private let trees: [StoredTree]
  private let base: Int?
  private var readers: [Int: CatalogReader] = [:]
  /// The stored directories of the last finds.
  private var directories: [(tree: Int, number: UInt32, directory: Directory?)] = []

  /// `trees` are in search order. `base` is the index of the newest snapshot; the trees after it are older.
  ///
  /// An older tree is indexed without the entries of the tree before it.
  init(trees: [StoredTree], base: Int?) { (self.trees, self.base) = (trees, base) }

  /// A stored file that had this inode.
  ///
  /// A file that is proved unchanged is preferred. Otherwise the result is a file that may have the same content.
  /// `known` is the base's file under the same path. An unreadable catalog is skipped: the file is then copied.
  func file(with status: FileStatus, on fileSystem: FileSystemKey, known: StoredFile?) -> StoredFile? {
    let isKnown = known?.row.hints.sourceInode == status.inode
    var best = isKnown ? known : nil
    for number in trees.indices where mayHold(status, tree: number) {
      // The base has the inode's old content. Only an unfinished run may have the new content.
      if isKnown && number >= base ?? 0 { break }
      guard let index = index(ofTree: number) else { continue }
      let place = firstFile(with: status, on: fileSystem, of: index, tree: number) { $0.mayHaveContent(of: status) }
      if let place {
        let found = StoredFile(
          row: place.row, record: place.record,
          directory: directory(tree: number, number: place.number, path: place.path),
          tree: trees[number], isFoundByInode: true)
        if found.row.hasInodeAndTimes(of: status) { return found }
        best = best ?? found
      }
      if best != nil && number >= base ?? 0 { break }
    }
    return best ?? known
  }

  /// A stored directory that had this inode.
  ///
  /// If the base has another directory at the same path, the mtime must be equal too: inode numbers are reused.
  func directory(with status: FileStatus, on fileSystem: FileSystemKey, known: DirectoryRecord?) -> StoredDirectory? {
    if known?.hints.sourceInode == status.inode { return nil }
    for number in trees.indices where mayHold(status, tree: number) {
      guard let index = index(ofTree: number) else { continue }
      let tree = trees[number]
      let place = firstDirectory(with: status, on: fileSystem, of: index, tree: number) { path, record in
        (known == nil || record.metadata.modified == status.modified) && !tree.hasMounts(below: path)
      }
      guard let place else { continue }
      return StoredDirectory(
        path: place.path, subtree: place.subtree, record: place.record,
        directory: try? tree.root?.directory(path: place.path), tree: tree)
    }
    return nil
  }

  /// The path of a source inode in a tree.
  ///
  /// It is the path of the directory itself, or of the directory that holds the file.
  func path(of status: FileStatus, on fileSystem: FileSystemKey, in tree: StoredTree) -> TreePath? {
    guard let number = trees.firstIndex(where: { $0 === tree }), mayHold(status, tree: number),
      let index = index(ofTree: number)
    else { return nil }
    return status.kind == .directory
      ? firstDirectory(with: status, on: fileSystem, of: index, tree: number) { _, _ in true }?.path
      : firstFile(with: status, on: fileSystem, of: index, tree: number) { _ in true }?.path
  }

  /// The first file of a tree that had this inode and fits, with its directory.
  private func firstFile(
    with status: FileStatus, on fileSystem: FileSystemKey, of index: InodeIndex, tree: Int,
    where fits: (FileRow) -> Bool
  ) -> (number: UInt32, path: TreePath, record: DirectoryRecord, row: FileRow)? {
    for number in index.directoriesHolding(inode: status.inode, on: fileSystem).prefix(Self.candidates) {
      let path = index.path(of: number)
      if let folder = try? reader(ofTree: tree).findDirectory(path),
        let row = try? folder.file(sourceInode: status.inode), row.kind == status.kind, fits(row)
      {
        return (number, path, folder.record, row)
      }
    }
    return nil
  }

  /// The first directory of a tree that had this inode and fits.
  private func firstDirectory(
    with status: FileStatus, on fileSystem: FileSystemKey, of index: InodeIndex, tree: Int,
    where fits: (TreePath, DirectoryRecord) -> Bool
  ) -> (path: TreePath, subtree: Subtree, record: DirectoryRecord)? {
    for number in index.directoriesBeing(inode: status.inode, on: fileSystem) {
      let path = index.path(of: number)
      if case .directory(let record, let subtree)? = try? reader(ofTree: tree).find(path),
        record.hints.sourceInode == status.inode, !record.isSynthetic, fits(path, record)
      {
        return (path, subtree, record)
      }
    }
    return nil
  }

  func reader(of tree: StoredTree) -> CatalogReader? { trees.firstIndex { $0 === tree }.map { reader(ofTree: $0) } }

  /// False if the inode was made after the tree. Most new files need no search for this reason.
  private func mayHold(_ status: FileStatus, tree: Int) -> Bool {
    guard let born = status.born else { return true }
    return born <= trees[tree].catalog.summary.started
  }

  private func reader(ofTree tree: Int) -> CatalogReader {
    if let reader = readers[tree] { return reader }
    let reader = CatalogReader(reading: trees[tree].catalog)
    readers[tree] = reader
    return reader
  }

  private func index(ofTree tree: Int) -> InodeIndex? {
    let table = trees[tree].index
    if let index = table.begin(0) { return index.count > 0 ? index : nil }
    let isOlder = base.map { tree > $0 } ?? false
    let index = try? InodeIndex(of: reader(ofTree: tree), without: isOlder ? reader(ofTree: tree - 1) : nil)
    table.finish(0, storing: index ?? InodeIndex.empty)
    return index
  }

  private func directory(tree: Int, number: UInt32, path: TreePath) -> Directory? {
    if let known = directories.lastIndex(where: { $0.tree == tree && $0.number == number }) {
      return directories[known].directory
    }
    let directory = try? trees[tree].root?.directory(path: path)
    if directories.count == Self.keptDirectories { directories.removeFirst() }
    directories.append((tree, number, directory))
    return directory
  }
}

extension FileRow {
  /// True if inode number, ctime and mtime are equal. The caller must know that the file system is the same.
  func hasInodeAndTimes(of status: FileStatus) -> Bool {
    hints.sourceInode == status.inode && hints.changed == status.changed && metadata.modified == status.modified
  }

  /// True if a stored inode is that of the row, as far as its status shows. `inode` is its number, if the row's is wrong.
  func isStored(as status: FileStatus, inode: UInt64? = nil) -> Bool {
    (inode ?? hints.storedInode) == status.inode && kind == status.kind && size == status.recordedSize
      && !hints.flags.contains(.notStored)
      && (metadata == status.metadata || !hints.flags.isDisjoint(with: .lacks))
  }

  /// True if only the content can show that the file is another.
  func mayHaveContent(of status: FileStatus) -> Bool {
    size == status.recordedSize && metadata.modified == status.modified
  }
}

extension FileStatus {
  /// The size as a catalog records it: for a device, its number.
  var recordedSize: UInt64 {
    switch kind {
    case .regular, .symbolicLink: size
    case .characterDevice, .blockDevice: deviceNumber
    default: 0
    }
  }
}

extension FileSystemIdentity {
  var key: FileSystemKey { FileSystemKey(type: type, volume: volume) }
}

extension StoredTree {
  /// True if another file system was mounted below a directory.
  fileprivate func hasMounts(below path: TreePath) -> Bool {
    let below = path.absolute + [slash]
    return mounts.keys.contains { $0.starts(with: below) }
  }
}

/// The inodes of a stored directory's files.
struct StoredInodes {
  private enum Source {
    case catalog
    case listing(DirectoryListing)
    case unknown
  }
  private var source = Source.unknown

  /// The inodes of the base of `node`, which `record` describes.
  ///
  /// For a recycled directory they decide which names stay, so they come from the stored tree. A name there may have
  /// been repaired, or the whole tree may have been restored from a copy. A name that is linked needs no such proof.
  init(
    of node: WalkNode<some BuiltDirectory>, describedBy record: DirectoryRecord?, with tools: BuildTools,
    listsInodes: Bool
  ) {
    guard let record, let stored = node.build.baseTree, let tree = node.build.tree else { return }
    if node.build.recycled == nil, tree.inodeNumbersAreValid,
      (try? stored.descriptor.status().inode) == record.hints.storedInode
    {
      source = .catalog
    } else if listsInodes, (try? tools.storedListing.read(stored.descriptor)) != nil {
      source = .listing(tools.storedListing)
    }
  }

  /// 0 if the inode is unknown.
  func of(row: FileRow, named name: ArraySlice<UInt8>) -> UInt64 {
    switch source {
    case .catalog: row.hints.storedInode
    case .listing(let listing): listing.inode(of: name.span) ?? 0
    case .unknown: 0
    }
  }
}

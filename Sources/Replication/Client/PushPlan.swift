internal import Catalog
internal import Model

/// The entries of a new snapshot that its base lacks, in the order of sending.
///
/// A directory's record comes first, then its entries, then the directories below. Equal subtrees are not read. No
/// tree is read, only the catalogs.
struct PushPlan {
  struct BaseFile {
    let path: TreePath
    let row: FileRow
    let record: DirectoryRecord
  }

  /// A directory of the new snapshot.
  final class Folder {
    let path: TreePath
    let record: DirectoryRecord
    let digest: Digest
    /// The same directory in the base: at the same path, or at its path before a move.
    let base: (path: TreePath, record: DirectoryRecord)?
    /// True if the server would not choose the base's path by itself.
    let needsExplicitBasePath: Bool

    fileprivate init(at place: Waiting, record: DirectoryRecord, base: (path: TreePath, record: DirectoryRecord)?) {
      path = place.path
      self.record = record
      digest = place.subtree.digest
      self.base = base
      needsExplicitBasePath = place.needsExplicitBasePath
    }

    func path(of row: FileRow) -> TreePath { path + record.bytes[row.name] }
  }

  struct Item {
    let folder: Folder
    let change: Change
  }

  enum Change {
    /// The directory itself; its other items follow.
    case record
    /// A file. The base does not have its content under the same name. `index` is its position among the folder's
    /// files.
    case file(index: Int, FileRow, base: BaseFile?)
    /// The base has the content under the same name, but not the inode. The server makes a copy.
    case copy(FileRow)
    /// The base has the content under another path. `isLinked` is true if it has the inode, too.
    case baseFile(index: Int, FileRow, path: TreePath, isLinked: Bool)
    /// The base has the directory under another path. `index` is its position among the folder's directories.
    case baseDirectory(index: Int, Digest, path: TreePath)
  }

  fileprivate struct Waiting {
    let path: TreePath
    let subtree: Subtree
    var base: (path: TreePath, subtree: Subtree)?
    var needsExplicitBasePath = false
    let fileSystem: FileSystemKey
  }

  private let new: CatalogReader
  private let base: BaseFinder?
  private let mounts: [[UInt8]: FileSystemKey]
  private var waiting: [Waiting] = []
  private var items: [Item] = []
  private var nextItem = 0
  /// Digests of the directories that the base has under another path. A second directory with the same digest needs no
  /// item.
  private var moved: Set<Digest> = []

  init(of new: CatalogReader, base: BaseFinder?) {
    (self.new, self.base) = (new, base)
    mounts = new.summary.mountKeys
    let root = new.summary.root
    if base?.reader.summary.root.digest != root.digest {
      waiting = [
        Waiting(path: [], subtree: root, base: base.map { ([], $0.reader.summary.root) }, fileSystem: .unknown)
      ]
    }
  }

  /// The next item, or `nil` after the last.
  mutating func next() throws -> Item? {
    while nextItem == items.count {
      guard let next = waiting.popLast() else { return nil }
      if moved.contains(next.subtree.digest) { continue }
      items.removeAll(keepingCapacity: true)
      nextItem = 0
      try open(next)
    }
    nextItem += 1
    return items[nextItem - 1]
  }

  private mutating func open(_ place: Waiting) throws {
    let record = try new.record(at: place.subtree.place, for: place.subtree.digest)
    let before = try place.base.flatMap { found in
      try base.map {
        (path: found.path, record: try $0.reader.record(at: found.subtree.place, for: found.subtree.digest))
      }
    }
    let folder = Folder(at: place, record: record, base: before)
    items.append(Item(folder: folder, change: .record))

    var merge = try RecordMerge(record, before?.record)
    var index = 0
    while let pair = try merge.nextFile() {
      let (file, same) = pair.sides
      guard let row = file else { continue }
      if row.kind == .regular, row.size > 0,
        let change = try change(of: row, at: index, in: folder, sameName: same, fileSystem: place.fileSystem)
      {
        items.append(Item(folder: folder, change: change))
      }
      index += 1
    }
    try addDirectories(&merge, of: folder, fileSystem: place.fileSystem)
  }

  private mutating func addDirectories(
    _ merge: inout RecordMerge, of folder: Folder, fileSystem: FileSystemKey
  ) throws {
    var below: [Waiting] = []
    var nextIndex = 0
    while let pair = try merge.nextDirectory() {
      let (directory, same) = pair.sides
      guard let row = directory else { continue }
      let index = nextIndex
      nextIndex += 1
      let name = Array(folder.record.bytes[row.name])
      if let same, same.digest == row.digest { continue }
      let path = folder.path + name
      var child = Waiting(
        path: path, subtree: Subtree(row), base: same.map { (folder.base!.path + name, Subtree($0)) },
        fileSystem: mounts.isEmpty ? fileSystem : mounts[path.absolute] ?? fileSystem)
      if same == nil, let found = try movedDirectory(for: child) {
        if found.subtree.digest == row.digest {
          moved.insert(row.digest)
          items.append(Item(folder: folder, change: .baseDirectory(index: index, row.digest, path: found.path)))
          continue
        }
        child.base = found
        child.needsExplicitBasePath = true
      }
      below.append(child)
    }
    waiting += below.reversed()
  }

  /// The change of a regular file, if there is one; `sameName` is the base's row of the same name.
  private func change(
    of row: FileRow, at index: Int, in folder: Folder, sameName: FileRow?, fileSystem: FileSystemKey
  ) throws -> Change? {
    if let sameName, sameName.kind == .regular, let old = folder.base {
      if sameName.digest == row.digest, sameName.size == row.size {
        return folder.record.mayShareInode(row, with: sameName, of: old.record) ? nil : .copy(row)
      }
      let path = old.path + old.record.bytes[sameName.name]
      return .file(index: index, row, base: BaseFile(path: path, row: sameName, record: old.record))
    }
    let found = try base?.file(sourceInode: row.hints.sourceInode, on: fileSystem)
    guard let found, found.row.digest == row.digest, found.row.size == row.size
    else { return .file(index: index, row, base: found) }
    let isLinked = folder.record.mayShareInode(row, with: found.row, of: found.record)
    return .baseFile(index: index, row, path: found.path, isLinked: isLinked)
  }

  private func movedDirectory(for child: Waiting) throws -> (path: TreePath, subtree: Subtree)? {
    guard let base else { return nil }
    let inode = try new.record(at: child.subtree.place, for: child.subtree.digest).hints.sourceInode
    return try base.directory(sourceInode: inode, on: child.fileSystem)
  }
}

internal import Catalog
internal import Model

/// The entries of a new snapshot that its base lacks, in the order of sending.
///
/// A directory's record comes first, then its entries, then the directories below. Equal subtrees are not read. No
/// tree is read, only the catalogs.
struct Difference {
  /// A file of the base.
  struct BaseFile {
    var path: [[UInt8]]
    var row: FileRow
    /// The record of the file's directory.
    var record: DirectoryRecord
  }

  struct Folder {
    let path: [[UInt8]]
    let record: DirectoryRecord
    let digest: Digest
    /// The same directory in the base: at the same path, or at its path before a move.
    let base: (path: [[UInt8]], record: DirectoryRecord)?
    /// True if the server would not choose the base's path by itself.
    let isMoved: Bool
  }

  enum Item {
    case folder(Folder)
    /// A file of the last folder. The base does not have its content under the same name. `index` is its position
    /// among the folder's files.
    case file(index: Int, FileRow, base: BaseFile?)
    /// The base has the content under the same name, but not the inode. The server makes a copy.
    case copy(FileRow)
    /// The base has the content under another path. `isLinked` is true if it has the inode, too.
    case baseFile(index: Int, FileRow, path: [[UInt8]], isLinked: Bool)
    /// The base has the directory under another path. `index` is its position among the folder's directories.
    case baseDirectory(index: Int, Digest, path: [[UInt8]])
  }

  private struct Waiting {
    var path: [[UInt8]]
    var subtree: Subtree
    var base: (path: [[UInt8]], subtree: Subtree)?
    var isMoved: Bool
    var fileSystem: FileSystemKey
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

  init(_ new: CatalogReader, base: BaseFinder?) {
    self.new = new
    self.base = base
    mounts = new.summary.mountKeys
    let root = new.summary.root
    if base?.reader.summary.root.digest != root.digest {
      waiting = [
        Waiting(
          path: [], subtree: root, base: base.map { ([], $0.reader.summary.root) }, isMoved: false, fileSystem: .unknown
        )
      ]
    }
  }

  /// The next item, or `nil` after the last.
  mutating func next() throws -> Item? {
    while nextItem == items.count {
      guard let folder = waiting.popLast() else { return nil }
      if moved.contains(folder.subtree.digest) { continue }
      items.removeAll(keepingCapacity: true)
      nextItem = 0
      try open(folder)
    }
    nextItem += 1
    return items[nextItem - 1]
  }

  private mutating func open(_ place: Waiting) throws {
    let record = try new.record(place.subtree.place, place.subtree.digest)
    let before = try place.base.flatMap { found in
      try base.map { (path: found.path, record: try $0.reader.record(found.subtree.place, found.subtree.digest)) }
    }
    items.append(
      .folder(
        Folder(
          path: place.path, record: record, digest: place.subtree.digest, base: before, isMoved: place.isMoved)))

    var files = try FileCursor(record)
    var baseFiles = try before.map { try FileCursor($0.record) }
    var index = 0
    while let row = files.current {
      let name = record.bytes.span.extracting(row.name)
      let same = try baseFiles?.seek(name)
      if row.kind == .regular, row.size > 0 { try add(row, index, record, before, same, place) }
      index += 1
      try files.advance()
    }

    var baseRows = try baseFiles?.remainingDirectories()
    var below: [Waiting] = []
    for (index, row) in try files.directories().enumerated() {
      let name = Array(record.bytes[row.name])
      let same = baseRows?.seek(name.span)
      if let same, same.digest == row.digest { continue }
      let path = place.path + [name]
      var child = Waiting(
        path: path, subtree: Subtree(row), base: same.map { (before!.path + [name], Subtree($0)) }, isMoved: false,
        fileSystem: mounts[joinedPath(path)] ?? place.fileSystem)
      if same == nil, let found = try movedDirectory(child) {
        if found.subtree.digest == row.digest {
          moved.insert(row.digest)
          items.append(.baseDirectory(index: index, row.digest, path: found.path))
          continue
        }
        child.base = found
        child.isMoved = true
      }
      below.append(child)
    }
    waiting += below.reversed()
  }

  private mutating func add(
    _ row: FileRow, _ index: Int, _ record: DirectoryRecord, _ before: (path: [[UInt8]], record: DirectoryRecord)?,
    _ same: FileRow?, _ place: Waiting
  ) throws {
    if let same, same.kind == .regular {
      if same.digest == row.digest, same.size == row.size {
        if !Self.isSameInode(row, record, same, before!.record) { items.append(.copy(row)) }
        return
      }
      let path = before!.path + [Array(before!.record.bytes[same.name])]
      items.append(.file(index: index, row, base: BaseFile(path: path, row: same, record: before!.record)))
      return
    }
    let found = try base?.file(row.hints.sourceInode, on: place.fileSystem)
    if let found, found.row.digest == row.digest, found.row.size == row.size {
      let isLinked = Self.isSameInode(row, record, found.row, found.record)
      items.append(.baseFile(index: index, row, path: found.path, isLinked: isLinked))
    } else {
      items.append(.file(index: index, row, base: found))
    }
  }

  /// True if the server can link to the base's inode.
  private static func isSameInode(
    _ row: FileRow, _ record: DirectoryRecord, _ before: FileRow, _ old: DirectoryRecord
  ) -> Bool {
    row.metadata == before.metadata && (before.linkGroup == nil || before.linkGroup == row.linkGroup)
      && record.attributes(of: row) == old.attributes(of: before)
  }

  private mutating func movedDirectory(_ child: Waiting) throws -> (path: [[UInt8]], subtree: Subtree)? {
    guard let base else { return nil }
    let inode = try new.record(child.subtree.place, child.subtree.digest).hints.sourceInode
    return try base.directory(inode, on: child.fileSystem)
  }

  private func joinedPath(_ path: [[UInt8]]) -> [UInt8] {
    mounts.isEmpty ? [] : path.flatMap { [UInt8(ascii: "/")] + $0 }
  }
}

/// Finds entries that were renamed or moved since the base, by their source inodes.
final class BaseFinder {
  let reader: CatalogReader
  /// Made at the first new name, because it reads the whole catalog.
  private var index: InodeIndex?

  init(_ reader: CatalogReader) { self.reader = reader }

  private func allInodes() throws -> InodeIndex {
    if let index { return index }
    let made = try InodeIndex(reader)
    index = made
    return made
  }

  func file(_ inode: UInt64, on fileSystem: FileSystemKey) throws -> Difference.BaseFile? {
    guard inode != 0 else { return nil }
    let index = try allInodes()
    for folder in index.directoriesHolding(inode, on: fileSystem) {
      let path = index.path(of: folder)
      guard let found = try reader.findDirectory(path), let row = try found.file(sourceInode: inode),
        row.kind == .regular
      else { continue }
      return Difference.BaseFile(
        path: path + [Array(found.record.bytes[row.name])], row: row, record: found.record)
    }
    return nil
  }

  func directory(_ inode: UInt64, on fileSystem: FileSystemKey) throws -> (path: [[UInt8]], subtree: Subtree)? {
    guard inode != 0 else { return nil }
    let index = try allInodes()
    for folder in index.directoriesBeing(inode, on: fileSystem) {
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

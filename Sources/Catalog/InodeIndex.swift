public import Model

/// Finds entries of a catalog by their inodes in the source: this finds renamed and moved entries.
///
/// It is built only if an old inode appears under a name that is not in the catalog. It takes 8 bytes for each entry
/// and about 20 for each directory.
public struct InodeIndex: Sendable {
  private struct Folder {
    var parent, nameOffset: UInt32
    var nameCount: UInt8
  }
  private var folders: [Folder] = []
  private var names: [UInt8] = []
  /// Sorted keys: a hash of the inode in the upper half, a directory's number in the lower. The number means the
  /// directory that holds the entry, or the directory itself in `directories`.
  private var files: [UInt64] = []
  private var directories: [UInt64] = []

  /// A directory of the catalog that is not indexed yet.
  private struct Waiting {
    var subtree: Subtree
    var newer: Subtree?
    var folder: UInt32
    var fileSystem: FileSystemKey
    var path: [UInt8]
  }

  /// An index without entries.
  public static let empty = InodeIndex()

  private init() {}

  /// The number of indexed entries.
  public var count: Int { files.count + directories.count }

  /// Reads a whole catalog. With a `newer` one, it skips entries that `newer` has at the same path.
  public init(of reader: CatalogReader, without newer: CatalogReader? = nil) throws {
    let mounts = reader.summary.mountKeys
    var waiting = [
      Waiting(subtree: reader.summary.root, newer: newer?.summary.root, folder: 0, fileSystem: .unknown, path: [])
    ]
    folders.append(Folder(parent: 0, nameOffset: 0, nameCount: 0))
    while let next = waiting.popLast() {
      if next.subtree.digest == next.newer?.digest { continue }
      let record = try reader.record(at: next.subtree.place, for: next.subtree.digest)
      let other = try next.newer.flatMap { try newer?.record(at: $0.place, for: $0.digest) }
      waiting += try add(next, record: record, without: other, mounts: mounts)
    }
    files.sort()
    directories.sort()
  }

  /// Indexes one directory, and returns the directories below.
  private mutating func add(
    _ directory: Waiting, record: DirectoryRecord, without other: DirectoryRecord?,
    mounts: [[UInt8]: FileSystemKey]
  ) throws -> [Waiting] {
    func key(of inode: UInt64) -> UInt64 {
      Self.hash(of: inode, on: directory.fileSystem) << 32 | UInt64(directory.folder)
    }
    let own = record.hints.sourceInode
    if own != 0 && own != other?.hints.sourceInode { directories.append(key(of: own)) }
    var merge = try RecordMerge(record, other)
    while let pair = try merge.nextFile() {
      guard let file = pair.sides.left, file.hints.sourceInode != 0, !file.hints.flags.contains(.notStored)
      else { continue }
      if case .both(_, let same) = pair, same.hints.sourceInode == file.hints.sourceInode,
        record.hasSameContent(file, as: same, of: other!)
      {
        continue
      }
      files.append(key(of: file.hints.sourceInode))
    }
    var below: [Waiting] = []
    while let pair = try merge.nextDirectory() {
      guard let row = pair.sides.left else { continue }
      let newer = pair.sides.right.map { Subtree($0) }
      if newer?.digest == row.digest { continue }
      guard folders.count < Int(UInt32.max), names.count < Int(UInt32.max) - 255
      else { throw CatalogError("the catalog has more directories than an index can hold") }
      let path = mounts.isEmpty ? [] : directory.path + [slash] + record.bytes[row.name]
      below.append(
        Waiting(
          subtree: Subtree(row), newer: newer, folder: UInt32(folders.count),
          fileSystem: mounts[path] ?? directory.fileSystem, path: path))
      folders.append(
        Folder(parent: directory.folder, nameOffset: UInt32(names.count), nameCount: UInt8(row.name.count)))
      names += record.bytes[row.name]
    }
    return below
  }

  /// The directories that may hold an inode. The caller must check each, because the index has only a hash.
  public func directoriesHolding(inode: UInt64, on fileSystem: FileSystemKey) -> some Sequence<UInt32> {
    Self.matches(hash: Self.hash(of: inode, on: fileSystem), in: files)
  }

  /// The directories whose own inode may be this one.
  public func directoriesBeing(inode: UInt64, on fileSystem: FileSystemKey) -> some Sequence<UInt32> {
    Self.matches(hash: Self.hash(of: inode, on: fileSystem), in: directories)
  }

  /// The names from the snapshot's root down to a directory.
  public func path(of directory: UInt32) -> TreePath {
    var path: TreePath = []
    var number = directory
    while number != 0 {
      let folder = folders[Int(number)]
      let start = Int(folder.nameOffset)
      path.append(Array(names[start..<start + Int(folder.nameCount)]))
      number = folder.parent
    }
    return TreePath(path.reversed())
  }

  /// Lazy, because an inode may have any number of names and mostly the first is enough.
  private static func matches(hash: UInt64, in keys: [UInt64]) -> some Sequence<UInt32> {
    let first = keys.indices.partitionPoint { keys[$0] >> 32 < hash }
    return keys[first...].lazy.prefix { $0 >> 32 == hash }.map { UInt32(truncatingIfNeeded: $0) }
  }

  /// The upper half of a multiplicative hash; it spreads neighbouring inode numbers.
  private static func hash(of inode: UInt64, on fileSystem: FileSystemKey) -> UInt64 {
    ((inode ^ fileSystem.rawValue) &* 0x9e37_79b9_7f4a_7c15) >> 32
  }
}

/// Identifies a file system of the source, so that equal inode numbers of two are not confused.
public struct FileSystemKey: Hashable, Sendable {
  public let rawValue: UInt64

  public static let unknown = FileSystemKey(rawValue: 0)

  init(rawValue: UInt64) { self.rawValue = rawValue }

  /// `type` and `volume` are those of a `MountRecord`.
  public init(type: Int64, volume: UInt64) {
    rawValue = (UInt64(bitPattern: type) ^ (volume &* 0xbf58_476d_1ce4_e5b9)) | 1
  }
}

/// A source, or a mount point below a source, and the identity of its file system.
public struct MountRecord: Hashable, Sendable {
  /// The path in the snapshot: `/`, the label, and the absolute path.
  public var path: [UInt8]
  /// `f_type` of `statfs(2)`.
  public var type: Int64
  /// Identifies the file system among those of its type; 0 if no number is permanent.
  public var number: UInt64
  /// Identifies the subvolume, if the file system has several.
  public var volume: UInt64

  public init(path: [UInt8], type: Int64, number: UInt64, volume: UInt64) {
    (self.path, self.type, self.number, self.volume) = (path, type, number, volume)
  }

  public var key: FileSystemKey { FileSystemKey(type: type, volume: volume) }
}

extension CatalogSummary {
  /// The key of each file system by the path of its mount point.
  public var mountKeys: [[UInt8]: FileSystemKey] { Dictionary(mounts.map { ($0.path, $0.key) }) { _, last in last } }
}

public import Model

/// Looks up names of a directory's record in any order.
///
/// The first lookup makes one pass over the record; each lookup is a binary search. Belongs to one thread. Takes 4
/// bytes for each file and some 80 for each sub-directory. The first lookup of an inode adds some 24 for each file.
public final class RecordIndex {
  public let record: DirectoryRecord
  private var tables: (files: [DirectoryRecord.FilePlace], directories: [DirectoryRow])?

  /// The numbers of files, by their inodes in the source.
  private var numbers: [UInt64: UInt32]?

  public init(of record: DirectoryRecord) { self.record = record }

  /// Memory in bytes, with all tables.
  public var byteCount: Int { record.bytes.count + 32 * record.fileCount + 1024 }

  private func opened() throws(CatalogError) -> (files: [DirectoryRecord.FilePlace], directories: [DirectoryRow]) {
    if let tables { return tables }
    var files: [DirectoryRecord.FilePlace] = []
    files.reserveCapacity(record.fileCount)
    var position = record.firstFile
    var place = record.place(of: position)
    while try record.nextFile(at: &position) != nil {
      files.append(place)
      place = record.place(of: position)
    }
    let made = (files, try record.directories(after: position))
    tables = made
    return made
  }

  /// The file of this name; `nil` if there is none.
  public func file(named name: Span<UInt8>) throws(CatalogError) -> FileRow? {
    let (record, files) = (record, try opened().files)
    func file(_ number: Int) throws(CatalogError) -> FileRow { try record.file(at: files[number], number: number) }
    let index = try files.indices.partitionPoint { number throws(CatalogError) in
      record.order(of: try file(number).name, to: name) == .before
    }
    guard index < files.count else { return nil }
    let row = try file(index)
    return record.order(of: row.name, to: name) == .same ? row : nil
  }

  /// A file that had this inode in the source; `nil` if there is none.
  public func file(sourceInode inode: UInt64) throws(CatalogError) -> FileRow? {
    let (record, files) = (record, try opened().files)
    if numbers == nil {
      var made: [UInt64: UInt32] = [:]
      made.reserveCapacity(files.count)
      for (number, place) in files.enumerated() {
        made[try record.file(at: place, number: number).hints.sourceInode] = UInt32(number)
      }
      numbers = made
    }
    guard let number = numbers?[inode] else { return nil }
    return try record.file(at: files[Int(number)], number: Int(number))
  }

  /// The sub-directory of this name; `nil` if there is none.
  public func directory(named name: Span<UInt8>) throws(CatalogError) -> DirectoryRow? {
    let (record, rows) = (record, try opened().directories)
    let index = rows.indices.partitionPoint { record.order(of: rows[$0].name, to: name) == .before }
    return index < rows.count && record.order(of: rows[index].name, to: name) == .same ? rows[index] : nil
  }
}

/// A cache of the most recently used values, up to `limit` bytes; it evicts at most half at once.
struct RecentValues<Key: Hashable, Value> {
  private let limit: Int
  private var young: [Key: (value: Value, byteCount: Int)] = [:]
  private var old: [Key: (value: Value, byteCount: Int)] = [:]
  private var youngBytes = 0

  init(limit: Int) { self.limit = limit }

  mutating func value(for key: Key) -> Value? {
    if let known = young[key] { return known.value }
    guard let known = old.removeValue(forKey: key) else { return nil }
    keep(known.value, byteCount: known.byteCount, for: key)
    return known.value
  }

  mutating func keep(_ value: Value, byteCount: Int, for key: Key) {
    if youngBytes + byteCount > limit / 2 {
      old = young
      young = [:]
      youngBytes = 0
    }
    young[key] = (value, byteCount)
    youngBytes += byteCount
  }
}

/// A cache of the directories on looked-up paths, up to a limit in bytes. A caller that alternates between several
/// directories opens none of them again.
public struct PathCache<Level> {
  private var levels: [(name: [UInt8], level: Level)] = []
  private var others: RecentValues<TreePath, Level>
  private let byteCount: (Level) -> Int

  /// `byteCount` returns the memory that a level takes.
  public init(limit: Int = 64 << 20, byteCount: @escaping (Level) -> Int) {
    others = RecentValues(limit: limit)
    self.byteCount = byteCount
  }

  /// Descends from `root` along `path`, as far as `step` finds directories. Returns the last directory and the number
  /// of names that led there.
  public mutating func descend(
    _ path: TreePath, from root: () throws -> Level, _ step: (Level, [UInt8]) throws -> Level?
  ) throws -> (level: Level, depth: Int) {
    if levels.isEmpty { levels.append(([], try root())) }
    var depth = 0
    for name in path {
      if depth + 1 == levels.count || levels[depth + 1].name != name {
        levels.removeLast(levels.count - depth - 1)
        let key = path.prefix(depth + 1)
        var next = others.value(for: key)
        if next == nil {
          next = try step(levels[depth].level, name)
          if let next { others.keep(next, byteCount: byteCount(next), for: key) }
        }
        guard let next else { break }
        levels.append((name, next))
      }
      depth += 1
    }
    return (levels[depth].level, depth)
  }
}

extension CatalogReader {
  /// Looks a path up from the snapshot's root, label first. It reads one record for each level that the previous path
  /// did not share.
  public func find(_ path: TreePath) throws -> Found? {
    let (found, depth) = try descend(path)
    if depth == path.count { return .directory(found.index.record, found.subtree) }
    guard depth + 1 == path.count, let name = path.last, let file = try found.index.file(named: name.span)
    else { return nil }
    return .file(file, of: found.index.record)
  }

  /// The directory at a path, for lookups of several of its entries; `nil` if there is none.
  public func findDirectory(_ path: TreePath) throws -> RecordIndex? {
    let (found, depth) = try descend(path)
    return depth == path.count ? found.index : nil
  }

  private func descend(_ path: TreePath) throws -> (level: PathLevel, depth: Int) {
    try paths.descend(path) { () throws in
      PathLevel(
        subtree: summary.root, index: RecordIndex(of: try lookUp(at: summary.root.place, digest: summary.root.digest)))
    } _: { above, name in
      guard let row = try above.index.directory(named: name.span) else { return nil }
      return PathLevel(subtree: Subtree(row), index: RecordIndex(of: try lookUp(at: row.place, digest: row.digest)))
    }
  }
}

extension CatalogReader {
  /// Reads all records; throws if one is damaged.
  public func check() throws {
    var waiting = [summary.root]
    while let subtree = waiting.popLast() {
      waiting += try record(at: subtree.place, for: subtree.digest).directories().map { Subtree($0) }
    }
  }
}

/// A directory on the most recently looked-up path.
struct PathLevel {
  let subtree: Subtree
  let index: RecordIndex
}

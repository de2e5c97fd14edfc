/// A directory's record in which names can be looked up in any order: one pass over it at the first look, then a
/// binary search for each.
///
/// Belongs to one thread. Takes 4 bytes for each file and some 80 for each sub-directory.
public final class RecordIndex {
  public let record: DirectoryRecord
  private var tables: (files: [DirectoryRecord.FilePlace], directories: [DirectoryRow])?

  public init(_ record: DirectoryRecord) { self.record = record }

  private func opened() throws(CatalogError) -> (files: [DirectoryRecord.FilePlace], directories: [DirectoryRow]) {
    if let tables { return tables }
    var files: [DirectoryRecord.FilePlace] = []
    files.reserveCapacity(record.fileCount)
    var position = record.firstFile
    var place = record.place(of: position)
    while try record.nextFile(&position) != nil {
      files.append(place)
      place = record.place(of: position)
    }
    let made = (files, try record.directories(after: position))
    tables = made
    return made
  }

  /// The file of this name; `nil` where there is none.
  public func file(_ name: Span<UInt8>) throws(CatalogError) -> FileRow? {
    let (record, files) = (record, try opened().files)
    var (low, high) = (0, files.count)
    while low < high {
      let middle = (low + high) / 2
      let row = try record.file(at: files[middle], number: middle)
      let order = compareNames(record.bytes.span.extracting(row.name), name)
      if order == .same { return row }
      if order == .before { low = middle + 1 } else { high = middle }
    }
    return nil
  }

  /// The sub-directory of this name; `nil` where there is none.
  public func directory(_ name: Span<UInt8>) throws(CatalogError) -> DirectoryRow? {
    let (bytes, rows) = (record.bytes, try opened().directories)
    var (low, high) = (0, rows.count)
    while low < high {
      let middle = (low + high) / 2
      let order = compareNames(bytes.span.extracting(rows[middle].name), name)
      if order == .same { return rows[middle] }
      if order == .before { low = middle + 1 } else { high = middle }
    }
    return nil
  }
}

/// The directories on the way to what was looked up last, each with what is known of it: who looks for neighbours
/// opens none of them again.
public struct PathCache<Level> {
  private var levels: [(name: [UInt8], level: Level)] = []

  public init() {}

  /// Goes down from `root` along `path`, as far as `step` finds directories; returns the last of them, and how many
  /// names led there.
  public mutating func descend(
    _ path: some Collection<[UInt8]>, from root: () throws -> Level, _ step: (Level, [UInt8]) throws -> Level?
  ) throws -> (level: Level, depth: Int) {
    if levels.isEmpty { levels.append(([], try root())) }
    var depth = 0
    for name in path {
      if depth + 1 == levels.count || levels[depth + 1].name != name {
        levels.removeLast(levels.count - depth - 1)
        guard let next = try step(levels[depth].level, name) else { break }
        levels.append((name, next))
      }
      depth += 1
    }
    return (levels[depth].level, depth)
  }
}

extension CatalogReader {
  /// Looks a path up from the snapshot's root, label first, reading one record for each level that was not on the
  /// way to the path before.
  public func find(_ path: some Collection<[UInt8]>) throws -> Found? {
    let (found, depth) = try paths.descend(path) { () throws in
      PathLevel(subtree: summary.root, index: RecordIndex(try root()))
    } _: { above, name in
      guard let row = try above.index.directory(name.span) else { return nil }
      return PathLevel(subtree: Subtree(row), index: RecordIndex(try record(row.place, row.digest)))
    }
    if depth == path.count { return .directory(found.index.record, found.subtree) }
    guard depth + 1 == path.count, let name = path.dropFirst(depth).first,
      let file = try found.index.file(name.span)
    else { return nil }
    return .file(file, of: found.index.record)
  }
}

extension CatalogReader {
  /// Reads all of it, and throws where a part is not what it should be.
  public func check() throws {
    var waiting = [summary.root]
    while let subtree = waiting.popLast() {
      waiting += try record(subtree.place, subtree.digest).directories().map { Subtree($0) }
    }
  }
}

/// A directory on the way to what was looked up last.
struct PathLevel {
  let subtree: Subtree
  let index: RecordIndex
}

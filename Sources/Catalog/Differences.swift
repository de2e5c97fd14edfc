public import Model

/// The location of an entry in a walk: its directory from the snapshot's root, and its name.
public struct EntryPlace {
  public let directory: TreePath
  /// Empty for the snapshot's root. The bytes are part of a frame, so a place is not for keeping.
  public let name: ArraySlice<UInt8>

  public var path: TreePath { name.isEmpty ? directory : directory + name }
}

/// The left catalog of a walk cannot be read. Every other error of a walk concerns the right one.
public struct LeftCatalogError: Error {
  public let error: any Error
}

private func blamingLeft<R>(body: () throws -> R) throws -> R {
  do { return try body() } catch { throw LeftCatalogError(error: error) }
}

/// Walks two snapshots, or one directory or file of each, and visits every entry that is not the same in both. A
/// missing snapshot has no entries.
///
/// The order is a directory itself, then its files, then its sub-directories, by name. A pair of directories with equal
/// digests is skipped, so only the directories on the way to a difference are read. Two directories are visited when
/// anything below them differs. Two files are visited when the bytes of their rows differ.
///
/// With `leftPath`, the left snapshot's entry is at another path; places are those of the right one. `enters` decides
/// about the entries of a visited directory, or of a pair. With `comparingInodes`, both catalogs are read whole, and two
/// equal files are visited if their stored inodes differ.
public func forEachDifference(
  from left: CatalogReader?, at leftPath: TreePath? = nil, to right: CatalogReader?, under path: TreePath = [],
  comparingInodes: Bool = false,
  entering enters: (Pair<Found, Found>, EntryPlace) throws -> Bool = { _, _ in true },
  visit: (Pair<Found, Found>, EntryPlace) throws -> Void
) throws {
  func open(_ subtrees: Pair<Subtree, Subtree>) throws -> Pair<Found, Found> {
    try subtrees.map(
      left: { subtree in
        try blamingLeft { .directory(try left!.record(at: subtree.place, for: subtree.digest), subtree) }
      },
      right: { .directory(try right!.record(at: $0.place, for: $0.digest), $0) })
  }
  let top = EntryPlace(directory: path.dropLast(), name: path.last?[...] ?? [])
  let found = (left: try blamingLeft { try left?.find(leftPath ?? path) }, right: try right?.find(path))
  // The stack is explicit because a tree may be too deep for a thread's stack.
  var waiting: [(subtrees: Pair<Subtree, Subtree>, place: EntryPlace)] = []
  if let files = Pair(found.left?.ifFile, found.right?.ifFile) { try visit(files, top) }
  if let subtrees = Pair(found.left?.subtree, found.right?.subtree) { waiting.append((subtrees, top)) }
  while let (subtrees, place) = waiting.popLast() {
    if case .both(let a, let b) = subtrees, a.digest == b.digest, !comparingInodes { continue }
    let entries = try open(subtrees)
    try visit(entries, place)
    guard try enters(entries, place) else { continue }
    let (before, after) = entries.map(left: \.record, right: \.record).sides
    let path = place.path
    func entry(of names: Pair<Range<Int>, Range<Int>>) -> EntryPlace {
      let name = names.sides.left.map { before!.bytes[$0] } ?? after!.bytes[names.sides.right!]
      return EntryPlace(directory: path, name: name)
    }
    var merge = try RecordMerge(before, after)
    while true {
      if !comparingInodes { try merge.passEqualFiles() }
      guard let files = try merge.nextFile() else { break }
      if case .both(let a, let b) = files, before!.hasSameContent(a, as: b, of: after!),
        a.hints.storedInode == b.hints.storedInode
      {
        continue
      }
      try visit(
        files.map(left: { .file($0, of: before!) }, right: { .file($0, of: after!) }),
        entry(of: files.map(left: \.name, right: \.name)))
    }
    let first = waiting.count
    while true {
      if !comparingInodes { try merge.passEqualDirectories() }
      guard let rows = try merge.nextDirectory() else { break }
      let name = Array(entry(of: rows.map(left: \.name, right: \.name)).name)
      let below = EntryPlace(directory: path, name: name[...])
      waiting.append((rows.map(left: { Subtree($0) }, right: { Subtree($0) }), below))
    }
    waiting[first...].reverse()
  }
}

extension Found {
  public var kind: EntryKind { if case .file(let row, _) = self { row.kind } else { .directory } }

  public var modified: Timestamp {
    switch self {
    case .file(let row, _): row.metadata.modified
    case .directory(let record, _): record.metadata.modified
    }
  }

  /// The size of a regular file in bytes; `nil` for other kinds.
  public var byteCount: UInt64? { if case .file(let row, _) = self, row.kind == .regular { row.size } else { nil } }

  /// The record that has the entry's row; of a directory, its own.
  var record: DirectoryRecord {
    switch self {
    case .directory(let record, _), .file(_, of: let record): record
    }
  }

  public var attributes: AttributeBlock {
    switch self {
    case .file(let row, let record): record.attributes(of: row)
    case .directory(let record, _): record.attributes
    }
  }

  fileprivate var ifFile: Found? { if case .file = self { self } else { nil } }

  /// The parent's data about a directory; `nil` for other kinds.
  public var subtree: Subtree? { if case .directory(_, let subtree) = self { subtree } else { nil } }
}

extension Subtree {
  public init(_ row: DirectoryRow) { self.init(digest: row.digest, place: row.place, totals: row.totals) }

  /// A subtree of which only the totals are known.
  public init(totals: Totals) {
    self.init(digest: Digest(words: (0, 0, 0, 0)), place: Place(frame: 0, offset: 0), totals: totals)
  }
}

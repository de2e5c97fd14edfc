public import Model

/// The aspects in which two entries of the same name and kind differ.
public struct ChangedAspects: OptionSet, Sendable, Hashable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  public static let content = ChangedAspects(rawValue: 1)
  public static let target = ChangedAspects(rawValue: 2)
  public static let device = ChangedAspects(rawValue: 4)
  public static let permissions = ChangedAspects(rawValue: 8)
  public static let owner = ChangedAspects(rawValue: 16)
  public static let modified = ChangedAspects(rawValue: 32)
  public static let attributes = ChangedAspects(rawValue: 64)
  public static let links = ChangedAspects(rawValue: 128)

  private static let names: [(ChangedAspects, String)] = [
    (.content, "content"), (.target, "target"), (.device, "device"), (.permissions, "mode"),
    (.owner, "owner"), (.modified, "mtime"), (.attributes, "attributes"), (.links, "hard links"),
  ]

  /// The aspects in words, such as "content", "mode", "owner", "mtime".
  public var words: [String] { Self.names.filter { contains($0.0) }.map(\.1) }
}

/// One difference between two snapshots.
public struct Change: Sendable {
  public enum Verb: String, Sendable { case added, removed, changed }
  public let verb: Verb
  /// Components from the snapshot's root.
  public let path: [[UInt8]]
  public let kind: EntryKind
  public let aspects: ChangedAspects
  /// The size of a regular file before and after, in bytes.
  public let sizeBefore: UInt64?
  public let sizeAfter: UInt64?
}

/// Compares two snapshots by their catalogs, or one directory or file of each, and reports every difference. The
/// order is a directory itself, then its files, then its sub-directories, by name.
///
/// Reads only the directories on the way to a difference: it skips a pair with equal digests.
public func compareCatalogs(
  _ left: CatalogReader, right: CatalogReader, under path: [[UInt8]] = [],
  report: (Change) throws -> Void
) throws {
  let found = (left: try left.find(path), right: try right.find(path))
  if let files = Pair(found.left?.file, found.right?.file) { try reportFiles(files, at: path, report: report) }
  // The stack is explicit because a tree may be too deep for a thread's stack.
  var stack: [(directories: Pair<Subtree, Subtree>, path: [[UInt8]])] = []
  if let top = Pair(found.left?.subtree, found.right?.subtree) { stack.append((top, path)) }
  while let (directories, path) = stack.popLast() {
    if case .both(let a, let b) = directories, a.digest == b.digest { continue }
    let records = try directories.map(
      left: { try left.record(at: $0.place, for: $0.digest) }, right: { try right.record(at: $0.place, for: $0.digest) }
    )
    try reportDirectories(records, at: path, report: report)
    let (before, after) = records.sides
    func pathBelow(entry: (left: Range<Int>?, right: Range<Int>?)) -> [[UInt8]] {
      path + [Array(entry.left.map { before!.bytes[$0] } ?? after!.bytes[entry.right!])]
    }
    var merge = try RecordMerge(before, after)
    while let files = try merge.nextFile() {
      if case .both(let a, let b) = files, before!.hasSameContent(a, as: b, of: after!) { continue }
      try reportFiles(
        files.map(left: { ($0, before!) }, right: { ($0, after!) }),
        at: pathBelow(entry: files.map(left: \.name, right: \.name).sides), report: report)
    }
    var next: [(directories: Pair<Subtree, Subtree>, path: [[UInt8]])] = []
    while let rows = try merge.nextDirectory() {
      if case .both(let a, let b) = rows, a.digest == b.digest { continue }
      let below = pathBelow(entry: rows.map(left: \.name, right: \.name).sides)
      next.append((rows.map(left: { Subtree($0) }, right: { Subtree($0) }), below))
    }
    stack += next.reversed()
  }
}

extension Found {
  fileprivate var file: RecordFile? { if case .file(let row, let record) = self { (row, record) } else { nil } }
  fileprivate var subtree: Subtree? { if case .directory(_, let subtree) = self { subtree } else { nil } }
}

extension Subtree {
  public init(_ row: DirectoryRow) { self.init(digest: row.digest, place: row.place, totals: row.totals) }
}

private typealias RecordFile = (row: FileRow, record: DirectoryRecord)

private func reportFiles(
  _ files: Pair<RecordFile, RecordFile>, at path: [[UInt8]], report: (Change) throws -> Void
) throws {
  func change(_ verb: Change.Verb, aspects: ChangedAspects = [], from before: FileRow?, to after: FileRow?) -> Change {
    func size(of row: FileRow?) -> UInt64? { row?.kind == .regular ? row?.size : nil }
    return Change(
      verb: verb, path: path, kind: (before ?? after)!.kind, aspects: aspects, sizeBefore: size(of: before),
      sizeAfter: size(of: after))
  }
  if case .both(let (a, before), let (b, after)) = files, a.kind == b.kind {
    let aspects = changedAspects(from: (a, before), to: (b, after))
    if !aspects.isEmpty { try report(change(.changed, aspects: aspects, from: a, to: b)) }
    return
  }
  let (left, right) = files.sides
  if let left { try report(change(.removed, from: left.row, to: nil)) }
  if let right { try report(change(.added, from: nil, to: right.row)) }
}

/// The differences of two files of one kind. One content may have digests of two forms.
private func changedAspects(from left: RecordFile, to right: RecordFile) -> ChangedAspects {
  let (a, b) = (left.row, right.row)
  if left.record.hasSameContent(a, as: b, of: right.record) { return [] }
  var aspects = metadataAspects(from: a.metadata, to: b.metadata)
  switch a.kind {
  case .regular:
    let isSame = a.size == b.size && a.digest.isConsistent(with: b.digest, sameTime: !aspects.contains(.modified))
    if !isSame { aspects.insert(.content) }
  case .symbolicLink:
    if left.record.target(of: a) != right.record.target(of: b) { aspects.insert(.target) }
  case .characterDevice, .blockDevice: if a.size != b.size { aspects.insert(.device) }
  default: break
  }
  if left.record.attributes(of: a) != right.record.attributes(of: b) { aspects.insert(.attributes) }
  if a.linkGroup != b.linkGroup { aspects.insert(.links) }
  return aspects
}

private func reportDirectories(
  _ records: Pair<DirectoryRecord, DirectoryRecord>, at path: [[UInt8]], report: (Change) throws -> Void
) throws {
  let verb: Change.Verb
  var aspects: ChangedAspects = []
  switch records {
  case .both(let a, let b):
    verb = .changed
    aspects = metadataAspects(from: a.metadata, to: b.metadata)
    if a.attributes != b.attributes { aspects.insert(.attributes) }
    if aspects.isEmpty { return }
  case .left: verb = .removed
  case .right: verb = .added
  }
  try report(Change(verb: verb, path: path, kind: .directory, aspects: aspects, sizeBefore: nil, sizeAfter: nil))
}

private func metadataAspects(from a: Metadata, to b: Metadata) -> ChangedAspects {
  var aspects: ChangedAspects = []
  if a.permissions != b.permissions { aspects.insert(.permissions) }
  if (a.user, a.group) != (b.user, b.group) { aspects.insert(.owner) }
  if a.modified != b.modified { aspects.insert(.modified) }
  return aspects
}

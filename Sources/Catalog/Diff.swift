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
  public enum Verb: Sendable, Hashable { case added, removed, changed }
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
  _ left: CatalogReader, _ right: CatalogReader, under path: [[UInt8]] = [],
  report: (Change) throws -> Void
) throws {
  struct Directories {
    var left: Subtree?
    var right: Subtree?
    var path: [[UInt8]]
  }
  var stack: [Directories] = []
  let a = try left.find(path)
  let b = try right.find(path)
  var first = Directories(left: nil, right: nil, path: path)
  if case .directory(_, let subtree) = a { first.left = subtree }
  if case .directory(_, let subtree) = b { first.right = subtree }
  var leftFile: (FileRow, DirectoryRecord)?
  var rightFile: (FileRow, DirectoryRecord)?
  if case .file(let file, let record) = a { leftFile = (file, record) }
  if case .file(let file, let record) = b { rightFile = (file, record) }
  try reportFiles(leftFile, rightFile, path, report)
  if first.left != nil || first.right != nil { stack.append(first) }

  // The stack is explicit because a tree may be too deep for a thread's stack.
  while let pair = stack.popLast() {
    if let l = pair.left, let r = pair.right, l.digest == r.digest { continue }
    let l = try pair.left.map { try left.record($0.place, $0.digest) }
    let r = try pair.right.map { try right.record($0.place, $0.digest) }
    try reportDirectory(l, r, pair.path, report)
    var leftFiles = try l.map { try FileCursor($0) }
    var rightFiles = try r.map { try FileCursor($0) }
    while let file = Pair(
      leftFiles?.current, rightFiles?.current,
      by: {
        compareNames(l!.bytes.span.extracting($0.name), r!.bytes.span.extracting($1.name))
      })
    {
      switch file {
      case .left(let row):
        try reportFiles((row, l!), nil, pair.path + [Array(l!.bytes[row.name])], report)
        try leftFiles!.advance()
      case .right(let row):
        try reportFiles(nil, (row, r!), pair.path + [Array(r!.bytes[row.name])], report)
        try rightFiles!.advance()
      case .both(let a, let b):
        if !l!.hasSameContent(a, r!, b) {
          try reportFiles((a, l!), (b, r!), pair.path + [Array(l!.bytes[a.name])], report)
        }
        try leftFiles!.advance()
        try rightFiles!.advance()
      }
    }
    var leftRows = try (leftFiles?.directories() ?? [])[...]
    var rightRows = try (rightFiles?.directories() ?? [])[...]
    var next: [Directories] = []
    while let row = Pair(
      leftRows.first, rightRows.first,
      by: {
        compareNames(l!.bytes.span.extracting($0.name), r!.bytes.span.extracting($1.name))
      })
    {
      switch row {
      case .left(let row):
        next.append(Directories(left: Subtree(row), right: nil, path: pair.path + [Array(l!.bytes[row.name])]))
        leftRows.removeFirst()
      case .right(let row):
        next.append(Directories(left: nil, right: Subtree(row), path: pair.path + [Array(r!.bytes[row.name])]))
        rightRows.removeFirst()
      case .both(let a, let b):
        if a.digest != b.digest {
          next.append(
            Directories(left: Subtree(a), right: Subtree(b), path: pair.path + [Array(l!.bytes[a.name])]))
        }
        leftRows.removeFirst()
        rightRows.removeFirst()
      }
    }
    stack.append(contentsOf: next.reversed())
  }
}

extension Subtree {
  public init(_ row: DirectoryRow) {
    self.init(digest: row.digest, place: row.place, totals: row.totals)
  }
}

private func reportFiles(
  _ left: (FileRow, DirectoryRecord)?, _ right: (FileRow, DirectoryRecord)?, _ path: [[UInt8]],
  _ report: (Change) throws -> Void
) throws {
  func size(_ row: FileRow) -> UInt64? { row.kind == .regular ? row.size : nil }
  if let (a, recordA) = left, let (b, recordB) = right, a.kind == b.kind {
    if recordA.hasSameContent(a, recordB, b) { return }
    var aspects = metadataAspects(a.metadata, b.metadata)
    switch a.kind {
    case .regular:
      let isSame = a.size == b.size && a.digest.isConsistent(with: b.digest, sameTime: !aspects.contains(.modified))
      if !isSame { aspects.insert(.content) }
    case .symbolicLink:
      if recordA.target(of: a) != recordB.target(of: b) { aspects.insert(.target) }
    case .characterDevice, .blockDevice: if a.size != b.size { aspects.insert(.device) }
    default: break
    }
    if recordA.attributes(of: a) != recordB.attributes(of: b) { aspects.insert(.attributes) }
    if a.linkGroup != b.linkGroup { aspects.insert(.links) }
    // One content may have digests of two forms.
    if aspects.isEmpty { return }
    try report(
      Change(
        verb: .changed, path: path, kind: a.kind, aspects: aspects, sizeBefore: size(a),
        sizeAfter: size(b)))
    return
  }
  if let (a, _) = left {
    try report(
      Change(
        verb: .removed, path: path, kind: a.kind, aspects: [], sizeBefore: size(a), sizeAfter: nil))
  }
  if let (b, _) = right {
    try report(
      Change(
        verb: .added, path: path, kind: b.kind, aspects: [], sizeBefore: nil, sizeAfter: size(b)))
  }
}

private func reportDirectory(
  _ left: DirectoryRecord?, _ right: DirectoryRecord?, _ path: [[UInt8]],
  _ report: (Change) throws -> Void
) throws {
  let verb: Change.Verb
  var aspects: ChangedAspects = []
  switch (left, right) {
  case (let a?, let b?):
    verb = .changed
    aspects = metadataAspects(a.metadata, b.metadata)
    if a.attributes != b.attributes { aspects.insert(.attributes) }
    if aspects.isEmpty { return }
  case (_, nil): verb = .removed
  default: verb = .added
  }
  try report(
    Change(
      verb: verb, path: path, kind: .directory, aspects: aspects, sizeBefore: nil, sizeAfter: nil))
}

private func metadataAspects(_ a: Metadata, _ b: Metadata) -> ChangedAspects {
  var aspects: ChangedAspects = []
  if a.permissions != b.permissions { aspects.insert(.permissions) }
  if (a.user, a.group) != (b.user, b.group) { aspects.insert(.owner) }
  if a.modified != b.modified { aspects.insert(.modified) }
  return aspects
}

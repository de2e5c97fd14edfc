public import Model

/// The next entry of two ordered streams of names: in one of them or in both.
///
/// Every operation is one merge of two such streams, with its own action in each case.
@frozen
public enum Pair<Left, Right> {
  case left(Left)
  case right(Right)
  case both(Left, Right)

  /// Takes one entry of the same name from each stream; `nil` if neither has one.
  @inlinable
  public init?(_ left: Left?, _ right: Right?) {
    switch (left, right) {
    case (nil, nil): return nil
    case (let left?, nil): self = .left(left)
    case (nil, let right?): self = .right(right)
    case (let left?, let right?): self = .both(left, right)
    }
  }

  /// Takes the heads of the streams, each `nil` at its end; `nil` if both have ended.
  @inlinable @inline(__always)
  public init?(_ left: Left?, _ right: Right?, by order: (Left, Right) -> NameOrder) {
    switch (left, right) {
    case (nil, nil): return nil
    case (let left?, nil): self = .left(left)
    case (nil, let right?): self = .right(right)
    case (let left?, let right?):
      switch order(left, right) {
      case .before: self = .left(left)
      case .after: self = .right(right)
      case .same: self = .both(left, right)
      }
    }
  }

  /// The entries of both streams.
  @inlinable
  public var sides: (left: Left?, right: Right?) {
    switch self {
    case .left(let left): (left, nil)
    case .right(let right): (nil, right)
    case .both(let left, let right): (left, right)
    }
  }

  @inlinable
  public func map<L, R>(left: (Left) throws -> L, right: (Right) throws -> R) rethrows -> Pair<L, R> {
    switch self {
    case .left(let entry): .left(try left(entry))
    case .right(let entry): .right(try right(entry))
    case .both(let one, let other): .both(try left(one), try right(other))
    }
  }
}

/// The merge of two records of one directory: first the files, then the sub-directories.
public struct RecordMerge {
  private let left, right: DirectoryRecord?
  private var leftFiles, rightFiles: FileCursor?
  private var directories: (left: ArraySlice<DirectoryRow>, right: ArraySlice<DirectoryRow>)?

  /// A missing record has no entries.
  public init(_ left: DirectoryRecord?, _ right: DirectoryRecord?) throws(CatalogError) {
    (self.left, self.right) = (left, right)
    leftFiles = try left.map { record throws(CatalogError) in try FileCursor(of: record) }
    rightFiles = try right.map { record throws(CatalogError) in try FileCursor(of: record) }
  }

  /// The next files; with `name`, only those that sort before it. `nil` after the last.
  public mutating func nextFile(before name: Span<UInt8>? = nil) throws(CatalogError) -> Pair<FileRow, FileRow>? {
    var (leftFile, rightFile) = (leftFiles?.current, rightFiles?.current)
    if let name {
      if let file = leftFile, left!.order(of: file.name, to: name) != .before { leftFile = nil }
      if let file = rightFile, right!.order(of: file.name, to: name) != .before { rightFile = nil }
    }
    let pair = Pair(leftFile, rightFile) { left!.order(of: $0.name, to: right!.bytes.span.extracting($1.name)) }
    switch pair {
    case .left: try leftFiles?.advance()
    case .right: try rightFiles?.advance()
    case .both:
      try leftFiles?.advance()
      try rightFiles?.advance()
    case nil: break
    }
    return pair
  }

  /// Passes the files that are the same in both records.
  mutating func passEqualFiles() throws(CatalogError) {
    guard let left, let right else { return }
    while let one = leftFiles?.current, let other = rightFiles?.current, left.hasSameContent(one, as: other, of: right)
    {
      try leftFiles!.advance()
      try rightFiles!.advance()
    }
  }

  /// Passes the sub-directories that are the same in both records. Must be called only after the last file.
  mutating func passEqualDirectories() throws(CatalogError) {
    guard let left, let right else { return }
    var (leftRows, rightRows) = try decodedDirectories()
    while let one = leftRows.first, let other = rightRows.first, one.digest == other.digest,
      left.order(of: one.name, to: right.bytes.span.extracting(other.name)) == .same
    {
      leftRows.removeFirst()
      rightRows.removeFirst()
    }
    directories = (leftRows, rightRows)
  }

  private mutating func decodedDirectories() throws(CatalogError) -> (
    ArraySlice<DirectoryRow>, ArraySlice<DirectoryRow>
  ) {
    if let directories { return directories }
    let decoded = (try leftFiles?.directories()[...] ?? [], try rightFiles?.directories()[...] ?? [])
    directories = decoded
    return decoded
  }

  /// The next sub-directories; `nil` after the last. Must be called only after the last file.
  public mutating func nextDirectory() throws(CatalogError) -> Pair<DirectoryRow, DirectoryRow>? {
    let (leftRows, rightRows) = try decodedDirectories()
    let pair = Pair(leftRows.first, rightRows.first) {
      left!.order(of: $0.name, to: right!.bytes.span.extracting($1.name))
    }
    if pair?.sides.left != nil { directories!.left.removeFirst() }
    if pair?.sides.right != nil { directories!.right.removeFirst() }
    return pair
  }
}

/// The files of a record in ascending order, as one input of a merge.
public struct FileCursor {
  public let record: DirectoryRecord
  private var position: DirectoryRecord.Position
  /// The file at the cursor's position; `nil` after the last.
  public private(set) var current: FileRow?

  public init(of record: DirectoryRecord) throws(CatalogError) {
    self.record = record
    position = record.firstFile
    current = try record.nextFile(at: &position)
  }

  public mutating func advance() throws(CatalogError) { current = try record.nextFile(at: &position) }

  /// The sub-directories; valid only after the last file.
  public func directories() throws(CatalogError) -> [DirectoryRow] { try record.directories(after: position) }
}

/// The catalog's entry at a path.
public enum Found {
  case directory(DirectoryRecord, Subtree)
  case file(FileRow, of: DirectoryRecord)
}

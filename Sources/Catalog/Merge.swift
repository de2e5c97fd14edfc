/// The files of a record, one at a time in ascending order: one side of a merge.
///
/// Every verb merges two ordered streams of names; the other side is a directory's listing or another
/// cursor.
public struct FileCursor {
  public let record: DirectoryRecord
  private var position: DirectoryRecord.Position
  /// The file the cursor stands on; `nil` after the last.
  public private(set) var current: FileRow?
  /// Files that were passed over without being sought.
  public private(set) var passed: UInt64 = 0

  public init(_ record: DirectoryRecord) throws(CatalogError) {
    self.record = record
    position = record.firstFile
    current = try record.nextFile(&position)
  }

  public mutating func advance() throws(CatalogError) {
    current = try record.nextFile(&position)
  }

  /// The sub-directories; only when the cursor has passed the last file.
  public func directories() throws(CatalogError) -> [DirectoryRow] {
    try record.directories(after: position)
  }

  /// Moves past every file up to `name`, and returns the file of that name if there is one.
  ///
  /// Names must be sought in ascending order, each once. `passing` is called with each file between.
  public mutating func seek(
    _ name: Span<UInt8>, passing: (FileRow) -> Void = { _ in }
  ) throws(CatalogError) -> FileRow? {
    while let file = current {
      let order = compareNames(record.bytes.span.extracting(file.name), name)
      if order == .after { return nil }
      try advance()
      if order == .same { return file }
      passed += 1
      passing(file)
    }
    return nil
  }

  /// Passes over the rest and returns the sub-directories.
  public mutating func remainingDirectories() throws(CatalogError) -> DirectoryCursor {
    while current != nil {
      try advance()
      passed += 1
    }
    return DirectoryCursor(record, try directories())
  }
}

/// The sub-directories of a record in ascending order: the other half of a merge.
public struct DirectoryCursor {
  public let record: DirectoryRecord
  public let rows: [DirectoryRow]
  private var index = 0
  /// Entries of the sub-directories that were passed over without being sought.
  public private(set) var passedEntries: UInt64 = 0

  public init(_ record: DirectoryRecord, _ rows: [DirectoryRow]) {
    self.record = record
    self.rows = rows
  }

  /// Moves past every directory up to `name`, and returns the one of that name if there is one.
  public mutating func seek(_ name: Span<UInt8>) -> DirectoryRow? {
    while index < rows.count {
      let row = rows[index]
      let order = compareNames(record.bytes.span.extracting(row.name), name)
      if order == .after { return nil }
      index += 1
      if order == .same { return row }
      passedEntries &+= row.totals.entries
    }
    return nil
  }

  /// Passes over the rest.
  public mutating func finish() {
    while index < rows.count {
      passedEntries &+= rows[index].totals.entries
      index += 1
    }
  }
}

/// The next entry of two ordered streams of names: one of them has it, or both.
enum Pair<Entry> {
  case left(Entry)
  case right(Entry)
  case both(Entry, Entry)

  /// `left` and `right` are the heads of the streams; `nil` at an end. `nil` where both have ended.
  @inline(__always)
  init?(_ left: Entry?, _ right: Entry?, by order: (Entry, Entry) -> NameOrder) {
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
}

/// What a path names in a catalog.
public enum Found {
  case directory(DirectoryRecord, Subtree)
  case file(FileRow, of: DirectoryRecord)
}

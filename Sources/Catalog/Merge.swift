internal import Model

/// The files of a record in ascending order, as one input of a merge.
///
/// Every operation merges two ordered streams of names. The other input is a directory's listing or another cursor.
public struct FileCursor {
  public let record: DirectoryRecord
  private var position: DirectoryRecord.Position
  /// The file at the cursor's position; `nil` after the last.
  public private(set) var current: FileRow?
  /// The number of files that the cursor passed and no caller sought.
  public private(set) var passed: UInt64 = 0

  public init(_ record: DirectoryRecord) throws(CatalogError) {
    self.record = record
    position = record.firstFile
    current = try record.nextFile(&position)
  }

  public mutating func advance() throws(CatalogError) {
    current = try record.nextFile(&position)
  }

  /// The sub-directories; valid only after the last file.
  public func directories() throws(CatalogError) -> [DirectoryRow] {
    try record.directories(after: position)
  }

  /// Moves past every file up to `name`; returns the file of that name, or `nil`.
  ///
  /// Callers must seek names in ascending order, each once. `passing` is called with each file in between.
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

  /// Passes the remaining files and returns the sub-directories.
  public mutating func remainingDirectories() throws(CatalogError) -> DirectoryCursor {
    while current != nil {
      try advance()
      passed += 1
    }
    return DirectoryCursor(record, try directories())
  }
}

/// The sub-directories of a record in ascending order, as one input of a merge.
public struct DirectoryCursor {
  public let record: DirectoryRecord
  public let rows: [DirectoryRow]
  private var index = 0
  /// The number of entries in sub-directories that the cursor passed and no caller sought.
  public private(set) var passedEntries: UInt64 = 0

  public init(_ record: DirectoryRecord, _ rows: [DirectoryRow]) {
    self.record = record
    self.rows = rows
  }

  /// Moves past every directory up to `name`; returns the directory of that name, or `nil`.
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

  /// Passes the remaining sub-directories.
  public mutating func finish() {
    while index < rows.count {
      passedEntries &+= rows[index].totals.entries
      index += 1
    }
  }
}

/// The next entry of two ordered streams of names: in one of them or in both.
enum Pair<Entry> {
  case left(Entry)
  case right(Entry)
  case both(Entry, Entry)

  /// Takes the heads of the streams, each `nil` at its end; `nil` if both have ended.
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

/// The catalog's entry at a path.
public enum Found {
  case directory(DirectoryRecord, Subtree)
  case file(FileRow, of: DirectoryRecord)
}

public import Model

/// A file, link or node in a directory's record; its ranges are into the record's bytes.
public struct FileRow: Sendable {
  public let kind: EntryKind
  public let flags: EntryFlags
  public let metadata: Metadata
  /// Size of a regular file in bytes, length of a link's target, or numbers of a device.
  public let size: UInt64
  public let name: Range<Int>
  public let linkGroup: UInt64?
  let attributes, target: Range<Int>
  public let digest: ContentDigest
  public let hints: Hints
  /// The bytes of the entry that its directory's digest covers.
  let content: Range<Int>
}

/// A sub-directory in its parent's record.
public struct DirectoryRow: Sendable {
  public let name: Range<Int>
  public let digest: Digest
  public let place: Place
  public let totals: Totals
}

/// One directory of a catalog. Every part is checked before use; files and sub-directories are decoded one by one, on
/// demand.
public struct DirectoryRecord: Sendable {
  /// The frame's content; shared, not copied.
  public let bytes: [UInt8]
  public let metadata: Metadata
  public let flags: EntryFlags
  public let hints: Hints
  public let fileCount: Int
  private let attributeRange, contentRange, hintRange: Range<Int>
  private let filesStart: Int
  /// True in a catalog that was made in memory: nothing else has digests of chunks.
  private let mayHaveChunks: Bool

  /// The bytes that the digest covers.
  public var content: ArraySlice<UInt8> { bytes[contentRange] }

  public var isSynthetic: Bool { flags.contains(.synthetic) }
  public var attributes: AttributeBlock { AttributeBlock(bytes: Array(bytes[attributeRange])) }

  func withUnsafeBytes<R>(body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    try bytes.withUnsafeBytes(body)
  }

  /// Opens the record at `offset` of a frame's content and checks it against `digest`.
  init(
    frame bytes: [UInt8], offset: Int, digest: Digest, hasher: SHA256, mayHaveChunks: Bool = false
  ) throws(CatalogError) {
    self = try bytes.reading { raw throws(CatalogError) in
      guard offset >= 0, offset < raw.count else { throw CatalogError("a record lies outside its frame") }
      var cursor = ByteCursor(raw, in: offset..<raw.count)
      let contentCount = Int(try cursor.integer(UInt32.self))
      let hintCount = Int(try cursor.integer(UInt32.self))
      let content = try cursor.take(contentCount)
      let hintRange = try cursor.take(hintCount)
      // Only the form on the wire has no hints; a catalog's record always has them.
      guard hintCount > 0 else { throw CatalogError("a record has no hints") }
      guard hasher.digest(of: UnsafeRawBufferPointer(rebasing: raw[content])) == digest
      else { throw CatalogError("a directory's record does not have the digest its parent names") }
      return try DirectoryRecord(bytes, raw: raw, content: content, hints: hintRange, mayHaveChunks: mayHaveChunks)
    }
  }

  /// Opens a record in its form on the wire, without hints. Places and totals of its sub-directories are zero.
  public init(content: [UInt8]) throws(CatalogError) {
    guard content.count <= RecordLimit.recordBytes else { throw CatalogError("a record is too long") }
    self = try content.reading { raw throws(CatalogError) in
      try DirectoryRecord(content, raw: raw, content: 0..<raw.count, hints: 0..<0, mayHaveChunks: false)
    }
    // Decodes the whole record now, so that no later access finds damage.
    _ = try directories()
  }

  /// Opens a record in its form on the wire, with the hints of another machine.
  public init(content: [UInt8], sourceHints: [UInt8]) throws(CatalogError) {
    var record = try DirectoryRecord(content: content)
    guard sourceHints.count == (record.fileCount + 1) * RecordLayout.hintBytes
    else { throw CatalogError("a record has hints for another number of entries") }
    // The hints of sub-directories are places, which mean nothing on the wire.
    let childHints = try record.directories().count * RecordLayout.childHintBytes
    let bytes = content + sourceHints + [UInt8](repeating: 0, count: childHints)
    record = try bytes.reading { raw throws(CatalogError) in
      try DirectoryRecord(
        bytes, raw: raw, content: 0..<content.count, hints: content.count..<raw.count, mayHaveChunks: false)
    }
    var position = record.firstFile
    while try record.nextFile(at: &position) != nil {}
    self = record
  }

  /// The hints of the directory and its files that concern the source. The server's own are zero.
  public func sourceHints() throws(CatalogError) -> [UInt8] {
    var buffer = ByteBuffer(capacity: (fileCount + 1) * RecordLayout.hintBytes)
    RecordEncoder.append(hints.ofSource, to: &buffer)
    var position = firstFile
    while let row = try nextFile(at: &position) { RecordEncoder.append(row.hints.ofSource, to: &buffer) }
    return [UInt8](buffer.bytes)
  }

  private init(
    _ bytes: [UInt8], raw: UnsafeRawBufferPointer, content: Range<Int>, hints hintRange: Range<Int>,
    mayHaveChunks: Bool
  ) throws(CatalogError) {
    (self.bytes, self.mayHaveChunks) = (bytes, mayHaveChunks)
    contentRange = content
    self.hintRange = hintRange
    var body = ByteCursor(raw, in: content)
    let fixed = try FixedPart(from: &body)
    guard fixed.kind == .directory, fixed.flags.isDisjoint(with: [.sparseDigest, .chunksDigest])
    else { throw CatalogError("a record is not a directory's") }
    metadata = fixed.metadata
    flags = fixed.flags
    attributeRange = try fixed.attributes(from: &body)
    fileCount = Int(try body.integer(UInt32.self))
    filesStart = body.position
    // Each file takes at least its fixed part, a length byte for its name, and one byte of name.
    guard fileCount <= body.left / (RecordLayout.metadataBytes + 2),
      hintRange.isEmpty || hintRange.count >= (fileCount + 1) * RecordLayout.hintBytes
    else { throw CatalogError("a record's counts do not fit its size") }
    var hintCursor = ByteCursor(raw, in: hintRange)
    hints = hintRange.isEmpty ? .none : try Hints(from: &hintCursor)
  }

  // MARK: Files and sub-directories, in order

  /// A position among the record's files, then its sub-directories.
  public struct Position: Sendable {
    fileprivate var offset: Int
    fileprivate var index = 0
    fileprivate var count: Int
    fileprivate var previousName: Range<Int>?
  }

  public var firstFile: Position { Position(offset: filesStart, count: fileCount) }

  /// The next file, or `nil` after the last.
  public func nextFile(at position: inout Position) throws(CatalogError) -> FileRow? {
    if position.index == position.count { return nil }
    return try bytes.reading { raw throws(CatalogError) in try decodeFile(in: raw, position: &position) }
  }

  /// The location of a file that the caller has passed once and will visit again.
  struct FilePlace { fileprivate var offset: UInt32 }

  func place(of position: Position) -> FilePlace { FilePlace(offset: UInt32(position.offset)) }

  /// The file at a place that was passed before, so its order is already checked.
  func file(at place: FilePlace, number: Int) throws(CatalogError) -> FileRow {
    var position = Position(offset: Int(place.offset), index: number, count: fileCount)
    return try bytes.reading { raw throws(CatalogError) in try decodeFile(in: raw, position: &position) }
  }

  @inline(__always)
  private func decodeFile(in raw: UnsafeRawBufferPointer, position: inout Position) throws(CatalogError) -> FileRow {
    var cursor = ByteCursor(raw, in: position.offset..<contentRange.upperBound)
    let fixed = try FixedPart(from: &cursor)
    guard fixed.kind != .directory else { throw CatalogError("a directory stands among files") }
    let name = try Self.name(from: &cursor, after: position.previousName)
    let group = fixed.flags.contains(.hardLinked) ? try cursor.integer(UInt64.self) : nil
    let attributes = try fixed.attributes(from: &cursor)
    var target = 0..<0
    var digest = ContentDigest.ofNothing
    let isSparse = fixed.flags.contains(.sparseDigest)
    guard !isSparse || fixed.kind == .regular && fixed.size >= UInt64(ContentHasher.partBytes)
    else { throw CatalogError("an entry has the digest of a sparse file, and is none") }
    let isOfChunks = fixed.flags.contains(.chunksDigest)
    guard !isOfChunks || mayHaveChunks && !isSparse && fixed.kind == .regular
    else { throw CatalogError("an entry has the digest of chunks, of which the catalog knows none") }
    if fixed.kind == .symbolicLink {
      guard fixed.size > 0, fixed.size <= UInt64(RecordLimit.targetBytes)
      else { throw CatalogError("a symbolic link's target has an impossible length") }
      target = try cursor.take(Int(fixed.size))
    } else if fixed.kind == .regular && fixed.size > 0 {
      guard fixed.size <= UInt64(Int64.max) else { throw CatalogError("a file has an impossible size") }
      digest = ContentDigest(try cursor.digest(), form: isOfChunks ? .chunks : isSparse ? .sparse : .plain)
    }
    var hints = Hints.none
    if !hintRange.isEmpty {
      var hintCursor = ByteCursor(raw, in: hintRange)
      _ = try hintCursor.take((position.index + 1) * RecordLayout.hintBytes)
      hints = try Hints(from: &hintCursor)
    }
    let content = position.offset..<cursor.position
    position.offset = cursor.position
    position.index += 1
    position.previousName = name
    return FileRow(
      kind: fixed.kind, flags: fixed.flags, metadata: fixed.metadata, size: fixed.size, name: name,
      linkGroup: group, attributes: attributes, target: target, digest: digest, hints: hints,
      content: content)
  }

  /// The sub-directories; `position` must have passed the last file.
  public func directories(after position: consuming Position) throws(CatalogError) -> [DirectoryRow] {
    precondition(position.index == position.count)
    let start = position.offset
    return try bytes.reading { raw throws(CatalogError) in try decodeDirectories(in: raw, from: start) }
  }

  /// The sub-directories, for a caller that does not need the files.
  public func directories() throws(CatalogError) -> [DirectoryRow] {
    var position = firstFile
    while try nextFile(at: &position) != nil {}
    return try directories(after: position)
  }

  private func decodeDirectories(
    in raw: UnsafeRawBufferPointer, from start: Int
  ) throws(CatalogError) -> [DirectoryRow] {
    var cursor = ByteCursor(raw, in: start..<contentRange.upperBound)
    let count = Int(try cursor.integer(UInt32.self))
    guard count <= cursor.left / (Digest.byteCount + 2)
    else { throw CatalogError("a record's counts do not fit its size") }
    var hints = ByteCursor(raw, in: hintRange)
    if !hintRange.isEmpty {
      _ = try hints.take((fileCount + 1) * RecordLayout.hintBytes)
      guard hints.left == count * RecordLayout.childHintBytes
      else { throw CatalogError("a record's counts do not fit its size") }
    }
    var rows: [DirectoryRow] = []
    rows.reserveCapacity(count)
    for _ in 0..<count {
      let name = try Self.name(from: &cursor, after: rows.last?.name)
      let digest = try cursor.digest()
      var place = Place(frame: 0, offset: 0)
      var totals = Totals()
      if !hintRange.isEmpty {
        place = Place(frame: try hints.integer(), offset: try hints.integer())
        totals = Totals(entries: try hints.integer(), bytes: try hints.integer())
      }
      rows.append(DirectoryRow(name: name, digest: digest, place: place, totals: totals))
    }
    guard cursor.left == 0 else { throw CatalogError("a record has bytes to spare") }
    try refuseSharedNames(raw, rows: rows)
    return rows
  }

  /// Throws if a file and a sub-directory share a name.
  private func refuseSharedNames(_ raw: UnsafeRawBufferPointer, rows: [DirectoryRow]) throws(CatalogError) {
    guard fileCount > 0 else { return }
    var position = firstFile
    var row = 0
    while row < rows.count, position.index < position.count {
      let name = try decodeFile(in: raw, position: &position).name
      while row < rows.count {
        let order = compareNames(bytes.span.extracting(rows[row].name), bytes.span.extracting(name))
        guard order != .same else { throw CatalogError("two entries of a directory have one name") }
        if order == .after { break }
        row += 1
      }
    }
  }

  /// The order of one of the record's names and another name.
  func order(of name: Range<Int>, to other: Span<UInt8>) -> NameOrder {
    compareNames(bytes.span.extracting(name), other)
  }

  public func attributes(of file: FileRow) -> AttributeBlock {
    file.attributes.isEmpty ? .empty : AttributeBlock(bytes: Array(bytes[file.attributes]))
  }

  public func target(of file: FileRow) -> [UInt8] { Array(bytes[file.target]) }

  /// True if two entries agree in every byte that a digest covers.
  public func hasSameContent(_ file: FileRow, as other: FileRow, of record: DirectoryRecord) -> Bool {
    bytes[file.content] == record.bytes[other.content]
  }

  /// True if an entry can be linked to the inode of another one: all values are equal.
  ///
  /// If the other inode has several names, the entry must be of the same link group.
  public func mayShareInode(_ file: FileRow, with other: FileRow, of record: DirectoryRecord) -> Bool {
    file.kind == other.kind && file.size == other.size && file.digest == other.digest
      && file.metadata == other.metadata && (other.linkGroup == nil || other.linkGroup == file.linkGroup)
      && attributes(of: file) == record.attributes(of: other)
      && (file.kind != .symbolicLink || target(of: file) == record.target(of: other))
  }

  /// Reads a name and checks that it is a single component that sorts after `previous`.
  private static func name(
    from cursor: inout ByteCursor, after previous: Range<Int>?
  ) throws(CatalogError) -> Range<Int> {
    let range = try cursor.take(Int(try cursor.integer(UInt8.self)))
    let names = cursor.bytes.bindMemory(to: UInt8.self).span
    guard Name.isPossible(names.extracting(range)) else { throw CatalogError("an entry has an impossible name") }
    if let previous {
      guard compareNames(names.extracting(previous), names.extracting(range)) == .before
      else { throw CatalogError("the names of a directory are out of order") }
    }
    return range
  }
}

/// The 32 bytes at the start of every entry.
private struct FixedPart {
  let kind: EntryKind
  let flags: EntryFlags
  let metadata: Metadata
  let size: UInt64

  @inline(__always)
  init(from cursor: inout ByteCursor) throws(CatalogError) {
    guard let kind = EntryKind(rawValue: try cursor.integer())
    else { throw CatalogError("an entry is of no known kind") }
    self.kind = kind
    flags = EntryFlags(rawValue: try cursor.integer())
    guard flags.isSubset(of: .known) else { throw CatalogError("an entry has unknown flags") }
    metadata = Metadata(
      permissions: try cursor.integer(), user: try cursor.integer(), group: try cursor.integer(),
      modified: try Timestamp(from: &cursor))
    guard metadata.permissions <= 0o7777 else { throw CatalogError("an entry has impossible permissions") }
    size = try cursor.integer()
  }

  @inline(__always)
  func attributes(from cursor: inout ByteCursor) throws(CatalogError) -> Range<Int> {
    guard flags.contains(.hasAttributes) else { return 0..<0 }
    let count = Int(try cursor.integer(UInt32.self))
    guard count > 0, count <= AttributeBlock.maximumBytes
    else { throw CatalogError("extended attributes have an impossible length") }
    return try cursor.take(count)
  }
}

extension Timestamp {
  @inline(__always)
  init(from cursor: inout ByteCursor) throws(CatalogError) {
    self.init(seconds: try cursor.integer(), nanoseconds: try cursor.integer())
    guard nanoseconds < 1_000_000_000 else { throw CatalogError("a time has more nanoseconds than a second") }
  }
}

extension Hints {
  @inline(__always)
  init(from cursor: inout ByteCursor) throws(CatalogError) {
    sourceInode = try cursor.integer()
    changed = try Timestamp(from: &cursor)
    storedInode = try cursor.integer()
    flags = StorageFlags(rawValue: try cursor.integer())
  }
}

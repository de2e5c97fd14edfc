internal import Catalog
internal import Engine
internal import Model

/// Receives the stream of a push: stores each part that comes, and answers requests for signatures.
struct StreamReceiver {
  /// The directory that the messages are about.
  struct OpenDirectory {
    let record: DirectoryRecord
    let basePath: TreePath?
    private var files: FileCursor
    private var directories: [DirectoryRow]?

    init(record: DirectoryRecord, basePath: TreePath?) throws {
      (self.record, self.basePath) = (record, basePath)
      files = try FileCursor(of: record)
    }

    /// Skips rows of files, and takes the row of a regular file.
    mutating func takeFile(skipping count: UInt64) throws -> FileRow {
      var left = count
      while left > 0, files.current != nil {
        try files.advance()
        left -= 1
      }
      guard let row = files.current, row.kind == .regular
      else { throw ProtocolViolation("a file is not in its directory") }
      try files.advance()
      return row
    }

    mutating func directory(at index: Int) throws -> DirectoryRow {
      let rows = try directories ?? record.directories()
      directories = rows
      guard index < rows.count else { throw ProtocolViolation("a reference is to a directory that is not there") }
      return rows[index]
    }
  }

  let push: IncomingPush
  let stream: IncomingStream
  let staging: PushStaging
  let base: PushBase?
  let parts: PartReceiver
  let signatures: SignatureSender
  private(set) var pathCheck: DirectoryPathCheck
  private(set) var directory: OpenDirectory?
  /// The paths of the base's files from which a content could not be built, by the content's digest.
  private(set) var doubtfulBaseFiles: [ContentDigest: TreePath] = [:]

  /// Receives all messages up to the client's `end`.
  mutating func run() throws {
    while true {
      try checkForSignal()
      switch try stream.message() {
      case .record(let base, let byteCount): try receiveRecord(base: base, byteCount: byteCount)
      case .directory(let digest, let base): try enterKnown(digest, base: base)
      case .file(let skip, let source, let offset): try receiveFile(skip: skip, from: source, at: offset)
      case .baseFile(let skip, let path):
        try parts.limits.countReference()
        try staging.parts.add(baseFile: path, for: try takeFile(skipping: skip).digest)
      case .baseDirectory(let index, let path):
        try parts.limits.countReference()
        guard let row = try directory?.directory(at: index)
        else { throw ProtocolViolation("a reference belongs to no directory") }
        try staging.parts.add(baseDirectory: path, for: row.digest)
      case .signature(let path): try signatures.add(path)
      case .hints(let byteCount): try receiveHints(byteCount: byteCount)
      case .end: return
      case .needed: throw ProtocolViolation("what was not asked for came")
      }
    }
  }

  // MARK: Directories

  private mutating func receiveRecord(base: BaseDirectory?, byteCount: Int) throws {
    let before = try record(of: base)
    let content = try parts.receiveRecord(byteCount: byteCount, base: before)
    // The checks come before the record is stored.
    let record = try DirectoryRecord(content: content)
    try pathCheck.enter(SHA256().digest(of: content), below: record.directories()) { try staging.parts.record(for: $0) }
    try staging.parts.add(record: content, movedFrom: base.flatMap { $0.isMoved ? $0.path : nil })
    directory = try OpenDirectory(record: record, basePath: base?.path)
  }

  private func receiveHints(byteCount: Int) throws {
    guard push.request.hasSourceHints, let record = directory?.record
    else { throw ProtocolViolation("hints belong to no directory") }
    let hints = try parts.receiveRecord(byteCount: byteCount, base: nil)
    try staging.parts.add(hints: hints, of: record)
  }

  private mutating func enterKnown(_ digest: Digest, base: BaseDirectory?) throws {
    guard let record = try staging.parts.record(for: digest)
    else { throw ProtocolViolation("a directory did not come before") }
    try parts.limits.countRepeatedRecord(byteCount: record.bytes.count)
    _ = try self.record(of: base)
    directory = try OpenDirectory(record: record, basePath: base?.path)
  }

  private func record(of base: BaseDirectory?) throws -> DirectoryRecord? {
    guard let base else { return nil }
    guard let record = try self.base?.directory(at: base.path)
    else { throw ProtocolViolation("a record's base is no directory") }
    return record
  }

  // MARK: Files

  private mutating func takeFile(skipping count: UInt64) throws -> FileRow {
    guard let row = try directory?.takeFile(skipping: count)
    else { throw ProtocolViolation("a file belongs to no directory") }
    return row
  }

  private mutating func receiveFile(skip: UInt64, from source: CopySource, at offset: UInt64) throws {
    let row = try takeFile(skipping: skip)
    guard offset <= row.size else { throw ProtocolViolation("a file goes on beyond its end") }
    guard let path = try basePath(of: row, in: source) else {
      try parts.receiveContent(row.digest, byteCount: row.size, from: offset, base: nil)
      return
    }
    guard let before = try base?.file(at: path) else { throw ProtocolViolation("a file's base is no file") }
    let version = base?.open(path, byteCount: before.size, onRead: push.countRead)
    let copyBase = PartReceiver.CopyBase(file: version?.source, byteCount: before.size)
    let wasTried = try parts.receiveContent(row.digest, byteCount: row.size, from: offset, base: copyBase)
    // An unknown file says nothing about its content.
    if case .unknown = version { return }
    if wasTried, try !staging.hasContent(of: row.digest) { doubtfulBaseFiles[row.digest] = path }
  }

  private func basePath(of row: FileRow, in source: CopySource) throws -> TreePath? {
    switch source {
    case .nothing: return nil
    case .path(let path): return path
    case .comparedSubtree:
      guard let directory, let path = directory.basePath
      else { throw ProtocolViolation("a file's directory has no base") }
      return path + directory.record.bytes[row.name]
    }
  }
}

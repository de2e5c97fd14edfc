internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The file `parts` of a staging directory: records and references to the base in the order of arrival.
///
/// Several threads build the snapshot while more parts arrive.
final class PartsLog: Sendable {
  private enum Kind: UInt8 {
    case record = 1
    case movedRecord = 2
    case baseFile = 3
    case baseDirectory = 4
    case hints = 5
  }

  private struct Part {
    /// The offset of the payload in the file.
    var offset: UInt64
    var byteCount: Int
  }

  private struct Index: Sendable {
    var end: UInt64 = 0
    var records: [Digest: Part] = [:]
    var movedRecords: [Digest: Part] = [:]
    var baseFiles: [Digest: Part] = [:]
    var baseDirectories: [Digest: Part] = [:]
    var hints: [Digest: Part] = [:]
  }

  /// The kind and the payload length in four bytes, the lowest first.
  private static let headBytes = 5

  private let file: Descriptor
  private let index = Mutex(Index())
  private let recordLimit: UInt64
  /// Digest prefixes of the sub-directories in records of earlier connections. Received directories are left out.
  let namedBefore: Set<UInt64>

  /// Reads the parts from earlier connections. At most `recordLimit` records are accepted.
  init(file: consuming Descriptor, recordLimit: UInt64) throws {
    var index = Index()
    var named: Set<UInt64> = []
    let size = try file.status().size
    let headBytes = UInt64(Self.headBytes)
    while index.end + headBytes <= size {
      let head = try file.read(at: index.end, count: Self.headBytes)
      let byteCount = head.dropFirst().reversed().reduce(0) { $0 << 8 | Int($1) }
      let offset = index.end + headBytes
      guard let kind = Kind(rawValue: head[0]), UInt64(byteCount) <= size - offset,
        byteCount <= Wire.recordBytes + 1 << 21
      else { break }
      let payload = try file.read(at: offset, count: byteCount)
      let part = Part(offset: offset, byteCount: byteCount)
      guard (try? Self.enter(part, kind: kind, payload: payload, in: &index, named: &named)) != nil else { break }
      index.end = offset + UInt64(byteCount)
    }
    // A torn part at the end is cut off. The client sends it again.
    try file.setLength(index.end)
    for digest in index.records.keys { named.remove(digest.prefix) }
    namedBefore = named
    self.recordLimit = recordLimit
    self.file = file
    self.index.withLock { $0 = index }
  }

  private static func enter(
    _ part: Part, kind: Kind, payload: [UInt8], in index: inout Index, named: inout Set<UInt64>
  ) throws {
    guard kind != .record else {
      for row in try DirectoryRecord(content: payload).directories() { named.insert(row.digest.prefix) }
      index.records[SHA256().digest(of: payload)] = part
      return
    }
    var reader = MessageReader(payload: payload)
    let digest = try reader.digest()
    if kind == .hints {
      index.hints[digest] = part
      return
    }
    _ = try reader.path()
    try reader.end()
    switch kind {
    case .record, .hints: break
    case .movedRecord: index.movedRecords[digest] = part
    case .baseFile: index.baseFiles[digest] = part
    case .baseDirectory: index.baseDirectories[digest] = part
    }
  }

  var byteCount: UInt64 { index.withLock { $0.end } }

  /// Digest prefixes of the records and references.
  var prefixes: [UInt64] {
    index.withLock { (Array($0.records.keys) + $0.baseFiles.keys + $0.baseDirectories.keys).map(\.prefix) }
  }

  // MARK: Adding

  private func append(_ kind: Kind, payload: [UInt8], to index: inout Index) throws(Failure) -> Part {
    var head = [kind.rawValue]
    for shift in [0, 8, 16, 24] { head.append(UInt8(truncatingIfNeeded: payload.count >> shift)) }
    let offset = index.end + UInt64(Self.headBytes)
    do throws(Errno) {
      try file.write(payload, at: offset)
      try file.write(head, at: index.end)
    } catch { throw Failure.writing("receive a snapshot in", at: Array("pending".utf8), because: error) }
    index.end = offset + UInt64(payload.count)
    return Part(offset: offset, byteCount: payload.count)
  }

  /// Only the first reference for a digest is stored. A client that repeats it could otherwise fill the disk.
  private func append(
    _ kind: Kind, path: TreePath, for digest: Digest, to parts: WritableKeyPath<Index, [Digest: Part]>
  ) throws {
    try index.withLock { index in
      guard index[keyPath: parts][digest] == nil else { return }
      var writer = MessageWriter()
      writer.digest(digest)
      writer.path(path)
      index[keyPath: parts][digest] = try append(kind, payload: writer.bytes, to: &index)
    }
  }

  /// Stores a record. Returns the decoded record and its digest.
  @discardableResult
  func add(record content: [UInt8], movedFrom path: TreePath? = nil) throws -> (DirectoryRecord, Digest) {
    let record = try DirectoryRecord(content: content)
    let digest = SHA256().digest(of: content)
    try index.withLock { index in
      guard index.records[digest] == nil else { return }
      guard UInt64(index.records.count) < recordLimit
      else { throw ProtocolViolation("there are more directories than was announced") }
      index.records[digest] = try append(.record, payload: content, to: &index)
    }
    if let path { try append(.movedRecord, path: path, for: digest, to: \.movedRecords) }
    return (record, digest)
  }

  /// Stores the hints about the source of a record. They are checked when they are read.
  func add(hints: [UInt8], of record: DirectoryRecord) throws {
    let digest = SHA256().digest(of: Array(record.content))
    _ = try DirectoryRecord(content: Array(record.content), sourceHints: hints)
    try index.withLock { index in
      guard index.hints[digest] == nil else { return }
      index.hints[digest] = try append(.hints, payload: digest.bytes + hints, to: &index)
    }
  }

  func add(baseFile path: TreePath, for digest: ContentDigest) throws {
    // The plain and the sparse form of a digest share an entry. The builder compares the base's row with the new one.
    try append(.baseFile, path: path, for: digest.digest, to: \.baseFiles)
  }

  func add(baseDirectory path: TreePath, for digest: Digest) throws {
    try append(.baseDirectory, path: path, for: digest, to: \.baseDirectories)
  }

  // MARK: Reading

  func record(for digest: Digest) throws -> DirectoryRecord? {
    let (part, hintsPart) = index.withLock { ($0.records[digest], $0.hints[digest]) }
    guard let part else { return nil }
    let content = try file.read(at: part.offset, count: part.byteCount)
    guard let hintsPart else { return try DirectoryRecord(content: content) }
    let hints = try file.read(at: hintsPart.offset, count: hintsPart.byteCount).dropFirst(Digest.byteCount)
    return try DirectoryRecord(content: content, sourceHints: Array(hints))
  }

  /// The path at which the base has a directory or its previous version; `nil` if the name is the same.
  func basePath(of digest: Digest) throws -> TreePath? {
    try path(in: index.withLock { $0.movedRecords[digest] ?? $0.baseDirectories[digest] })
  }

  func baseFile(for digest: ContentDigest) throws -> TreePath? {
    try path(in: index.withLock { $0.baseFiles[digest.digest] })
  }

  private func path(in part: Part?) throws -> TreePath? {
    guard let part else { return nil }
    var reader = MessageReader(payload: try file.read(at: part.offset, count: part.byteCount))
    _ = try reader.digest()
    return try reader.path()
  }
}

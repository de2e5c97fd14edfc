internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The staging directory of a pushed snapshot: all that the server has received of it.
///
/// `contents/` holds files named by their digests. `parts` holds records and references in the order of arrival.
/// `partial.DIGEST` holds the beginning of a file whose transfer was cut off. It is kept until the whole file arrives.
final class ReceivedTree: WantedTree, @unchecked Sendable {
  private struct Part {
    /// The offset of the payload in `parts`.
    var offset: UInt64
    var byteCount: Int
  }
  private enum Kind: UInt8 {
    case record = 1
    case movedRecord = 2
    case baseFile = 3
    case baseDirectory = 4
  }

  private let directory: Directory
  let contents: Directory
  private let parts: Descriptor
  private let tools = AssemblyTools()
  private let directoryLimit: UInt64
  private let onWork: (UInt64) -> Void
  /// Guards the end and the indexes of `parts`. Several threads build the snapshot while more parts arrive.
  private let gate = Gate()
  private var end: UInt64 = 0
  var partsByteCount: UInt64 { gate.locked { end } }
  /// The files whose transfer was cut off, with the number of bytes received; the largest first.
  private(set) var partials: [(digest: ContentDigest, byteCount: UInt64)] = []
  /// Digest prefixes of the sub-directories in records of earlier connections. Received directories are left out.
  private(set) var namedBefore: Set<UInt64> = []
  private var records: [Digest: Part] = [:]
  private var movedRecords: [Digest: Part] = [:]
  private var baseFiles: [Digest: Part] = [:]
  private var baseDirectories: [Digest: Part] = [:]
  /// The contents that are larger than a file can be in this file system.
  private var tooLarge: Set<ContentDigest> = []
  /// Requests a missing record from the client; set while the snapshot is built.
  var fetchRecord: (_ digest: Digest, _ path: [[UInt8]]) throws -> DirectoryRecord? = { _, _ in nil }
  /// Requests a missing content from the client; set while the snapshot is built.
  var fetchContent: (_ digest: ContentDigest, _ path: [[UInt8]], _ byteCount: UInt64) throws -> Void = { _, _, _ in }

  /// Bytes received by earlier connections. If the last one left no note of it, the size of `parts`.
  private(set) var receivedBefore: UInt64 = 0
  private static let receivedName = Array("received".utf8)

  private static let contentsName = Array("contents".utf8)
  private static let partsName = Array("parts".utf8)
  static let ownerName = Array("owner".utf8)
  private static let partialPrefix = Array("partial.".utf8)

  /// Opens the staging directory, with the data from earlier pushes of the same snapshot by the same client.
  ///
  /// `base` is the root digest of the snapshot that references point into. At most `directoryLimit` records are
  /// accepted. `onWork` gets the number of content bytes that are written, or read again.
  init(
    _ directory: Directory, client: [UInt8], root: Digest, base: Digest?, directoryLimit: UInt64,
    onWork: @escaping (UInt64) -> Void
  ) throws {
    self.directory = directory
    self.onWork = onWork
    self.directoryLimit = directoryLimit
    let own = Array("\(displayName(client)) \(root) \(base.map { "\($0)" } ?? "-")".utf8)
    let ownerName = Self.ownerName
    var owner: [UInt8] = []
    do throws(Errno) { owner = try directory.descriptor.openToRead(ownerName.span).readToEnd(limit: 4096) } catch {
      guard error == .noSuchEntry else { throw error }
    }
    let name = Self.contentsName
    do throws(Errno) { try directory.descriptor.makeDirectory(name.span, mode: 0o700) } catch {
      guard error == .exists else { throw error }
    }
    contents = try directory.directory(name.span)
    parts = try directory.descriptor.open(Self.partsName.span, [.readWrite, .create], mode: 0o600)
    // No staged file was synced. The disk may have been removed since, or the machine may have lost power.
    if !owner.isEmpty { try dropWhatIsDamaged() }
    if owner != own {
      // Contents stay, because their names identify them. The parts belong to another client, snapshot or base.
      try parts.setLength(0)
      let file = try directory.descriptor.open(ownerName.span, [.write, .create, .truncate], mode: 0o600)
      try file.write(own)
    }
    try readParts()
    receivedBefore = try readReceived()
    partials = try findPartials()
  }

  private func readReceived() throws -> UInt64 {
    let name = Self.receivedName
    do throws(Errno) {
      let text = try directory.descriptor.openToRead(name.span).readToEnd(limit: 32)
      // The note is valid once. If this connection ends without a new note, the old one would be wrong.
      try directory.descriptor.unlink(name.span)
      return min(UInt64(String(decoding: text, as: UTF8.self)) ?? end, 1 << 62)
    } catch {
      guard error == .noSuchEntry else { throw error }
      return end
    }
  }

  /// Notes the bytes received, at the end of a connection. A note that cannot be written costs the client only time.
  func remember(received byteCount: UInt64) {
    let name = Self.receivedName
    guard let file = try? directory.descriptor.open(name.span, [.write, .create, .truncate], mode: 0o600) else {
      return
    }
    try? file.write(Array("\(receivedBefore &+ byteCount)".utf8))
  }

  /// Removes contents that do not match their digests. An earlier write may be lost; an unreadable file counts as lost.
  private func dropWhatIsDamaged() throws {
    var listing = DirectoryListing()
    try listing.read(try contents.descriptor.reopenDirectory())
    for entry in listing.entries {
      let name = Array(listing.bytes[entry.range])
      try checkForSignal()
      if let digest = ContentDigest(fileName: name), try has(digest, name) { continue }
      try contents.descriptor.unlink(name.span)
    }
  }

  private func has(_ digest: ContentDigest, _ name: [UInt8]) throws -> Bool {
    do throws(Errno) {
      let file = try contents.descriptor.openToRead(name.span)
      let byteCount = try file.status().size
      return try FileAssembly(file, from: byteCount, elidingZeros: digest.isSparse, tools, onWork: onWork).finish()
        == digest
    } catch {
      if error == .interrupted { try checkForSignal() }
      // The error says nothing about the data. The next connection checks again.
      if error.leavesDataUnknown { throw error }
      return false
    }
  }

  // MARK: Parts

  private func readParts() throws {
    let size = try parts.status().size
    while end + 5 <= size {
      let head = try parts.read(at: end, count: 5)
      let count = Int(head[1]) | Int(head[2]) << 8 | Int(head[3]) << 16 | Int(head[4]) << 24
      guard let kind = Kind(rawValue: head[0]), UInt64(count) <= size - end - 5, count <= Wire.recordBytes + 1 << 21
      else { break }
      guard (try? know(kind, try parts.read(at: end + 5, count: count), at: end + 5)) != nil else { break }
      end += 5 + UInt64(count)
    }
    // A torn part at the end is cut off. The client sends it again.
    try parts.setLength(end)
    for digest in records.keys { namedBefore.remove(digest.prefix) }
  }

  private func know(_ kind: Kind, _ payload: [UInt8], at offset: UInt64) throws {
    switch kind {
    case .record:
      for row in try DirectoryRecord(content: payload).directories() { namedBefore.insert(row.digest.prefix) }
      records[Self.digest(of: payload)] = Part(offset: offset, byteCount: payload.count)
    case .movedRecord, .baseFile, .baseDirectory:
      var reader = MessageReader(payload)
      let digest = try reader.digest()
      _ = try reader.path()
      try reader.end()
      let part = Part(offset: offset, byteCount: payload.count)
      switch kind {
      case .movedRecord: movedRecords[digest] = part
      case .baseFile: baseFiles[digest] = part
      default: baseDirectories[digest] = part
      }
    }
  }

  /// Appends a part to `parts`. The caller adds it to an index.
  private func add(_ kind: Kind, _ payload: [UInt8]) throws -> Part {
    var head = [kind.rawValue]
    for shift in [0, 8, 16, 24] { head.append(UInt8(truncatingIfNeeded: payload.count >> shift)) }
    do throws(Errno) {
      try parts.write(payload, at: end + 5)
      try parts.write(head, at: end)
    } catch { throw Failure.writing("receive a snapshot in", at: Array("pending".utf8), because: error) }
    defer { end += 5 + UInt64(payload.count) }
    return Part(offset: end + 5, byteCount: payload.count)
  }

  private func addPath(_ kind: Kind, _ digest: Digest, _ path: [[UInt8]]) throws -> Part {
    var writer = MessageWriter()
    writer.digest(digest)
    writer.path(path)
    return try add(kind, writer.bytes)
  }

  static func digest(of record: [UInt8]) -> Digest {
    let hasher = SHA256()
    hasher.update(record)
    return hasher.finish()
  }

  /// Stores a record. Returns the decoded record and its digest.
  func add(record content: [UInt8], movedFrom path: [[UInt8]]?) throws -> (DirectoryRecord, Digest) {
    let record = try DirectoryRecord(content: content)
    let digest = Self.digest(of: content)
    try gate.locked {
      if records[digest] == nil {
        guard UInt64(records.count) < directoryLimit else {
          throw WireError("there are more directories than was announced")
        }
        records[digest] = try add(.record, content)
      }
      if let path, movedRecords[digest] == nil { movedRecords[digest] = try addPath(.movedRecord, digest, path) }
    }
    return (record, digest)
  }

  // Only the first reference for a digest is stored. A client that repeats it could otherwise fill the disk.

  func add(baseFile path: [[UInt8]], for digest: ContentDigest) throws {
    try gate.locked {
      // The plain and the sparse form of a digest share an entry. The builder compares the base's row with the new one.
      let digest = digest.digest
      if baseFiles[digest] == nil { baseFiles[digest] = try addPath(.baseFile, digest, path) }
    }
  }

  func add(baseDirectory path: [[UInt8]], for digest: Digest) throws {
    try gate.locked {
      if baseDirectories[digest] == nil { baseDirectories[digest] = try addPath(.baseDirectory, digest, path) }
    }
  }

  private func path(_ part: Part?) throws -> [[UInt8]]? {
    guard let part else { return nil }
    var reader = MessageReader(try parts.read(at: part.offset, count: part.byteCount))
    _ = try reader.digest()
    return try reader.path()
  }

  func record(_ digest: Digest) throws -> DirectoryRecord? {
    guard let part = gate.locked({ records[digest] }) else { return nil }
    return try DirectoryRecord(content: try parts.read(at: part.offset, count: part.byteCount))
  }

  // MARK: Contents

  func hasContent(_ digest: ContentDigest) -> Bool {
    let name = digest.fileName
    return (try? contents.descriptor.status(of: name.span)) != nil
  }

  private static func partialName(_ digest: ContentDigest) -> [UInt8] { partialPrefix + digest.fileName }

  /// Finds the partial files. Removes the smallest ones beyond `Wire.partialFiles`.
  private func findPartials() throws -> [(digest: ContentDigest, byteCount: UInt64)] {
    var listing = DirectoryListing()
    try listing.read(try directory.descriptor.reopenDirectory())
    var found: [(digest: ContentDigest, byteCount: UInt64)] = []
    for entry in listing.entries {
      let name = Array(listing.bytes[entry.range])
      guard name.starts(with: Self.partialPrefix) else { continue }
      let status = try directory.descriptor.status(of: name.span)
      guard let digest = ContentDigest(fileName: name.dropFirst(Self.partialPrefix.count)),
        name == Self.partialName(digest), status.kind == .regular
      else {
        try directory.descriptor.unlink(name.span)
        continue
      }
      found.append((digest, status.size))
    }
    found.sort { $0.byteCount > $1.byteCount }
    for other in found.dropFirst(Wire.partialFiles) { try giveUp(other.digest) }
    return Array(found.prefix(Wire.partialFiles))
  }

  /// Removes the partial file of a content.
  func giveUp(_ digest: ContentDigest) throws {
    let name = Self.partialName(digest)
    try directory.descriptor.unlink(name.span)
  }

  /// Begins a content, or continues it at `offset`; `nil` if the partial file is shorter than that.
  func begin(_ digest: ContentDigest, at offset: UInt64) throws -> FileAssembly? {
    let name = Self.partialName(digest)
    if offset == 0 {
      let file = try directory.descriptor.open(name.span, [.readWrite, .create, .truncate], mode: 0o600)
      return try FileAssembly(file, from: 0, elidingZeros: digest.isSparse, tools, onWork: onWork)
    }
    do throws(Errno) {
      let file = try directory.descriptor.open(name.span, .readWrite)
      let size = try file.status().size
      if offset > size { return nil }
      if size > offset { try file.setLength(offset) }
      return try FileAssembly(file, from: offset, elidingZeros: digest.isSparse, tools, onWork: onWork)
    } catch {
      if error == .interrupted { throw error }
      // An unreadable partial file counts as missing.
      if error != .noSuchEntry { try giveUp(digest) }
      return nil
    }
  }

  /// Notes that a content is larger than a file can be in this file system. It is not requested again.
  func refuse(_ digest: ContentDigest) { gate.locked { _ = tooLarge.insert(digest) } }

  func isTooLarge(_ digest: ContentDigest) -> Bool { gate.locked { tooLarge.contains(digest) } }

  /// Completes a content of which all bytes have arrived. Returns false if it does not match its digest.
  func end(_ assembly: FileAssembly, _ digest: ContentDigest, byteCount: UInt64) throws -> Bool {
    let final = digest.fileName
    let name = Self.partialName(digest)
    guard try assembly.finish() == digest, assembly.byteCount == byteCount else {
      try directory.descriptor.unlink(name.span)
      return false
    }
    try directory.descriptor.rename(name.span, to: contents.descriptor, as: final.span, replacing: true)
    return true
  }

  /// Digest prefixes of the records, contents and references that need not be sent again.
  func known() throws -> [UInt64] {
    var prefixes = gate.locked { (Array(records.keys) + baseFiles.keys + baseDirectories.keys).map(\.prefix) }
    var listing = DirectoryListing()
    try listing.read(try contents.descriptor.reopenDirectory())
    for entry in listing.entries {
      if let digest = ContentDigest(fileName: listing.bytes[entry.range]) { prefixes.append(digest.prefix) }
    }
    return prefixes
  }

  // MARK: For the builder of the snapshot

  func basePath(_ digest: Digest) throws -> [[UInt8]]? {
    try path(gate.locked { movedRecords[digest] ?? baseDirectories[digest] })
  }

  func fetchRecord(_ digest: Digest, at path: [[UInt8]]) throws -> DirectoryRecord {
    guard let record = try fetchRecord(digest, path) else { throw WireError("a directory did not come") }
    return record
  }

  func baseFile(_ digest: ContentDigest) throws -> [[UInt8]]? { try path(gate.locked { baseFiles[digest.digest] }) }

  func fetchContent(_ digest: ContentDigest, byteCount: UInt64, at path: [[UInt8]]) throws {
    try fetchContent(digest, path, byteCount)
  }
}

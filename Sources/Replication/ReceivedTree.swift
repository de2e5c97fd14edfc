internal import Catalog
internal import Engine
internal import Posix
internal import Repository
internal import Synchronization

/// What came of a snapshot that is being pushed here, on disk: `contents/` has files named by their digests,
/// `parts` the records and references in the order in which they came, `partial.DIGEST` a file that was coming when a
/// connection was lost. It is kept until that file has come.
final class ReceivedTree: WantedTree, @unchecked Sendable {
  private struct Part {
    /// Of its payload in `parts`.
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
  /// Of the end of `parts`, and of what is known of it: several threads build while more comes.
  private let gate = Gate()
  private var end: UInt64 = 0
  var partsByteCount: UInt64 { gate.locked { end } }
  /// The files that were coming when connections were lost, and how much of each came; the largest first.
  private(set) var partials: [(digest: ContentDigest, byteCount: UInt64)] = []
  /// The beginnings of digests that records of earlier connections name, but for those of directories that came, too.
  private(set) var namedBefore: Set<UInt64> = []
  private var records: [Digest: Part] = [:]
  private var movedRecords: [Digest: Part] = [:]
  private var baseFiles: [Digest: Part] = [:]
  private var baseDirectories: [Digest: Part] = [:]
  /// The contents that are larger than a file can be here.
  private var tooLarge: Set<ContentDigest> = []
  /// Asks the other end; set while the snapshot is built.
  var fetchRecord: (_ digest: Digest, _ path: [[UInt8]]) throws -> DirectoryRecord? = { _, _ in nil }
  var fetchContent: (_ digest: ContentDigest, _ path: [[UInt8]], _ byteCount: UInt64) throws -> Void = { _, _, _ in }

  /// Bytes that earlier connections brought; where one ended without a word, what is left of them.
  private(set) var receivedBefore: UInt64 = 0
  private static let receivedName = Array("received".utf8)

  private static let contentsName = Array("contents".utf8)
  private static let partsName = Array("parts".utf8)
  static let ownerName = Array("owner".utf8)
  private static let partialPrefix = Array("partial.".utf8)

  /// Opens what came earlier of the same snapshot from the same client. `base` is the root that references go by.
  /// There are no more directories than `directoryLimit`.
  ///
  /// `onWork` gets the bytes of contents that are written, or read again.
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
    // Nothing was made durable: the disk may have been taken away since, the machine may have lost its power.
    if !owner.isEmpty { try dropWhatIsDamaged() }
    if owner != own {
      // Contents are what their names say; of the rest nobody knows what it belongs to.
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
      // Read once: where this connection ends without a word, it says nothing any more.
      try directory.descriptor.unlink(name.span)
      return min(UInt64(String(decoding: text, as: UTF8.self)) ?? end, 1 << 62)
    } catch {
      guard error == .noSuchEntry else { throw error }
      return end
    }
  }

  /// Notes, at the end of a connection, how much it brought. What cannot be noted costs a client nothing but time.
  func remember(received byteCount: UInt64) {
    let name = Self.receivedName
    guard let file = try? directory.descriptor.open(name.span, [.write, .create, .truncate], mode: 0o600) else { return }
    try? file.write(Array("\(receivedBefore &+ byteCount)".utf8))
  }

  /// A file may not have what was written to it before; one that cannot be read has it not.
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
      return try FileAssembly(file, from: byteCount, elidingZeros: digest.isSparse, tools, onWork: onWork).finish() == digest
    } catch {
      if error == .interrupted { try checkForSignal() }
      // The next connection looks again.
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
    // What was torn is written again.
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

  /// Writes a part; whoever calls knows what it is.
  private func add(_ kind: Kind, _ payload: [UInt8]) throws -> Part {
    var head = [kind.rawValue]
    for shift in [0, 8, 16, 24] { head.append(UInt8(truncatingIfNeeded: payload.count >> shift)) }
    do throws(Errno) {
      try parts.write(payload, at: end + 5)
      try parts.write(head, at: end)
    } catch { throw Failure.writing("receive a snapshot in", Array("pending".utf8), error) }
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

  /// Takes a record; returns it with its digest.
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

  // The first reference stays: whoever gave it again and again would fill the disk.

  func add(baseFile path: [[UInt8]], for digest: ContentDigest) throws {
    try gate.locked {
      // Those of the two forms share a place: whoever follows a reference compares what is there.
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

  /// Finds the files that were cut off. Of too many the smallest are given up.
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

  /// Gives up what came of a file that was coming.
  func giveUp(_ digest: ContentDigest) throws {
    let name = Self.partialName(digest)
    try directory.descriptor.unlink(name.span)
  }

  /// Begins a content, or goes on with it at `offset`; `nil` where less of it is here.
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
      // What cannot be read is not here.
      if error != .noSuchEntry { try giveUp(digest) }
      return nil
    }
  }

  /// The content is larger than a file can be here; it does not come again.
  func refuse(_ digest: ContentDigest) { gate.locked { _ = tooLarge.insert(digest) } }

  func isTooLarge(_ digest: ContentDigest) -> Bool { gate.locked { tooLarge.contains(digest) } }

  /// The content came whole; false where it is not what its digest says.
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

  /// What need not be sent again: the beginnings of digests.
  func known() throws -> [UInt64] {
    var prefixes = gate.locked { (Array(records.keys) + baseFiles.keys + baseDirectories.keys).map(\.prefix) }
    var listing = DirectoryListing()
    try listing.read(try contents.descriptor.reopenDirectory())
    for entry in listing.entries {
      if let digest = ContentDigest(fileName: listing.bytes[entry.range]) { prefixes.append(digest.prefix) }
    }
    return prefixes
  }

  // MARK: For whoever builds the snapshot

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

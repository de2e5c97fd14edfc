internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The local memory of pushes to one repository: the tree of each directory, and the chunks of each large content.
///
/// It can be removed at any time. A tree in it is trusted only while no index has left the repository since: then no
/// pack has, and all that the tree names is there. Chunks are looked up in the index one by one. While it is used, it is
/// in temporary files, so memory does not grow with it. Any number of threads may use it.
final class PushCache: Sendable {
  /// The entries of earlier pushes; `nil` if there are none.
  private let known: PushedEntries?
  /// The entries of this push; `nil` after a failure to write them.
  private let added: Mutex<PushedEntries.Builder?>

  private static let magic = Array("treering-restic-cache-2\n".utf8)
  /// More entries are not kept. A full cache begins again.
  private static let mostTrees = 8_000_000
  private static let mostChunks = 32_000_000

  /// Reads the cache. One that is damaged, or another repository's, is empty.
  init(from file: ControlFile, of repository: ResticRepository, index: BlobIndex) {
    known = try? Self.read(file, of: repository, index: index)
    added = Mutex(try? PushedEntries.Builder())
  }

  private static func read(
    _ file: ControlFile, of repository: ResticRepository, index: BlobIndex
  ) throws -> PushedEntries? {
    guard let descriptor = try file.open() else { return nil }
    let reader = try CacheReader(descriptor)
    guard try reader.take(magic.count) == magic, try reader.entry(Digest.self) == repository.id else { return nil }
    var isTrusted = true
    try reader.entries(Digest.self) { if !index.files.isSuperset(of: $0) { isTrusted = false } }
    var entries = try PushedEntries.Builder()
    try reader.entries(PushedTree.self) { if isTrusted { try entries.trees.append($0) } }
    try reader.entries(PushedContent.self) { try entries.contents.append($0) }
    try reader.entries(Digest.self) { try entries.add(chunks: $0) }
    return try reader.hasRightEnd() ? try entries.finish() : nil
  }

  /// The trees that a directory had in earlier pushes, mostly one.
  func trees(of directory: Digest) throws -> [Digest] { try known?.trees.entries(of: directory).map(\.tree) ?? [] }

  /// The lists of chunks that a content had in earlier pushes, mostly one.
  func chunks(of content: ContentDigest) throws -> [[Digest]] { try known?.chunks(of: content) ?? [] }

  func add(_ trees: [PushedTree]) { add { try $0.trees.append(trees) } }

  func add(_ content: ContentDigest, chunks: [Digest]) { add { try $0.add(content, chunks: chunks) } }

  /// Without additions, the next push is only slower.
  private func add(_ body: (inout PushedEntries.Builder) throws -> Void) {
    added.withLock { added in
      guard var entries = added else { return }
      do {
        try body(&entries)
        added = entries
      } catch { added = nil }
    }
  }

  /// Writes the cache with the additions. `indexFiles` are the indexes that name all blobs of the trees.
  func save(to file: ControlFile, of repository: ResticRepository, indexFiles: Set<Digest>) throws {
    guard let new = try added.withLock({ try $0?.finish() }) else { return }
    var parts = [new]
    if let known, known.trees.count + new.trees.count <= Self.mostTrees,
      known.chunkCount + new.chunkCount <= Self.mostChunks
    {
      parts.insert(known, at: 0)
    }
    try file.replace { file in
      let writer = CacheWriter(file)
      try writer.write(Self.magic)
      try writer.write([repository.id])
      try writer.write(count: indexFiles.count)
      try writer.write(Array(indexFiles))
      try writer.write(count: parts.reduce(0) { $0 + $1.trees.count })
      for part in parts { try part.trees.forEach { try writer.write($0) } }
      try writer.write(count: parts.reduce(0) { $0 + $1.contents.count })
      var chunksBefore: UInt64 = 0
      for part in parts {
        try part.contents.forEach { try writer.write($0.map { $0.moved(by: chunksBefore) }) }
        chunksBefore += UInt64(part.chunkCount)
      }
      try writer.write(count: Int(chunksBefore))
      for part in parts { try part.forEachChunk { try writer.write($0) } }
      try writer.finish()
    }
  }
}

/// The tree of a directory.
struct PushedTree: DiskEntry {
  /// The digest of the directory's record.
  let id: Digest
  let tree: Digest
}

/// The place of a content's chunks in the list of all chunks.
struct PushedContent: DiskEntry {
  let id: Digest
  private(set) var first: UInt64
  let count: UInt32
  private let form: UInt32

  init(_ content: ContentDigest, first: Int, count: Int) {
    (id, self.first, self.count) = (content.digest, UInt64(first), UInt32(count))
    form = UInt32(content.form.rawValue)
  }

  func isOf(_ content: ContentDigest) -> Bool { id == content.digest && form == UInt32(content.form.rawValue) }

  func moved(by count: UInt64) -> PushedContent {
    var moved = self
    moved.first &+= count
    return moved
  }
}

extension Digest: DiskEntry {
  var id: Digest { self }
}

/// Trees and chunks of pushes, in temporary files.
private struct PushedEntries: Sendable {
  let trees: DiskTable<PushedTree>
  let contents: DiskTable<PushedContent>
  private let chunks: SharedFile
  let chunkCount: Int

  private static let batch = 8192

  func chunks(of content: ContentDigest) throws -> [[Digest]] {
    try contents.entries(of: content.digest).compactMap { entry in
      // The cache is only a file of this user, so its numbers are checked.
      let end = entry.first.addingReportingOverflow(UInt64(entry.count))
      guard entry.isOf(content), !end.overflow, end.partialValue <= UInt64(chunkCount) else { return nil }
      return try chunks.descriptor.entries(Int(entry.first)..<Int(end.partialValue))
    }
  }

  func forEachChunk(_ body: ([Digest]) throws -> Void) throws {
    for start in stride(from: 0, to: chunkCount, by: Self.batch) {
      try body(try chunks.descriptor.entries(start..<min(start + Self.batch, chunkCount)))
    }
  }

  /// Takes entries in any order.
  struct Builder: Sendable {
    let trees: DiskTable<PushedTree>.Builder
    let contents: DiskTable<PushedContent>.Builder
    private let chunks: SharedFile
    private var chunkCount = 0

    init() throws {
      (trees, contents) = (try .init(), try .init())
      chunks = SharedFile(try Descriptor.scratchFile())
    }

    mutating func add(chunks ids: [Digest]) throws {
      try chunks.descriptor.write(ids, at: chunkCount)
      chunkCount += ids.count
    }

    mutating func add(_ content: ContentDigest, chunks ids: [Digest]) throws {
      try contents.append([PushedContent(content, first: chunkCount, count: ids.count)])
      try add(chunks: ids)
    }

    func finish() throws -> PushedEntries {
      PushedEntries(trees: try trees.finish(), contents: try contents.finish(), chunks: chunks, chunkCount: chunkCount)
    }
  }
}

/// Reads a cache from its start to its end.
private final class CacheReader {
  private static let batch = 4096
  private let file: Descriptor
  private let hasher = SHA256()
  private var place: UInt64 = 0
  /// The place of the SHA-256 of all that is before it.
  private let end: UInt64

  init(_ file: consuming Descriptor) throws {
    let size = try file.status().size
    end = size - min(size, UInt64(Digest.byteCount))
    self.file = file
  }

  func take(_ count: Int) throws -> [UInt8] {
    guard UInt64(count) <= end - place else { throw ResticError("a cache is cut off") }
    let bytes = try file.read(at: place, count: count)
    guard bytes.count == count else { throw ResticError("a cache is cut off") }
    place += UInt64(count)
    hasher.update(bytes)
    return bytes
  }

  private func entries<Entry: DiskEntry>(_ count: Int) throws -> [Entry] {
    let bytes = try take(count * MemoryLayout<Entry>.stride)
    return [Entry](unsafeUninitializedCapacity: count) { buffer, initialized in
      UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes)
      initialized = count
    }
  }

  func entry<Entry: DiskEntry>(_ type: Entry.Type) throws -> Entry { try entries(1)[0] }

  /// Calls `body` with all entries of a list, many at a time.
  func entries<Entry: DiskEntry>(_ type: Entry.Type, body: ([Entry]) throws -> Void) throws {
    var left = Int(try take(4).withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(as: UInt32.self)) })
    while left > 0 {
      let count = min(left, Self.batch)
      try body(try entries(count))
      left -= count
    }
  }

  func hasRightEnd() throws -> Bool {
    try place == end && hasher.finish().bytes == file.read(at: end, count: Digest.byteCount)
  }
}

/// Writes a cache from its start to its end.
private final class CacheWriter {
  private let file: SharedFile
  private let hasher = SHA256()

  init(_ file: SharedFile) { self.file = file }

  private func write(_ bytes: UnsafeRawBufferPointer) throws {
    hasher.update(bytes)
    try file.descriptor.write(bytes)
  }

  func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

  func write(_ entries: [some DiskEntry]) throws { try entries.withUnsafeBytes { try write($0) } }

  func write(count: Int) throws { try withUnsafeBytes(of: UInt32(count).littleEndian) { try write($0) } }

  func finish() throws { try file.descriptor.write(hasher.finish().bytes) }
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The place of a blob: its pack, and its range there.
struct BlobPlace: Sendable {
  let pack: Digest
  let blob: PackedBlob
}

/// The place of a blob as a table stores it, in 48 bytes.
struct BlobEntry: DiskEntry {
  let id: Digest
  /// The number of the pack in the index.
  let pack: UInt32
  let offset: UInt32
  let byteCount: UInt32
  private let sizeAndType: UInt32

  private static let treeBit: UInt32 = 1 << 31

  init(_ blob: PackedBlob, pack: UInt32) {
    (id, self.pack, offset, byteCount) = (blob.name.id, pack, blob.offset, blob.byteCount)
    // A plain size is below 2^31; see `PackedBlob.mostPlainBytes`.
    sizeAndType = blob.plainByteCount | (blob.name.type == .tree ? Self.treeBit : 0)
  }

  var name: BlobName { BlobName(sizeAndType & Self.treeBit == 0 ? .data : .tree, id) }
  var plainByteCount: UInt32 { sizeAndType & ~Self.treeBit }
}

/// The blobs that the repository's indexes name, and those that were added since. Any number of threads may use it.
final class BlobIndex: Sendable {
  /// The index files that were read.
  let files: Set<Digest>

  private struct Memory: Sendable {
    var packs: [Digest] = []
    var tables: [DiskTable<BlobEntry>] = []
    var added: [BlobName: BlobPlace] = [:]
  }
  private let memory: Mutex<Memory>
  /// More additions go to a table.
  private static let mostAdded = 100_000

  private init(files: Set<Digest>, _ memory: Memory) {
    self.files = files
    self.memory = Mutex(memory)
  }

  /// The index of no blobs.
  static var empty: BlobIndex { BlobIndex(files: [], Memory()) }

  /// The most bytes of index files that are in memory at once, unless a single one has more.
  private static let mostBytes: UInt64 = 32 << 20
  private static let batch = 4096

  /// Reads all indexes of a repository.
  static func load(of repository: ResticRepository) throws -> BlobIndex {
    let listed = try repository.indexes()
    let state = Mutex((packs: [Digest](), builder: try DiskTable<BlobEntry>.Builder()))
    // Most of the time goes into the decoding, unless the server is slow.
    let threads = max(processorCount(), min(repository.store.connections, listed.count / 4))
    let room = Int(mostBytes / max(listed.map(\.byteCount).max() ?? 1, 1))
    try concurrently(listed.map(\.id), threads: max(1, min(threads, room))) { file in
      var entries: [BlobEntry] = []
      var number: Int?
      func packNumber() -> Int {
        let known =
          number
          ?? state.withLock { state in
            state.packs.append(file)
            return state.packs.count - 1
          }
        number = known
        return known
      }
      func flush() throws {
        try state.withLock { try $0.builder.append(entries) }
        entries.removeAll(keepingCapacity: true)
      }
      try repository.readIndex(file) { blob in
        entries.append(BlobEntry(blob, pack: UInt32(packNumber())))
        if entries.count == batch { try flush() }
      } endOfPack: { id in
        let known = packNumber()
        state.withLock { $0.packs[known] = id }
        number = nil
      }
      try flush()
    }
    let (packs, table) = try state.withLock { try ($0.packs, $0.builder.finish()) }
    return BlobIndex(files: Set(listed.map(\.id)), Memory(packs: packs, tables: [table]))
  }

  /// The place of a blob; `nil` if no index has it.
  func place(of name: BlobName) throws -> BlobPlace? {
    let (tables, added) = memory.withLock { ($0.tables, $0.added[name]) }
    if let added { return added }
    for table in tables {
      guard let entry = try table.entries(of: name.id).first(where: { $0.name == name }) else { continue }
      let blob = try PackedBlob(
        name: name, offset: entry.offset, byteCount: entry.byteCount, plainByteCount: entry.plainByteCount)
      return BlobPlace(pack: memory.withLock { $0.packs[Int(entry.pack)] }, blob: blob)
    }
    return nil
  }

  func contains(_ name: BlobName) -> Bool { (try? place(of: name)) != nil }

  /// Adds the blobs of a pack that has just been written, or found.
  func add(_ pack: Digest, _ blobs: [PackedBlob]) throws {
    try memory.withLock { memory in
      for blob in blobs { memory.added[blob.name] = BlobPlace(pack: pack, blob: blob) }
      guard memory.added.count >= Self.mostAdded else { return }
      let builder = try DiskTable<BlobEntry>.Builder()
      for (pack, places) in Dictionary(grouping: memory.added.values, by: \.pack) {
        let number = UInt32(memory.packs.count)
        memory.packs.append(pack)
        try builder.append(places.map { BlobEntry($0.blob, pack: number) })
      }
      memory.tables.append(try builder.finish())
      memory.added = [:]
    }
  }

  /// The IDs of all packs in the indexes.
  var packIDs: Set<Digest> { memory.withLock { Set($0.packs).union($0.added.values.map(\.pack)) } }
}

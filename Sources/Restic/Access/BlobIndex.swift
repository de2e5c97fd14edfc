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

/// The blobs that the repository's indexes name, and those that were added since. Any number of threads may use it.
final class BlobIndex: Sendable {
  /// The index files that were read.
  let files: Set<Digest>

  private struct Memory: Sendable {
    var packs: [Digest] = []
    var tables: [BlobTable] = []
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

  /// Reads all indexes of a repository.
  static func load(of repository: ResticRepository) throws -> BlobIndex {
    let files = try repository.store.list(.index).map(\.id)
    let state = Mutex((packs: [Digest](), builder: try BlobTable.Builder()))
    // Most of the time goes into the decoding, unless the server is slow.
    let threads = max(processorCount(), min(repository.store.connections, files.count / 4))
    try concurrently(files, threads: threads) { file in
      let part = try read(ObjectName(.index, file), of: repository)
      try state.withLock { state in
        let packsBefore = UInt32(state.packs.count)
        state.packs += part.packs
        try state.builder.append(part.entries.map { BlobEntry($0, packsBefore: packsBefore) })
      }
    }
    let (packs, table) = try state.withLock { try ($0.packs, $0.builder.finish()) }
    return BlobIndex(files: Set(files), Memory(packs: packs, tables: [table]))
  }

  private static func read(
    _ name: ObjectName, of repository: ResticRepository
  ) throws -> (packs: [Digest], entries: [BlobEntry]) {
    var packs: [Digest] = []
    var entries: [BlobEntry] = []
    // The index may have been replaced after it was listed; its blobs are then in the new one, or gone.
    guard let json = try repository.load(name) else {
      throw Failure(
        .failed, "the file \(name) of \(repository.displayName) has vanished",
        hint: "another process works there; try again")
    }
    do {
      try IndexFile.read(json) { pack, blobs in
        for blob in blobs { entries.append(BlobEntry(blob, pack: UInt32(packs.count))) }
        packs.append(pack)
      }
    } catch { throw repository.damage(of: name, because: error) }
    return (packs, entries)
  }

  /// The place of a blob; `nil` if no index has it.
  func place(of name: BlobName) throws -> BlobPlace? {
    let (tables, added) = memory.withLock { ($0.tables, $0.added[name]) }
    if let added { return added }
    let prefix = BlobTable.prefix(of: name.id)
    for table in tables {
      guard let entry = try table.entry(of: name, prefix: prefix) else { continue }
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
      let builder = try BlobTable.Builder()
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

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Packs new blobs, and writes packs and then indexes. Any number of threads may save blobs at once.
final class BlobWriter: Sendable {
  /// The size at which a pack is written, as with restic 0.14.
  private static let packBytes = 16 << 20

  private struct OpenPack: Sendable {
    var bytes: [UInt8] = []
    var blobs: [PackedBlob] = []
    var headerBytes = 0
  }

  private struct State: Sendable {
    var open: [BlobType: OpenPack] = [:]
    /// The blobs that are being compressed or wait in an open pack.
    var pending: Set<BlobName> = []
    /// The packs that no index names yet.
    var unindexed: [(id: Digest, blobs: [PackedBlob])] = []
    var unindexedBlobs = 0
    var indexFiles: Set<Digest> = []
    var packs: Set<Digest> = []
  }

  /// The indexes that were written.
  var indexFiles: Set<Digest> { state.withLock { $0.indexFiles } }

  /// The packs that were written.
  var packs: Set<Digest> { state.withLock { $0.packs } }

  let repository: ResticRepository
  let index: BlobIndex
  private let lock: RepositoryLock
  private let limiter: SharedRateLimiter?
  private let state = Mutex(State())
  /// Bytes that were written to the repository.
  let bytesWritten = Atomic<UInt64>(0)
  /// The number of new blobs.
  let blobsWritten = Atomic<UInt64>(0)

  init(_ repository: ResticRepository, index: BlobIndex, lock: RepositoryLock, bytesPerSecond: UInt64?) {
    (self.repository, self.index, self.lock) = (repository, index, lock)
    limiter = bytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) }
  }

  /// The compressor and sealer of one thread.
  final class Tools {
    let hasher = SHA256()
    fileprivate let compressor = Compressor()
    fileprivate let sealer: Sealer

    init(_ repository: ResticRepository) { sealer = repository.key.sealer() }
  }

  /// True if the repository has a blob, or will have it after `finish`.
  func contains(_ name: BlobName) -> Bool { state.withLock { $0.pending.contains(name) } || index.contains(name) }

  /// Saves a blob unless the repository has it. Returns true if it is new.
  @discardableResult
  func save(_ name: BlobName, _ plain: UnsafeRawBufferPointer, with tools: Tools) throws -> Bool {
    guard plain.count <= PackedBlob.mostPlainBytes else { throw ResticError("a directory is too large for one tree") }
    guard state.withLock({ $0.pending.insert(name).inserted }) else { return false }
    if index.contains(name) {
      _ = state.withLock { $0.pending.remove(name) }
      return false
    }
    let compressed = tools.compressor.compress(plain)
    let isSmaller = compressed.count < plain.count
    let sealed = isSmaller ? tools.sealer.seal(compressed) : tools.sealer.seal(plain)
    let full = try state.withLock { state -> OpenPack? in
      var pack = state.open[name.type] ?? OpenPack()
      state.open[name.type] = nil
      let blob = try PackedBlob(
        name: name, offset: UInt32(pack.bytes.count), byteCount: UInt32(sealed.count),
        plainByteCount: isSmaller ? UInt32(plain.count) : 0)
      pack.bytes += sealed
      pack.blobs.append(blob)
      pack.headerBytes += PackHeader.entryBytes(of: blob)
      if pack.bytes.count + pack.headerBytes >= Self.packBytes { return pack }
      state.open[name.type] = pack
      return nil
    }
    blobsWritten.wrappingAdd(1, ordering: .relaxed)
    if let full { try write(full, with: tools) }
    return true
  }

  private func write(_ pack: OpenPack, with tools: Tools) throws {
    try lock.confirm()
    let bytes = pack.bytes + PackHeader.ending(pack.blobs, sealer: tools.sealer)
    let id = tools.hasher.digest(of: bytes)
    limiter?.pace(byteCount: bytes.count)
    // A pack has blobs of one type, because each type has an open pack of its own.
    let isContents = pack.blobs.first?.name.type == .data
    try isContents
      ? repository.store.writeContents(ObjectName(.data, id), bytes)
      : repository.store.write(ObjectName(.data, id), bytes)
    bytesWritten.wrappingAdd(UInt64(bytes.count), ordering: .relaxed)
    try index.add(id, pack.blobs)
    let packs = state.withLock { state in
      for blob in pack.blobs { state.pending.remove(blob.name) }
      state.packs.insert(id)
      return Self.note(id, pack.blobs, in: &state)
    }
    if let packs { try writeIndex(of: packs) }
  }

  /// Adds a pack to the next index; returns the packs of an index that is full.
  private static func note(
    _ id: Digest, _ blobs: [PackedBlob], in state: inout State
  ) -> [(id: Digest, blobs: [PackedBlob])]? {
    state.unindexed.append((id, blobs))
    state.unindexedBlobs += blobs.count
    guard state.unindexedBlobs >= IndexFile.mostBlobs || state.unindexed.count >= IndexFile.mostPacks else {
      return nil
    }
    defer { (state.unindexed, state.unindexedBlobs) = ([], 0) }
    return state.unindexed
  }

  /// Takes a pack that is in the repository, but in no index: an interrupted push left it behind.
  func adopt(_ id: Digest, _ blobs: [PackedBlob]) throws {
    try index.add(id, blobs)
    if let packs = state.withLock({ Self.note(id, blobs, in: &$0) }) { try writeIndex(of: packs) }
  }

  private func writeIndex(of packs: [(id: Digest, blobs: [PackedBlob])]) throws {
    try lock.confirm()
    let (id, byteCount) = try repository.saveIndex(of: packs)
    bytesWritten.wrappingAdd(UInt64(byteCount), ordering: .relaxed)
    _ = state.withLock { $0.indexFiles.insert(id) }
  }

  /// Writes the open packs, and the index of all that no index names. Only then may a snapshot name the blobs.
  func finish() throws {
    let tools = Tools(repository)
    let open = state.withLock { state in
      defer { state.open = [:] }
      return state.open.values.filter { !$0.blobs.isEmpty }
    }
    for pack in open { try write(pack, with: tools) }
    let packs = state.withLock { state in
      defer { (state.unindexed, state.unindexedBlobs) = ([], 0) }
      return state.unindexed
    }
    if !packs.isEmpty { try writeIndex(of: packs) }
  }
}

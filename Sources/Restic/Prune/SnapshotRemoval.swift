internal import Catalog
internal import Engine
public import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The result of the removal of snapshots and of the data that only they had.
public struct RemovalResult: Sendable {
  public var snapshotsRemoved = 0
  /// Packs without a needed blob, and packs whose needed blobs are in new packs now.
  public var packsRemoved = 0
  public var packsRepacked = 0
  public var bytesRemoved: UInt64 = 0
  public var bytesWritten: UInt64 = 0
  /// Unneeded bytes that stay, in packs that are mostly needed.
  public var bytesUnused: UInt64 = 0
  /// The files whose content no other snapshot has, if they were asked for.
  public var lost: [LostFile] = []

  /// The space that comes free.
  public var bytesFreed: UInt64 { bytesRemoved - min(bytesRemoved, bytesWritten) }

  public init() {}
}

/// Removes snapshots from a repository, and the data that no other snapshot has.
///
/// The order makes the repository right at every instant: the snapshots go first. New packs and new indexes are
/// written before the old indexes go, and the packs go last. An interruption leaves unneeded data behind, and the next
/// removal takes it.
public struct SnapshotRemoval: Sendable {
  private let restic: ResticRepository
  private let lock: RepositoryLock
  private let threads: Int
  private let wantsLost: Bool
  private var result = RemovalResult()

  /// A pack is repacked if less than this share of it is needed.
  private static let neededShare = 0.5

  /// Removes the snapshots with these IDs. `isDry` only computes the result; the bytes to write are then those that are
  /// needed of the packs to repack. `wantsLost` adds the files that no other snapshot has.
  public static func remove(
    _ ids: Set<Digest>, from restic: ResticRepository, isDry: Bool = false, wantsLost: Bool = false
  ) throws -> RemovalResult {
    let lock = try RepositoryLock(restic, isExclusive: !isDry)
    defer { lock.release() }
    var removal = SnapshotRemoval(restic, lock: lock, wantsLost: wantsLost)
    do { try removal.run(ids, isDry: isDry) } catch { throw restic.failure(error) }
    return removal.result
  }

  private init(_ restic: ResticRepository, lock: RepositoryLock, wantsLost: Bool) {
    (self.restic, self.lock, self.wantsLost) = (restic, lock, wantsLost)
    threads = max(processorCount(), restic.store.connections)
  }

  private mutating func run(_ ids: Set<Digest>, isDry: Bool) throws {
    try lock.confirm()
    restic.forgetListing()
    // The content of each snapshot that stays decides which data is needed.
    let all = try restic.snapshotFiles()
    let staying = all.filter { !ids.contains($0.id) }
    let roots = try staying.map { try $0.snapshot.get().tree }
    let index = try BlobIndex.load(of: restic)
    let present = Dictionary(
      try restic.store.list(.data).map { ($0.id, $0.byteCount) }, uniquingKeysWith: { first, _ in first })
    let blobs = try NeededBlobs(from: roots, in: restic, index: index, threads: threads)
    let archived = try restic.store.archivedPacks()
    let plan = try PackPlan(
      blobs.places, of: index, present: present, archived: archived, in: restic, share: Self.neededShare)
    result.snapshotsRemoved = ids.count
    result.packsRemoved = plan.removed.count + plan.repacked.count
    result.packsRepacked = plan.repacked.count
    result.bytesUnused = plan.bytesUnused
    result.bytesRemoved = (plan.removed + plan.repacked.keys).reduce(0) { $0 + (present[$1] ?? 0) }
    if wantsLost {
      let leaving = all.filter { ids.contains($0.id) }.compactMap { found in
        (try? found.snapshot.get()).map { (id: found.id, file: $0) }
      }
      result.lost = try LostFileSearch.files(
        of: leaving, besides: blobs, in: restic, index: index, threads: threads)
    }
    if isDry {
      result.bytesWritten = plan.repacked.values.joined().reduce(0) { $0 + UInt64($1.blob.byteCount) }
      return
    }
    for id in ids { try remove(ObjectName(.snapshots, id)) }
    try repack(plan.repacked, index: index)
    let replaced = try writeIndexes(of: index.files, without: Set(plan.removed).union(plan.repacked.keys))
    try removeAll(replaced.map { ObjectName(.index, $0) })
    try removeAll((plan.removed + plan.repacked.keys).map { ObjectName(.data, $0) })
    try restic.store.removeLeftovers()
  }

  private func remove(_ name: ObjectName) throws {
    try checkForSignal()
    try lock.confirm()
    try restic.store.remove(name)
  }

  private func removeAll(_ names: [ObjectName]) throws {
    try concurrently(names, threads: threads) { try remove($0) }
  }

  /// Writes the needed blobs of packs into new packs, and an index of these.
  private mutating func repack(_ packs: [Digest: [BlobPlace]], index: BlobIndex) throws {
    guard !packs.isEmpty else { return }
    // An empty index, or the writer would leave the blobs where they are.
    let writer = BlobWriter(restic, index: .empty, lock: lock, bytesPerSecond: nil)
    let state = Mutex<(left: ArraySlice<[BlobPlace]>, failure: (any Error)?)>((Array(packs.values)[...], nil))
    let (restic, threads) = (restic, threads)
    runThreads(min(threads, packs.count)) { _ in
      let (reader, tools) = (BlobReader(restic, index: index), BlobWriter.Tools(restic))
      while let places = state.withLock({ $0.failure == nil ? $0.left.popFirst() : nil }) {
        do {
          for place in places {
            try checkForSignal()
            let plain = try reader.read(place)
            try plain.withUnsafeBytes { _ = try writer.save(place.blob.name, $0, with: tools) }
          }
        } catch { state.withLock { $0.failure = error } }
      }
    }
    if let failure = state.withLock({ $0.failure }) { throw failure }
    try writer.finish()
    result.bytesWritten += writer.bytesWritten.value
  }

  /// Writes new indexes in place of those that name a pack that goes. Returns the old ones, which still exist.
  private func writeIndexes(of files: Set<Digest>, without packs: Set<Digest>) throws -> [Digest] {
    var replaced: [Digest] = []
    var waiting: [(id: Digest, blobs: [PackedBlob])] = []
    var blobCount = 0
    func write() throws {
      guard !waiting.isEmpty else { return }
      try lock.confirm()
      try restic.saveIndex(of: waiting)
      (waiting, blobCount) = ([], 0)
    }
    for file in files {
      try checkForSignal()
      var found: [(id: Digest, blobs: [PackedBlob])] = []
      var blobs: [PackedBlob] = []
      try restic.readIndex(file) {
        blobs.append($0)
      } endOfPack: {
        found.append(($0, blobs))
        blobs = []
      }
      guard found.contains(where: { packs.contains($0.id) }) else { continue }
      replaced.append(file)
      for pack in found where !packs.contains(pack.id) {
        waiting.append(pack)
        blobCount += pack.blobs.count
        if blobCount >= IndexFile.mostBlobs { try write() }
      }
    }
    try write()
    return replaced
  }
}

/// The packs that go, and those whose needed blobs move.
private struct PackPlan {
  /// Packs without a needed blob, and packs that no index names.
  private(set) var removed: [Digest] = []
  private(set) var repacked: [Digest: [BlobPlace]] = [:]
  private(set) var bytesUnused: UInt64 = 0

  /// Throws if a needed pack is missing or cut off.
  init(
    _ needed: [Digest: [BlobPlace]], of index: BlobIndex, present: [Digest: UInt64], archived: Set<Digest>,
    in restic: ResticRepository, share: Double
  ) throws {
    for (pack, places) in needed {
      let end = places.map { UInt64($0.blob.offset) + UInt64($0.blob.byteCount) }.max() ?? 0
      guard let size = present[pack], size >= end else {
        throw restic.damage(
          of: ObjectName(.data, pack), because: ResticError(present[pack] == nil ? "it is missing" : "it is cut off"))
      }
      let bytes = places.reduce(UInt64(0)) { $0 + UInt64($1.blob.byteCount) }
      // A pack in an archive cannot be read; it goes as a whole, or stays.
      if Double(bytes) < Double(size) * share, !archived.contains(pack) {
        repacked[pack] = places.sorted { $0.blob.offset < $1.blob.offset }
      } else {
        let header = places.reduce(UInt64(0)) { $0 + UInt64(PackHeader.entryBytes(of: $1.blob)) }
        bytesUnused += size - min(size, bytes + header + UInt64(PackHeader.lengthBytes + Sealer.overheadBytes))
      }
    }
    removed = Set(present.keys).union(index.packIDs).filter { needed[$0] == nil }
  }
}

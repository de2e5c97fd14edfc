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

/// The blobs that the repository's indexes name, sorted by ID. Any number of threads may use it.
///
/// The rest of the program asks only by name, and the entries may move to a mapped file without another change.
final class BlobIndex: Sendable {
  private struct Entry {
    let id: Digest
    let pack: UInt32
    let offset: UInt32
    let byteCount: UInt32
    let plainByteCount: UInt32
    let type: BlobType

    @inline(__always)
    static func isBefore(_ a: Digest, _ b: Digest) -> Bool {
      let (a, b) = (a.words, b.words)
      if a.0 != b.0 { return a.0 < b.0 }
      if a.1 != b.1 { return a.1 < b.1 }
      if a.2 != b.2 { return a.2 < b.2 }
      return a.3 < b.3
    }
  }

  /// The index files that were read.
  let files: Set<Digest>
  private let packs: [Digest]
  private let entries: [Entry]
  private let added = Mutex<[BlobName: BlobPlace]>([:])

  private init(files: Set<Digest>, packs: [Digest], entries: [Entry]) {
    (self.files, self.packs, self.entries) = (files, packs, entries)
  }

  /// The index of no blobs.
  static var empty: BlobIndex { BlobIndex(files: [], packs: [], entries: []) }

  /// Reads all indexes of a repository.
  static func load(of repository: ResticRepository) throws -> BlobIndex {
    let files = try repository.store.list(.index).map(\.id)
    let state = Mutex<(next: Int, parts: [(packs: [Digest], entries: [Entry])], failure: (any Error)?)>((0, [], nil))
    runThreads(min(processorCount(), files.count)) { _ in
      while let file = state.withLock({ state -> Digest? in
        guard state.failure == nil, state.next < files.count else { return nil }
        defer { state.next += 1 }
        return files[state.next]
      }) {
        do {
          let part = try read(ObjectName(.index, file), of: repository)
          state.withLock { $0.parts.append(part) }
        } catch { state.withLock { $0.failure = error } }
      }
    }
    let (_, parts, failure) = state.withLock { $0 }
    if let failure { throw failure }
    var packs: [Digest] = []
    var entries: [Entry] = []
    entries.reserveCapacity(parts.reduce(0) { $0 + $1.entries.count })
    for part in parts {
      let base = UInt32(packs.count)
      packs += part.packs
      entries += part.entries.map {
        Entry(
          id: $0.id, pack: $0.pack + base, offset: $0.offset, byteCount: $0.byteCount,
          plainByteCount: $0.plainByteCount, type: $0.type)
      }
    }
    entries.sort { Entry.isBefore($0.id, $1.id) }
    return BlobIndex(files: Set(files), packs: packs, entries: entries)
  }

  private static func read(
    _ name: ObjectName, of repository: ResticRepository
  ) throws -> (packs: [Digest], entries: [Entry]) {
    var packs: [Digest] = []
    var entries: [Entry] = []
    // The index may have been replaced after it was listed; its blobs are then in the new one, or gone.
    guard let json = try repository.load(name) else {
      throw Failure(
        .failed, "the file \(name) of \(repository.displayName) has vanished",
        hint: "another process works there; try again")
    }
    do {
      try IndexFile.read(json) { pack, blobs in
        for blob in blobs {
          entries.append(
            Entry(
              id: blob.name.id, pack: UInt32(packs.count), offset: blob.offset, byteCount: blob.byteCount,
              plainByteCount: blob.plainByteCount, type: blob.name.type))
        }
        packs.append(pack)
      }
    } catch { throw repository.damage(of: name, because: error) }
    return (packs, entries)
  }

  /// The place of a blob; `nil` if no index has it.
  func place(of name: BlobName) throws(ResticError) -> BlobPlace? {
    var index = (0..<entries.count).partitionPoint { Entry.isBefore(entries[$0].id, name.id) }
    while index < entries.count, entries[index].id == name.id {
      let entry = entries[index]
      if entry.type == name.type {
        let blob = try PackedBlob(
          name: name, offset: entry.offset, byteCount: entry.byteCount, plainByteCount: entry.plainByteCount)
        return BlobPlace(pack: packs[Int(entry.pack)], blob: blob)
      }
      index += 1
    }
    return added.withLock { $0[name] }
  }

  func contains(_ name: BlobName) -> Bool { (try? place(of: name)) != nil }

  /// Adds the blobs of a pack that has just been written, or found.
  func add(_ pack: Digest, _ blobs: [PackedBlob]) {
    added.withLock { added in for blob in blobs { added[blob.name] = BlobPlace(pack: pack, blob: blob) } }
  }

  /// The IDs of all packs in the indexes.
  var packIDs: Set<Digest> { Set(packs) }

  /// The blobs of each pack, in the order of the pack.
  var blobsOfPacks: [Digest: [PackedBlob]] {
    var lists: [Digest: [PackedBlob]] = [:]
    for entry in entries {
      guard
        let blob = try? PackedBlob(
          name: BlobName(entry.type, entry.id), offset: entry.offset, byteCount: entry.byteCount,
          plainByteCount: entry.plainByteCount)
      else { continue }
      lists[packs[Int(entry.pack)], default: []].append(blob)
    }
    return lists.mapValues { $0.sorted { $0.offset < $1.offset } }
  }
}

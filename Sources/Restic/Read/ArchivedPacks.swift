public import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A pack of an archive that a restore needs.
public struct ArchivedPack: Sendable {
  public let id: Digest
  public let byteCount: UInt64
  public let thaw: Thaw

  /// The name of the pack in the repository.
  public var name: String { ObjectName(.data, id).path }
}

extension ResticStore {
  /// The archived packs with contents of a snapshot, below certain places; everything, without a place.
  public func archivedPacks(for name: SnapshotName, under places: [TreePath]) throws -> [ArchivedPack] {
    do {
      let archived = try restic.store.archivedPacks()
      if archived.isEmpty { return [] }
      let index = try index()
      let contents = ResticContents(of: name, in: self)
      var (roots, packs): ([Digest], Set<Digest>) = ([], [])
      for place in places.isEmpty ? [[]] : places {
        let node = try contents.node(at: place)
        if let node, node.kind != .directory {
          for chunk in node.content { try index.place(of: BlobName(.data, chunk)).map { _ = packs.insert($0.pack) } }
        } else {
          // A place without a node is the label of the host, whose content is in the root.
          roots.append(try node?.subtree ?? listed(name).file.tree)
        }
      }
      let needed = try NeededBlobs(from: roots, in: restic, index: index, threads: restic.store.connections)
      packs.formUnion(needed.places.keys)
      return try states(of: packs.intersection(archived))
    } catch { throw restic.failure(error) }
  }

  /// The present states of packs.
  private func states(of packs: Set<Digest>) throws -> [ArchivedPack] {
    let sizes = try restic.store.list(.data).filter { packs.contains($0.id) }
    let found = Mutex<[ArchivedPack]>([])
    let store = restic.store
    try concurrently(sizes, threads: store.connections) { item in
      let pack = ArchivedPack(id: item.id, byteCount: item.byteCount, thaw: try store.thaw(of: item.id))
      found.withLock { $0.append(pack) }
    }
    return found.withLock { $0 }.sorted { $0.name < $1.name }
  }

  /// Requests the thaw of the packs that are frozen.
  public func requestThaw(of packs: [ArchivedPack]) throws {
    let store = restic.store
    try concurrently(packs.filter { $0.thaw == .frozen }, threads: store.connections) {
      try store.requestThaw(of: $0.id)
    }
  }
}

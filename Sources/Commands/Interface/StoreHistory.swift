internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The catalogs of a repository, read one after the other. A catalog that cannot be read is noted and passed over.
///
/// So is a snapshot that expires meanwhile, without a note.
final class StoreHistory {
  private let store: any SnapshotStore
  private var readers: [SnapshotName: CatalogReader] = [:]
  private(set) var unreadable: [UnusableSnapshot] = []

  init(of store: any SnapshotStore) { self.store = store }

  /// Searches snapshots, newest first, at and below a path, and reports each version when its first one is known.
  func search(
    _ snapshots: [Snapshot], under place: TreePath, with search: VersionSearch,
    covers: @escaping @Sendable (Snapshot, TreePath) -> Bool = { $0.has($1) }, report: (EntryVersion) throws -> Void
  ) throws {
    var search = search
    var newer: Snapshot?
    var ahead: [SnapshotName: ChangesAhead] = [:]
    for (number, snapshot) in snapshots.enumerated() {
      if number % Self.readAtOnce == 0 {
        let batch = snapshots[max(number - 1, 0)..<min(number + Self.readAtOnce, snapshots.count)]
        ahead = changesAhead(in: Array(batch), under: place, of: search)
      }
      let ready = ahead[snapshot.name].flatMap { $0.newer == newer?.name ? $0.changes : nil }
      if try ready == nil && reader(of: snapshot) == nil { continue }
      func add() throws -> [EntryVersion] {
        let changes =
          try ready
          ?? search.changes(from: newer.flatMap { try reader(of: $0) }, to: reader(of: snapshot)!, under: place)
        return search.add(changes, to: snapshot.name, covers: { covers(snapshot, $0) })
      }
      var complete: [EntryVersion] = []
      do {
        do { complete = try add() } catch let failure as LeftCatalogError {
          // The newer catalog is damaged where the older one differs: the search begins again with the older one.
          try note(failure.error, of: newer!)
          search.finish { complete.append($0) }
          newer = nil
          complete += try add()
        }
        newer = snapshot
      } catch { try note(error, of: snapshot) }
      for version in complete { try report(version) }
    }
    try search.finish(report: report)
  }

  /// The number of catalogs that the threads share among themselves at a time.
  private static let readAtOnce = 64

  /// The differences of a snapshot from a newer one, read by another thread.
  private struct ChangesAhead {
    let newer: SnapshotName
    let changes: [VersionChange]
  }

  /// Compares neighbours on all processors. A catalog that cannot be read is left to the search in order.
  private func changesAhead(
    in snapshots: [Snapshot], under place: TreePath, of search: VersionSearch
  ) -> [SnapshotName: ChangesAhead] {
    let names = snapshots.map(\.name)
    let threads = min(processorCount(), names.count / 8)
    guard let repository = store.local, threads > 1 else { return [:] }
    let made = Mutex<[SnapshotName: ChangesAhead]>([:])
    runThreads(threads) { thread in
      let part = (names.count * thread / threads)..<(names.count * (thread + 1) / threads)
      var newer: (name: SnapshotName, reader: CatalogReader)?
      for name in names[max(part.lowerBound - 1, 0)..<part.upperBound] {
        guard let catalog = try? repository.openCatalog(of: name) else { return }
        let reader = Self.reader(of: catalog)
        if let newer {
          guard let changes = try? search.changes(from: newer.reader, to: reader, under: place) else { return }
          made.withLock { $0[name] = ChangesAhead(newer: newer.name, changes: changes) }
        }
        newer = (name, reader)
      }
    }
    return made.withLock { $0 }
  }

  /// A catalog is read twice, as the older and then as the newer one of two, and the second time from memory.
  private static func reader(of catalog: OpenCatalog) -> CatalogReader {
    CatalogReader(reading: catalog, cachedFrames: 32)
  }

  /// True if the newest readable snapshot that covers the path has an entry of this kind there.
  func hasNewest(of snapshots: [Snapshot], path: TreePath, kind: EntryKind) throws -> Bool {
    for snapshot in snapshots where snapshot.has(path) {
      guard let reader = try reader(of: snapshot) else { continue }
      // A file that gave way to a directory is gone, too.
      do { return try reader.find(path)?.kind == kind } catch { try note(error, of: snapshot) }
    }
    return false
  }

  /// The catalog of a snapshot; `nil` if it was noted as unreadable, or has expired meanwhile.
  func reader(of snapshot: Snapshot) throws -> CatalogReader? {
    if let reader = readers[snapshot.name] { return reader }
    if unreadable.contains(where: { $0.name == snapshot.name }) { return nil }
    do {
      let reader = Self.reader(of: try store.openCatalog(of: snapshot.name))
      // The newest catalogs are asked again and again.
      if readers.count > 8 { readers = readers.filter { $0.key.description > snapshot.name.description } }
      if readers.count > 8 { readers = [:] }
      readers[snapshot.name] = reader
      return reader
    } catch {
      if (try? store.local?.hasExpired(snapshot.name)) != true { try note(error, of: snapshot) }
      return nil
    }
  }

  /// Notes a catalog that cannot be read. Other errors end the search.
  func note(_ error: any Error, of snapshot: Snapshot) throws {
    let isDamage: Bool
    switch error {
    case is CatalogError: isDamage = true
    case let failure as Failure where failure.kind == .damaged: isDamage = true
    case let errno as Errno where errno != .interrupted: isDamage = false
    default: throw error
    }
    if unreadable.contains(where: { $0.name == snapshot.name }) { return }
    unreadable.append(UnusableSnapshot(name: snapshot.name, reason: "\(error)", isDamage: isDamage))
  }
}

extension Snapshot {
  /// The sources, from the snapshot's root on. A snapshot that names none is one of everything.
  var places: [TreePath] {
    let places = summary.placesOfSources
    return places.isEmpty ? [[]] : places
  }

  func has(_ path: TreePath) -> Bool { places == [[]] || summary.covers(path) }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

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
    _ snapshots: [Snapshot], under place: [[UInt8]], with search: VersionSearch,
    covers: @escaping (Snapshot, [[UInt8]]) -> Bool = { $0.has($1) }, report: (EntryVersion) throws -> Void
  ) throws {
    var search = search
    var newer: Snapshot?
    for snapshot in snapshots {
      guard let reader = try reader(of: snapshot) else { continue }
      func add() throws -> [EntryVersion] {
        try search.add(reader, named: snapshot.name, under: place, covers: { covers(snapshot, $0) })
      }
      var complete: [EntryVersion] = []
      do {
        do { complete = try add() } catch let failure as LeftCatalogError {
          // The newer catalog is damaged where the older one differs: the search begins again with the older one.
          try note(failure.error, of: newer!)
          complete = search.finish()
          complete += try add()
        }
        newer = snapshot
      } catch { try note(error, of: snapshot) }
      for version in complete { try report(version) }
    }
    for version in search.finish() { try report(version) }
  }

  /// True if the newest readable snapshot that covers the path has an entry of this kind there.
  func hasNewest(of snapshots: [Snapshot], path: [[UInt8]], kind: EntryKind) throws -> Bool {
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
      let reader = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
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
  var places: [[[UInt8]]] {
    let places = summary.placesOfSources
    return places.isEmpty ? [[]] : places
  }

  func has(_ path: [[UInt8]]) -> Bool { places == [[]] || summary.covers(path) }
}

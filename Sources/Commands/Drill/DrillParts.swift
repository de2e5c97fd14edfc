internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Settings

/// The parts of a copy that a drill restores.
struct DrillParts {
  /// The restored paths of each snapshot, from its root on.
  private(set) var files: [(snapshot: Snapshot, paths: [TreePath])] = []
  private(set) var dumps: [StoredDump] = []
  /// The tables of the databases, in the order of the dumps.
  private(set) var settings: [DatabaseConfiguration] = []
  /// The newest modification time of a regular file.
  private(set) var newestFile: Timestamp?
  /// The space for the files, and for each dump with the server that is made of it.
  private(set) var byteCount: UInt64 = 0

  init(
    of drill: DrillConfiguration, in list: SnapshotList, of store: any SnapshotStore,
    configured: [DatabaseConfiguration]
  ) throws {
    for path in drill.paths {
      let choice = try store.choose(reference: "latest", having: [Array(path.utf8)], in: list)
      if let known = files.firstIndex(where: { $0.snapshot.name == choice.snapshot.name }) {
        files[known].paths += choice.places
      } else {
        files.append((choice.snapshot, choice.places))
      }
    }
    for index in files.indices {
      files[index].paths = files[index].paths.outermost
      try measure(files[index].paths, in: CatalogReader(reading: store.openCatalog(of: files[index].snapshot.name)))
    }
    let newest = try DatabaseDrill.newestDumps(in: list, of: store, configured: configured) { record in
      drill.databases.contains { record.name.elementsEqual($0.utf8) }
    }
    for name in drill.databases {
      guard let dump = newest.first(where: { $0.record.name.elementsEqual(name.utf8) }),
        let table = configured.first(where: { $0.name == name })
      else { throw Failure(.failed, "the copy has no dump of the database \(name)") }
      dumps.append(dump)
      settings.append(table)
      byteCount += 3 * dump.byteCount
    }
  }

  private mutating func measure(_ paths: [TreePath], in catalog: CatalogReader) throws {
    for path in paths {
      try forEachDifference(from: nil, to: catalog, under: path) { entries, _ in
        try checkForSignal()
        guard case .file(let row, _)? = entries.sides.right, row.kind == .regular else { return }
        byteCount &+= row.size
        let modified = row.metadata.modified
        if newestFile.map({ modified.seconds > $0.seconds }) ?? true { newestFile = modified }
      }
    }
  }

  /// The snapshots of files and dumps.
  var snapshots: [Snapshot] {
    var seen: Set<SnapshotName> = []
    return (files.map(\.snapshot) + dumps.map(\.snapshot)).filter { seen.insert($0.name).inserted }
  }
}

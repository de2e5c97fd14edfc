internal import Catalog
internal import Repository

/// The older trees with which a run compares the sources.
struct OlderTrees {
  let list: SnapshotList
  /// The trees whose entries may be linked, in the search order for moved files.
  private(set) var trees: [StoredTree] = []
  /// The index of the newest snapshot in `trees`.
  private(set) var base: Int?
  private var bases: [[UInt8]: SourceBase] = [:]

  /// The number of snapshots before the newest that are searched for a returned file.
  private static let olderSnapshotsSearched = 50

  /// Opens the trees. `newest` is the tree of the newest snapshot.
  ///
  /// A file that the newest snapshot lacks may be in an older one. An unreadable catalog only costs a copy, except for
  /// the snapshot that a source is compared with. There, an error must not make the source pass for new.
  ///
  /// `remote` has snapshots of a remote. They stand in for a source that no snapshot in `list` has.
  init(
    _ list: SnapshotList, newest: StoredTree?, of options: SnapshotOptions, in repository: Repository,
    remote: [(snapshot: Snapshot, catalog: OpenCatalog)] = []
  ) throws {
    self.list = list
    if let newest {
      base = 0
      trees.append(newest)
    }
    for (age, snapshot) in list.snapshots.reversed().enumerated() {
      let lacking = options.sources.filter { bases[$0] == nil }
      if age > Self.olderSnapshotsSearched && lacking.isEmpty { break }
      let covered = lacking.filter { snapshot.summary.covers(options.place(of: $0)) }
      guard age <= Self.olderSnapshotsSearched || !covered.isEmpty else { continue }
      let tree: StoredTree
      if age == 0, let newest {
        tree = newest
      } else {
        do {
          let catalog = try repository.openCatalog(of: snapshot.name)
          tree = StoredTree(
            of: snapshot.name, catalog: catalog, root: try? repository.openTree(of: snapshot.name), in: repository)
        } catch {
          if error.kind != .damaged && !covered.isEmpty { throw error }
          continue
        }
      }
      let reader = CatalogReader(reading: tree.catalog)
      var isCompared = false
      for source in covered {
        let place = options.place(of: source)
        guard case .directory(_, let subtree)? = try? reader.find(place) else { continue }
        bases[source] = SourceBase(place: place, tree: tree, subtree: subtree)
        isCompared = true
      }
      if age > 0 && (age <= Self.olderSnapshotsSearched || isCompared) { trees.append(tree) }
    }
    for (snapshot, catalog) in remote {
      let tree = StoredTree(of: snapshot.name, catalog: catalog, root: nil, in: repository)
      trees.append(tree)
      let reader = CatalogReader(reading: catalog)
      for source in options.sources where bases[source] == nil {
        let place = options.place(of: source)
        guard snapshot.summary.covers(place), case .directory(_, let subtree)? = try reader.find(place)
        else { continue }
        bases[source] = SourceBase(place: place, tree: tree, subtree: subtree)
      }
    }
  }

  /// Puts the trees of interrupted runs first in the search order.
  mutating func search(first unfinished: [StoredTree]) {
    trees = unfinished + trees
    base = base.map { $0 + unfinished.count }
  }

  func guards(limits: GuardLimits) -> Guards {
    Guards(limits: limits, snapshots: list.snapshots, bases: bases, newest: base.map { trees[$0] })
  }
}

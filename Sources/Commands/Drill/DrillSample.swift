internal import Catalog
internal import Engine
internal import Model
internal import Repository

/// A random choice of some elements of a sequence, each with the same chance.
///
/// The same seed chooses the same elements of the same sequence: algorithm R of J. S. Vitter, "Random Sampling with a
/// Reservoir", ACM Transactions on Mathematical Software 11 (1985).
struct Reservoir<Element> {
  private(set) var chosen: [Element] = []
  private let count: Int
  private var seen: UInt64 = 0
  private var random: SplitMix

  init(count: Int, seed: UInt64) {
    self.count = count
    random = SplitMix(state: seed)
  }

  mutating func offer(_ element: @autoclosure () -> Element) {
    seen += 1
    if chosen.count < count { return chosen.append(element()) }
    let place = UInt64.random(in: 0..<seen, using: &random)
    if place < UInt64(count) { chosen[Int(place)] = element() }
  }
}

/// SplitMix64: G. Steele, D. Lea, C. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
private struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

struct SampleSize: Equatable {
  /// Regular files and symbolic links.
  let files: Int
  /// Directories with everything below.
  let directories: Int
  /// The most entries of such a directory.
  let largestDirectory: UInt64

  /// One directory for 50 files, with as many entries as there are files.
  init(files: Int) {
    self.files = files
    directories = files == 0 ? 0 : max(1, files / 50)
    largestDirectory = UInt64(files)
  }
}

/// Random files and directories of a copy, from the newest snapshot of each source.
struct DrillSample {
  /// The sampled paths of one label of a snapshot, none of them below another.
  struct Part {
    let snapshot: Snapshot
    let paths: [TreePath]
  }

  private struct Choice {
    let snapshot: Snapshot
    let path: TreePath
    let byteCount: UInt64
  }

  let parts: [Part]
  /// The bytes of the regular files; files in a sampled directory may count twice.
  let byteCount: UInt64

  init(of list: SnapshotList, in store: any SnapshotStore, size: SampleSize, seed: UInt64) throws {
    var files = Reservoir<Choice>(count: size.files, seed: seed)
    var directories = Reservoir<Choice>(count: size.directories, seed: ~seed)
    for (snapshot, places) in Self.newestPlaces(in: list) {
      let catalog = CatalogReader(reading: try store.openCatalog(of: snapshot.name))
      for place in places {
        try forEachDifference(from: nil, to: catalog, under: place) { entries, place in
          try checkForSignal()
          switch entries.sides.right {
          case .file(let row, _) where row.kind == .regular || row.kind == .symbolicLink:
            files.offer(Choice(snapshot: snapshot, path: place.path, byteCount: row.size))
          case .directory(_, let subtree) where subtree.totals.entries <= size.largestDirectory && !place.name.isEmpty:
            directories.offer(Choice(snapshot: snapshot, path: place.path, byteCount: subtree.totals.bytes))
          default: break
          }
        }
      }
    }
    let choices = files.chosen + directories.chosen
    byteCount = choices.reduce(0) { $0 &+ $1.byteCount }
    parts = list.snapshots.flatMap { snapshot in
      let paths = choices.filter { $0.snapshot.name == snapshot.name }.map(\.path).outermost
      let labels = Set(paths.compactMap(\.first)).sorted { $0.lexicographicallyPrecedes($1) }
      return labels.map { label in Part(snapshot: snapshot, paths: paths.filter { $0.first == label }) }
    }
  }

  /// The sources of each snapshot that no newer one has, without dumps.
  static func newestPlaces(in list: SnapshotList) -> [(Snapshot, [TreePath])] {
    var seen: Set<TreePath> = []
    return list.snapshots.reversed().compactMap { snapshot in
      let places = snapshot.places.outermost.filter { $0.first != DatabaseRecord.label || snapshot.places == [[]] }
        .filter { seen.insert($0).inserted }
      return places.isEmpty ? nil : (snapshot, places)
    }
  }
}

internal import Model
internal import Posix
internal import Repository

/// A file system of ZFS; zfs(8).
struct ZFSDataset: FreezableVolume {
  private let programs: FreezePrograms
  private let dataset: String

  init(of place: SourcePlace, programs: FreezePrograms) throws(Failure) {
    self.programs = programs
    // It knows the dataset of any path.
    let lines = try programs.run(
      try programs.words("zfs", of: "zfsutils-linux", arguments: words("list", "-H", "-o", "name") + [place.path]))
    guard let name = lines.first.flatMap({ String(validating: $0, as: UTF8.self) })
    else { throw Failure(.failed, "it is in no dataset of ZFS") }
    dataset = name
  }

  var key: String { "zfs \(dataset)" }

  func item(named name: String) -> FrozenItem { FrozenItem(.zfs, name: name, volume: dataset) }

  func make(_ item: FrozenItem, in namespace: FreezeNamespace) throws(Failure) -> FrozenTree {
    let snapshot = words("\(dataset)@\(item.name)")
    _ = try programs.run(
      try programs.words("zfs", of: "zfsutils-linux", arguments: words("snapshot") + snapshot), finishes: true)
    let point = try namespace.makePoint()
    try namespace.mount(snapshot[0], at: point, options: words("-t", "zfs", "-o", "ro"))
    return FrozenTree(directory: namespace.reaching(point), point: point, root: [])
  }

  /// Removes a frozen snapshot, if it exists.
  static func remove(_ item: FrozenItem, by programs: FreezePrograms) throws(Failure) {
    let snapshot = "\(item.volume)@\(item.name)"
    func command(_ texts: [[UInt8]]) throws(Failure) -> [[UInt8]] {
      try programs.words("zfs", of: "zfsutils-linux", arguments: texts)
    }
    let found = try programs.run(
      try command(words("list", "-H", "-t", "snapshot", "-o", "name", "-d", "1", item.volume)), finishes: true)
    guard found.contains(Array(snapshot.utf8)) else { return }
    let removal = try command(words("destroy", snapshot))
    try programs.retrying { () throws(Failure) in _ = try programs.run(removal, finishes: true) }
  }
}

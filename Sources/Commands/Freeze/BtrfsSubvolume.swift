internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A subvolume of a btrfs; btrfs-subvolume(8).
struct BtrfsSubvolume: FreezableVolume {
  private let place: SourcePlace

  /// The root directory of every subvolume has this inode number; `BTRFS_FIRST_FREE_OBJECTID`.
  private static let rootInode: UInt64 = 256
  /// The name of the frozen snapshot in its directory.
  private static let name = Array("snapshot".utf8)

  init(of place: SourcePlace) throws(Failure) {
    guard place.mount.type == Array("btrfs".utf8)
    else { throw Failure(.failed, "its file system is \(displayName(place.mount.type)), and not btrfs") }
    self.place = place
  }

  /// Each subvolume has a device number of its own.
  var key: String { "btrfs \(place.device)" }

  func item(named name: String) -> FrozenItem {
    FrozenItem(.btrfs, name: name, volume: place.source.path, fileSystem: place.identity.number)
  }

  func make(_ item: FrozenItem, in namespace: FreezeNamespace) throws(Failure) -> FrozenTree {
    let top = try Self.mountTop(of: place, in: namespace)
    let root = try subvolume(below: namespace.reaching(top))
    let directory = Self.directory(of: item)
    let above = top + [slash] + directory
    do throws(Errno) {
      let parent = try Descriptor.open(path: namespace.reaching(top), [.read, .directory])
      let modified = try parent.status().modified
      try parent.makeDirectory(directory.span, mode: 0o700)
      // The top may be a source, whose times must not change.
      try parent.setModificationTime(modified)
    } catch { throw .writing("make", at: above, because: error) }
    let snapshot = above + [slash] + Self.name
    try namespace.run(
      "btrfs", of: "btrfs-progs", arguments: words("subvolume", "snapshot", "-r") + [top + root, snapshot],
      finishes: true)
    let point = try namespace.makePoint()
    try namespace.mount(snapshot, at: point, options: words("--bind", "-o", "ro"))
    return FrozenTree(
      directory: namespace.reaching(point), point: point, root: root, ownName: root.isEmpty ? directory : nil)
  }

  /// The directory of a frozen snapshot at the top of the file system. No other user can enter it.
  private static func directory(of item: FrozenItem) -> [UInt8] { Array(".\(item.name)".utf8) }

  /// Mounts the whole file system, where the subvolumes lie in each other.
  private static func mountTop(
    of place: SourcePlace, in namespace: FreezeNamespace, finishes: Bool = false
  ) throws(Failure) -> [UInt8] {
    let point = try namespace.makePoint()
    try namespace.mount(
      place.mount.source, at: point, options: words("-t", "btrfs", "-o", "subvolid=5"), finishes: finishes)
    return point
  }

  /// The path of the innermost subvolume around the source.
  private func subvolume(below top: [UInt8]) throws(Failure) -> [UInt8] {
    let names = TreePath(parsing: place.pathInFileSystem)
    for count in stride(from: names.count, through: 0, by: -1) {
      let path = count == 0 ? [] : names.prefix(count).absolute
      do throws(Errno) {
        if try Descriptor.open(path: top + path, .pathOnly).status().inode == Self.rootInode { return path }
      } catch { throw Failure(.failed, "its subvolume cannot be found: \(error)") }
    }
    throw Failure(.failed, "its subvolume cannot be found")
  }

  /// Removes a frozen snapshot, if it exists. Its file system must be mounted where the source is.
  static func remove(_ item: FrozenItem, at place: SourcePlace, in namespace: FreezeNamespace) throws(Failure) {
    guard place.mount.type == Array("btrfs".utf8), place.identity.number == item.fileSystem
    else { throw Failure(.failed, "\(item.volume) is on another file system now") }
    let top = try mountTop(of: place, in: namespace, finishes: true)
    let directory = directory(of: item)
    do {
      let parent = try Descriptor.open(path: namespace.reaching(top), [.read, .directory])
      let status = try parent.status()
      guard let own = try parent.statusIfPresent(of: directory.span) else { return }
      // Root alone can have put an entry into such a directory.
      guard own.kind == .directory, own.user == 0, own.permissions & 0o077 == 0 else { throw Errno.notPermitted }
      if try parent.openDirectory(directory.span).statusIfPresent(of: name.span) != nil {
        try namespace.run(
          "btrfs", of: "btrfs-progs",
          arguments: words("subvolume", "delete") + [top + [slash] + directory + [slash] + name],
          finishes: true)
      }
      try parent.removeDirectory(directory.span)
      try parent.setModificationTime(status.modified)
    } catch { throw .writing("remove", at: top + [slash] + directory, because: error) }
  }
}

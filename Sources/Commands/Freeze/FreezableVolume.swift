internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The place of a source that is to be frozen.
struct SourcePlace {
  let source: Configuration.Source
  /// The source's path without symbolic links.
  let path: [UInt8]
  let mount: MountLine
  let device: UInt64
  let identity: FileSystemIdentity

  init(of source: Configuration.Source) throws(Failure) {
    self.source = source
    let named = Array(source.path.utf8)
    do {
      path = try CurrentProcess.realPath(named)
      let directory = try Descriptor.open(path: path, .pathOnly)
      let status = try directory.status()
      device = status.device
      identity = try Descriptor.open(path: path, [.read, .directory]).fileSystemIdentity()
      guard let mount = MountLine.all()?.first(where: { $0.id == status.mount }) else { throw Errno.procIsMissing }
      self.mount = mount
    } catch { throw Failure(.failed, "its file system cannot be found: \(error)") }
  }

  /// The path from the root of the file system: empty, or with a slash before each name.
  var pathInFileSystem: [UInt8] {
    let root = mount.root == [slash] ? [] : mount.root
    return root + (Self.rest(of: path, below: mount.point) ?? [])
  }

  /// The rest of a path at or below a directory: empty, or with a slash before each name. `nil` for any other path.
  static func rest(of path: [UInt8], below directory: [UInt8]) -> [UInt8]? {
    let above = directory == [slash] ? [] : directory
    guard path.starts(with: above) else { return nil }
    let rest = Array(path.dropFirst(above.count))
    return rest.isEmpty || rest.first == slash ? (rest == [slash] ? [] : rest) : nil
  }
}

/// A volume of which a frozen snapshot can be made.
protocol FreezableVolume: Sendable {
  /// Equal for the sources of one volume, which share a frozen snapshot.
  var key: String { get }
  /// The entry of the record for a new frozen snapshot.
  func item(named name: String) -> FrozenItem
  /// Makes the frozen snapshot, and mounts it.
  func make(_ item: FrozenItem, in namespace: FreezeNamespace) throws(Failure) -> FrozenTree
  /// Throws if the frozen snapshot has not stayed whole.
  func check(_ item: FrozenItem) throws(Failure)
}

extension FreezableVolume {
  func check(_ item: FrozenItem) throws(Failure) {}
}

/// A mounted frozen snapshot.
struct FrozenTree {
  /// The directory that shows it, as this process reaches it.
  let directory: [UInt8]
  /// Its path in the namespace; `nil` if it is not mounted there.
  let point: [UInt8]?
  /// The directory of the live file system that it shows, as in `SourcePlace.pathInFileSystem`.
  let root: [UInt8]
  /// A name in `root` that is not the source's.
  var ownName: [UInt8]?
}

extension SourcePlace {
  func volume(by programs: FreezePrograms) throws(Failure) -> any FreezableVolume {
    switch source.freeze {
    case .lvm: try LVMVolume(of: self, programs: programs)
    case .btrfs: try BtrfsSubvolume(of: self)
    case .zfs: try ZFSDataset(of: self, programs: programs)
    case .command(let command): CommandVolume(of: self, command: command, programs: programs)
    case nil: throw Failure(.failed, "nothing freezes it")
    }
  }
}

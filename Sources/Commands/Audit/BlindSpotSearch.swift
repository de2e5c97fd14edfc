internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// Searches this machine for data that is in no source, and for databases that are not dumped.
struct BlindSpotSearch {
  typealias Source = (path: [UInt8], isOneFileSystem: Bool)

  private let file: ConfigurationFile
  private let repository: Repository
  private let list: SnapshotList
  private let sources: [Source]

  init(file: ConfigurationFile, repository: Repository, list: SnapshotList) {
    (self.file, self.repository, self.list) = (file, repository, list)
    sources = file.sources.map { (Array($0.path.utf8), $0.oneFileSystem) }
  }

  /// `readsCatalog` searches the newest catalog as a whole.
  func all(readsCatalog: Bool) -> [AuditFacts.BlindSpot] {
    let servers = DatabaseServers.unsaved(in: .current(), by: file.databaseSettings)
    let data = dataDirectories(readsCatalog: readsCatalog)
    return (fileSystems + homes + servers + data).filter { spot in
      !file.settings.audit.ignore.contains {
        spot.path == $0 || Self.isBelow(Array(spot.path.utf8), of: Array($0.utf8))
      }
    }
  }

  private static func isBelow(_ path: [UInt8], of directory: [UInt8]) -> Bool {
    TreePath(parsing: path).starts(with: TreePath(parsing: directory))
  }

  // MARK: File systems and homes

  /// The file systems with data that no source holds or is on.
  private var fileSystems: [AuditFacts.BlindSpot] {
    let mounts = (MountLine.all() ?? []).compactMap { line -> Mounted? in
      // To open a mount of a network whose server is gone would hang.
      if !Self.hasData(line) || line.isOnNetwork { return line.deviceNumber.map { Mounted(line: line, device: $0) } }
      guard let status = try? Descriptor.open(path: line.point, .pathOnly).status(), status.kind == .directory else {
        return nil
      }
      return Mounted(line: line, device: status.device)
    }
    let backups = file.settings.remotes.compactMap { remote -> UInt64? in
      switch remote.address {
      case .local(let path), .restic(let path): try? Descriptor.open(path: path, .pathOnly).status().device
      case .ssh, .storage: nil
      }
    }
    return Self.uncovered(mounts, sources: sources, except: Set(backups + [repository.identity.device])).map {
      AuditFacts.BlindSpot(.fileSystem, at: displayName($0))
    }
  }

  /// A mount, with the device number of its files. Each subvolume of a btrfs has a number of its own.
  struct Mounted {
    let line: MountLine
    let device: UInt64
  }

  /// The first mount point of each file system or subvolume in no source, in the order of the mounts.
  static func uncovered(_ mounts: [Mounted], sources: [Source], except devices: Set<UInt64>) -> [[UInt8]] {
    var seen = devices
    return mounts.filter { mount in
      hasData(mount.line) && seen.insert(mount.device).inserted
        && !mounts.contains { $0.device == mount.device && isCovered($0, among: mounts, sources: sources) }
    }.map(\.line.point)
  }

  /// True if a source holds the mount or is on it, or holds its directory by another mount.
  private static func isCovered(_ mount: Mounted, among mounts: [Mounted], sources: [Source]) -> Bool {
    let point = mount.line.point
    let isHeld = sources.contains {
      isBelow($0.path, of: point) && !hasMount(between: point, and: $0.path, in: mounts)
        || isBelow(point, of: $0.path) && (!$0.isOneFileSystem || point == $0.path)
    }
    // The top of a btrfs shows its subvolumes as directories.
    return isHeld
      || mounts.contains { other in
        guard other.line.device == mount.line.device, other.line.root != mount.line.root,
          isBelow(mount.line.root, of: other.line.root)
        else { return false }
        let below = TreePath(parsing: mount.line.root).dropFirst(TreePath(parsing: other.line.root).count)
        let path = (TreePath(parsing: other.line.point) + TreePath(below)).absolute
        return !hasMount(between: other.line.point, and: path, in: mounts)
          && sources.contains { !$0.isOneFileSystem && isBelow(path, of: $0.path) }
      }
  }

  /// True if a path is on a further mount below a mount.
  private static func hasMount(between mount: [UInt8], and path: [UInt8], in mounts: [Mounted]) -> Bool {
    mounts.contains { $0.line.point != mount && isBelow($0.line.point, of: mount) && isBelow(path, of: $0.line.point) }
  }

  /// False for file systems of the kernel, of memory, of images that cannot change, and for layers over others.
  static func hasData(_ mount: MountLine) -> Bool {
    if mount.source.starts(with: Array("/dev/".utf8)) { return !images.contains(displayName(mount.type)) }
    return mount.isOnNetwork || ["zfs", "btrfs", "bcachefs"].contains(displayName(mount.type))
  }

  private static let images: Set<String> = ["squashfs", "erofs", "iso9660", "cramfs", "romfs", "devtmpfs"]

  private var homes: [AuditFacts.BlindSpot] {
    Set(Account.homes()).sorted { $0.lexicographicallyPrecedes($1) }.compactMap { home in
      guard home.first == slash, home != [slash], let real = try? CurrentProcess.realPath(home),
        (try? Descriptor.open(path: real, .pathOnly).status().kind) == .directory,
        !sources.contains(where: {
          Self.isBelow(home, of: $0.path) || Self.isBelow(real, of: $0.path)
        })
      else { return nil }
      return AuditFacts.BlindSpot(.home, at: displayName(home))
    }
  }

  // MARK: Data directories

  /// The data directories of servers that the newest snapshot has as plain files.
  private func dataDirectories(readsCatalog: Bool) -> [AuditFacts.BlindSpot] {
    guard let newest = list.newest, let catalog = try? repository.openCatalog(of: newest.name) else { return [] }
    let reader = CatalogReader(reading: catalog)
    var spots: [AuditFacts.BlindSpot] = []
    for (path, kind, mark) in DatabaseServers.dataDirectories() where !spots.contains(where: { $0.path == path }) {
      let found = try? reader.find(newest.summary.label + TreePath(parsing: "\(path)/\(mark)".utf8))
      if found != nil { spots.append(.init(.dataDirectory(kind: kind), at: path)) }
    }
    guard readsCatalog else { return spots }
    return spots + Self.dataDirectories(in: reader).filter { spot in !spots.contains { $0.path == spot.path } }
  }

  /// Searches a catalog for the files that each data directory has. The dumps are left out.
  private static func dataDirectories(in reader: CatalogReader) -> [AuditFacts.BlindSpot] {
    let marks = DatabaseServers.marks.map { (name: Array($0.mark.utf8), kind: $0.kind) }
    var found: [(directory: TreePath, kind: String)] = []
    // A damaged catalog is named elsewhere.
    try? forEachDifference(
      from: nil, to: reader, entering: { _, place in place.path != TreePath([DatabaseRecord.label]) },
      visit: { entries, place in
        guard entries.sides.right?.byteCount != nil,
          let kind = marks.first(where: { place.name.elementsEqual($0.name) })?.kind,
          // Each database of a cluster has the file of its version, too.
          !found.contains(where: { place.directory.starts(with: $0.directory) })
        else { return }
        found.append((place.directory, kind))
      })
    return found.map { directory, kind in
      AuditFacts.BlindSpot(
        .dataDirectory(kind: kind), at: displayName(directory.atSource(label: reader.summary.label)))
    }
  }
}

extension MountLine {
  /// True for file systems of servers and of FUSE, except those that show no data of their own.
  fileprivate var isOnNetwork: Bool {
    let name = displayName(type)
    let kinds = ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "9p", "afs", "ocfs2", "gfs2", "lustre"]
    let isShown = ["fuse.gvfsd-fuse", "fuse.portal", "fuse.lxcfs", "fuse.snapfuse", "fuse.fuse-overlayfs"]
    return kinds.contains(name) || name == "fuse" || name.hasPrefix("fuse.") && !isShown.contains(name)
  }
}

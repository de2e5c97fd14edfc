internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// Searches this machine for data that is in no source, and for databases that are not dumped.
struct BlindSpotSearch {
  private let file: ConfigurationFile
  private let repository: Repository
  private let list: SnapshotList
  private let sources: [(path: [UInt8], isOneFileSystem: Bool)]

  init(file: ConfigurationFile, repository: Repository, list: SnapshotList) {
    (self.file, self.repository, self.list) = (file, repository, list)
    sources = file.sources.map { (Array($0.path.utf8), $0.oneFileSystem) }
  }

  func all() -> [AuditFacts.BlindSpot] {
    (fileSystems + homes + servers + dataDirectories).filter { spot in
      !file.settings.audit.ignore.contains {
        spot.path == $0 || Self.isBelow(path: Array(spot.path.utf8), directory: Array($0.utf8))
      }
    }
  }

  private static func isBelow(path: [UInt8], directory: [UInt8]) -> Bool {
    TreePath(parsing: path).starts(with: TreePath(parsing: directory))
  }

  // MARK: File systems and homes

  /// The file systems on disks that no source holds or is on.
  private var fileSystems: [AuditFacts.BlindSpot] {
    let mounts = (MountLine.all() ?? []).filter { $0.source.starts(with: Array("/dev/".utf8)) }
    let backups = file.settings.remotes.compactMap { remote -> UInt64? in
      switch remote.address {
      case .local(let path), .restic(let path): try? Descriptor.open(path: path, .pathOnly).status().device
      case .ssh, .storage: nil
      }
    }
    var seen: Set<[UInt8]> = []
    return mounts.compactMap { mount in
      let sameDevice = mounts.filter { $0.device == mount.device }
      guard seen.insert(mount.device).inserted, !sameDevice.contains(where: isCovered),
        let place = try? Descriptor.open(path: mount.point, .pathOnly), let status = try? place.status(),
        status.device != repository.identity.device, !backups.contains(status.device), status.kind == .directory,
        let system = try? place.fileSystemIdentity(), !Self.images.contains(system.type)
      else { return nil }
      return AuditFacts.BlindSpot(.fileSystem, at: displayName(mount.point))
    }
  }

  /// squashfs, EROFS, ISO 9660, cramfs and romfs, by `linux/magic.h`.
  private static let images: Set<Int64> = [0x7371_7368, 0xe0f5_e1e2, 0x9660, 0x28cd_3d45, 0x7275]

  /// True if a source holds the mount, or is on it.
  private func isCovered(_ mount: MountLine) -> Bool {
    sources.contains {
      Self.isBelow(path: $0.path, directory: mount.point)
        && !mountPoints(between: mount.point, and: $0.path)
        || Self.isBelow(path: mount.point, directory: $0.path) && (!$0.isOneFileSystem || mount.point == $0.path)
    }
  }

  /// True if a path is on a further mount below a mount.
  private func mountPoints(between mount: [UInt8], and path: [UInt8]) -> Bool {
    (MountLine.all() ?? []).contains {
      $0.point != mount && Self.isBelow(path: $0.point, directory: mount)
        && Self.isBelow(path: path, directory: $0.point)
    }
  }

  private var homes: [AuditFacts.BlindSpot] {
    Set(Account.homes()).sorted { $0.lexicographicallyPrecedes($1) }.compactMap { home in
      guard home.first == slash, home != [slash], let real = try? CurrentProcess.realPath(home),
        (try? Descriptor.open(path: real, .pathOnly).status().kind) == .directory,
        !sources.contains(where: {
          Self.isBelow(path: home, directory: $0.path) || Self.isBelow(path: real, directory: $0.path)
        })
      else { return nil }
      return AuditFacts.BlindSpot(.home, at: displayName(home))
    }
  }

  // MARK: Databases

  private func isDumped(_ kind: String) -> Bool {
    let kinds = kind == "postgresql" ? ["postgresql", "pgbackrest"] : [kind]
    return file.databases.contains { kinds.contains(displayName($0.kind)) }
  }

  /// The first listening socket of each kind of server that has no `[[database]]`.
  private var servers: [AuditFacts.BlindSpot] {
    let sockets = ListeningSockets.current()
    return Self.servers(in: sockets).filter { !isDumped($0.kind) }.map {
      AuditFacts.BlindSpot(.server(kind: $0.kind), at: $0.place)
    }
  }

  static func servers(in sockets: ListeningSockets) -> [(kind: String, place: String)] {
    let kinds: [(kind: String, ports: Set<UInt16>, isSocket: (String) -> Bool)] = [
      ("postgresql", [5432], { $0.hasPrefix(".s.PGSQL.") }),
      ("mysql", [3306], { ["mysqld.sock", "mysql.sock", "mariadb.sock"].contains($0) }),
      ("command", [6379, 27017, 389], { $0.hasPrefix("mongodb-") || $0.hasPrefix("redis") && $0.hasSuffix(".sock") }),
    ]
    return kinds.compactMap { kind, ports, isSocket in
      let path = sockets.paths.sorted().first { isSocket(displayName(splitLast(of: Array($0.utf8)).name)) }
      let port = sockets.ports.sorted().first(where: ports.contains)
      return (path ?? port.map { "port \($0)" }).map { (kind, $0) }
    }
  }

  /// The data directories of servers that the newest snapshot has as plain files.
  private var dataDirectories: [AuditFacts.BlindSpot] {
    guard let newest = list.newest, let catalog = try? repository.openCatalog(of: newest.name) else { return [] }
    let reader = CatalogReader(reading: catalog)
    func has(_ path: String) -> Bool {
      let found = try? reader.find(newest.summary.label + TreePath(parsing: path.utf8))
      return found != nil
    }
    var spots: [AuditFacts.BlindSpot] = []
    if has("/var/lib/mysql/ibdata1") { spots.append(.init(.dataDirectory(kind: "mysql"), at: "/var/lib/mysql")) }
    for path in Self.clusters where has("\(path)/PG_VERSION") {
      spots.append(.init(.dataDirectory(kind: "postgresql"), at: path))
    }
    return spots
  }

  /// The PostgreSQL clusters of this machine, where Debian and Red Hat keep them.
  private static var clusters: [String] {
    func names(in path: String) -> [String] {
      let names = (try? Directory(Descriptor.open(path: Array(path.utf8), [.read, .directory])).names()) ?? []
      return names.map { displayName($0) }.sorted()
    }
    let debian = "/var/lib/postgresql"
    return ["/var/lib/pgsql/data"]
      + names(in: debian).flatMap { version in
        names(in: "\(debian)/\(version)").map { "\(debian)/\(version)/\($0)" }
      }
  }
}

/// The sockets on which servers of this machine listen; `/proc/net/unix` and `/proc/net/tcp`, see proc(5).
struct ListeningSockets {
  var paths: Set<String> = []
  var ports: Set<UInt16> = []

  static func current() -> ListeningSockets {
    func text(_ name: String) -> [UInt8] {
      (try? Descriptor.open(path: Array("/proc/net/\(name)".utf8), .read).readWhole(limit: 64 << 20)) ?? []
    }
    return ListeningSockets(unix: text("unix"), tcp: text("tcp") + text("tcp6"))
  }

  init(unix: [UInt8], tcp: [UInt8]) {
    for line in unix.split(separator: newline) {
      // Number, count, protocol, flags, type, state, inode, path. 0x10000 is __SO_ACCEPTCON.
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 7)
      guard fields.count == 8, let flags = UInt32(String(decoding: fields[3], as: UTF8.self), radix: 16),
        flags & 0x10000 != 0, fields[7].first == slash
      else { continue }
      paths.insert(displayName(fields[7]))
    }
    for line in tcp.split(separator: newline) {
      // Number, local address and port, remote address and port, state; 0A is TCP_LISTEN.
      let fields = line.split(separator: UInt8(ascii: " "), maxSplits: 4)
      guard fields.count > 3, fields[3].elementsEqual("0A".utf8),
        let digits = fields[1].split(separator: UInt8(ascii: ":")).last,
        let port = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
      else { continue }
      ports.insert(port)
    }
  }
}

internal import Catalog
public import Posix
internal import Synchronization

extension Repository {
  /// The mounts (as in `FileStatus`) that show a directory inside the repository under another path.
  ///
  /// These are bind mounts, which no device or inode number reveals, and mounts of bindfs. The source is
  /// `/proc/self/mountinfo`; see proc(5). Empty if `canSeeMounts` is false.
  public func innerMounts() -> Set<UInt64> {
    guard let mounts = MountLine.all(), let inside = pathInFileSystem(mounts) else { return [] }
    return Set(mounts.filter { $0.shows(inside) }.map(\.id))
  }

  private func pathInFileSystem(_ mounts: [MountLine]) -> Inside? {
    guard let real = try? CurrentProcess.realPath(path), let own = mounts.first(where: { $0.id == identity.mount })
    else {
      return nil
    }
    let below = own.point == [slash] ? real : Array(real.dropFirst(own.point.count))
    return Inside(device: own.device, path: own.root == [slash] ? below : own.root + below, real: real)
  }
}

extension Repository {
  /// True if a mount shows a directory inside a repository.
  ///
  /// The mount may be bindfs. It may also be a bind mount. Then another mount of the file system shows a repository
  /// above the bind mount's root. False if this cannot be determined.
  static func isInRepository(mount id: UInt64) -> Bool {
    guard let mounts = MountLine.all(), let mount = mounts.first(where: { $0.id == id }) else { return false }
    // The source of a bindfs mount is the directory that it shows.
    if mount.isFUSE, mount.source.first == slash,
      let shown = try? Descriptor.open(path: mount.source, [.pathOnly, .directory])
    {
      return (try? isMarked(upFrom: shown) { _ in nil }) ?? true
    }
    if mount.root == [slash] { return false }
    var isSeen = false
    for other in mounts where other.device == mount.device && other.root.count < mount.root.count {
      let above = other.root == [slash] ? [] : other.root
      guard mount.root.starts(with: above + [slash]) else { continue }
      let path = other.point + mount.root.dropFirst(above.count)
      guard let shown = try? Descriptor.open(path: path, [.pathOnly, .directory]),
        (try? shown.status())?.mount == other.id
      else { continue }
      isSeen = true
      if (try? isMarked(upFrom: shown) { _ in false }) ?? true { return true }
    }
    // If no other mount shows the directory, only the names in its path can tell.
    return !isSeen && mount.root.split(separator: slash).contains { $0 == controlName[...] || SnapshotName($0) != nil }
  }

  /// True if nothing is mounted on a directory of the repository or below it. False if this cannot be determined.
  func hasNoMounts(below names: [[UInt8]]) -> Bool {
    guard let real = try? CurrentProcess.realPath(path), let mounts = MountLine.all() else { return false }
    let place = real + names.flatMap { [slash] + $0 }
    return !mounts.contains { $0.point == place || $0.point.starts(with: place + [slash]) }
  }

  /// False if proc(5) is not mounted.
  public static var canSeeMounts: Bool { MountLine.all() != nil }
}

extension Repository {
  /// True if a directory with `.treering` is this repository, seen through another file system.
  ///
  /// Neither inodes nor mounts reveal bindfs, overlay or a network file system on a directory above it. The contents of
  /// `repository.toml` and the lock file are therefore compared. The caller holds the lock: only the repository itself,
  /// and no copy, has the new content of the lock file.
  public func isShown(by directory: borrowing Descriptor) -> Bool {
    let controlName = Self.controlName
    guard let other = try? directory.openDirectory(controlName.span) else { return false }
    for name in [Self.markName, Self.lockName] {
      guard let own = try? control.descriptor.openToRead(name.span).readToEnd(limit: 1 << 16), !own.isEmpty,
        let shown = try? other.openToRead(name.span).readToEnd(limit: 1 << 16), shown == own
      else { return false }
    }
    return true
  }
}

// A reader in an expired tree would see the files of the snapshot that the tree is recycled into.
extension Repository {
  /// True if no process can be reading in the spare, and none can begin to.
  ///
  /// No process may have a directory of the spare open or as its working directory. No mount may show the spare, and no
  /// NFS server may export it. The old name of an expired tree is gone, so there is no other way into it.
  ///
  /// Without the right to examine all processes, the repository must be closed to other users. If the answer cannot be
  /// determined, the spare counts as read.
  public func isSpareUnread() -> Bool {
    guard let spare = try? directory(Self.spareName), let (tree, name) = Self.onlyDirectory(of: spare),
      let status = try? tree.descriptor.status()
    else { return false }
    if unreadSpare.withLock({ $0 }) == status.inode { return true }
    guard !isExported, let mounts = MountLine.all(), let inside = pathInFileSystem(mounts) else { return false }
    let place = inside.below([Self.controlName, Self.spareName])
    var isComplete = true
    let isUsed = try? CurrentProcess.findDirectoryInUse(
      on: status.device, isComplete: &isComplete,
      isShown: { $0.shows(place) || mayHaveLayer($0, root: $1, of: name) },
      isMeant: { isBelow($0, status) })
    guard isUsed == false, isComplete || isClosedToOthers else { return false }
    unreadSpare.withLock { $0 = status.inode }
    return true
  }

  /// True if a directory is another or lies below it. Also true if this cannot be determined.
  private func isBelow(_ directory: borrowing Descriptor, _ above: FileStatus) -> Bool {
    do throws(Errno) {
      var status = try directory.status()
      var next = try directory.parentDirectory()
      while true {
        if status.inode == above.inode && status.device == above.device { return true }
        let parent = try next.status()
        if parent.inode == status.inode && parent.device == status.device { return false }
        status = parent
        next = try next.parentDirectory()
      }
    } catch { return true }
  }

  /// True if an overlay may have layers in a snapshot. The overlay's options have the snapshot's name at mount time.
  ///
  /// False if the parent of that name is not the repository.
  private func mayHaveLayer(_ mount: MountLine, root: String, of snapshot: [UInt8]) -> Bool {
    mount.layers.contains { layer in
      let names = layer.split(separator: slash, omittingEmptySubsequences: false)
      return names.indices.contains { place in
        guard names[place] == snapshot[...] || names[place] == Self.latestName[...] else { return false }
        let path = Array(root.utf8) + names[..<place].joined(separator: [slash])
        guard layer.first == slash, let above = try? Descriptor.open(path: path, [.pathOnly, .directory]),
          let status = try? above.status()
        else { return true }
        return status.inode == identity.inode && status.device == identity.device
      }
    }
  }

  /// True if only this user and root have access to the repository.
  private var isClosedToOthers: Bool {
    (try? root.descriptor.status()).map { $0.permissions & 0o077 == 0 && $0.user == CurrentProcess.effectiveUser }
      ?? false
  }

  /// True if this machine's NFS server exports the repository, a parent of it or a directory in it.
  ///
  /// NFS clients keep handles of directories that no process has open; see exports(5) and nfsd(7).
  private var isExported: Bool {
    guard let real = try? CurrentProcess.realPath(path) else { return true }
    for list in ["/proc/fs/nfsd/exports", "/var/lib/nfs/etab"] {
      let text = (try? Descriptor.open(path: Array(list.utf8), .read).readWhole(limit: 16 << 20)) ?? []
      for line in text.split(separator: 10) where line.first == slash {
        let exported = MountLine.unescaped(line.prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "\t") })
        let isAbove = exported == [slash] || exported == real || real.starts(with: exported + [slash])
        if isAbove || exported.starts(with: real + [slash]) { return true }
      }
    }
    return false
  }

  private static func onlyDirectory(of spare: Directory) -> (Directory, name: [UInt8])? {
    var listing = DirectoryListing()
    guard let again = try? spare.descriptor.reopenDirectory(), (try? listing.read(again)) != nil,
      let entry = listing.entries.last
    else { return nil }
    let name = Array(listing.bytes[entry.range])
    return (try? spare.directory(name.span)).map { ($0, name) }
  }
}

/// The location of a directory: device (as in mountinfo), path from the root of its file system, and absolute path.
private struct Inside {
  let device: [UInt8]
  let path: [UInt8]
  let real: [UInt8]

  func below(_ names: [[UInt8]]) -> Inside {
    let rest = names.flatMap { [slash] + $0 }
    return Inside(device: device, path: path + rest, real: real + rest)
  }
}

extension MountLine {
  /// True if the mount shows a directory inside another one.
  fileprivate func shows(_ inside: Inside) -> Bool {
    device == inside.device && root.starts(with: inside.path + [slash])
      // The source of a bindfs mount is the directory that it shows.
      || isFUSE && (source == inside.real || source.starts(with: inside.real + [slash]))
  }
}

private let slash = UInt8(ascii: "/")

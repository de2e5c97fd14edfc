internal import Catalog
internal import Posix
internal import Synchronization

extension Repository {
  /// The mounts (as in `FileStatus`) that show a directory inside the repository under another path: bind
  /// mounts, which no device or inode number gives away, and those of bindfs. From `/proc/self/mountinfo`, see proc(5).
  ///
  /// Empty where `canSeeMounts` is false.
  public func innerMounts() -> Set<UInt64> {
    guard let mounts = MountLine.all(), let inside = pathInFileSystem(mounts) else { return [] }
    return Set(mounts.filter { $0.shows(inside) }.map(\.id))
  }

  private func pathInFileSystem(_ mounts: [MountLine]) -> Inside? {
    guard let real = try? Process.realPath(path), let own = mounts.first(where: { $0.id == identity.mount }) else {
      return nil
    }
    let below = own.point == [slash] ? real : Array(real.dropFirst(own.point.count))
    return Inside(device: own.device, path: own.root == [slash] ? below : own.root + below, real: real)
  }
}

extension Repository {
  /// True where a mount shows a directory that lies in a repository: a bind mount, above whose root another mount of
  /// that file system shows one, or bindfs. False where that cannot be seen.
  static func isInRepository(mount id: UInt64) -> Bool {
    guard let mounts = MountLine.all(), let mount = mounts.first(where: { $0.id == id }) else { return false }
    // bindfs names the directory that it shows.
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
    // What is not mounted elsewhere is known by its name alone.
    return !isSeen && mount.root.split(separator: slash).contains { $0 == controlName[...] || SnapshotName($0) != nil }
  }

  /// False where something may be mounted on a directory of the repository, or below it: also where that cannot be seen.
  func hasNoMounts(below names: [[UInt8]]) -> Bool {
    guard let real = try? Process.realPath(path), let mounts = MountLine.all() else { return false }
    let place = real + names.flatMap { [slash] + $0 }
    return !mounts.contains { $0.point == place || $0.point.starts(with: place + [slash]) }
  }

  /// False where proc(5) is not mounted.
  public static var canSeeMounts: Bool { MountLine.all() != nil }
}

// A reader in an expired tree would get the files of the snapshot that the tree is made into.
extension Repository {
  /// True where no process can be reading in the expired tree that is kept as spare: none has a directory of it open or
  /// works in it, and no NFS server exports it. Once a tree has expired, its name is gone, and nobody gets into it any
  /// more who is not in it already.
  ///
  /// Without the right to look at all processes, the repository must be closed to other users. What cannot be found out
  /// counts as read.
  public func isSpareUnread() -> Bool {
    guard let spare = try? directory(Self.spareName), let tree = Self.onlyDirectory(of: spare),
      let status = try? tree.descriptor.status()
    else { return false }
    if unreadSpare.withLock({ $0 }) == status.inode { return true }
    guard !isExported, let mounts = MountLine.all(), let inside = pathInFileSystem(mounts) else { return false }
    var isComplete = true
    let isUsed = try? Process.findDirectoryInUse(on: status.device, isComplete: &isComplete) { found in
      isBelow(found.directory, status) || isInside(found, inside)
    }
    guard isUsed == false, isComplete || isClosedToOthers else { return false }
    unreadSpare.withLock { $0 = status.inode }
    return true
  }

  /// True where a directory lies in another, or is it; also where that cannot be found out.
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

  /// True for a directory below a bind mount of a part of the repository, whose parents lead elsewhere.
  private func isInside(_ found: borrowing DirectoryInUse, _ inside: Inside) -> Bool {
    guard let status = try? found.directory.status() else { return true }
    if status.mount == identity.mount { return false }
    return MountLine.all(of: found.process)?.contains { $0.id == status.mount && $0.shows(inside) } ?? true
  }

  /// True where only this user, and root, can get in.
  private var isClosedToOthers: Bool {
    (try? root.descriptor.status()).map { $0.permissions & 0o077 == 0 && $0.user == Process.effectiveUser } ?? false
  }

  /// True where the NFS server of this machine exports the repository, a directory above it or one in it: its clients
  /// keep numbers of directories that no process has open. exports(5), nfsd(7).
  private var isExported: Bool {
    guard let real = try? Process.realPath(path) else { return true }
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

  private static func onlyDirectory(of spare: Directory) -> Directory? {
    var listing = DirectoryListing()
    guard let again = try? spare.descriptor.reopenDirectory(), (try? listing.read(again)) != nil,
      let entry = listing.entries.last
    else { return nil }
    return try? spare.directory(listing.bytes.span.extracting(entry.range))
  }
}

/// The place of a repository: its device as mountinfo has it, its path from the root of its file system, and its path.
private struct Inside {
  let device: [UInt8]
  let path: [UInt8]
  let real: [UInt8]
}

extension MountLine {
  /// True where the mount shows a directory inside the repository.
  fileprivate func shows(_ inside: Inside) -> Bool {
    device == inside.device && root.starts(with: inside.path + [slash])
      // bindfs names the directory that it shows.
      || isFUSE && (source == inside.real || source.starts(with: inside.real + [slash]))
  }
}

private let slash = UInt8(ascii: "/")

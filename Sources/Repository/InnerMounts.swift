internal import Catalog
public import Posix
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

extension Repository {
  /// True where a directory that has `.treering` shows this repository in a way that neither an inode nor a mount gives
  /// away, as bindfs, overlay or a network file system do on a directory above it. The caller holds the lock: only the
  /// repository itself has what was written there a moment ago, and no copy of it.
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

// A reader in an expired tree would get the files of the snapshot that the tree is made into.
extension Repository {
  /// True where no process can be reading in the expired tree that is kept as spare, and none can begin to: none has a
  /// directory of it open or works in it, no mount shows it, and no NFS server exports it. Once a tree has expired, its
  /// name is gone, and nobody gets into it any more in another way.
  ///
  /// Without the right to look at all processes, the repository must be closed to other users. What cannot be found out
  /// counts as read.
  public func isSpareUnread() -> Bool {
    guard let spare = try? directory(Self.spareName), let (tree, name) = Self.onlyDirectory(of: spare),
      let status = try? tree.descriptor.status()
    else { return false }
    if unreadSpare.withLock({ $0 }) == status.inode { return true }
    guard !isExported, let mounts = MountLine.all(), let inside = pathInFileSystem(mounts) else { return false }
    let place = inside.below([Self.controlName, Self.spareName])
    var isComplete = true
    let isUsed = try? Process.findDirectoryInUse(
      on: status.device, isComplete: &isComplete,
      isShown: { $0.shows(place) || mayHaveLayer($0, root: $1, of: name) },
      isMeant: { isBelow($0, status) })
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

  /// True where an overlay may have been made of directories of a snapshot: it names them as they were called then. False
  /// where what is above that name is another directory than the repository.
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

  private static func onlyDirectory(of spare: Directory) -> (Directory, name: [UInt8])? {
    var listing = DirectoryListing()
    guard let again = try? spare.descriptor.reopenDirectory(), (try? listing.read(again)) != nil,
      let entry = listing.entries.last
    else { return nil }
    let name = Array(listing.bytes[entry.range])
    return (try? spare.directory(name.span)).map { ($0, name) }
  }
}

/// The place of a directory: its device as mountinfo has it, its path from the root of its file system, and its path.
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
  /// True where the mount shows a directory inside another one.
  fileprivate func shows(_ inside: Inside) -> Bool {
    device == inside.device && root.starts(with: inside.path + [slash])
      // bindfs names the directory that it shows.
      || isFUSE && (source == inside.real || source.starts(with: inside.real + [slash]))
  }
}

private let slash = UInt8(ascii: "/")

internal import Model
public import Posix

/// The directories and mounts that show a repository or a part of it.
public struct RepositoryLocation {
  let repository: Repository

  /// True if a directory is the repository or is inside it, by any path.
  public func contains(_ directory: borrowing Descriptor) throws(Errno) -> Bool {
    let mounts = innerMounts()
    // From the root of a bind mount, the parents are outside the repository.
    return try directory.isAtOrBelow { $0.isSameInode(as: repository.identity) || mounts.contains($0.mount) }
  }

  /// The mounts (as in `FileStatus`) that show a directory inside the repository under another path.
  ///
  /// These are bind mounts, which no device or inode number reveals, and mounts of bindfs. The source is
  /// `/proc/self/mountinfo`; see proc(5). Empty if `canSeeMounts` is false.
  public func innerMounts() -> Set<UInt64> {
    guard let mounts = MountLine.all(), let inside = pathInFileSystem(by: mounts) else { return [] }
    return Set(mounts.filter { $0.shows(inside) }.map(\.id))
  }

  func pathInFileSystem(by mounts: [MountLine]) -> MountedPath? {
    guard let real = try? CurrentProcess.realPath(repository.path),
      let own = mounts.first(where: { $0.id == repository.identity.mount })
    else { return nil }
    let below = own.point == [slash] ? real : Array(real.dropFirst(own.point.count))
    return MountedPath(device: own.device, path: own.root == [slash] ? below : own.root + below, real: real)
  }

  /// True if nothing is mounted on a directory of the repository or below it. False if this cannot be determined.
  func hasNoMounts(below path: TreePath) -> Bool {
    guard let real = try? CurrentProcess.realPath(repository.path), let mounts = MountLine.all() else { return false }
    return !mounts.contains { TreePath(parsing: $0.point).starts(with: TreePath(parsing: real) + path) }
  }

  /// False if proc(5) is not mounted.
  public static var canSeeMounts: Bool { MountLine.all() != nil }

  /// True if a directory with `.treering` is this repository, seen through another file system.
  ///
  /// Neither inodes nor mounts reveal bindfs, overlay or a network file system on a directory above it. The contents of
  /// `repository.toml` and the lock file are therefore compared. The caller holds the lock: only the repository itself,
  /// and no copy, has the new content of the lock file.
  public func isShown(by directory: borrowing Descriptor) -> Bool {
    let controlName = Repository.controlName
    guard let other = try? directory.openDirectory(controlName.span) else { return false }
    for name in [Repository.formatName, Repository.lockName] {
      guard let own = try? repository.control.descriptor.openToRead(name.span).readToEnd(limit: 1 << 16), !own.isEmpty,
        let shown = try? other.openToRead(name.span).readToEnd(limit: 1 << 16), shown == own
      else { return false }
    }
    return true
  }
}

/// The location of a directory: device (as in mountinfo), path from the root of its file system, and absolute path.
struct MountedPath {
  let device, path, real: [UInt8]

  func below(_ names: TreePath) -> MountedPath {
    MountedPath(device: device, path: names.bytes(below: path), real: names.bytes(below: real))
  }
}

extension MountLine {
  /// True if the mount shows a directory inside another one.
  func shows(_ inside: MountedPath) -> Bool {
    device == inside.device && root.starts(with: inside.path + [slash])
      // The source of a bindfs mount is the directory that it shows.
      || isFUSE && (source == inside.real || source.starts(with: inside.real + [slash]))
  }
}

// The test for a repository above or around a directory.
extension Repository {
  /// True if a directory is inside any repository.
  ///
  /// Both its parents and the directories above the roots of the mounts on the way count.
  public static func isInside(_ directory: borrowing Descriptor) throws(Errno) -> Bool {
    try isMarked(upFrom: directory) { isInRepository(mount: $0) ? true : nil }
  }

  /// True if a directory or one of its parents holds a repository.
  ///
  /// `leaving` is called when the way up leaves a mount. Its answer ends the search; `nil` continues it.
  static func isMarked(
    upFrom directory: borrowing Descriptor, leaving: (_ mount: UInt64) -> Bool?
  ) throws(Errno) -> Bool {
    var status = try directory.status()
    var here = Directory(try directory.reopenPath())
    while true {
      if try isRepository(here) { return true }
      let above = Directory(try here.descriptor.parentDirectory())
      let next = try above.descriptor.status()
      let isTop = next.isSameInode(as: status)
      if isTop || next.mount != status.mount, let answer = leaving(status.mount) { return answer }
      if isTop { return false }
      (status, here) = (next, above)
    }
  }

  /// True if a directory holds a repository. A directory that this user may not examine holds none.
  public static func isRepository(_ directory: Directory) throws(Errno) -> Bool {
    do {
      let control = try directory.directory(path: [controlName])
      let format = formatName
      return try control.descriptor.status(of: format.span).kind == .regular
    } catch {
      if error.meansAbsence || error == .symbolicLoop || error.meansNoPermission { return false }
      throw error
    }
  }

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
}

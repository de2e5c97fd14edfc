internal import Catalog
internal import Model
public import Posix

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
      if error.meansAbsence || error == .symbolicLoop || error.meansNoPermission {
        return false
      }
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

internal import Catalog
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
  func hasNoMounts(below names: [[UInt8]]) -> Bool {
    guard let real = try? CurrentProcess.realPath(repository.path), let mounts = MountLine.all() else { return false }
    let place = real + names.flatMap { [slash] + $0 }
    return !mounts.contains { $0.point == place || $0.point.starts(with: place + [slash]) }
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
  let device: [UInt8]
  let path: [UInt8]
  let real: [UInt8]

  func below(_ names: [[UInt8]]) -> MountedPath {
    let rest = names.flatMap { [slash] + $0 }
    return MountedPath(device: device, path: path + rest, real: real + rest)
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

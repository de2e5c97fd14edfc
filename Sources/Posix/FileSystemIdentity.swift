internal import CPosix

/// The identity of a file system, and the reliability of its inode numbers and times.
public struct FileSystemIdentity: Sendable {
  /// `f_type`; 0 if it is unknown.
  public var type: Int64
  /// A number from the UUID; 0 without a permanent one: tmpfs, FUSE, overlay, network file systems, images and FAT.
  public var number: UInt64
  /// Like `number`, but different for each subvolume of a btrfs, whose inode numbers may be equal. Without a
  /// permanent number, it identifies the mount: another file system or a remount has another number.
  public var volume: UInt64

  public init(type: Int64, number: UInt64, volume: UInt64) {
    (self.type, self.number, self.volume) = (type, number, volume)
  }

  /// The identity of an unknown file system.
  public static let unknown = FileSystemIdentity(type: 0, number: 0, volume: 0)

  /// True if the two cannot be the same file system.
  public func isOther(than other: (type: Int64, number: UInt64)) -> Bool {
    if type == 0 || other.type == 0 { return false }
    return type != other.type || number != other.number && number != 0 && other.number != 0
  }

  /// True if the two are provably the same file system, so that equal inode numbers can mean one inode. A snapshot of
  /// a subvolume has the subvolume's inode numbers, and counts as the same.
  public func isSame(as other: (type: Int64, number: UInt64, volume: UInt64)) -> Bool {
    guard type != 0, type == other.type else { return false }
    return number != 0 ? number == other.number : volume != 0 && volume == other.volume
  }

  /// True if the kernel, or the server of a network file system, updates the ctime at every change. Otherwise the
  /// ctime may be a copy of the mtime: on FAT, and on many FUSE file systems. Images cannot change while they are
  /// mounted.
  ///
  /// The numbers are those of `linux/magic.h`.
  public var hasTrueChangeTimes: Bool {
    switch type {
    case 0xef53, 0x5846_5342, 0x9123_683e,  // ext2 to ext4, XFS, btrfs
      0xf2f5_2010, 0xca45_1a4e, 0x2fc1_2fc1,  // F2FS, bcachefs, ZFS
      0x0102_1994, 0x8584_58f6, 0x794c_7630,  // tmpfs, ramfs, overlay
      0x3153_464a, 0x5265_4973, 0x3434, 0x2405_1905,  // JFS, ReiserFS, NILFS, UBIFS
      0x0116_1970, 0x7461_636f,  // GFS2, OCFS2
      0x6969, 0x00c3_6400,  // NFS, Ceph
      0x7371_7368, 0xe0f5_e1e2, 0x9660, 0x28cd_3d45, 0x7275:  // squashfs, EROFS, ISO 9660, cramfs, romfs
      true
    default: false
    }
  }

  /// The possible difference in seconds between the local clock and the clock of its timestamps.
  public var clockDifferenceSeconds: Double {
    switch type {
    // NFS, Ceph, FUSE, SMB (three numbers), 9P, AFS
    case 0x6969, 0x00c3_6400, 0x6573_5546, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x0102_1997, 0x5346_414f: 60
    default: 0
    }
  }
}

extension Descriptor {
  /// The identity of the inode's file system; `fstatfs(2)`, `XFS_IOC_FSGEOMETRY`, `BTRFS_IOC_FS_INFO`,
  /// `FS_IOC_GETFSUUID`.
  public borrowing func fileSystemIdentity() throws(Errno) -> FileSystemIdentity {
    let status = try fileSystem()
    var identity = FileSystemIdentity(type: status.type, number: 0, volume: 0)
    switch status.type {
    // ext2 to ext4, ZFS and bcachefs: f_fsid comes from the UUID or another permanent number.
    case 0xef53, 0x2fc1_2fc1, 0xca45_1a4e: (identity.number, identity.volume) = (status.id, status.id)
    // XFS: f_fsid is the device's number.
    case 0x5846_5342:
      identity.number = try folded { tr_xfs_uuid(raw, $0) }
      identity.volume = identity.number
    // btrfs: f_fsid comes from the UUID and the subvolume.
    case 0x9123_683e:
      identity.number = try folded { tr_btrfs_uuid(raw, $0) }
      identity.volume = status.id
    // F2FS: f_fsid is the device's number; the kernel has reported the UUID since Linux 6.9.
    case 0xf2f5_2010:
      if let uuid = try? folded(reading: { tr_file_system_uuid(raw, $0) }) {
        (identity.number, identity.volume) = (uuid, uuid)
      }
    default: break
    }
    if identity.volume == 0 { identity.volume = try mountNumber() }
    return identity
  }

  /// A number of the inode's mount, unique until the next boot.
  ///
  /// The kernel never reuses a mount's own number (`STATX_MNT_ID_UNIQUE`, since Linux 6.8). But each mount namespace
  /// has copies with other numbers, and a service may get a new namespace for each run. The first process's mount of
  /// the same device is therefore used if it is visible. Without such numbers the result is random, so that no two
  /// mounts are provably the same.
  private borrowing func mountNumber() throws(Errno) -> UInt64 {
    let device = try status().device
    var number: UInt64?
    for line in MountLine.all(of: 1) ?? [] where line.deviceNumber == device {
      let path = Array("/proc/1/root".utf8) + line.point
      var status = tr_status()
      let result = withCString(path) { tr_statx_unique(tr_at_fdcwd, $0, 0, &status) }
      if result == 0, status.device == device, status.mount != 0 {
        number = status.mount
        break
      }
    }
    if number == nil {
      var status = tr_status()
      if tr_statx_unique(raw, "", tr_at_empty_path, &status) == 0, status.mount != 0 { number = status.mount }
    }
    guard let number, !CurrentProcess.bootID.isEmpty else { return try CurrentProcess.randomNumber() }
    // FNV-1a; http://www.isthe.com/chongo/tech/comp/fnv/
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    let bytes = CurrentProcess.bootID + (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash | 1
  }
}

/// The combined halves of a UUID.
private func folded(reading read: (UnsafeMutablePointer<UInt8>) -> Int) throws(Errno) -> UInt64 {
  var uuid = [UInt8](repeating: 0, count: 16)
  _ = try perform(.ioctl) { uuid.withUnsafeMutableBufferPointer { read($0.baseAddress!) } }
  return uuid.withUnsafeBytes {
    $0.loadUnaligned(as: UInt64.self) ^ $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
  }
}

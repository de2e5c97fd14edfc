internal import CPosix
internal import Glibc
public import Model

/// The status of one inode; `statx(2)`.
public struct FileStatus: Sendable {
  public var inode: UInt64
  /// The size in bytes; for a symbolic link, the length of its target.
  public var size: UInt64
  /// The number of allocated blocks of 512 bytes.
  public var blocks: UInt64
  /// The mtime: the last change of the content, or a value set by `utimensat(2)`.
  public var modified: Timestamp
  /// The ctime: the kernel's time of the last change of content or metadata; no user can set it.
  public var changed: Timestamp
  /// Type and permissions as in `st_mode`.
  public var mode: UInt32
  public var linkCount, user, group: UInt32
  /// The inode's device: major number in the upper half, minor in the lower.
  public var device: UInt64
  /// The numbers of a device node: major in the upper half, minor in the lower.
  public var deviceNumber: UInt64
  /// The time of the inode's creation; `nil` if the file system does not keep it.
  public var born: Timestamp?
  /// The attribute `d` of `chattr(1)`: the owner wants no backup of the file.
  public var isNoDump: Bool
  /// The mount by which the inode was reached; each bind mount has its own; 0 before Linux 5.8.
  public var mount: UInt64

  init(_ status: tr_status) {
    inode = status.inode
    size = status.size
    blocks = status.blocks
    modified = Timestamp(seconds: status.mtime_seconds, nanoseconds: status.mtime_nanoseconds)
    changed = Timestamp(seconds: status.ctime_seconds, nanoseconds: status.ctime_nanoseconds)
    mode = status.mode
    linkCount = status.links
    user = status.user
    group = status.group
    device = status.device
    deviceNumber = UInt64(status.device_major) << 32 | UInt64(status.device_minor)
    born =
      status.birth_seconds == 0 && status.birth_nanoseconds == 0
      ? nil : Timestamp(seconds: status.birth_seconds, nanoseconds: status.birth_nanoseconds)
    isNoDump = status.no_dump != 0
    mount = status.mount
  }

  /// The kind of the inode; `nil` if this system does not know it.
  public var kind: EntryKind? {
    switch mode & UInt32(S_IFMT) {
    case UInt32(S_IFREG): .regular
    case UInt32(S_IFDIR): .directory
    case UInt32(S_IFLNK): .symbolicLink
    case UInt32(S_IFIFO): .fifo
    case UInt32(S_IFSOCK): .socket
    case UInt32(S_IFCHR): .characterDevice
    case UInt32(S_IFBLK): .blockDevice
    default: nil
    }
  }

  /// True if both statuses are of one inode: inode number and device are equal.
  public func isSameInode(as other: FileStatus) -> Bool { inode == other.inode && device == other.device }

  /// The twelve bits of `chmod(2)`.
  public var permissions: UInt32 { mode & 0o7777 }

  /// Permissions, owner and mtime, as in a catalog.
  public var metadata: Metadata {
    Metadata(permissions: UInt16(truncatingIfNeeded: permissions), user: user, group: group, modified: modified)
  }

  /// True if fewer blocks are allocated than the size needs.
  public var hasHoles: Bool { blocks &* 512 < size }
}

/// The status of a descriptor's file system; `statfs(2)`.
public struct FileSystemStatus: Sendable {
  /// `f_fsid`: derived from the UUID on ext4 and btrfs, from the device number on some others.
  public let id: UInt64
  /// `f_type`, with the numbers of `linux/magic.h`.
  public let type: Int64
  public let bytesUsed: UInt64
  /// The bytes available to the caller. 2^62 if the file system does not tell its size, like ramfs and some FUSE file
  /// systems.
  public let bytesAvailable: UInt64
  /// False if the file system does not tell its size.
  public let hasSize: Bool
  /// 0 if the file system has no fixed number of inodes, like btrfs.
  public let inodes: UInt64
  public let inodesFree: UInt64
  /// The most bytes in a name.
  public let nameBytes: UInt64

  init(_ status: tr_file_system) {
    id = status.id
    type = status.type
    bytesUsed = (status.blocks &- status.blocks_free) &* status.block_size
    hasSize = status.blocks > 0
    bytesAvailable = hasSize ? status.blocks_available &* status.block_size : 1 << 62
    inodes = status.files
    inodesFree = status.files_free
    nameBytes = status.name_length
  }

  /// True if these bytes and inodes do not fit, beside `reserve` bytes that must stay free.
  public func lacks(bytes: UInt64, inodes: UInt64, reserve: UInt64 = 0) -> Bool {
    bytes > bytesAvailable - min(bytesAvailable, reserve) || self.inodes > 0 && inodes > inodesFree
  }
}

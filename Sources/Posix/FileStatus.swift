internal import CPosix
public import Catalog
internal import Glibc

/// What `statx(2)` says of one inode.
public struct FileStatus: Sendable {
  public var inode: UInt64
  /// Bytes; for a symbolic link the length of its target.
  public var size: UInt64
  /// Blocks of 512 bytes that are allocated.
  public var blocks: UInt64
  /// The mtime: when the content was changed, or what `utimensat(2)` set.
  public var modified: Timestamp
  /// The ctime: when the kernel last changed content or metadata; nobody can set it.
  public var changed: Timestamp
  /// Type and permissions as in `st_mode`.
  public var mode: UInt32
  public var linkCount: UInt32
  public var user: UInt32
  public var group: UInt32
  /// The device the inode lives on: major number in the upper half, minor in the lower.
  public var device: UInt64
  /// Of a device node: major number in the upper half, minor in the lower.
  public var deviceNumber: UInt64
  /// When the inode was made; `nil` where the file system does not keep that.
  public var born: Timestamp?
  /// The attribute `d` of `chattr(1)`: the owner wants no backup of it.
  public var isNoDump: Bool
  /// The mount the inode was reached through, another one behind each bind mount; 0 before Linux 5.8.
  public var mount: UInt64

  init(_ status: tr_status) {
    inode = status.inode
    size = status.size
    blocks = status.blocks
    modified = Timestamp(
      seconds: status.mtime_seconds, nanoseconds: status.mtime_nanoseconds)
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

  /// The type of the inode; `nil` for one that this system does not know.
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

  /// The twelve bits of `chmod(2)`.
  public var permissions: UInt32 { mode & 0o7777 }

  /// Permissions, owner and mtime, as a catalog keeps them.
  public var metadata: Metadata {
    Metadata(
      permissions: UInt16(truncatingIfNeeded: permissions), user: user, group: group,
      modified: modified)
  }

  /// True where fewer blocks are allocated than the size needs.
  public var hasHoles: Bool { blocks &* 512 < size }
}

/// What `statfs(2)` says of the file system that holds a descriptor.
public struct FileSystemStatus: Sendable {
  /// `f_fsid`: derived from the UUID on ext4 and btrfs, from the device number on some others.
  public let id: UInt64
  /// `f_type`; the numbers are those of `linux/magic.h`.
  public let type: Int64
  public let bytesUsed: UInt64
  /// What the caller may still use; 2^62 if the file system does not tell its size, as ramfs and some FUSE ones.
  public let bytesAvailable: UInt64
  /// False if the file system does not tell its size.
  public let hasSize: Bool
  /// 0 where the file system has no fixed number of inodes, as btrfs.
  public let inodes: UInt64
  public let inodesFree: UInt64
  /// The most bytes a name may have.
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
}

/// What an entry of a tree is; the raw values are the catalog's.
public enum EntryKind: UInt8, Sendable, CaseIterable {
  case regular = 1
  case symbolicLink = 2
  case fifo = 3
  case socket = 4
  case characterDevice = 5
  case blockDevice = 6
  case directory = 7

  public var word: String {
    switch self {
    case .regular: "file"
    case .symbolicLink: "symbolic link"
    case .fifo: "FIFO"
    case .socket: "socket"
    case .characterDevice: "character device"
    case .blockDevice: "block device"
    case .directory: "directory"
    }
  }
}

/// A point in time to the nanosecond, counted from 1970-01-01T00:00:00Z.
public struct Timestamp: Hashable, Sendable, Comparable {
  public var seconds: Int64
  /// 0...999,999,999
  public var nanoseconds: UInt32

  public init(seconds: Int64, nanoseconds: UInt32) {
    self.seconds = seconds
    self.nanoseconds = nanoseconds
  }

  public static func < (a: Timestamp, b: Timestamp) -> Bool {
    (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds)
  }
}

/// What `chmod`, `chown` and `touch` set.
public struct Metadata: Hashable, Sendable {
  /// The twelve bits of `chmod(2)`.
  public var permissions: UInt16
  public var user: UInt32
  public var group: UInt32
  public var modified: Timestamp

  public init(permissions: UInt16, user: UInt32, group: UInt32, modified: Timestamp) {
    self.permissions = permissions
    self.user = user
    self.group = group
    self.modified = modified
  }
}

/// Facts about an entry that its digest covers.
public struct EntryFlags: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  static let hasAttributes = EntryFlags(rawValue: 1)
  /// The source file had several links; the entry carries its group.
  public static let hardLinked = EntryFlags(rawValue: 2)
  /// A directory that could not be read whole.
  public static let incomplete = EntryFlags(rawValue: 4)
  /// A directory that treering made: the snapshot's own and the label's. Its metadata say nothing.
  public static let synthetic = EntryFlags(rawValue: 8)
  /// The digest of a regular file leaves whole MiBs of zeros out.
  static let sparseDigest = EntryFlags(rawValue: 16)
  static let known: EntryFlags = [.hasAttributes, .hardLinked, .incomplete, .synthetic, .sparseDigest]
}

/// How an entry was read and stored; not covered by its digest.
public struct StorageFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Its ctime was so recent when it was read that a later change could have left the same ctime.
  public static let racy = StorageFlags(rawValue: 1)
  /// Only the catalog has it: the user who took the snapshot could not make it (a device node).
  public static let notStored = StorageFlags(rawValue: 2)
  /// The stored inode has another owner, and possibly lacks setuid and setgid.
  public static let ownerNotStored = StorageFlags(rawValue: 4)
  /// The stored inode lacks some extended attributes.
  public static let attributesNotStored = StorageFlags(rawValue: 8)
  /// It changed each time it was read: its content may mix two moments.
  public static let changedWhileRead = StorageFlags(rawValue: 16)
  /// What is not stored was refused to root: trying again is of no use.
  public static let refusedToRoot = StorageFlags(rawValue: 32)
  /// The stored inode has another time: its file system keeps no fractions of a second, or no such year.
  public static let timeNotStored = StorageFlags(rawValue: 64)
  /// The stored inode has other permissions, because its file system does not keep them.
  public static let modeNotStored = StorageFlags(rawValue: 128)
}

/// What helps the next run; the same inode in the source and in the repository.
public struct Hints: Sendable {
  public var sourceInode: UInt64
  public var changed: Timestamp
  public var storedInode: UInt64
  public var flags: StorageFlags

  public init(sourceInode: UInt64, changed: Timestamp, storedInode: UInt64, flags: StorageFlags) {
    self.sourceInode = sourceInode
    self.changed = changed
    self.storedInode = storedInode
    self.flags = flags
  }

  public static let none = Hints(
    sourceInode: 0, changed: Timestamp(seconds: 0, nanoseconds: 0), storedInode: 0, flags: [])
}

/// Where a directory's record is: the number of its frame and the offset in the frame's content.
public struct Place: Hashable, Sendable {
  public var frame: UInt32
  public var offset: UInt32
}

/// What one subtree holds, its own directory included.
public struct Totals: Hashable, Sendable {
  public var entries: UInt64
  /// Logical sizes of its regular files.
  public var bytes: UInt64

  public init(entries: UInt64 = 0, bytes: UInt64 = 0) {
    self.entries = entries
    self.bytes = bytes
  }

  public static func += (a: inout Totals, b: Totals) {
    // A hostile catalog may claim anything, and a few sparse files span more than 2^64 bytes: a sum must not trap.
    a.entries = a.entries.addingSaturated(b.entries)
    a.bytes = a.bytes.addingSaturated(b.bytes)
  }
}

extension UInt64 {
  /// The sum, or the largest number where it is larger.
  func addingSaturated(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}

/// A finished directory record: what its parent stores of it.
public struct Subtree: Sendable {
  public var digest: Digest
  public var place: Place
  public var totals: Totals
}

/// A catalog that cannot be read: what is wrong with it and where.
public struct CatalogError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

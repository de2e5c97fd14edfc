public import Model

/// Facts about an entry that its digest covers.
public struct EntryFlags: OptionSet, Sendable {
  public let rawValue: UInt8
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  static let hasAttributes = EntryFlags(rawValue: 1)
  /// The source file had several links; the entry carries its group.
  public static let hardLinked = EntryFlags(rawValue: 2)
  /// The directory could not be read completely.
  public static let incomplete = EntryFlags(rawValue: 4)
  /// A directory made by treering: the snapshot's root or a label. Its metadata mean nothing.
  public static let synthetic = EntryFlags(rawValue: 8)
  /// The digest of a regular file leaves whole MiBs of zeros out.
  static let sparseDigest = EntryFlags(rawValue: 16)
  /// The digest of a regular file is of the IDs of its chunks; only in a catalog that is made in memory.
  static let chunksDigest = EntryFlags(rawValue: 32)
  static let known: EntryFlags = [.hasAttributes, .hardLinked, .incomplete, .synthetic, .sparseDigest, .chunksDigest]
}

/// Facts about the reading and storing of an entry; its digest does not cover them.
public struct StorageFlags: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The ctime was so recent at the time of reading that a later change could leave the same ctime.
  public static let racy = StorageFlags(rawValue: 1)
  /// Only the catalog has the entry: the user who took the snapshot could not create it (a device node).
  public static let notStored = StorageFlags(rawValue: 2)
  /// The stored inode has another owner, and possibly lacks setuid and setgid.
  public static let ownerNotStored = StorageFlags(rawValue: 4)
  /// The stored inode lacks some extended attributes.
  public static let attributesNotStored = StorageFlags(rawValue: 8)
  /// The file changed during every attempt to read it; its content may mix two moments.
  public static let changedWhileRead = StorageFlags(rawValue: 16)
  /// The file system refused the missing part even to root; a retry is useless.
  public static let refusedToRoot = StorageFlags(rawValue: 32)
  /// The stored inode has another time: its file system keeps no fractions of a second, or no such year.
  public static let timeNotStored = StorageFlags(rawValue: 64)
  /// The stored inode has other permissions, because its file system does not keep them.
  public static let modeNotStored = StorageFlags(rawValue: 128)
}

/// Hints for the next run about one entry's inodes in the source and in the repository.
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

  /// True if the hints tell something of the source.
  public var knowSource: Bool { sourceInode != 0 }

  /// The part that concerns the source alone.
  public var ofSource: Hints {
    Hints(
      sourceInode: sourceInode, changed: changed, storedInode: 0,
      flags: flags.intersection([.racy, .changedWhileRead]))
  }

  public static let none = Hints(
    sourceInode: 0, changed: Timestamp(seconds: 0, nanoseconds: 0), storedInode: 0, flags: [])
}

/// The location of a directory's record: its frame's number and the offset in the frame's content.
public struct Place: Hashable, Sendable {
  public var frame, offset: UInt32
}

/// The totals of one subtree, its own directory included.
public struct Totals: Hashable, Sendable {
  public var entries: UInt64
  /// The sum of its regular files' logical sizes.
  public var bytes: UInt64

  public init(entries: UInt64 = 0, bytes: UInt64 = 0) { (self.entries, self.bytes) = (entries, bytes) }

  public static func += (a: inout Totals, b: Totals) {
    // A hostile catalog may claim anything, and a few sparse files span more than 2^64 bytes. A sum must not trap.
    a.entries = a.entries.addingSaturated(b.entries)
    a.bytes = a.bytes.addingSaturated(b.bytes)
  }
}

extension UInt64 {
  /// The sum, or the largest number if the sum overflows.
  func addingSaturated(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}

/// The parent's data about a finished directory record.
public struct Subtree: Sendable {
  public var digest: Digest
  public var place: Place
  public var totals: Totals
  /// Known for a subtree that was just written, and for the root of a catalog whose trailer has it.
  public var stored: StoredSums?
}

/// Sums over the stored inodes of one subtree. They tell what a comparison of two catalogs cannot see.
public struct StoredSums: Hashable, Sendable {
  /// The sum of `mixed(inode)` over all names of non-directories.
  ///
  /// Two catalogs of one repository that differ in some names differ in this sum by exactly these names. Another
  /// difference shows that a name has another inode although its row is the same.
  public var names: UInt64 = 0
  /// The space that the stored directories take, in blocks of 512 bytes.
  public var directoryBlocks: UInt64 = 0

  public init(names: UInt64 = 0, directoryBlocks: UInt64 = 0) {
    (self.names, self.directoryBlocks) = (names, directoryBlocks)
  }

  /// The finalizer of SplitMix64, which maps 0 to 0. Sums of its values collide by chance alone.
  @inline(__always)
  static func mixed(_ inode: UInt64) -> UInt64 {
    var x = inode
    x = (x ^ (x >> 30)) &* 0xbf58_476d_1ce4_e5b9
    x = (x ^ (x >> 27)) &* 0x94d0_49bb_1331_11eb
    return x ^ (x >> 31)
  }
}

/// An unreadable catalog; the description names the problem and its location.
public struct CatalogError: Error, Sendable, CustomStringConvertible {
  public var description: String
  public init(_ description: String) { self.description = description }
}

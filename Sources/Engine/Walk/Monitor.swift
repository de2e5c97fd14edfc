internal import Catalog
public import Synchronization

/// How the engine speaks to whoever runs it; called from any thread.
public protocol Monitor: AnyObject, Sendable {
  /// Something about one entry that the operator must know; the run goes on.
  func warn(_ warning: Warning)
  /// What the repository's file system cannot hold; no trouble, because the catalog has it.
  func note(_ shortcoming: String)
  /// True where the operator wants to know what is left out.
  var wantsExcluded: Bool { get }
  /// An entry was left out by a rule of the operator's.
  func excluded(_ path: [UInt8], _ rule: String)
}

extension Monitor {
  public func note(_ shortcoming: String) {}
  public var wantsExcluded: Bool { false }
  public func excluded(_ path: [UInt8], _ rule: String) {}
}

/// Trouble with one entry: counted, named, in the history and in the exit status.
public struct Warning: Sendable, CustomStringConvertible {
  /// The path the trouble is about, as the operator knows it.
  public var path: [UInt8]
  /// What failed and why, such as "cannot be read: Permission denied".
  public var message: String

  public init(path: [UInt8], message: String) {
    self.path = path
    self.message = message
  }

  /// The path, escaped, and the message.
  public var description: String { "\(displayName(path)): \(message)" }
}

/// What a run has done so far, and what it expects; read by a progress line while threads add to it.
public final class Progress: Sendable {
  /// Entries looked at, directories included.
  public let entries = Atomic<UInt64>(0)
  public let files = Atomic<UInt64>(0)
  public let directories = Atomic<UInt64>(0)
  /// Non-directories that became a further link of a stored inode.
  public let linked = Atomic<UInt64>(0)
  /// Of these, the ones that were found elsewhere by their inode: renamed, moved, or back.
  public let moved = Atomic<UInt64>(0)
  /// Stored inodes that could take no more links, and were stored once more.
  public let linkLimits = Atomic<UInt64>(0)
  /// New inodes that share the blocks of an older one (reflinks).
  public let cloned = Atomic<UInt64>(0)
  /// Non-directories that became a new inode.
  public let copied = Atomic<UInt64>(0)
  /// Bytes of regular files that were read.
  public let bytesRead = Atomic<UInt64>(0)
  /// Bytes of regular files that were written as new inodes.
  public let bytesCopied = Atomic<UInt64>(0)
  /// Names that vanished between the listing and the look.
  public let vanished = Atomic<UInt64>(0)
  public let warnings = Atomic<UInt64>(0)
  /// Entries whose owner, device node or attributes only the catalog has.
  public let catalogOnly = Atomic<UInt64>(0)
  /// Directories whose content was left out: the repository itself and pseudo file systems.
  public let skipped = Atomic<UInt64>(0)
  /// Entries, and contents of directories, that a rule of the operator's left out.
  public let excluded = Atomic<UInt64>(0)
  /// Existing entries that a restore left as they were.
  public let left = Atomic<UInt64>(0)
  /// The total of entries, as far as it can be known; 0 where it can't.
  public let expectedEntries = Atomic<UInt64>(0)
  /// True while all waits for the disk, and nothing else is counted.
  public let isSynchronizing = Atomic<Bool>(false)

  public init() {}

  /// Forgets what a run has counted that begins again.
  func restart() {
    entries.store(0, ordering: .relaxed)
    files.store(0, ordering: .relaxed)
    directories.store(0, ordering: .relaxed)
    linked.store(0, ordering: .relaxed)
    moved.store(0, ordering: .relaxed)
    linkLimits.store(0, ordering: .relaxed)
    cloned.store(0, ordering: .relaxed)
    copied.store(0, ordering: .relaxed)
    bytesRead.store(0, ordering: .relaxed)
    bytesCopied.store(0, ordering: .relaxed)
    vanished.store(0, ordering: .relaxed)
    warnings.store(0, ordering: .relaxed)
    catalogOnly.store(0, ordering: .relaxed)
    skipped.store(0, ordering: .relaxed)
    excluded.store(0, ordering: .relaxed)
  }
}

extension Atomic where Value == UInt64 {
  /// Counts; only read as a whole after the threads have ended, or by a progress line.
  func count(_ more: UInt64 = 1) {
    if more > 0 { _ = wrappingAdd(more, ordering: .relaxed) }
  }

  public var value: UInt64 { load(ordering: .relaxed) }
}

/// A path of a snapshot, label first, in the form that commands take: below the snapshot's own label it is the path
/// at the source; elsewhere it begins with its label.
public func sourcePath(_ path: [[UInt8]], label: [UInt8]) -> [UInt8] {
  path.count > 1 && path[0] == label ? joined(path.dropFirst(), absolute: true) : joined(path)
}

/// Components as one path, for people.
public func joined(_ path: some Sequence<[UInt8]>, absolute: Bool = false) -> [UInt8] {
  var bytes: [UInt8] = []
  for name in path {
    if absolute || !bytes.isEmpty, bytes.last != UInt8(ascii: "/") { bytes.append(UInt8(ascii: "/")) }
    bytes += name
  }
  return bytes.isEmpty ? [UInt8(ascii: absolute ? "/" : ".")] : bytes
}

internal import Model
public import Repository
public import Synchronization

/// Receives the engine's messages, from any thread.
public protocol Monitor: AnyObject, Sendable {
  /// Trouble with one entry that the operator must know about; the run goes on.
  func warn(_ warning: Warning)
  /// A property that the repository's file system cannot hold. The catalog has it, so this is no trouble.
  func note(_ shortcoming: String)
  /// True if the operator wants to know the excluded entries.
  var wantsExcluded: Bool { get }
  /// A rule of the operator excluded an entry.
  func excluded(_ path: [UInt8], by rule: String)
  /// True if the operator wants to know each change of a restore.
  var wantsChanges: Bool { get }
  func changed(_ change: RestoreChange)
}

extension Monitor {
  public func note(_ shortcoming: String) {}
  public var wantsExcluded: Bool { false }
  public func excluded(_ path: [UInt8], by rule: String) {}
  public var wantsChanges: Bool { false }
  public func changed(_ change: RestoreChange) {}
}

/// Ignores all messages.
final class SilentMonitor: Monitor {
  func warn(_ warning: Warning) {}
}

/// The counts of a run so far, and the expected total. A progress line reads them while threads add to them.
public final class Progress: Sendable {
  /// Visited entries, directories included.
  public let entries = Atomic<UInt64>(0)
  public let files = Atomic<UInt64>(0)
  public let directories = Atomic<UInt64>(0)
  /// Non-directories that became a further link of a stored inode.
  public let linked = Atomic<UInt64>(0)
  /// The part of `linked` that was found by inode: renamed, moved, or back.
  public let moved = Atomic<UInt64>(0)
  /// Stored inodes that reached the link limit and were stored once more.
  public let linkLimits = Atomic<UInt64>(0)
  /// New inodes that share the blocks of an older one (reflinks).
  public let cloned = Atomic<UInt64>(0)
  /// Non-directories that became a new inode.
  public let copied = Atomic<UInt64>(0)
  /// Bytes of regular files that were read.
  public let bytesRead = Atomic<UInt64>(0)
  /// Bytes of regular files that were written as new inodes.
  public let bytesCopied = Atomic<UInt64>(0)
  /// Names that vanished between the listing and the `stat`.
  public let vanished = Atomic<UInt64>(0)
  public let warnings = Atomic<UInt64>(0)
  /// Entries whose owner, device node or attributes only the catalog has.
  public let catalogOnly = Atomic<UInt64>(0)
  /// Directories whose content was left out: the repository itself and pseudo file systems.
  public let skipped = Atomic<UInt64>(0)
  /// Entries, and contents of directories, that a rule of the operator excluded.
  public let excluded = Atomic<UInt64>(0)
  /// Existing entries that a restore left as they were.
  public let left = Atomic<UInt64>(0)
  /// Newer entries that a restore left on request.
  public let newer = Atomic<UInt64>(0)
  /// The total number of entries, as far as it can be known; otherwise 0.
  public let expectedEntries = Atomic<UInt64>(0)
  /// The bytes that will have been read or written at the end; 0 if that cannot be known.
  public let expectedBytes = Atomic<UInt64>(0)
  /// True during the final synchronization to disk, when no other count changes.
  public let isSynchronizing = Atomic<Bool>(false)

  public init() {}

  /// Lowers the number of expected bytes.
  package func expectLess(bytes: UInt64) { expectedBytes.wrappingSubtract(bytes, ordering: .relaxed) }

  /// Resets the counts of a run that begins again.
  public func restart() {
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
  /// Adds to a counter. It is read as a whole only after the threads have ended, or by a progress line.
  package func count(_ more: UInt64 = 1) { if more > 0 { _ = wrappingAdd(more, ordering: .relaxed) } }

  public var value: UInt64 { load(ordering: .relaxed) }
}

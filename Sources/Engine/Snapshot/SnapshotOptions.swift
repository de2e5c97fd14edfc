public import Catalog
public import Model
public import Posix
public import Repository
internal import Synchronization

/// The test by which a source file counts as unchanged, so that it is not read.
public enum ChangeDetection: String, Sendable, CaseIterable {
  /// Inode, size, mtime and ctime are equal, and the ctime was not too recent to trust.
  case ctime
  /// Size, mode, owner and mtime of a regular file with one name are equal.
  ///
  /// This test is for file systems whose inode numbers or ctimes do not last.
  case mtime
  /// No test: every file is read and hashed.
  case content
}

/// The sources of a snapshot, and its settings.
public struct SnapshotOptions: Sendable {
  /// Absolute paths without `.`, `..` and empty components. The source of another label has its path from the
  /// snapshot's root instead, such as `databases/shop`.
  public var sources: [[UInt8]]
  /// The first directory inside the snapshot.
  public var label: [UInt8]
  public var threads: ThreadCount
  public var changeDetection: ChangeDetection
  public var guardLimits: GuardLimits
  /// The exclusion rules of every source that `excludesOfSource` does not name.
  public var excludes: Excludes
  /// Sources that also count as absent if their directory is empty, such as a removable disk.
  public var optionalSources: Set<[UInt8]> = []
  /// Sources whose absence is no warning.
  public var excusedSources: Set<[UInt8]> = []
  /// The exclusion rules of single sources, by the source's path.
  public var excludesOfSource: [[UInt8]: Excludes] = [:]
  /// The directories, by source, of sources that are read elsewhere than at their own path.
  public var origins: [[UInt8]: [UInt8]] = [:]
  /// Calls, by the directory of a source, after all of the directory was read. These directories are read first.
  public var onRead: [[UInt8]: @Sendable () -> Void] = [:]
  /// The sources whose directory in `origins` is in a frozen snapshot of their volume.
  public var frozen: [[UInt8]: FrozenSource] = [:]
  /// The sources that could not be frozen, and are left out, with the reason.
  public var unfrozen: [[UInt8]: String] = [:]
  /// The sources of other hosts.
  public var hosts: [[UInt8]: HostSource] = [:]
  private(set) var dumps: [[UInt8]: Dump] = [:]
  /// The databases that were to be dumped, for the catalog. Those without a source are left out.
  private(set) var databases: [DatabaseRecord] = []

  public init(
    sources: [[UInt8]], label: [UInt8] = Name.localhost.bytes, threads: ThreadCount,
    changeDetection: ChangeDetection = .ctime, guardLimits: GuardLimits = GuardLimits(),
    excludes: Excludes = Excludes()
  ) {
    self.sources = sources
    self.label = label
    self.threads = threads
    self.changeDetection = changeDetection
    self.guardLimits = guardLimits
    self.excludes = excludes
  }

  /// Adds a finished dump as a source.
  public mutating func add(_ dump: Dump) {
    let source = dump.record.source
    sources.append(source)
    origins[source] = dump.directory
    dumps[source] = dump
    databases.append(dump.record)
  }

  /// Adds a database that the snapshot must do without.
  public mutating func leaveOut(_ database: DatabaseRecord) { databases.append(database) }

  /// Makes the calls of `onRead` for a source, which cannot change any more.
  public mutating func noteFrozen(_ source: [UInt8]) {
    func isOfSource(_ directory: [UInt8]) -> Bool {
      let around = sources.filter { TreePath(parsing: directory).starts(with: TreePath(parsing: $0)) }
      return around.max { $0.count < $1.count } == source
    }
    for directory in onRead.keys.filter(isOfSource) { onRead.removeValue(forKey: directory)?() }
  }

  func place(of source: [UInt8]) -> TreePath {
    isOwn(source) ? label + TreePath(parsing: source) : TreePath(parsing: source)
  }

  /// The sources by their paths from the snapshot's root, each with the directory that it is read from.
  public var places: [(place: TreePath, directory: [UInt8])] { sources.map { (place(of: $0), origin(of: $0)) } }

  /// True if a source lies below the snapshot's own label.
  func isOwn(_ source: [UInt8]) -> Bool { source.first == slash }

  /// The sources of this machine, which lie in the directories of the same paths.
  public var localSources: [[UInt8]] { sources.filter(isOwn) }

  /// The fetched tree of a source of another host.
  func fetchedTree(of source: [UInt8]) -> FetchedTree? {
    if case .fetched(let tree)? = hosts[source] { tree } else { nil }
  }

  /// The unchanged source of another host.
  func keptSource(of source: [UInt8]) -> KeptSource? {
    if case .kept(let kept)? = hosts[source] { kept } else { nil }
  }

  /// The directory that a source is read from.
  func origin(of source: [UInt8]) -> [UInt8] { origins[source] ?? source }
}

/// A source that is read in a frozen snapshot of its volume.
public struct FrozenSource: Sendable {
  /// Every change that the frozen snapshot lacks sets a ctime from this moment on.
  public var moment: Timestamp
  /// The identity of the live file system, which the frozen snapshot has, too; `nil` for that of its directory.
  public var identity: FileSystemIdentity?
  /// The paths of other file systems below the source that cannot be shown in the frozen snapshot.
  public var lackingMounts: Set<[UInt8]> = []
  /// Throws if the frozen snapshot has not stayed whole until now.
  public var check: @Sendable () throws(Failure) -> Void

  public init(moment: Timestamp, identity: FileSystemIdentity?, check: @escaping @Sendable () throws(Failure) -> Void) {
    (self.moment, self.identity, self.check) = (moment, identity, check)
  }
}

/// The finished dump of a database, which becomes a source of a snapshot.
///
/// The snapshot takes the directory over: its entries get the repository's owner and the modes 0700 and 0600.
public final class Dump: Sendable {
  public let record: DatabaseRecord
  /// The absolute path of the directory.
  public let directory: [UInt8]
  /// True if nothing is published without the dump.
  public let isRequired: Bool
  /// True if a large file changes in parts, so that it can share blocks with the stored one of the same path.
  public let changesInPlace: Bool
  /// The inodes of files that an attempt of this run has linked into a tree. Only attempts that failed come back.
  let movedInodes = Mutex<Set<UInt64>>([])

  public init(
    of record: DatabaseRecord, in directory: [UInt8], isRequired: Bool = false, changesInPlace: Bool = false
  ) {
    self.changesInPlace = changesInPlace
    self.record = record
    self.directory = directory
    self.isRequired = isRequired
  }
}

/// A published snapshot, and the time that it took.
public struct SnapshotResult: Sendable {
  public var snapshot: Snapshot
  /// The snapshot whose unchanged files were linked.
  public var previous: SnapshotName?
  public var elapsedSeconds: Double
}

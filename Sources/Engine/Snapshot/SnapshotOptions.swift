public import Model
public import Repository

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
  /// Absolute paths without `.`, `..` and empty components.
  public var sources: [[UInt8]]
  /// The first directory inside the snapshot.
  public var label: [UInt8]
  public var threads: Int
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

  public init(
    sources: [[UInt8]], label: [UInt8] = Array("localhost".utf8), threads: Int,
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

  /// The path of a source from the snapshot's root.
  func place(of source: [UInt8]) -> [[UInt8]] { [label] + source.split(separator: slash).map(Array.init) }
}

/// A published snapshot, and the time that it took.
public struct SnapshotResult: Sendable {
  public var snapshot: Snapshot
  /// The snapshot whose unchanged files were linked.
  public var previous: SnapshotName?
  public var elapsedSeconds: Double
}

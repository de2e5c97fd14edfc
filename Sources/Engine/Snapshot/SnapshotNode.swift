internal import Catalog
internal import Posix
internal import Repository

/// A directory of the source on its way into a snapshot.
final class SnapshotNode: BuildNode, @unchecked Sendable {
  /// What leads to the sources at or below it; `nil` where there are none.
  let plan: PathPlan?
  /// True for a source and what is in it; a directory that only leads to a source has only planned children.
  var isListed: Bool
  /// True in a directory that was found elsewhere, and below it.
  var isMoved: Bool
  /// Of such a directory: the one that the snapshot its source is compared with has under the same path.
  var overlaid: Subtree?
  /// Of such a directory: the source that it was in, where that source's own snapshot has it.
  var origin: SourceTally?
  /// True in a source that the newest snapshot lacks, where an older one has it under the same path.
  var isOlder: Bool
  /// True for a source whose base is of another snapshot than that of the directory above it.
  var hasOwnBase = false
  /// What became of the source it belongs to; `nil` above the sources.
  var tally: SourceTally?
  /// Of the file system it is on.
  var identity: FileSystemIdentity
  /// True where the base's directory was provably on the same file system: only then can an equal inode number mean
  /// the same file.
  var hasSameInodes: Bool

  /// Open from `enter` to `leave`: children open their own relative to it.
  var source: Directory?
  /// `nil` for a synthetic directory.
  var sourceStatus: FileStatus?
  /// The repository or a pseudo file system: recorded as an empty directory.
  var isSkipped = false

  /// What is left out of the source it belongs to.
  var excludes: Excludes
  /// Its path relative to its source, where patterns need it.
  var patternPath: [UInt8] = []
  /// The only name that is kept, in a directory that is marked as one to leave out.
  var tag: (name: [UInt8], rule: String)?

  /// Where the snapshot that the source is compared with has this path.
  var counterpart: Subtree? { isMoved ? overlaid : base }

  var snapshotParent: SnapshotNode? {
    parent.map { unsafeDowncast($0, to: SnapshotNode.self) }
  }

  var snapshotChildren: [SnapshotNode] { children.map { unsafeDowncast($0, to: SnapshotNode.self) } }

  init(
    parent: SnapshotNode?, name: [UInt8], plan: PathPlan?, isListed: Bool? = nil, isSynthetic: Bool = false,
    base: Subtree?, tree: StoredTree?
  ) {
    self.plan = plan
    self.isListed = isListed ?? (!isSynthetic && plan?.isSource ?? true)
    isMoved = parent?.isMoved ?? false
    origin = parent?.origin
    isOlder = parent?.isOlder ?? false
    tally = parent?.tally
    excludes = parent?.excludes ?? Excludes()
    identity = parent?.identity ?? .unknown
    hasSameInodes = parent?.hasSameInodes ?? false
    super.init(parent: parent, name: name, isSynthetic: isSynthetic, base: base, tree: tree)
  }

  /// True for what the operator named.
  var isSource: Bool { plan?.isSource ?? false }

  /// Stands for the file system in the search for moved files.
  var fileSystem: FileSystemKey { identity.key }

  override var leadsToSource: Bool { plan != nil || super.leadsToSource }

  /// True where an equal ctime shows that nothing was changed. On a file system that may have no ctime of its own, one
  /// that equals the mtime shows nothing: the mtime can be set back.
  func trustsChangeTime(of status: FileStatus) -> Bool {
    identity.hasTrueChangeTimes || status.changed != status.modified
  }

  override func openBase() throws(Errno) -> Directory? {
    guard hasOwnBase else { return try super.openBase() }
    return try tree?.root?.directory(path: path)
  }

  override var metadata: Metadata { sourceStatus?.metadata ?? super.metadata }

  override var sourceHints: (inode: UInt64, changed: Timestamp) {
    (sourceStatus?.inode ?? 0, sourceStatus?.changed ?? metadata.modified)
  }
}

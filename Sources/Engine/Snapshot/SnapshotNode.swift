internal import Catalog
internal import Posix

/// A directory of the source that is being stored in a snapshot.
struct SnapshotDirectory: BuiltDirectory {
  var build: BuildState
  /// The plan of the sources at or below the directory; `nil` if there are none.
  let plan: PathPlan?
  /// True for a source and the directories in it.
  ///
  /// A directory that only leads to a source has only planned children.
  var isListed: Bool
  /// True in a directory that was found by its inode, and below it.
  var isMoved = false
  /// For a moved directory: the directory at its path in the snapshot that the source is compared with.
  var atSamePath: Subtree?
  /// For a moved directory: the source that it was in, if it was found in that source's own snapshot.
  var origin: SourceTally?
  /// True in a source whose base is in an older snapshot, because the newest lacks the source.
  var isOlder = false
  /// The changes of the source that holds the directory; `nil` above the sources.
  var tally: SourceTally?
  /// The dump that holds the directory; `nil` for every other source.
  var dump: DumpedTree?
  /// The files of a fetched source, which are stored in place; `nil` for every other source.
  var placed: PlacedFiles?
  /// True in a source that is as in its base, and is walked there.
  var isKept = false
  /// True in a dump if no other user can change the directory any more.
  var isTakenOver = false
  var identity = FileSystemIdentity.unknown
  /// True if the base's directory was provably on the same file system.
  ///
  /// Only then can an equal inode number mean the same file.
  var hasSameInodes = false

  /// Open from `enter` to `leave`: children are opened relative to it.
  var source: Directory?
  /// `nil` for a synthetic directory.
  var sourceStatus: FileStatus?
  /// True for the repository or a pseudo file system: it is recorded as an empty directory.
  var isSkipped = false

  /// The rules of the source that holds the directory.
  var excludes = Excludes()
  /// The path relative to the source, if patterns need it.
  var patternPath: [UInt8] = []
  /// The only name that is kept in a directory that a tag file excludes.
  var tag: (name: [UInt8], rule: String)?

  /// The directory at this path in the snapshot that the source is compared with.
  var comparedSubtree: Subtree? { isMoved ? atSamePath : build.base }

  init(
    below parent: SnapshotDirectory?, plan: PathPlan?, isListed: Bool? = nil, isSynthetic: Bool = false,
    base: Subtree?, tree: StoredTree?
  ) {
    build = BuildState(isSynthetic: isSynthetic, leadsToSource: parent == nil || plan != nil, base: base, tree: tree)
    self.plan = plan
    self.isListed = isListed ?? (!isSynthetic && plan?.isSource ?? true)
    guard let parent else { return }
    build.showsLabel = parent.build.showsLabel
    (isMoved, origin, isOlder, tally, dump) = (parent.isMoved, parent.origin, parent.isOlder, parent.tally, parent.dump)
    (placed, isKept) = (parent.placed, parent.isKept)
    (excludes, identity, hasSameInodes) = (parent.excludes, parent.identity, parent.hasSameInodes)
  }

  /// True if the content is neither copied nor searched by inode.
  var isStaged: Bool { dump != nil || placed != nil || isKept }

  /// True for a directory that the operator named.
  var isSource: Bool { plan?.isSource ?? false }

  /// The file system's key in the search for moved files.
  var fileSystem: FileSystemKey { identity.key }
}

extension FileSystemIdentity {
  /// True for a file system whose files the kernel invents; the numbers are from `linux/magic.h`.
  var isKernelView: Bool {
    let magics: Set<Int64> = [
      0x9fa0,  // proc
      0x6265_6572,  // sysfs
      0x1cd1,  // devpts
      0x6462_6720,  // debugfs
      0x7472_6163,  // tracefs
      0x7363_6673,  // securityfs
      0x0027_e0eb, 0x6367_7270,  // cgroup, cgroup2
      0xcafe_4a11,  // bpf
      0x6265_6570,  // configfs
      0x6165_676c,  // pstore
      0xde5e_81e4,  // efivarfs
      0x1980_0202,  // mqueue
      0x4249_4e4d,  // binfmt_misc
      0x6573_5543,  // fusectl
      0xf97c_ff8c,  // selinuxfs
      0x6e73_6673,  // nsfs
      0x6759_6969,  // rpc_pipefs
    ]
    return magics.contains(type)
  }

  /// True if an equal ctime shows that nothing changed.
  ///
  /// A file system may have no true ctime. A ctime equal to the mtime then shows nothing: the mtime can be set back.
  func trustsChangeTime(of status: FileStatus) -> Bool { hasTrueChangeTimes || status.changed != status.modified }
}

typealias SnapshotNode = WalkNode<SnapshotDirectory>

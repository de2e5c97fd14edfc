internal import Catalog
internal import Posix
internal import Repository

/// A directory of the source on its way into a snapshot.
final class SnapshotNode: WalkNode, @unchecked Sendable {
  /// What leads to the sources at or below it; `nil` where there are none.
  let plan: PathPlan?
  /// True for a source and what is in it; a directory that only leads to a source has only planned children.
  var isListed: Bool
  /// True for the directories that treering itself makes: the snapshot's and the label's.
  let isSynthetic: Bool
  /// Where a catalog has this directory: the previous one under the same path, or that of `tree` elsewhere.
  var base: Subtree?
  /// Whose catalog that is.
  var tree: StoredTree?
  /// True in a directory that was found elsewhere, and below it.
  var isMoved: Bool
  /// What became of the source it belongs to; `nil` above the sources.
  var tally: SourceTally?
  /// Of the file system it is on.
  var fileSystem: FileSystemKey

  // Open from `enter` to `leave`: children open their own relative to these.
  var source: Directory?
  var baseTree: Directory?
  var target: Directory?
  /// True where the spare has this directory, so that what is in it may serve.
  var isRecycled = false
  /// The names that the spare has in it; only while the directory is being merged.
  var recycled: RecycledDirectory?
  /// `nil` for a synthetic directory.
  var sourceStatus: FileStatus?
  var targetStatus: FileStatus?
  /// The repository or a pseudo file system: recorded as an empty directory.
  var isSkipped = false

  /// What is left out of the source it belongs to.
  var excludes: Excludes
  /// Its path relative to its source, where patterns need it.
  var patternPath: [UInt8] = []
  /// The only name that is kept, in a directory that is marked as one to leave out.
  var tag: (name: [UInt8], rule: String)?

  // What `leave` needs to close the record.
  var encoder: RecordEncoder?
  var attributes = AttributeBlock.empty
  var hintFlags: StorageFlags = []
  var children: [SnapshotNode] = []
  /// Set by `leave`; `nil` where the directory vanished.
  var result: Subtree?

  var snapshotParent: SnapshotNode? {
    parent.map { unsafeDowncast($0, to: SnapshotNode.self) }
  }

  init(
    parent: SnapshotNode?, name: [UInt8], plan: PathPlan?, isListed: Bool? = nil, isSynthetic: Bool = false,
    base: Subtree?, tree: StoredTree?
  ) {
    self.plan = plan
    self.isListed = isListed ?? (!isSynthetic && plan?.isSource ?? true)
    self.isSynthetic = isSynthetic
    self.base = base
    self.tree = base == nil ? nil : tree
    isMoved = parent?.isMoved ?? false
    tally = parent?.tally
    excludes = parent?.excludes ?? Excludes()
    fileSystem = parent?.fileSystem ?? .unknown
    super.init(parent: parent, name: name)
  }

  /// True where the name that is worked on has this inode of the repository already.
  func keeps(_ inode: UInt64) -> Bool { recycled?.keeps(inode) ?? false }

  /// Makes the name that is worked on free for something new.
  func makeRoom() throws(Failure) {
    guard let recycled else { return }
    do {
      try recycled.clear()
      try recycled.open()
    } catch { throw .writing("clear a name of the recycled directory", sourcePath, error) }
  }

  /// Lets go of everything below: parents and children hold each other until they are left, and a walk
  /// that failed leaves none.
  func release() {
    var nodes = [self]
    while let node = nodes.popLast() {
      nodes += node.children
      node.children = []
    }
  }

  /// True for what the operator named.
  var isSource: Bool { plan?.isSource ?? false }

  var metadata: Metadata {
    sourceStatus?.metadata
      ?? Metadata(
        permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  }

  /// The path of an entry as the operator knows it: without the snapshot's label.
  func sourcePath(of entry: some Sequence<UInt8>) -> [UInt8] {
    joined(path.dropFirst() + [Array(entry)], absolute: true)
  }

  var sourcePath: [UInt8] { joined(path.dropFirst(), absolute: true) }
}

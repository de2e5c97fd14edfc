internal import Catalog
internal import Posix

/// A directory of the source on its way into a snapshot.
final class SnapshotNode: WalkNode, @unchecked Sendable {
  /// What is above and at the sources; `nil` inside a source.
  let plan: PathPlan?
  /// True for the directories that treering itself makes: the snapshot's and the label's.
  let isSynthetic: Bool
  /// Where the previous catalog has this directory.
  let base: Subtree?

  // Open from `enter` to `leave`: children open their own relative to these.
  var source: Directory?
  var baseTree: Directory?
  var target: Directory?
  /// `nil` for a synthetic directory.
  var sourceStatus: FileStatus?
  var targetStatus: FileStatus?
  /// The repository or a pseudo file system: recorded as an empty directory.
  var isSkipped = false

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
    parent: SnapshotNode?, name: [UInt8], plan: PathPlan?, isSynthetic: Bool = false,
    base: Subtree?
  ) {
    self.plan = plan
    self.isSynthetic = isSynthetic
    self.base = base
    super.init(parent: parent, name: name)
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

  /// True for a source and everything below it; the directories above have only planned children.
  var isListed: Bool { !isSynthetic && plan.map { $0.isSource } ?? true }

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

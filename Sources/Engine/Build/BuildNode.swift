internal import Catalog
internal import Posix
internal import Repository

/// A directory on its way into a snapshot, wherever it comes from.
class BuildNode: WalkNode, @unchecked Sendable {
  /// True for the directories that treering itself makes: the snapshot's and the label's.
  var isSynthetic: Bool
  /// Where a catalog has this directory: the base's under the same path, or that of `tree` elsewhere.
  var base: Subtree?
  /// Whose catalog that is.
  var tree: StoredTree?

  // Open until it is left: children open their own relative to these.
  var baseTree: Directory?
  var target: Directory?
  var targetStatus: FileStatus?
  /// True where the spare has this directory, so that what is in it may serve.
  var isRecycled = false
  /// The names that the spare has in it; only while the directory is being merged.
  var recycled: RecycledDirectory?

  // What closing the record needs.
  var encoder: RecordEncoder?
  var attributes = AttributeBlock.empty
  var hintFlags: StorageFlags = []
  var children: [BuildNode] = []
  /// Set when it is left; `nil` where the directory is not in the snapshot after all.
  var result: Subtree?

  var buildParent: BuildNode? { parent.map { unsafeDowncast($0, to: BuildNode.self) } }

  init(parent: BuildNode?, name: [UInt8], isSynthetic: Bool, base: Subtree?, tree: StoredTree?) {
    self.isSynthetic = isSynthetic
    self.base = base
    self.tree = base == nil ? nil : tree
    super.init(parent: parent, name: name)
  }

  /// What it will have, but for its attributes.
  var metadata: Metadata {
    Metadata(permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  }

  /// Opens the stored directory that its entries can be linked from; `nil` where there is none.
  func openBase() throws(Errno) -> Directory? {
    guard base != nil else { return nil }
    guard let buildParent else { return tree?.root }
    guard let above = buildParent.baseTree else { return nil }
    let name = name
    return try above.directory(name.span)
  }

  /// Its inode at the source, and when that changed, for the next run.
  var sourceHints: (inode: UInt64, changed: Timestamp) { (0, metadata.modified) }

  /// True where the name that is worked on has this inode of the repository already.
  func keeps(_ inode: UInt64) -> Bool { recycled?.keeps(inode) ?? false }

  /// Makes the name that is worked on free for something new.
  func makeRoom() throws(SpareUnusable) {
    try changingSpare { recycled throws(Errno) in
      try recycled.clear()
      try recycled.open()
    }
  }

  /// Comes to the next name in the recycled directory.
  func comeToSpare(_ name: Span<UInt8>) throws(SpareUnusable) {
    guard let recycled else { return }
    do throws(Errno) { try recycled.come(to: name) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// Changes the names of the recycled directory, if there is one.
  func changingSpare(_ body: (RecycledDirectory) throws(Errno) -> Void) throws(SpareUnusable) {
    guard let recycled else { return }
    do throws(Errno) { try body(recycled) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// True for a directory without which the snapshot would lack a whole source.
  var leadsToSource: Bool { parent == nil }

  /// Lets go of everything below: parents and children hold each other until they are left, and a walk
  /// that failed leaves none.
  func release() {
    var nodes = [self]
    while let node = nodes.popLast() {
      nodes += node.children
      node.children = []
    }
  }

  /// The path of an entry as the operator knows it: without the snapshot's label.
  func sourcePath(of entry: some Sequence<UInt8>) -> [UInt8] {
    joined(path.dropFirst() + [Array(entry)], absolute: true)
  }

  var sourcePath: [UInt8] { joined(path.dropFirst(), absolute: true) }
}

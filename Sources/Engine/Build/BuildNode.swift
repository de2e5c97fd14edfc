internal import Catalog
internal import Posix
internal import Repository

/// A directory that is being built into a snapshot, from any origin.
class BuildNode: WalkNode, @unchecked Sendable {
  /// True for the directories that treering itself makes: the root and the label of the snapshot.
  var isSynthetic: Bool
  /// The catalog's entry of this directory: the base's at the same path, or that of `tree` at another path.
  var base: Subtree?
  /// The tree that the catalog describes.
  var tree: StoredTree?

  // Open until the directory is left: its children are opened relative to these.
  var baseTree: Directory?
  var target: Directory?
  var targetStatus: FileStatus?
  /// True if the spare has this directory, so that its entries may be reused.
  var isRecycled = false
  /// The spare's names in the directory; set only while the directory is merged.
  var recycled: RecycledDirectory?

  // Needed to close the record.
  var encoder: RecordEncoder?
  var attributes = AttributeBlock.empty
  var hintFlags: StorageFlags = []
  var children: [BuildNode] = []
  /// Set when the directory is left; `nil` if it is not in the snapshot after all.
  var result: Subtree?

  var buildParent: BuildNode? { parent.map { unsafeDowncast($0, to: BuildNode.self) } }

  init(parent: BuildNode?, name: [UInt8], isSynthetic: Bool, base: Subtree?, tree: StoredTree?) {
    self.isSynthetic = isSynthetic
    self.base = base
    self.tree = base == nil ? nil : tree
    super.init(parent: parent, name: name)
  }

  /// The final metadata of the directory, without its attributes.
  var metadata: Metadata {
    Metadata(permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  }

  /// Opens the stored directory whose entries can be linked; `nil` if there is none.
  func openBase() throws(Errno) -> Directory? {
    guard base != nil else { return nil }
    guard let buildParent else { return tree?.root }
    guard let above = buildParent.baseTree else { return nil }
    let name = name
    return try above.directory(name.span)
  }

  /// The directory's inode at the source, and the time of its last change, for the next run.
  var sourceHints: (inode: UInt64, changed: Timestamp) { (0, metadata.modified) }

  /// True if the current name already has this inode of the repository.
  func keeps(_ inode: UInt64) -> Bool { recycled?.keeps(inode) ?? false }

  /// Frees the current name for a new entry.
  func makeRoom() throws(SpareUnusable) {
    try changingSpare { recycled throws(Errno) in
      try recycled.clear()
      try recycled.open()
    }
  }

  /// Advances to a name in the recycled directory.
  func comeToSpare(_ name: Span<UInt8>) throws(SpareUnusable) {
    guard let recycled else { return }
    do throws(Errno) { try recycled.come(to: name) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// Changes the names of the recycled directory, if there is one.
  func changingSpare(_ body: (RecycledDirectory) throws(Errno) -> Void) throws(SpareUnusable) {
    guard let recycled else { return }
    do throws(Errno) { try body(recycled) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// True if the snapshot would lack a whole source without this directory.
  var leadsToSource: Bool { parent == nil }

  /// Releases all nodes below this one.
  ///
  /// Parents and children hold each other until they are left, and a failed walk does not leave them.
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

internal import Catalog
internal import Model
internal import Posix

/// The state of a directory that is being built into a snapshot, from any origin.
struct BuildState {
  /// True for the directories that treering itself makes: the root and the label of the snapshot.
  var isSynthetic: Bool
  /// True below another label than the snapshot's own: messages then name the label.
  var showsLabel = false
  /// True if the snapshot would lack a whole source without this directory.
  var leadsToSource: Bool
  /// The catalog's entry of this directory: the base's at the same path, or that of `tree` at another path.
  var base: Subtree?
  /// The tree that the catalog describes.
  var tree: StoredTree?
  /// The directory's path in `tree`, if the base of the directory above does not lead to it.
  var basePath: TreePath?

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
  /// The final metadata of the directory, without its attributes.
  var metadata = Metadata(permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  var attributes = AttributeBlock.empty
  /// The directory's inode at the source, and the time of its last change, for the next run.
  var hints = Hints.none
  /// Set when the directory is left; `nil` if it is not in the snapshot after all.
  var result: Subtree?

  init(isSynthetic: Bool = false, leadsToSource: Bool, base: Subtree?, tree: StoredTree?, basePath: TreePath? = nil) {
    (self.isSynthetic, self.leadsToSource, self.base) = (isSynthetic, leadsToSource, base)
    self.tree = base == nil ? nil : tree
    self.basePath = basePath
  }
}

/// The state of a directory in a walk that builds a snapshot.
protocol BuiltDirectory {
  var build: BuildState { get set }
}

extension WalkNode where State: BuiltDirectory {
  /// Opens the stored directory whose entries can be linked; `nil` if there is none.
  func openBase() throws(Errno) -> Directory? {
    if let path = self.build.basePath { return try self.build.tree?.root?.directory(path: path) }
    guard self.build.base != nil else { return nil }
    guard let parent else { return self.build.tree?.root }
    let name = name
    return try parent.build.baseTree?.directory(name.span)
  }

  /// Closes the directory's record; its children are closed.
  func closeRecord(into writer: FrameWriter, with hasher: SHA256) throws {
    guard let encoder = self.build.encoder else { return }
    self.build.encoder = nil
    for child in children {
      let name = child.name
      if let subtree = child.build.result { encoder.append(name.span, subtree) }
    }
    var hints = self.build.hints
    hints.storedInode = self.build.targetStatus?.inode ?? 0
    self.build.result = try encoder.finish(
      hints, blocks: self.build.targetStatus?.blocks ?? 0, into: writer, hasher: hasher)
  }

  /// True if the current name already has this inode of the repository.
  func keeps(inode: UInt64) -> Bool { self.build.recycled?.keeps(inode: inode) ?? false }

  /// Frees the current name for a new entry.
  func makeRoom() throws(SpareUnusable) {
    try changingSpare { recycled throws(Errno) in
      try recycled.clear()
      try recycled.open()
    }
  }

  /// Advances to a name in the recycled directory.
  func advanceSpare(to name: Span<UInt8>) throws(SpareUnusable) {
    guard let recycled = self.build.recycled else { return }
    do throws(Errno) { try recycled.advance(to: name) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// True if the spare has a directory of this name; the directory stays.
  func keepsDirectory(named name: Span<UInt8>) throws(SpareUnusable) -> Bool {
    try advanceSpare(to: name)
    return self.build.recycled?.keepsDirectory() ?? false
  }

  /// Removes the names that the merge did not reach, and prepares the directory for new sub-directories.
  func finishRecycling() throws(SpareUnusable) {
    try changingSpare { recycled throws(Errno) in
      try recycled.finish()
      if children.contains(where: { !$0.build.isRecycled }) { try recycled.open() }
    }
    self.build.recycled = nil
  }

  /// Changes the names of the recycled directory, if there is one.
  func changingSpare(body: (RecycledDirectory) throws(Errno) -> Void) throws(SpareUnusable) {
    guard let recycled = self.build.recycled else { return }
    do throws(Errno) { try body(recycled) } catch { throw SpareUnusable(path: sourcePath, reason: error) }
  }

  /// The path of an entry as the operator knows it: without the snapshot's own label.
  func sourcePath(of entry: some Sequence<UInt8>) -> [UInt8] { shown(path + Array(entry)) }

  var sourcePath: [UInt8] { shown(path) }

  private func shown(_ path: TreePath) -> [UInt8] { self.build.showsLabel ? path.relative : path.dropFirst().absolute }
}

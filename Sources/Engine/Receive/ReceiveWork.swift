internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// One thread's tools.
final class ReceiveWorker {
  let tools: BuildTools
  let base: CatalogReader?
  /// The directory of the base that was searched last, opened.
  fileprivate var baseFolder: (path: TreePath, directory: Directory?)?
  /// The directories of the new snapshot that were searched last.
  fileprivate var wantedPaths = PathCache<WantedLevel> { $0.index.byteCount + ($0.base?.byteCount ?? 0) }

  init(base: CatalogReader?, tools: BuildTools) { (self.base, self.tools) = (base, tools) }
}

/// A directory of the new snapshot on the path of a search, and the base's directory there.
private struct WantedLevel {
  let index: RecordIndex
  let base: RecordIndex?
}

/// An inode with several names in the snapshot.
///
/// Names that differ in any other value are not names of one inode, even if the client says so.
struct ReceivedInode: Hashable, Sendable {
  var group: UInt64
  var digest: ContentDigest
  var kind: EntryKind
  var size: UInt64
  var metadata: Metadata
  /// The target of a symbolic link, and the attributes.
  var rest: [UInt8]
}

/// The work of receiving a snapshot: in each directory, the merge of the wanted names with the base's.
///
/// Each name gets a link, a received content or a copy.
final class ReceiveWork: TreeWork {
  typealias State = ReceiveDirectory

  let builder: SnapshotBuilder
  var context: BuildContext { builder.context }
  let wanted: any WantedTree
  let root: Digest
  /// The tree whose entries may be linked.
  let baseTree: StoredTree?
  /// The only path that the snapshot may have; `nil` if it may have any.
  let onlyPath: TreePath?
  let links = HardLinks<ReceivedInode, StorageFlags>()
  /// The stored inodes that were linked under another path than the base's. None may stand for two inodes.
  private let claims = Mutex<Set<UInt64>>([])
  /// The contents that were put in their place. A later use gets a copy.
  private let placed = Mutex<Set<UInt64>>([])
  /// The announced entries that have not come yet, and the announced directories that have not been made yet.
  private let entriesLeft: Mutex<UInt64>
  private let directoriesLeft: Mutex<UInt64>
  /// The greatest depth of a received path.
  private static let depthLimit = 4096

  init(_ wanted: any WantedTree, sent: CatalogSummary, base: StoredTree?, into builder: SnapshotBuilder) {
    (self.builder, self.wanted) = (builder, wanted)
    root = sent.root.digest
    entriesLeft = Mutex(sent.root.totals.entries)
    directoriesLeft = Mutex(sent.directories)
    baseTree = base
    onlyPath = builder.context.repository.onlyPath
  }

  func makeWorker() throws -> ReceiveWorker {
    ReceiveWorker(
      base: baseTree.map { CatalogReader(reading: $0.catalog) },
      tools: BuildTools(
        writer: FrameWriter(sink: builder.pending.sink), reader: FileReader(for: .storing, counting: context.progress))
    )
  }

  func finish(with worker: ReceiveWorker) throws { try worker.tools.writer.flush() }

  func rootNode() throws -> ReceiveNode {
    let base = baseTree?.catalog.summary.root
    let node = WalkNode(ReceiveDirectory(below: nil, digest: root, base: base, tree: baseTree))
    node.build.showsLabel = onlyPath != nil
    return node
  }

  /// Throws if a directory above the only path has anything but the next directory on it.
  private func checkPath(of node: ReceiveNode, record: DirectoryRecord) throws {
    guard let onlyPath, node.depth < onlyPath.count else { return }
    let rows = try record.directories()
    guard record.fileCount == 0, rows.count == 1, Array(record.bytes[rows[0].name]) == onlyPath[node.depth] else {
      throw Failure(.refused, "the snapshot has more in it than \(displayName(onlyPath.relative))")
    }
  }

  /// Throws if more entries come than were announced: one record may stand for any number of directories.
  func takeAnnounced(entries: Int) throws { try take(count: UInt64(entries), from: entriesLeft) }

  private func take(count: UInt64, from left: borrowing Mutex<UInt64>) throws {
    let isRight = left.withLock { left in
      guard count <= left else { return false }
      left -= count
      return true
    }
    guard isRight else { throw Failure(.refused, "the snapshot has more in it than was announced") }
  }

  /// True for the first caller with this inode.
  func claim(inode: UInt64) -> Bool { claims.withLock { $0.insert(inode).inserted } }

  func isFirst(toPlace digest: ContentDigest) -> Bool { placed.withLock { $0.insert(digest.prefix).inserted } }

  // MARK: Entering a directory

  func enter(_ node: ReceiveNode, with worker: ReceiveWorker) throws -> [ReceiveNode] {
    if node.parent == nil { try takeAnnounced(entries: 1) }
    try take(count: 1, from: directoriesLeft)
    guard node.depth <= Self.depthLimit
    else { throw Failure(.refused, "the snapshot has directories that are more than \(Self.depthLimit) deep") }
    let record = try wantedRecord(of: node, with: worker)
    try checkPath(of: node, record: record)
    node.record = record
    node.build.isSynthetic = record.isSynthetic
    node.build.metadata = record.metadata
    node.build.hints.changed = record.metadata.modified
    if record.hints.knowSource { node.build.hints = record.hints.ofSource }
    node.build.attributes = record.attributes
    guard try builder.open(node) else {
      throw Failure(
        .failed, "\(displayName(node.sourcePath)) cannot be stored in this repository", path: node.sourcePath)
    }
    context.progress.entries.count()
    context.progress.directories.count()
    let encoder = worker.tools.takeEncoder()
    node.build.encoder = encoder
    encoder.begin(with: record.metadata, flags: record.flags, attributes: node.build.attributes)
    let base = try baseRecord(of: node, with: worker)
    let merge = try ReceiveMerge(in: self, node: node, record: record, base: base, encoder: encoder, with: worker)
    let rows = try merge.run()
    try node.finishRecycling()
    try addChildren(rows, of: record, to: node, with: worker)
    return node.children
  }

  /// The record of the directory in the new snapshot: the base's record if the digests are equal.
  private func wantedRecord(of node: ReceiveNode, with worker: ReceiveWorker) throws -> DirectoryRecord {
    if let base = node.build.base, base.digest == node.digest, let reader = worker.base,
      let record = try? reader.record(at: base.place, for: base.digest)
    {
      return record
    }
    return try wanted.record(for: node.digest) ?? wanted.fetchRecord(node.digest, at: node.path)
  }

  private func baseRecord(of node: ReceiveNode, with worker: ReceiveWorker) throws -> DirectoryRecord? {
    guard let base = node.build.base else { return nil }
    if base.digest == node.digest, let record = node.record, record.hints.storedInode != 0 { return record }
    // Without the record, files are searched one by one and requested.
    return try? worker.base?.record(at: base.place, for: base.digest)
  }

  private func addChildren(
    _ rows: [(row: DirectoryRow, base: DirectoryRow?, isRecycled: Bool)], of record: DirectoryRecord,
    to node: ReceiveNode, with worker: ReceiveWorker
  ) throws {
    for (row, base, isRecycled) in rows {
      let name = Array(record.bytes[row.name])
      let same = base.map { Subtree($0) }
      var basePath: TreePath?
      var subtree = same
      if same?.digest != row.digest, let path = try wanted.basePath(of: row.digest),
        case .directory(_, let found)? = try? worker.base?.find(path)
      {
        basePath = path
        subtree = found
      }
      let child = ReceiveNode(
        parent: node, name: name,
        ReceiveDirectory(below: node.state, digest: row.digest, base: subtree, tree: baseTree, basePath: basePath))
      child.build.isRecycled = isRecycled
      node.children.append(child)
    }
  }

  // MARK: Other paths of the new snapshot

  /// A directory of the new snapshot; `nil` if no record of it came.
  private func wantedLevel(of digest: Digest, base: Subtree?, with worker: ReceiveWorker) throws -> WantedLevel? {
    let before = base.flatMap { base in
      (try? worker.base?.record(at: base.place, for: base.digest)).map { RecordIndex(of: $0) }
    }
    if let before, base?.digest == digest { return WantedLevel(index: before, base: before) }
    if let sent = try wanted.record(for: digest) { return WantedLevel(index: RecordIndex(of: sent), base: before) }
    guard let path = try wanted.basePath(of: digest), case .directory(let there, _)? = try worker.base?.find(path)
    else { return nil }
    let index = RecordIndex(of: there)
    return WantedLevel(index: index, base: index)
  }

  /// True if the new snapshot has exactly this entry at a path, which then needs the base's inode.
  ///
  /// False for a name with the same `linkGroup`, which shares the inode.
  func isFile(
    at path: TreePath, row: FileRow, of record: DirectoryRecord, linkGroup: UInt64?, with worker: ReceiveWorker
  ) throws -> Bool {
    guard let name = path.last else { return false }
    let folder = path.dropLast()
    let (level, depth) = try worker.wantedPaths.descend(folder) { () throws in
      guard let level = try wantedLevel(of: root, base: baseTree?.catalog.summary.root, with: worker)
      else { throw Failure(.refused, "the record of the snapshot's root did not come") }
      return level
    } _: { above, name in
      guard let row = try above.index.directory(named: name.span) else { return nil }
      return try wantedLevel(
        of: row.digest, base: try above.base?.directory(named: name.span).map { Subtree($0) }, with: worker)
    }
    guard depth == folder.count, let there = try level.index.file(named: name.span) else { return false }
    if let linkGroup, there.linkGroup == linkGroup { return false }
    return record.hasSameContent(row, as: there, of: level.index.record)
      || there.digest == row.digest && there.metadata == row.metadata
  }

  /// The base's file at a path; `nil` if there is none.
  func storedFile(at path: TreePath, with worker: ReceiveWorker) -> StoredFile? {
    guard let baseTree, case .file(let row, let record)? = try? worker.base?.find(path) else { return nil }
    let folder = path.dropLast()
    if worker.baseFolder?.path != folder { worker.baseFolder = (folder, try? baseTree.root?.directory(path: folder)) }
    return StoredFile(
      row: row, record: record, directory: worker.baseFolder?.directory, tree: baseTree, isFoundByInode: true)
  }

  // MARK: Leaving a directory

  func leave(_ node: ReceiveNode, with worker: ReceiveWorker) throws {
    if let encoder = node.build.encoder {
      try builder.complete(node, with: worker.tools)
      worker.tools.giveBack(encoder)
    }
    guard node.build.result?.digest == node.digest else {
      throw Failure(
        .failed, "what was built of \(displayName(node.sourcePath)) is not what was sent", path: node.sourcePath)
    }
    node.build.baseTree = nil
    node.build.target = nil
    node.children = []
    node.record = nil
  }
}

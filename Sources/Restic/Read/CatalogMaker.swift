internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A directory on its way from a tree blob into a catalog.
struct CataloguedDirectory {
  let tree: Digest
  let metadata: Metadata
  let attributes: AttributeBlock
  /// True for a directory above the sources: treering took no metadata of it.
  let isSynthetic: Bool
  /// True for the tree's root and for the label of the host, whose content the tree's root has.
  var isLabel = false
  var files: [TreeNode] = []
  var subtree: Subtree?
}

/// Makes the catalog of a snapshot in memory from its trees.
final class CatalogMaker: TreeWork {
  typealias State = CataloguedDirectory

  final class Worker {
    fileprivate let blobs: BlobReader
    fileprivate let frames: FrameWriter
    fileprivate let encoder = RecordEncoder()
    fileprivate let hasher = SHA256()
    fileprivate var files: UInt64 = 0
    fileprivate var directories: UInt64 = 0

    fileprivate init(_ maker: CatalogMaker) {
      blobs = BlobReader(maker.restic, index: maker.index)
      frames = FrameWriter(sink: maker.target.sink)
    }
  }

  private let listed: ResticStore.ListedFile
  private let restic: ResticRepository
  private let index: BlobIndex
  private let target: TemporaryCatalog
  private let sources: [TreePath]
  private let otherLabels: Set<[UInt8]>
  /// The paths that are wanted, without a label; none for everything.
  private let places: [TreePath]
  private let totals = Mutex<(files: UInt64, directories: UInt64)>((0, 0))
  /// The number of directories that were read, which bounds trees that name each other again and again.
  private let directoryCount = Atomic<Int>(0)
  private static let mostDirectories = 1 << 28
  private static let mostLevels = 4096

  init(
    of listed: ResticStore.ListedFile, under places: [TreePath], in restic: ResticRepository, index: BlobIndex
  ) throws(Failure) {
    (self.listed, self.places, self.restic, self.index) = (listed, places, restic, index)
    sources = listed.snapshot.summary.placesOfSources
    otherLabels = listed.file.otherLabels
    do { target = try TemporaryCatalog() } catch {
      throw Failure(.failed, "cannot make a catalog in memory: \(error)")
    }
  }

  func run() throws -> OpenCatalog {
    let node = Node(Self.label(of: listed.file.tree))
    do { try walkTree(self, from: node, threads: ThreadCount(processorCount())) } catch {
      node.release()
      throw error
    }
    var summary = listed.snapshot.summary
    summary.root = node.subtree!
    (summary.files, summary.directories) = totals.withLock { $0 }
    return try target.finish(summary, with: FrameWriter(sink: target.sink), mayHaveChunks: true)
  }

  private static func label(of tree: Digest) -> CataloguedDirectory {
    var directory = CataloguedDirectory(tree: tree, metadata: synthetic, attributes: .empty, isSynthetic: true)
    directory.isLabel = true
    return directory
  }

  private static let synthetic = Metadata(
    permissions: 0o755, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))

  func makeWorker() -> Worker { Worker(self) }

  func finish(with worker: Worker) throws {
    try worker.frames.flush()
    totals.withLock {
      $0.files += worker.files
      $0.directories += worker.directories
    }
  }

  func enter(_ node: Node, with worker: Worker) throws -> [Node] {
    let path = node.path
    guard path.count < Self.mostLevels,
      directoryCount.wrappingAdd(1, ordering: .relaxed).newValue < Self.mostDirectories
    else { throw Failure(.damaged, "the trees of \(restic.displayName) name each other without end") }
    let nodes: [TreeNode]
    do {
      nodes = try TreeReader.nodes(in: try worker.blobs.read(BlobName(.tree, node.tree)))
    } catch let error as ResticError {
      throw Failure(.damaged, "the tree \(node.tree) of \(restic.displayName) is damaged: \(error)")
    }
    // The walk's root is the snapshot's root. The content of the tree's root is one level below, in the label.
    if node.parent == nil {
      let own = Node(parent: node, name: listed.snapshot.summary.label, Self.label(of: node.tree))
      let others = nodes.filter { otherLabels.contains($0.name) && $0.kind == .directory }
      node.children = [own] + others.map { child(of: node, $0, isSynthetic: true) }
      return node.children
    }
    let isOwnLabel = node.isLabel
    for entry in nodes where !(isOwnLabel && otherLabels.contains(entry.name)) {
      if entry.kind == .directory {
        guard isWanted(path.dropFirst() + entry.name) else { continue }
        node.children.append(child(of: node, entry, isSynthetic: isAboveSources(path + entry.name)))
      } else {
        node.files.append(entry)
      }
    }
    return node.children
  }

  private func child(of node: Node, _ entry: TreeNode, isSynthetic: Bool) -> Node {
    let directory = CataloguedDirectory(
      tree: entry.subtree!, metadata: entry.metadata, attributes: AttributeBlock(entry.attributes),
      isSynthetic: isSynthetic)
    return Node(parent: node, name: entry.name, directory)
  }

  /// True for a directory on the way to a wanted path, or below it. The path has no label.
  private func isWanted(_ path: TreePath) -> Bool {
    places.isEmpty || places.contains { path.starts(with: $0) || $0.starts(with: path) }
  }

  /// True if treering made the snapshot and took no metadata of a directory, because only sources below it were saved.
  private func isAboveSources(_ path: TreePath) -> Bool {
    listed.file.isOfTreering && sources.contains { $0.starts(with: path) && $0.count > path.count }
      && !sources.contains { path.starts(with: $0) }
  }

  func leave(_ node: Node, with worker: Worker) throws {
    let encoder = worker.encoder
    encoder.begin(with: node.metadata, flags: node.isSynthetic ? .synthetic : [], attributes: node.attributes)
    for file in node.files {
      let name = file.name
      encoder.append(name.span, NewEntry(of: file, hasher: worker.hasher))
      if encoder.isFull { throw Failure(.failed, "a directory of \(restic.displayName) is too large") }
    }
    for child in node.children.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
      let name = child.name
      encoder.append(name.span, child.subtree!)
    }
    node.subtree = try encoder.finish(.none, blocks: 0, into: worker.frames, hasher: worker.hasher)
    worker.files += UInt64(node.files.count)
    worker.directories += 1
    node.files = []
    node.children = []
  }
}

extension NewEntry {
  init(of node: TreeNode, hasher: SHA256) {
    self.init(kind: node.kind, metadata: node.metadata, hints: .none)
    device = node.device
    target = node.target
    attributes = AttributeBlock(node.attributes)
    if node.links > 1 {
      // treering has no device numbers, and its number 0 is written as the largest.
      let inode = node.inode == .max ? 0 : node.inode
      linkGroup = node.deviceID == 0 ? inode : hasher.combine(node.inode, node.deviceID)
    }
    guard node.kind == .regular else { return }
    size = node.size
    if node.content.count == 1 { digest = ContentDigest(node.content[0]) }
    if node.content.count > 1 {
      hasher.reset()
      for id in node.content { withUnsafeBytes(of: id.words) { hasher.update($0) } }
      digest = ContentDigest(hasher.finish(), form: .chunks)
    }
  }
}

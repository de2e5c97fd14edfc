internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A directory on its way into a tree blob.
struct PushedDirectory {
  let subtree: Subtree
  /// The path of the parent's own directory in the snapshot, if the walk's path lacks its beginning.
  var label: [UInt8]?
  var metadata = Metadata(permissions: 0, user: 0, group: 0, modified: Timestamp(seconds: 0, nanoseconds: 0))
  var attributes = AttributeBlock.empty
  /// The nodes of its files, in order.
  var files: [TreeNode] = []
  var tree: Digest?

  init(_ subtree: Subtree, label: [UInt8]? = nil) { (self.subtree, self.label) = (subtree, label) }
}

/// Makes trees of a catalog's directories, and saves the contents that the repository lacks.
///
/// A tree is a pure function of the directory's record, so a directory with a known digest is not entered.
final class TreeMaker: TreeWork {
  typealias State = PushedDirectory

  final class Worker {
    fileprivate let reader: CatalogReader
    fileprivate let chunks: ContentChunks
    fileprivate let tools: BlobWriter.Tools
    /// Trees that the cache does not have yet.
    fileprivate var trees: [PushedTree] = []
    /// The chunks of the last large contents, so that another file with one of them is not read.
    fileprivate var contents: [ContentDigest: [Digest]] = [:]
    fileprivate var chunksInContents = 0
    fileprivate var losses = TreeLosses()
    /// The files of the sources; `nil` if the snapshot's are stored.
    fileprivate let sources: SourceFiles?
    fileprivate var changed: [TreePath] = []

    fileprivate init(_ maker: TreeMaker) {
      reader = CatalogReader(reading: maker.catalog)
      sources = maker.sources.map { SourceFiles(of: $0, copies: maker.root) }
      chunks = ContentChunks(maker.writer.repository.config.polynomial)
      tools = BlobWriter.Tools(maker.writer.repository)
    }
  }

  private static let batch = 256
  private static let mostChunksInContents = 1 << 16

  private let snapshot: Snapshot
  private let repository: Repository
  private let catalog: OpenCatalog
  private let writer: BlobWriter
  private let cache: PushCache
  private let progress: Progress
  private let root: Directory
  /// The sources, if the repository is a cache of catalogs, and the tree has only copies of unsteady files.
  private let sources: SnapshotOptions?

  struct Results {
    var losses = TreeLosses()
    var changed: [TreePath] = []
  }
  let results = Mutex(Results())

  init(
    of snapshot: Snapshot, in repository: Repository, writer: BlobWriter, cache: PushCache, progress: Progress,
    sources: SnapshotOptions? = nil
  ) throws(Failure) {
    self.snapshot = snapshot
    self.repository = repository
    self.writer = writer
    self.cache = cache
    self.progress = progress
    self.sources = sources
    catalog = try repository.openCatalog(of: snapshot.name)
    root = try repository.openTree(of: snapshot.name)
  }

  /// Makes all trees and returns that of the root.
  func run(threads: Int) throws -> Digest {
    let node = Node(PushedDirectory(catalog.summary.root))
    do { try walkTree(self, from: node, threads: ThreadCount(threads)) } catch {
      node.release()
      throw error
    }
    let changed = results.withLock { $0.changed }
    guard let tree = node.tree, changed.isEmpty else { throw ChangedFiles(paths: changed) }
    return tree
  }

  func makeWorker() -> Worker { Worker(self) }

  func finish(with worker: Worker) {
    cache.add(worker.trees)
    results.withLock {
      $0.losses += worker.losses
      $0.changed += worker.changed
    }
  }

  // MARK: Directories

  func enter(_ node: Node, with worker: Worker) throws -> [Node] {
    let record = try read(node, with: worker)
    node.metadata = record.metadata
    node.attributes = record.attributes
    if node.parent == nil { return try enterRoot(node, record: record, with: worker) }
    progress.directories.count()
    progress.entries.count()
    let known = try cache.trees(of: node.subtree.digest)
    if let tree = known.first(where: { writer.index.contains(BlobName(.tree, $0)) }) {
      node.tree = tree
      // The directory itself has been counted.
      progress.entries.count(max(node.subtree.totals.entries, 1) - 1)
      progress.expectLess(bytes: node.subtree.totals.bytes)
      return []
    }
    return try addEntries(of: record, to: node, label: nil, with: worker)
  }

  private func read(_ node: Node, with worker: Worker) throws -> DirectoryRecord {
    do { return try worker.reader.record(at: node.subtree.place, for: node.subtree.digest) } catch {
      throw error as? Failure
        ?? Failure(.damaged, "the catalog of \(snapshot.name) is damaged: \(error)", path: repository.path)
    }
  }

  /// The tree's root has the content of the snapshot's own label: its paths are those of the source. Further labels
  /// are directories beside it.
  private func enterRoot(_ node: Node, record: DirectoryRecord, with worker: Worker) throws -> [Node] {
    var children = try addEntries(of: record, to: node, label: nil, with: worker)
    guard let own = children.firstIndex(where: { $0.name == snapshot.summary.label }) else { return children }
    let label = children.remove(at: own)
    let others = Set(children.map(\.name))
    let labelRecord = try read(label, with: worker)
    let files = node.files
    node.files = []
    node.metadata = labelRecord.metadata
    let below = try addEntries(of: labelRecord, to: node, label: label.name, with: worker)
    for name in below.map(\.name) + node.files.map(\.name) where others.contains(name) {
      throw Failure(
        .usage,
        "the snapshot \(snapshot.name) cannot be pushed: /\(displayName(name)) is a path of its sources and a label",
        hint: "in a repository of restic both would be one directory")
    }
    node.files = (node.files + files).sorted { $0.name.lexicographicallyPrecedes($1.name) }
    node.children = children + below
    return node.children
  }

  /// Adds a directory's files to the node, and returns its sub-directories.
  private func addEntries(
    of record: DirectoryRecord, to node: Node, label: [UInt8]?, with worker: Worker
  ) throws -> [Node] {
    let path = label + self.path(of: node)
    var directory: Directory?
    var position = record.firstFile
    while let row = try record.nextFile(at: &position) {
      progress.entries.count()
      var file = TreeNode(of: row, in: record)
      if row.kind == .regular {
        progress.files.count()
        file.content = try content(of: row, named: file.name, in: path, opened: &directory, with: worker)
      }
      file.attributes = try record.attributes(of: row).decoded()
      node.files.append(file)
    }
    let children = try record.directories(after: position).map { row in
      Node(parent: node, name: Array(record.bytes[row.name]), PushedDirectory(Subtree(row), label: label))
    }
    node.children = children
    return children
  }

  /// The path from the snapshot's root.
  private func path(of node: Node) -> TreePath {
    var top = node
    while let parent = top.parent, parent.parent != nil { top = parent }
    return top.label + node.path
  }

  func leave(_ node: Node, with worker: Worker) throws {
    defer {
      node.files = []
      node.children = []
    }
    if node.tree != nil { return }
    var tree = TreeWriter()
    var files = node.files[...]
    for child in node.children.sorted(by: { $0.name.lexicographicallyPrecedes($1.name) }) {
      while let file = files.first, file.name.lexicographicallyPrecedes(child.name) {
        tree.append(file)
        files.removeFirst()
      }
      var directory = TreeNode()
      directory.name = child.name
      directory.kind = .directory
      directory.metadata = child.metadata
      directory.attributes = try child.attributes.decoded()
      directory.subtree = child.tree
      tree.append(directory)
    }
    for file in files { tree.append(file) }
    worker.losses += tree.losses
    let json = tree.finish()
    let id = worker.tools.hasher.digest(of: json)
    try json.withUnsafeBytes { _ = try writer.save(BlobName(.tree, id), $0, with: worker.tools) }
    node.tree = id
    guard node.parent != nil else { return }
    worker.trees.append(PushedTree(id: node.subtree.digest, tree: id))
    if worker.trees.count == Self.batch {
      cache.add(worker.trees)
      worker.trees.removeAll(keepingCapacity: true)
    }
  }

  // MARK: Contents

  /// The chunks of a file. It is read only if the repository lacks one.
  private func content(
    of row: FileRow, named name: [UInt8], in path: TreePath, opened: inout Directory?, with worker: Worker
  ) throws -> [Digest] {
    if row.size == 0 { return [] }
    // The ID of a chunk that is a whole file is the digest in the catalog.
    if !row.digest.isSparse, writer.contains(BlobName(.data, row.digest.digest)) {
      progress.expectLess(bytes: row.size)
      return [row.digest.digest]
    }
    let known = try worker.contents[row.digest].map { [$0] } ?? cache.chunks(of: row.digest)
    if let chunks = known.first(where: { $0.allSatisfy { writer.contains(BlobName(.data, $0)) } }) {
      progress.expectLess(bytes: row.size)
      return chunks
    }
    if let sources = worker.sources { return try content(of: row, at: path + name, in: sources, with: worker) }
    func shown() -> String { "\(snapshot.name)/\((path + name).displayed)" }
    do {
      let directory = try opened ?? root.directory(path: path)
      opened = directory
      // Opening a device can do harm, so the kind is checked first.
      guard try directory.descriptor.status(of: name.span).kind == .regular else { throw ContentChunks.Problem.changed }
      let file = try directory.descriptor.openToRead(name.span)
      return try save(file, row: row, with: worker)
    } catch let error as Errno {
      guard !error.leavesDataUnknown else { throw Failure(.failed, "cannot read \(shown()): \(error)") }
      throw Failure(
        .damaged, "\(shown()) is damaged: \(error)", hint: "see: \(repository.advice("verify \(snapshot.name)"))")
    } catch let problem as ContentChunks.Problem {
      switch problem {
      case .changed:
        throw Failure(
          .damaged, "\(shown()) is damaged: it has not the content that was stored",
          hint: "see: \(repository.advice("verify \(snapshot.name)"))")
      case .tooManyChunks: throw Self.tooLarge(shown())
      }
    }
  }

  private static func tooLarge(_ path: String) -> Failure {
    Failure(
      .failed, "\(path) is too large for a repository of restic: it would have millions of chunks",
      hint: "exclude it, or push to a repository of treering")
  }

  /// The chunks of a file of a source; none if it has changed, which is noted.
  private func content(
    of row: FileRow, at path: TreePath, in sources: SourceFiles, with worker: Worker
  ) throws -> [Digest] {
    do {
      return try save(try sources.open(at: path, row: row), row: row, with: worker)
    } catch ContentChunks.Problem.tooManyChunks {
      throw Self.tooLarge(displayName(path.atSource(label: snapshot.summary.label)))
    } catch let error where error is ContentChunks.Problem || error is Errno {
      worker.changed.append(path)
      return []
    }
  }

  private func save(_ file: borrowing Descriptor, row: FileRow, with worker: Worker) throws -> [Digest] {
    let ids = try worker.chunks.read(
      file, byteCount: row.size, digest: row.digest, mayBeLonger: worker.sources != nil
    ) { id, bytes in
      try checkForSignal()
      try writer.save(BlobName(.data, id), bytes, with: worker.tools)
      progress.bytesRead.count(UInt64(bytes.count))
    }
    guard ids.count > 1 else { return ids }
    cache.add(row.digest, chunks: ids)
    worker.chunksInContents += ids.count
    if worker.chunksInContents > Self.mostChunksInContents { (worker.contents, worker.chunksInContents) = ([:], 0) }
    worker.contents[row.digest] = ids
    return ids
  }
}

extension TreeNode {
  /// The node of a file, without its content and attributes.
  init(of row: FileRow, in record: DirectoryRecord) {
    name = Array(record.bytes[row.name])
    kind = row.kind
    metadata = row.metadata
    if let group = row.linkGroup {
      // restic groups by inode and device, and its first versions take inode 0 for a file with one link.
      inode = group == 0 ? .max : group
      links = 2
    }
    switch row.kind {
    case .regular: size = row.size
    case .symbolicLink: target = record.target(of: row)
    case .characterDevice, .blockDevice: device = row.size
    default: break
    }
  }
}

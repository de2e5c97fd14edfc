internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// An inode of the source with several names.
struct SourceInode: Hashable, Sendable {
  var device, inode: UInt64
}

/// The stored form of such an inode.
struct StoredInode: Sendable {
  var entry: NewEntry
  /// The source that the file was in, if the file was found by its inode.
  var origin: SourceTally?
}

/// One thread's tools.
final class SnapshotWorker {
  let finder: StoredFinder
  let tools: BuildTools
  var listing = DirectoryListing()
  var statuses = StatusWindow()
  /// The catalogs of received sources, by source.
  private var receptions: [[UInt8]: CatalogReader] = [:]

  init(finder: StoredFinder, tools: BuildTools) { (self.finder, self.tools) = (finder, tools) }

  func reader(of reception: ReceivedTree, path: [UInt8]) -> CatalogReader {
    if let reader = receptions[path] { return reader }
    let reader = CatalogReader(reading: reception.catalog)
    receptions[path] = reader
    return reader
  }
}

/// Discards the frames of a look-ahead.
private final class NoSink: FrameSink {
  func reserveFrame() -> UInt32 { 0 }
  func store(_ frame: UInt32, _ bytes: [UInt8]) {}
}

/// The work of a snapshot: in each directory, the merge of the source's names with the previous catalog's.
///
/// Each name gets a link, a copy or a new node.
final class SnapshotWork: TreeWork {
  typealias State = SnapshotDirectory

  /// The result of the walk.
  enum Purpose {
    /// Nothing: the needed space is counted.
    case lookAhead
    case tree(SnapshotBuilder)
    /// A catalog without a tree, by the status of the entries alone.
    case catalog(any FrameSink)
    /// The catalog of a snapshot whose files go straight to a remote.
    case sending(TreelessSnapshot)
  }

  let context: BuildContext
  private let purpose: Purpose
  var builder: SnapshotBuilder? { if case .tree(let builder) = purpose { builder } else { nil } }
  let options: SnapshotOptions
  /// The trees whose entries may be linked, in the search order for moved files.
  let trees: [StoredTree]
  /// The index of the newest snapshot in `trees`.
  let base: Int?
  let links = HardLinks<SourceInode, StoredInode>()
  /// The file system of each source device.
  let fileSystems = Mutex<[UInt64: FileSystemIdentity]>([:])
  /// The stored inodes that were linked at another path or for another inode than the base's, with the source inode.
  ///
  /// No stored inode may stand for two inodes of the source.
  let claims = Mutex<[UInt64: SourceInode]>([:])
  /// The time at which each source device was made to write its dirty pages.
  let settled = Mutex<[UInt64: Timestamp]>([:])
  let guards: Guards
  /// The dumps that were walked.
  let dumpedTrees = Mutex<[DumpedTree]>([])
  /// The bind mounts that show content of the repository.
  let innerMounts: Set<UInt64>
  /// The plan from the snapshot's root: its children are the labels.
  private let plan: PathPlan
  /// Sources that are left out and lie in other sources. The other sources must not store their content.
  let leftOut: Set<[UInt8]>

  init(
    options: SnapshotOptions, leftOut: [AbsentSource], trees: [StoredTree], base: Int?, guards: Guards,
    in context: BuildContext, for purpose: Purpose
  ) {
    self.context = context
    self.purpose = purpose
    self.options = options
    self.trees = trees
    self.base = base
    self.guards = guards
    innerMounts = context.repository.location.innerMounts()
    plan = PathPlan(sources: options.sources.map(options.place))
    self.leftOut = Set(leftOut.map(\.path)).filter { path in
      options.sources.contains { $0 == [slash] || path.starts(with: $0 + [slash]) }
    }
  }

  /// True unless the walk is only a look-ahead.
  private var takesSnapshot: Bool {
    switch purpose {
    case .tree, .sending: true
    case .lookAhead, .catalog: false
    }
  }

  private var isSending: Bool { if case .sending = purpose { true } else { false } }

  /// Takes the records of the catalog; `nil` for a look-ahead.
  private var records: (any FrameSink)? {
    switch purpose {
    case .lookAhead: nil
    case .tree(let builder): builder.pending.sink
    case .catalog(let sink): sink
    case .sending(let snapshot): snapshot.records
    }
  }

  func rootNode() -> SnapshotNode {
    let tree = base.map { trees[$0] }
    return WalkNode(
      SnapshotDirectory(below: nil, plan: plan, isSynthetic: true, base: tree?.catalog.summary.root, tree: tree))
  }

  func makeWorker() throws -> SnapshotWorker {
    SnapshotWorker(
      finder: StoredFinder(trees: trees, base: base),
      tools: BuildTools(
        writer: FrameWriter(sink: records ?? NoSink()),
        reader: FileReader(for: isSending ? .sending : .storing, counting: context.progress)))
  }

  func finish(with worker: SnapshotWorker) throws { try worker.tools.writer.flush() }

  // MARK: Entering a directory

  /// Makes the directory in the snapshot, and opens the base's; false if the repository cannot hold it.
  private func open(_ node: SnapshotNode) throws -> Bool {
    if let builder { return try node.placed == nil ? builder.open(node) : place(node) }
    node.build.baseTree = try? node.openBase()
    context.space.needs(bytes: 0)
    return true
  }

  func enter(_ node: SnapshotNode, with worker: SnapshotWorker) throws -> [SnapshotNode] {
    // The time is taken before any read: a change after it must not seem older.
    let now = Clock.fileStampNow()
    guard try isWanted(node) else {
      try builder?.discardRecycled(node)
      if let dump = node.dump { throw dump.refusal(at: node.sourcePath) }
      return []
    }
    guard try open(node) else {
      if let dump = node.dump { throw dump.refusal(at: node.sourcePath) }
      countGone(node.comparedSubtree?.totals.entries, in: node)
      return []
    }
    let moment = flushMoment(of: node) ?? now
    context.progress.entries.count()
    context.progress.directories.count()
    if let status = node.sourceStatus, status.isRacy(since: moment, on: node.identity) {
      node.build.hints.flags.insert(.racy)
    }
    let base = try baseRecord(of: node, with: worker)
    let described = try description(of: node, base: base, with: worker)
    var flags: EntryFlags = described?.flags ?? (node.build.isSynthetic ? .synthetic : [])
    if let described {
      take(described, for: node)
    } else {
      node.build.attributes = try directoryAttributes(of: node, record: base)
    }
    let encoder = worker.tools.takeEncoder()
    let isListed = try node.isListed && list(node, with: worker)
    if node.isListed, !isListed, !node.isSkipped {
      if let dump = node.dump { throw dump.refusal(at: node.sourcePath) }
      flags.insert(.incomplete)
      countGone(node.comparedSubtree.map { $0.totals.entries &- 1 }, in: node)
    }
    encoder.begin(with: node.build.metadata, flags: flags, attributes: node.build.attributes)
    node.build.encoder = encoder
    if isListed {
      try merge(
        DirectoryContext(
          work: self, node: node, record: base, described: described, encoder: encoder, moment: moment,
          worker: worker, names: worker.listing.bytes))
      worker.listing.trim()
    } else if !node.isListed {
      try addPlanned(to: node, record: base)
    }
    try node.finishRecycling()
    return node.isListed || options.onRead.isEmpty ? node.children : urgentFirst(node.children)
  }

  /// The directories that lead to an urgent one, before the others.
  private func urgentFirst(_ children: [SnapshotNode]) -> [SnapshotNode] {
    let urgent = options.onRead.keys.map(options.place)
    func leadsToUrgent(_ node: SnapshotNode) -> Bool { urgent.contains { $0.starts(with: node.path) } }
    return children.filter(leadsToUrgent) + children.filter { !leadsToUrgent($0) }
  }

  /// Opens the source's directory; false if the snapshot will not have it.
  private func isWanted(_ node: SnapshotNode) throws -> Bool {
    guard try openSource(of: node) else {
      countGone(node.comparedSubtree?.totals.entries, in: node)
      return false
    }
    if let status = node.sourceStatus {
      node.build.metadata = status.metadata
      (node.build.hints.sourceInode, node.build.hints.changed) = (status.inode, status.changed)
    }
    try identify(node)
    if node.dump != nil { takeOver(node) }
    if node.isKept { node.build.hints = PlacedFiles.hints(storedInode: 0) }
    if node.isListed, !node.isSource, let rule = node.sourceStatus.flatMap(node.excludes.rule(for:)) {
      exclude(node.sourcePath, by: rule)
      // An excluded directory that leads to another source is kept for that source alone.
      node.isListed = false
      return node.plan != nil
    }
    return true
  }

  private func merge(_ directory: DirectoryContext) throws {
    let (node, worker) = (directory.node, directory.worker)
    if node.isSource && worker.listing.entries.isEmpty { node.tally?.isEmpty.store(true, ordering: .relaxed) }
    // A stray tag file in a source's own directory must not make the source empty.
    if !node.isSource, let tag = node.excludes.tag(in: worker.listing, of: node.source!.descriptor) {
      node.tag = tag
      exclude(node.sourcePath, by: tag.rule)
    }
    let atSamePath = node.isMoved ? record(node.atSamePath, in: node.tally?.base?.tree, in: node, with: worker) : nil
    do {
      switch purpose {
      case .tree(let builder):
        guard let placed = node.placed
        else { return try merge(directory, atSamePath: atSamePath, by: EntryStorer(of: directory, with: builder)) }
        let tree = node.tally.flatMap { options.fetchedTree(of: $0.path) }
        guard let tree, let record = directory.described else {
          return try merge(directory, atSamePath: nil, by: PlacedStorer(of: directory, in: placed, of: tree))
        }
        let storer = try ReceivedStorer(of: directory, in: placed, of: tree, describedBy: record)
        try merge(directory, atSamePath: nil, by: storer)
      case .sending(let snapshot):
        try merge(directory, atSamePath: atSamePath, by: CatalogStorer(of: directory, for: snapshot))
      case .catalog: try merge(directory, atSamePath: atSamePath, by: StatusStorer(of: directory))
      case .lookAhead: try merge(directory, atSamePath: atSamePath, by: LookAhead(of: directory))
      }
    } catch let error as CatalogError {
      throw Failure(
        .damaged, "the previous catalog is damaged at \(displayName(node.sourcePath)): \(error)", path: node.sourcePath)
    }
  }

  private func merge(
    _ directory: DirectoryContext, atSamePath: DirectoryRecord?, by storer: some EntryStoring
  ) throws {
    var merge = try DirectoryMerge(of: directory, atSamePath: atSamePath, storer: storer)
    try merge.run()
  }

  /// The moment after which any change on the directory's file system sets a new ctime.
  ///
  /// A store through a shared mapping sets the ctime when it makes a clean page dirty. It never does so again while the
  /// page is dirty. Therefore all pages are made clean once, before the first file is read. A page that becomes dirty
  /// later gives its file a later ctime, and the file counts as racy.
  private func flushMoment(of node: SnapshotNode) -> Timestamp? {
    guard takesSnapshot, node.isListed, !node.isStaged, let source = node.source, let status = node.sourceStatus
    else { return nil }
    return settled.withLock { moments in
      if let moment = moments[status.device] { return moment }
      let moment = Clock.fileStampNow()
      moments[status.device] = moment
      do throws(Errno) { try source.descriptor.synchronizeFileSystem() } catch {
        context.warn(at: node.sourcePath, "its file system cannot be synchronized: \(error)")
      }
      return moment
    }
  }

  /// The directory's record in the previous catalog, or at its old path if it was renamed.
  ///
  /// Without a record, every file is searched one by one.
  private func baseRecord(of node: SnapshotNode, with worker: SnapshotWorker) throws -> DirectoryRecord? {
    var record = record(node.build.base, in: node.build.tree, in: node, with: worker)
    guard node.isListed, !node.isSkipped, !node.isStaged, let status = node.sourceStatus else { return record }
    if let found = worker.finder.directory(with: status, on: node.fileSystem, known: record) {
      if !node.isMoved { node.atSamePath = node.build.base }
      node.origin = guards.source(of: found.path, in: found.tree)
      node.build.base = found.subtree
      node.build.tree = found.tree
      node.build.baseTree = found.directory
      node.isMoved = true
      // The directory was searched on this very file system.
      node.hasSameInodes = true
      record = found.record
    }
    if node.isMoved, node.build.base != nil, node.atSamePath == nil { countMove(of: status, in: node, with: worker) }
    return record
  }

  private func record(
    _ subtree: Subtree?, in tree: StoredTree?, in node: SnapshotNode, with worker: SnapshotWorker
  ) -> DirectoryRecord? {
    guard let subtree, let reader = tree.flatMap(worker.finder.reader(of:)) else { return nil }
    do { return try reader.record(at: subtree.place, for: subtree.digest) } catch {
      context.warn(at: node.sourcePath, "the previous catalog is damaged here, so all files are read again: \(error)")
      return nil
    }
  }

  /// Counts entries of a directory that the compared snapshot has and the new snapshot will lack.
  private func countGone(_ entries: UInt64?, in node: SnapshotNode) {
    if node.isListed, !node.isSkipped, let entries { node.tally?.gone.count(entries) }
  }

  /// Counts an entry with a new name, so that it is not gone from its old source.
  ///
  /// It is a directory that was found by its inode, or an entry of such a directory.
  func countMove(of status: FileStatus, in node: SnapshotNode, with worker: SnapshotWorker) {
    (node.origin ?? guards.origin(of: status, on: node.fileSystem, by: worker.finder))?.moved.count()
  }

  /// Counts an entry, or the content of a directory, that the operator excluded.
  func exclude(_ path: @autoclosure () -> [UInt8], by rule: String) {
    context.progress.excluded.count()
    if context.monitor.wantsExcluded { context.monitor.excluded(path(), by: rule) }
  }

  /// Adds the children of a directory above the sources, in place of its listing.
  private func addPlanned(to node: SnapshotNode, record: DirectoryRecord?) throws {
    let base = record.map { RecordIndex(of: $0) }
    let isTop = node.parent == nil
    node.children = try (node.plan?.children ?? []).map { name, plan in
      let row = try base?.directory(named: name.span)
      let child = SnapshotNode(
        parent: node, name: name,
        SnapshotDirectory(
          // The directories above the source of another host are not those of this machine.
          below: node.state, plan: plan, isSynthetic: (isTop || node.build.showsLabel) && !plan.isSource,
          base: row.map { Subtree($0) }, tree: node.build.tree))
      if isTop { child.build.showsLabel = name != options.label }
      child.build.isRecycled = try node.keepsDirectory(named: name.span)
      if child.build.isRecycled, plan.isSource, options.fetchedTree(of: child.sourcePath) != nil {
        // The fetched tree takes its place.
        try builder?.discard(named: name, of: node)
        child.build.isRecycled = false
      }
      return child
    }
  }

  // MARK: Stored files at other paths

  /// Links a stored file that has another inode, or another path, than the source's file.
  ///
  /// Returns its inode in the repository; `nil` if the stored file cannot be used.
  func link(_ stored: StoredFile, for status: FileStatus, in node: SnapshotNode, as name: [UInt8]) throws -> UInt64? {
    guard let directory = stored.directory, let inode = stored.inode else { return nil }
    // If listings do not show the names of one inode, the stored inode's other uses are unknown.
    if stored.isFoundByInode && !context.capabilities.listsInodes { return nil }
    if stored.isFoundByInode || stored.row.hints.sourceInode != status.inode {
      let owner = SourceInode(device: status.device, inode: status.inode)
      guard claim(inode, for: owner) else { return nil }
    }
    let storedName = stored.name
    guard
      let builder,
      try builder.linked(from: directory.descriptor, name: storedName.span, inode: inode, in: node, as: name.span)
    else { return nil }
    context.progress.linked.count()
    if stored.isFoundByInode { context.progress.moved.count() }
    return inode
  }

  /// True if the stored inode may be linked for this inode of the source.
  func claim(_ stored: UInt64, for inode: SourceInode) -> Bool {
    claims.withLock { claims in
      if let owner = claims[stored] { return owner == inode }
      claims[stored] = inode
      return true
    }
  }

  // MARK: Leaving a directory

  func leave(_ node: SnapshotNode, with worker: SnapshotWorker) throws {
    if let builder, let encoder = node.build.encoder {
      if node.placed == nil {
        try builder.complete(node, with: worker.tools)
      } else {
        try closePlaced(node, with: worker)
      }
      try checkAnnounced(node)
      worker.tools.giveBack(encoder)
    } else if records != nil, let encoder = node.build.encoder {
      try node.closeRecord(into: worker.tools.writer, with: worker.tools.hasher)
      worker.tools.giveBack(encoder)
    }
    node.source = nil
    node.build.baseTree = nil
    node.build.target = nil
    node.children = []
    node.build.encoder = nil
    // A file of a direct snapshot is read again when it is sent.
    if builder != nil, !options.onRead.isEmpty { options.onRead[node.sourcePath]?() }
  }

  /// Closes the open records, children first, after a walk that did not end.
  ///
  /// The stored entries can then be found again.
  func closeUnfinished(_ root: SnapshotNode, into writer: FrameWriter) throws -> Subtree? {
    let hasher = SHA256()
    var nodes = [root]
    var next = 0
    while next < nodes.count {
      nodes += nodes[next].children
      next += 1
    }
    for node in nodes.reversed() {
      if node.build.target != nil || isSending { try node.closeRecord(into: writer, with: hasher) }
    }
    return root.build.result
  }
}

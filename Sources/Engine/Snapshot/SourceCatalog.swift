public import Catalog
internal import Model
internal import Posix
public import Repository

/// The catalog that a snapshot of the sources would have now, as far as it can be told without reading contents.
///
/// The walk is that of a snapshot that is compared with `snapshot`, with the same rules. A file has its old content if
/// its size and its modification time are those of the file that had its path or its inode; any other content counts as
/// new. `repository` holds the snapshot, or stands in for that of another machine. All threads read `catalog`. Returns
/// also the sources that are left out.
public func catalogOfSources(
  _ options: SnapshotOptions, comparedWith snapshot: Snapshot, catalog known: OpenCatalog, in repository: Repository,
  monitor: any Monitor
) throws -> (catalog: OpenCatalog, absent: [AbsentSource]) {
  let absent = try options.absentSources()
  var present = options
  present.sources.removeAll { source in absent.contains { $0.path == source } }
  guard !present.sources.isEmpty else {
    let named = absent.map { "\(displayName($0.path)) \($0.reason)" }.joined(separator: ", ")
    throw Failure(.failed, "no source is there: \(named)", hint: "are the disks mounted?")
  }
  present.guardLimits.acceptsChanges = true
  var list = SnapshotList()
  list.snapshots = [snapshot]
  let tree = StoredTree(of: snapshot.name, catalog: known, root: nil, in: repository)
  let older = try OlderTrees(list, newest: tree, of: present, in: repository)
  let context = BuildContext(
    repository: repository, capabilities: Capabilities(), space: SpaceGuard(in: repository), progress: Progress(),
    monitor: monitor)
  let catalog = try TemporaryCatalog()
  let work = SnapshotWork(
    options: present, leftOut: absent, trees: older.trees, base: older.base,
    guards: older.guards(limits: present.guardLimits), in: context, for: .catalog(catalog.sink))
  let root = work.rootNode()
  defer { root.release() }
  do { try walkTree(work, from: root, threads: present.threads) } catch let refusal as SourceRefusal {
    throw refusal.failure
  }
  try checkForSignal()
  guard let subtree = root.build.result else { throw Failure(.failed, "the walk ended without a root") }
  var summary = CatalogSummary(root: subtree)
  (summary.started, summary.finished) = (Clock.now(), Clock.now())
  (summary.label, summary.sources, summary.absentSources) = (options.label, present.sources, absent.map(\.path))
  let writer = FrameWriter(sink: catalog.sink)
  return (try catalog.finish(summary, with: writer, mayHaveChunks: known.mayHaveChunks), absent)
}

/// Records the entries of one directory by their status, and stores nothing.
struct StatusStorer: EntryStoring {
  private let directory: DirectoryContext

  init(of directory: DirectoryContext) { self.directory = directory }

  func link(_ row: FileRow, named range: Range<Int>) -> Bool {
    directory.encoder.append(row, of: directory.record!, hints: row.hints)
    return true
  }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) -> Bool {
    record(first.value.entry, as: entry.name)
    return true
  }

  func record(_ entry: NewEntry, as name: [UInt8]) { directory.encoder.append(name.span, entry) }

  func store(_ source: SourceEntry) throws -> NewEntry? {
    let (name, status) = (source.name, source.status)
    var entry = NewEntry(
      kind: status.kind!, metadata: status.metadata,
      hints: Hints(sourceInode: status.inode, changed: status.changed, storedInode: 0, flags: []))
    let parent = directory.node.source!
    let known = source.before.flatMap { before in
      before.row.kind == status.kind && before.row.mayHaveContent(of: status) ? before : nil
    }
    let handle: Descriptor
    do throws(Errno) {
      switch entry.kind {
      case .regular:
        entry.size = status.size
        entry.digest = known?.row.digest ?? unknownContent(of: status)
      case .symbolicLink: entry.target = try parent.descriptor.readSymbolicLink(name.span)
      default: entry.device = status.deviceNumber
      }
      handle = try parent.descriptor.open(name.span, .pathOnly)
    } catch {
      if error == .noSuchEntry { return nil }
      try directory.work.readingFailed(at: directory.node.sourcePath(of: name), because: error)
      return nil
    }
    entry.attributes =
      if let known, known.row.hasInodeAndTimes(of: status) {
        known.record.attributes(of: known.row)
      } else {
        try directory.work.attributes(of: handle, by: .handle, flags: &entry.hints.flags) {
          directory.node.sourcePath(of: name)
        }
      }
    return entry
  }

  /// A digest that no content has, but the same for all names of an inode.
  private func unknownContent(of status: FileStatus) -> ContentDigest {
    let hasher = directory.worker.tools.hasher
    let number = hasher.combine(status.inode, UInt64(bitPattern: status.changed.seconds))
    return ContentDigest(hasher.digest(of: Array("\(number) \(status.changed.nanoseconds) is not read".utf8)))
  }
}

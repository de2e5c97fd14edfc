internal import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// A source of another host.
public enum HostSource: Sendable {
  /// It is not fetched yet. It counts as present.
  case awaited
  case fetched(FetchedTree)
  /// It is unchanged since the newest snapshot that has it.
  case kept(KeptSource)
  /// It is not to be had, for a reason that follows its path in a message. See `AbsentSource`.
  case absent(reason: String, isThere: Bool)
}

/// A source that was fetched into the repository, and that a snapshot takes in as it is.
///
/// Its unchanged files are stored inodes, so nothing may change them.
public final class FetchedTree: Sendable {
  private let place: FetchDirectory.Place
  private let threads: ThreadCount
  /// The description of a tree that the host's treering sent; `nil` for any other.
  let reception: ReceivedTree?
  /// The inodes with several names in the tree, and the number of these names.
  let linkedInodes: [UInt64: Int]
  /// The inodes of the interrupted fetch that the tree continues.
  private let continued: Set<UInt64>
  /// Inodes with names elsewhere that the base does not have at the same path, by their first paths, and those of them
  /// that it has at another path of the same tree.
  private let foreign = Mutex<(paths: [UInt64: [UInt8]], known: Set<UInt64>)>(([:], []))
  /// The entries of the source that the tree lacks.
  let warnings: [Warning]
  /// The directory of a pending snapshot that has the tree, and the tree's name there.
  private let present = Mutex<(directory: Directory, name: [UInt8])?>(nil)

  public init(
    at place: FetchDirectory.Place, warnings: [Warning], threads: ThreadCount, reception: ReceivedTree? = nil
  ) throws {
    self.place = place
    self.threads = threads
    self.reception = reception
    self.warnings = warnings
    let tree = FetchDirectory.Place.tree
    linkedInodes = try multiplyLinkedInodes(in: place.directory.directory(tree.span), threads: threads)
    let interrupted = FetchDirectory.Place.interrupted
    let isContinued =
      try reception == nil && place.directory.descriptor.statusIfPresent(of: interrupted.span) != nil
    continued =
      isContinued ? Set(try inodes(in: place.directory.directory(interrupted.span), threads: threads)) : []
  }

  /// Notes an inode that may belong to something else than a snapshot.
  func noteForeign(_ inode: UInt64, at path: [UInt8]) {
    if !continued.contains(inode) { foreign.withLock { $0.paths[inode] = $0.paths[inode] ?? path } }
  }

  /// Notes an inode that the base has at the same path. Its further names here are links to the first.
  func noteKnown(_ inode: UInt64) {
    if linkedInodes[inode] != nil { foreign.withLock { _ = $0.known.insert(inode) } }
  }

  /// The path of a file that is neither new nor the base's; `nil` if there is none.
  func foreignPath() throws -> [UInt8]? {
    let found = foreign.withLock { $0 }
    var paths = found.paths.filter { !found.known.contains($0.key) }
    if let earlier = reception?.earlier, !paths.isEmpty {
      // A file that the host moved is still one of its own.
      let own = Set(try inodes(in: earlier, threads: threads))
      paths = paths.filter { !own.contains($0.key) }
    }
    return paths.first?.value
  }

  func open() throws(Errno) -> Descriptor {
    let tree = FetchDirectory.Place.tree
    return try place.directory.descriptor.openDirectory(tree.span)
  }

  /// Moves the tree into a pending snapshot.
  func move(into directory: Directory, as name: [UInt8]) throws(Errno) {
    try FetchDirectory.move(FetchDirectory.Place.tree, of: place.directory, to: directory, as: name)
    present.withLock { $0 = (directory, name) }
  }

  /// Moves the tree back from a snapshot that was not published, for another attempt.
  func takeBack() {
    present.withLock { found in
      guard let (directory, name) = found else { return }
      found = nil
      // Without the tree, the next attempt leaves the source out.
      let tree = FetchDirectory.Place.tree
      try? FetchDirectory.move(name, of: directory, to: place.directory, as: tree)
    }
  }
}

/// Describes the entries of one directory of a fetched tree. All are in the snapshot already.
struct PlacedStorer: EntryStoring {
  private let directory: DirectoryContext
  private let files: PlacedFiles
  private let tree: FetchedTree?

  init(of directory: DirectoryContext, in files: PlacedFiles, of tree: FetchedTree?) {
    self.directory = directory
    self.files = files
    self.tree = tree
  }

  func link(_ row: FileRow, named range: Range<Int>) -> Bool {
    directory.encoder.append(row, of: directory.record!, hints: PlacedFiles.hints(storedInode: row.hints.storedInode))
    tree?.noteKnown(row.hints.storedInode)
    return true
  }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) -> Bool { false }

  func record(_ entry: NewEntry, as name: [UInt8]) { directory.encoder.append(name.span, entry) }

  func store(_ source: SourceEntry) throws -> NewEntry? {
    let (node, status) = (directory.node, source.status)
    if let row = source.row, files.isChangedInPlace(row, accordingTo: status) {
      throw node.refusal(
        at: source.name,
        because: "is not what the catalog of the snapshot \(node.build.tree!.name) says; run treering verify",
        kind: .damaged)
    }
    if files.isForeign(status, row: source.row) {
      tree?.noteForeign(status.inode, at: node.sourcePath(of: source.name))
    } else {
      tree?.noteKnown(status.inode)
    }
    do {
      let entry = try files.entry(
        named: source.name, status: status, in: node.source!, with: directory.worker.tools.reader)
      directory.countPlaced(entry, status: status, comparedWith: source.row)
      return entry
    } catch let trouble as PlacedFiles.Trouble { throw node.refusal(at: source.name, because: trouble.words) }
  }
}

extension DirectoryContext {
  /// Counts an entry of a fetched tree that the base does not have as it is.
  func countPlaced(_ entry: NewEntry, status: FileStatus, comparedWith row: FileRow?) {
    let progress = context.progress
    if row?.hints.storedInode != entry.hints.storedInode {
      progress.copied.count()
      progress.bytesCopied.count(min(entry.size, status.blocks &* 512))
    }
    guard let row, row.kind == .regular, entry.kind == .regular else { return }
    let isSame = row.size == entry.size && row.digest == entry.digest
    if isSame { node.tally?.unchanged.count() } else { node.tally?.changed.count() }
  }
}

extension SnapshotNode {
  /// The refusal of a fetched source with an entry that cannot be described: a source is whole, or left out.
  func refusal(at name: [UInt8]?, because words: String, kind: Failure.Kind = .failed) -> SourceRefusal {
    let path = name.map(sourcePath(of:)) ?? sourcePath
    return SourceRefusal(
      path: self.tally?.path ?? sourcePath, failure: Failure(kind, "\(displayName(path)) \(words)", path: path))
  }
}

// The directories of a fetched tree.
extension SnapshotWork {
  /// Moves the tree of a source into the snapshot. Its directories are those of the snapshot.
  func place(_ node: SnapshotNode) throws -> Bool {
    guard let source = node.source else { return false }
    do throws(Errno) {
      if node.isSource, let tree = options.fetchedTree(of: node.sourcePath), let above = node.parent?.build.target {
        try tree.move(into: above, as: node.name)
        node.sourceStatus = try source.descriptor.status()
      }
      node.build.target = source
      node.build.targetStatus = node.sourceStatus
    } catch { throw node.refusal(at: nil, because: "cannot be moved into the snapshot: \(error)") }
    guard node.sourceStatus?.mount == node.parent?.build.targetStatus?.mount else {
      throw node.refusal(at: nil, because: "is a mount point in the repository; unmount it")
    }
    node.build.hints = PlacedFiles.hints(storedInode: 0)
    return true
  }

  /// Closes the record of a directory. Its metadata are those of the source already.
  func closePlaced(_ node: SnapshotNode, with worker: SnapshotWorker) throws {
    guard let source = node.source, let status = node.sourceStatus else { return }
    guard let now = try? source.descriptor.status(), now.isSameState(as: status) else {
      throw node.refusal(at: nil, because: "changed while it was read")
    }
    if node.isSource, let path = try options.fetchedTree(of: node.sourcePath)?.foreignPath() {
      throw SourceRefusal(
        path: node.sourcePath,
        failure: Failure(.failed, "\(displayName(path)) is neither a file of the host nor a stored one", path: path))
    }
    try node.closeRecord(into: worker.tools.writer, with: worker.tools.hasher)
  }
}

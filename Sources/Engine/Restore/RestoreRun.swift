internal import Catalog
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// The treatment of an entry that already exists at the destination.
public enum Overwrite: String, CaseIterable, Sendable {
  /// The entry stays, and is reported.
  case never
  /// The entry is replaced if kind, size, time, mode, owner or link target differ from the snapshot's. A regular file
  /// whose metadata alone differ keeps its content, here and with `ifDifferent`, unless it has another owner.
  case ifChanged = "if-changed"
  /// The entry is replaced if anything differs: content, attributes and hard links are compared, too.
  case ifDifferent = "if-different"
  /// The entry is replaced.
  case always
}

public struct RestoreOptions: Sendable {
  /// Paths from the snapshot's root, label first; empty for everything.
  public var paths: [TreePath]
  /// The destination as the operator named it; made if it does not exist.
  public var destination: [UInt8]
  public var overwrite: Overwrite
  /// An entry that was modified after the snapshot's stays.
  public var keepsNewer = false
  public var isDryRun: Bool
  public var threads: ThreadCount
  /// Replaced and removed entries are moved into dated directories; `nil` if nothing is removed, and what is replaced
  /// is gone.
  public var displacement: Displacement?
  /// Symbolic links that lead to restored directories, or stand in the place of one, are followed.
  public var followsLinks = false
  /// The directory of the snapshot whose content becomes that of the destination; `nil` for that of the label.
  public var top: TreePath?

  /// The treatment of the destination's own entries by a restore in place.
  public struct Displacement: Sendable {
    /// Removes entries of the restored directories that the snapshot does not have.
    public var removesOthers: Bool
    /// Keeps the displaced entries; otherwise they are deleted at the end.
    public var isKept: Bool
    /// By source: the rules by which snapshots leave entries out. Such entries are not removed.
    public var excludes: [[UInt8]: Excludes] = [:]
    /// The time in the name of the dated directories.
    public var time = Clock.now()
    /// Decides about each change of a present entry; `nil` if all are wanted. A change that nobody saw in the plan is
    /// not made.
    public var approves: (@Sendable (RestoreChange) -> Bool)?

    public init(removesOthers: Bool, isKept: Bool) { (self.removesOthers, self.isKept) = (removesOthers, isKept) }
  }

  public init(paths: [TreePath], destination: [UInt8], overwrite: Overwrite, isDryRun: Bool, threads: ThreadCount) {
    self.paths = paths
    self.destination = destination
    self.overwrite = overwrite
    self.isDryRun = isDryRun
    self.threads = threads
  }
}

public struct RestoreResult: Sendable {
  /// Stored files whose bytes differ from the catalog; they are restored unchanged, and named.
  public var damaged: UInt64
  /// Entries with another owner, because only root may give files away.
  public var ownersNotSet: UInt64
  /// The directories with the displaced entries; in a dry run those that would be made.
  public var kept: [[UInt8]]
  public var elapsedSeconds: Double
}

/// Copies a snapshot, or some paths of it, back.
///
/// The snapshot's label is left out, so that with the destination `/` everything returns to its place. Nothing
/// outside the destination is changed, even through symbolic links in it, unless they are to be followed. Nothing is
/// deleted.
public func restore(
  _ snapshot: Snapshot, from store: any SnapshotStore, options: RestoreOptions, progress: Progress,
  monitor: any Monitor
) throws -> RestoreResult {
  try restore(snapshot, from: store, into: nil, options: options, progress: progress, monitor: monitor)
}

/// Restores into a new directory that is already open; the destination's path is for messages alone.
func restore(
  _ snapshot: Snapshot, from store: any SnapshotStore, into directory: Directory?, options: RestoreOptions,
  progress: Progress, monitor: any Monitor
) throws -> RestoreResult {
  let start = Clock.monotonic()
  let repository = store.local
  // Local trees are read by all threads.
  let fetcher = repository == nil ? store.contents(of: snapshot.name) : nil
  // A restore goes on even if nothing can be locked.
  let use = try? repository?.locks.lockShared(snapshot.name)
  defer { withExtendedLifetime(use) {} }
  let catalog = try store.openCatalog(of: snapshot.name)
  let reader = CatalogReader(reading: catalog)
  let (label, top) = try restoredDirectory(of: options, in: snapshot, reader: reader) {
    progress.warnings.count()
    monitor.warn(Warning(path: $0, message: "this label is not restored; name a path that begins with it"))
  }
  let stored = try fetcher == nil ? repository.map { try openStored(snapshot.name, label: label, in: $0) } : nil
  let (destination, isNew) = try directory.map { ($0, true) } ?? openDestination(of: options)
  let selection =
    options.paths.isEmpty || options.paths.contains { $0.isEmpty || $0 == label }
    ? nil : PathPlan(paths: options.paths.map { $0.dropFirst(label.count) })
  try expect(selection == nil ? [label] : options.paths, in: reader, progress: progress)
  let work = RestoreWork(
    catalog: catalog, options: options, repository: repository, destination: destination, label: label,
    fetcher: fetcher, progress: progress, monitor: monitor)
  // The directories above the sources were not requested either, even if a path names them.
  let sources = PathPlan(sources: snapshot.summary.sources.map { TreePath(parsing: $0) })
  let leadsToSources = label == [snapshot.summary.label] && !sources.children.isEmpty && !sources.isSource
  try refuseRemoval(by: options, from: snapshot)
  if let destination, !isNew {
    if let plan = selection ?? (leadsToSources ? sources : nil) {
      try work.checkLinks(to: plan, in: destination, path: [], reader: reader)
    } else {
      try work.checkLinks(below: top, in: destination, path: [], reader: reader)
    }
  }
  let root = WalkNode(
    RestoreDirectory(
      subtree: top, selection: selection, sources: leadsToSources ? sources : nil, stored: stored?.directory,
      target: destination, isNew: isNew))
  if let damage = stored?.damage {
    work.reportDamage(at: work.path([]), "no file is restored: the stored directory cannot be opened: \(damage)")
  }
  defer { work.end() }
  do { try walkTree(work, from: root, threads: fetcher == nil ? options.threads : 1) } catch {
    work.endRecord(isWhole: false)
    work.nameKept()
    throw error
  }
  work.endRecord(isWhole: true)
  try work.discardDisplaced()
  return RestoreResult(
    damaged: work.damaged.value, ownersNotSet: work.gaps.ownersNotSet, kept: work.keptPaths,
    elapsedSeconds: Clock.monotonic() - start)
}

private func refuseRemoval(by options: RestoreOptions, from snapshot: Snapshot) throws(Failure) {
  guard options.displacement?.removesOthers == true, snapshot.summary.sources.isEmpty else { return }
  throw Failure(
    .refused, "the sources of the snapshot \(snapshot.name) are not known, so nothing can be removed beside them",
    hint: "restore without --delete")
}

/// Counts the entries and bytes that are to be restored.
private func expect(_ paths: [TreePath], in reader: CatalogReader, progress: Progress) throws {
  var totals = Totals(entries: 0, bytes: 0)
  for path in paths {
    switch try? reader.find(path) {
    case .directory(_, let subtree):
      totals.entries += subtree.totals.entries
      totals.bytes += subtree.totals.bytes
    case .file(let row, _):
      totals.entries += 1
      totals.bytes += row.kind == .regular ? row.size : 0
    case nil: break
    }
  }
  progress.expectedEntries.store(totals.entries, ordering: .relaxed)
  progress.expectedBytes.store(totals.bytes, ordering: .relaxed)
}

/// The directory to restore: that of the label which the paths name, or of the snapshot's own.
///
/// An adopted snapshot may have several labels; the others are given to `others`.
private func restoredDirectory(
  of options: RestoreOptions, in snapshot: Snapshot, reader: CatalogReader, others: ([UInt8]) -> Void
) throws -> (label: TreePath, Subtree) {
  if let top = options.top { return (top, try subtree(at: top, in: snapshot, reader: reader)) }
  let labels = Set(options.paths.compactMap(\.first))
  guard labels.count <= 1 else {
    throw Failure(
      .usage, "the paths are below different labels: \(labels.map(displayName).sorted().joined(separator: ", "))",
      hint: "restore them one label at a time")
  }
  let label: TreePath = [labels.first ?? snapshot.summary.label]
  if options.paths.isEmpty, let record = try? reader.root(), let rows = try? record.directories() {
    // Dumps are no files of this machine, and no one misses them here.
    for other in rows.map({ Array(record.bytes[$0.name]) })
    where other != label[0] && !(other == DatabaseRecord.label && !snapshot.summary.databases.isEmpty) {
      others(other)
    }
  }
  return (label, try subtree(at: label, in: snapshot, reader: reader))
}

private func subtree(at place: TreePath, in snapshot: Snapshot, reader: CatalogReader) throws -> Subtree {
  do {
    guard case .directory(_, let subtree)? = try reader.find(place)
    else { throw CatalogError("the catalog has no directory of its label") }
    return subtree
  } catch let error as CatalogError { throw Failure(.damaged, "the catalog of \(snapshot.name) is damaged: \(error)") }
}

/// Opens the stored directory of the walk's root. Returns the damage if the repository has lost it.
///
/// Throws if the directory cannot be opened now, which is no damage: no file could be restored.
private func openStored(
  _ snapshot: SnapshotName, label: TreePath, in repository: Repository
) throws(Failure) -> (directory: Directory?, damage: String?) {
  let tree: Directory
  do throws(Failure) { tree = try repository.openTree(of: snapshot) } catch {
    guard error.kind == .damaged else { throw error }
    return (nil, error.message)
  }
  do throws(Errno) { return (try tree.directory(path: label), nil) } catch {
    guard error.leavesDataUnknown else { return (nil, "\(error)") }
    let path = (snapshot.bytes + label).bytes(below: repository.path)
    throw Failure(
      .failed, "cannot open the stored directory \(displayName(path)): \(error)", path: path,
      hint: "nothing was restored")
  }
}

private func openDestination(of options: RestoreOptions) throws(Failure) -> (Directory?, isNew: Bool) {
  let path = options.destination
  let shown = displayName(path)
  func refuseRepository(_ directory: borrowing Descriptor) throws {
    if try Repository.isInside(directory) {
      throw Failure(
        .usage, "the destination \(shown) is in a repository, where nothing may change",
        hint: "name another directory")
    }
  }
  do {
    let (parent, name) = splitLast(of: path)
    let place = try Descriptor.open(path: parent, [.pathOnly, .directory])
    if !options.followsLinks, !name.isEmpty, try place.statusIfPresent(of: name.span)?.kind == .symbolicLink {
      throw linkRefusal(at: path, to: try? place.readSymbolicLink(name.span), hint: "name its target")
    }
    if let directory = try existingDirectory(at: path) {
      try refuseRepository(directory.descriptor)
      return (directory, false)
    }
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    try refuseRepository(above.descriptor)
    if options.isDryRun { return (nil, true) }
    try above.descriptor.makeDirectory(name.span, mode: 0o700)
    let directory = try above.directory(name.span)
    try directory.descriptor.dropACLsWherePossible()
    return (directory, true)
  } catch let failure as Failure {
    throw failure
  } catch let error as Errno {
    throw Failure(
      .usage, "cannot use the destination \(shown): \(error)",
      hint: error == .noSuchEntry ? "the directory above it must exist" : nil)
  } catch { throw Failure(.failed, "\(error)") }
}

/// The refusal of a symbolic link in the place of a directory.
func linkRefusal(at path: [UInt8], to target: [UInt8]?, hint: String) -> Failure {
  Failure(
    .refused,
    "\(displayName(path)) is a symbolic link\(target.map { " to \(displayName($0))" } ?? "") in the place of a "
      + "directory; nothing was restored",
    path: path, hint: "restore through the link with --follow-destination-links, or \(hint)")
}

private func existingDirectory(at path: [UInt8]) throws(Errno) -> Directory? {
  do { return Directory(try Descriptor.open(path: path, [.read, .directory])) } catch {
    guard error == .noSuchEntry else { throw error }
    return nil
  }
}

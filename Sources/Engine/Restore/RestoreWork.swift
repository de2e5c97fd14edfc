internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// A directory of a snapshot that is being restored.
struct RestoreDirectory {
  let subtree: Subtree
  /// The wanted part of the directory; `nil` for everything.
  let selection: PathPlan?
  /// For a directory above the snapshot's sources: the sources below it.
  let sources: PathPlan?
  /// The directory in the repository; `nil` if it is missing there.
  var stored: Directory?
  /// The directory at the destination; `nil` in a dry run if it does not exist.
  var target: Directory?
  /// True if this run made the directory.
  var isNew = false
  /// True for a mount point whose file system is not in the snapshot.
  var isOtherFileSystem = false
  /// The mount of the requested directory; entries of other mounts below it are not removed.
  var removalMount: UInt64?
  /// The kind of the entry that this run replaced by the directory.
  var kindBefore: EntryKind?
  /// The mode that a directory had before it was made writable.
  var modeBeforeUnlock: UInt32?
  var record: DirectoryRecord?
  var status: FileStatus?
  var spelling = NameSpelling.unknown

  /// True if an entry of this name is wanted, or leads to a wanted entry.
  func selects(_ name: @autoclosure () -> [UInt8]) -> Bool { selection.map { $0.below(name()) != nil } ?? true }

  /// True if the directory only leads to restored entries.
  var isOnlyOnPath: Bool { selection != nil || sources != nil }
}

typealias RestoreNode = WalkNode<RestoreDirectory>

/// The key by which the names of one inode in the snapshot become names of one inode again.
struct RestoredInode: Hashable, Sendable {
  var group: UInt64
  var digest: ContentDigest
}

final class RestoreWorker {
  let reader: CatalogReader
  let files: FileReader
  let tools = AssemblyTools()
  var listing = DirectoryListing()
  private var names: TemporaryNames
  init(reader: CatalogReader, files: FileReader) throws(Errno) {
    (self.reader, self.files) = (reader, files)
    names = try TemporaryNames()
  }

  func temporaryName() -> [UInt8] { names.next() }
}

/// The work of a restore: in each directory, the merge of three lists of names.
///
/// They are the catalog's names, the wanted names and the names at the destination.
final class RestoreWork: TreeWork {
  let catalog: OpenCatalog
  let options: RestoreOptions
  let destination: Directory?
  /// The path of the walk's root in the snapshot.
  let label: TreePath
  /// `nil` if the stored files are in this repository.
  let fetcher: (any ContentFetcher)?
  let progress: Progress
  let monitor: any Monitor
  let damaged = Atomic<UInt64>(0)
  let links = HardLinks<RestoredInode, Void>()
  let gaps: RestoreGaps
  let isRoot = CurrentProcess.effectiveUser == 0
  /// The place of displaced entries; `nil` if none are kept or removed.
  let kept: KeptEntries?
  let removals: RestoreRemovals?
  /// The repository, which must not be written to; `nil` if it is remote.
  let repository: Repository?
  /// The directories that were made writable and have not been left.
  let opened = Mutex<[ObjectIdentifier: RestoreNode]>([:])
  /// The directories that this run made and has not left.
  private let unfinished = Mutex<[ObjectIdentifier: RestoreNode]>([:])
  /// By device: true if all names of an inode show its number.
  private let numbering = Mutex<[UInt64: Bool]>([:])

  init(
    catalog: OpenCatalog, options: RestoreOptions, repository: Repository?, destination: Directory?, label: TreePath,
    fetcher: (any ContentFetcher)?, progress: Progress, monitor: any Monitor
  ) {
    self.repository = repository
    gaps = RestoreGaps(counting: progress)
    self.label = label
    self.fetcher = fetcher
    self.catalog = catalog
    self.options = options
    self.destination = destination
    self.progress = progress
    self.monitor = monitor
    kept = options.displacement.map {
      KeptEntries(at: $0.time, below: options.destination, hasJournal: $0.isKept && !options.isDryRun)
    }
    removals =
      options.displacement?.removesOthers == true
      ? RestoreRemovals(excludes: options.displacement!.excludes) : nil
  }

  func makeWorker() throws -> RestoreWorker {
    try RestoreWorker(reader: CatalogReader(reading: catalog), files: FileReader(for: .restoring, counting: progress))
  }

  func finish(with worker: RestoreWorker) throws {}

  /// The path of an entry at the destination.
  func path(of node: RestoreNode, named name: [UInt8]? = nil) -> [UInt8] { path(node.path + name) }

  func path(_ path: TreePath) -> [UInt8] { path.bytes(below: options.destination) }

  func warn(at path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  func reportDamage(at path: [UInt8], _ message: String) {
    damaged.count()
    monitor.warn(Warning(path: path, message: message))
  }

  /// Reports an entry that the repository cannot deliver.
  ///
  /// It is damage, unless this user or this process lacks rights or resources.
  func reportUnreadable(at path: [UInt8], message: String, because error: Errno) {
    if error.leavesDataUnknown {
      warn(at: path, "\(message): \(error)")
    } else {
      reportDamage(at: path, "\(message): \(error)")
    }
  }

  func reportLeft(at path: [UInt8], _ message: String) {
    progress.left.count()
    monitor.warn(Warning(path: path, message: message))
  }

  /// True if the next entry would fail too. A single directory can also be full on a disk with room.
  func endsRestore(_ error: Errno, in directory: Directory) -> Bool {
    // A shortage may pass; missing entries are named.
    guard error == .noSpace else { return error.endsRun && !error.isShortage }
    return (try? directory.descriptor.fileSystem())?.hasRoom != true
  }

  func failure(_ what: String, at path: [UInt8], because error: Errno) -> Failure {
    var failure = Failure.writing(what, at: path, because: error)
    if failure.kind == .noSpace { failure.hint = "free some space or inodes on the destination's file system" }
    return failure
  }

  /// True if further names of an inode show its number on this device.
  func numbersInodes(onDevice device: UInt64, in directory: Directory) throws(Errno) -> Bool {
    if let known = numbering.withLock({ $0[device] }) { return known }
    let found = try directory.descriptor.numbersInodes()
    numbering.withLock { $0[device] = found }
    return found
  }

  // MARK: Entering a directory

  func enter(_ node: RestoreNode, with worker: RestoreWorker) throws -> [RestoreNode] {
    guard try openTarget(of: node, with: worker) else { return [] }
    progress.entries.count()
    if node.isNew { progress.directories.count() }
    openStored(of: node)
    let record: DirectoryRecord
    do { record = try worker.reader.record(at: node.subtree.place, for: node.subtree.digest) } catch {
      reportDamage(at: path(of: node), "is not restored, because its record in the catalog is damaged: \(error)")
      return []
    }
    node.record = record
    if removals != nil, !node.isOnlyOnPath {
      // A path of the operator, or a source, may be a mount point itself.
      node.removalMount = node.parent.map(\.isOnlyOnPath) ?? true ? node.status?.mount : node.parent?.removalMount
    }
    do throws(CatalogError) { node.isOtherFileSystem = try isOtherFileSystem(node, record: record) } catch {
      reportDamage(at: path(of: node), "is not restored, because its record is damaged: \(error)")
      return []
    }
    do throws(Errno) { try reportDirectory(node, record: record) } catch {
      warn(at: path(of: node), "is not restored, because its metadata could not be kept: \(error)")
      return []
    }
    if node.isNew, node.target != nil { unfinished.withLock { $0[ObjectIdentifier(node)] = node } }
    do { return try enterEntries(of: node, record: record, with: worker) } catch let error as CatalogError {
      reportDamage(at: path(of: node), "is restored in part, because its record is damaged: \(error)")
      return []
    }
  }

  /// Restores the files of a directory, and returns its sub-directories.
  private func enterEntries(
    of node: RestoreNode, record: DirectoryRecord, with worker: RestoreWorker
  ) throws -> [RestoreNode] {
    try examineOthers(in: node, record: record, with: worker)
    var files = try FileCursor(of: record)
    let merge = RestoreMerge(work: self, node: node, record: record, worker: worker)
    // All wanted files of a directory are requested before the first is awaited.
    var wanted: [FileRow] = []
    func take(_ row: FileRow) throws {
      wanted.append(row)
      if wanted.count == RestoreMerge.batch { try restoreAll() }
    }
    func restoreAll() throws {
      try merge.restore(wanted)
      wanted.removeAll(keepingCapacity: true)
    }
    var children: [RestoreNode] = []
    while let row = files.current {
      if node.state.selects(Array(record.bytes[row.name])) { try take(row) }
      try files.advance()
    }
    try restoreAll()
    for row in try files.directories() {
      let name = Array(record.bytes[row.name])
      if node.state.selects(name) { children.append(child(of: node, name: name, row: row)) }
    }
    return children
  }

  private func child(of node: RestoreNode, name: [UInt8], row: DirectoryRow) -> RestoreNode {
    let selection = node.selection?.below(name)
    let sources = node.sources?.below(name)
    return RestoreNode(
      parent: node, name: name,
      RestoreDirectory(
        subtree: Subtree(row), selection: selection?.isSource == true ? nil : selection,
        sources: sources?.isSource == true ? nil : sources))
  }

  /// Opens the directory in the repository. A failure is reported once, not for each file below.
  private func openStored(of node: RestoreNode) {
    guard let stored = node.parent?.stored else { return }
    let name = node.name
    do { node.stored = try stored.directory(name.span) } catch {
      reportUnreadable(
        at: path(of: node), message: "no file below it is restored: the stored directory cannot be opened",
        because: error)
    }
  }

  /// Looks at the entries of an existing directory that the snapshot does not have. Removes the temporary files that a
  /// killed restore left, and with `removesOthers` the others.
  private func examineOthers(in node: RestoreNode, record: DirectoryRecord, with worker: RestoreWorker) throws {
    guard !node.isNew, !node.isOnlyOnPath, let target = node.target, removals != nil || !options.isDryRun
    else { return }
    do throws(Errno) { try worker.listing.read(target.descriptor) } catch {
      warn(at: path(of: node), "cannot be listed: \(error)")
      return
    }
    defer { worker.listing.trim() }
    let names = worker.listing.bytes
    let index = RecordIndex(of: record)
    let removesOthers = try removesOthers(in: node, record: record, listing: worker.listing)
    for entry in worker.listing.entries {
      let name = names.span.extracting(entry.range)
      let isTemporary = !entry.isSurelyDirectory && TemporaryNames.contains(names[entry.range])
      guard isTemporary || removesOthers, try index.file(named: name) == nil, try index.directory(named: name) == nil
      else { continue }
      if isTemporary {
        if !options.isDryRun { target.descriptor.discardTemporary(name) }
      } else if !KeptEntries.contains(names[entry.range]) {
        try remove(Array(names[entry.range]), from: node)
      }
    }
  }

  /// Makes or opens the directory; false if an entry of another kind stays in its place.
  private func openTarget(of node: RestoreNode, with worker: RestoreWorker) throws -> Bool {
    guard let parent = node.parent else {
      guard let target = node.target else { return true }
      do throws(Errno) {
        node.status = try target.descriptor.status()
        if !node.isNew { try makeWritable(in: node, directory: target) }
        return true
      } catch { throw failure("use the destination", at: path(of: node), because: error) }
    }
    guard let above = parent.target else {
      node.isNew = true  // A dry run, below a directory that would be new.
      return true
    }
    do throws(Errno) {
      guard try prepare(in: node, in: above) else { return false }
      guard let directory = try open(node, in: above) else { return true }
      let status = try directory.descriptor.status()
      if node.isNew {
        if try !above.descriptor.isOwn(status) {
          warn(at: path(of: node), "was replaced by another program during the restore")
          return false
        }
        if !parent.isNew { try directory.descriptor.dropACLsWherePossible() }
      }
      node.status = status
      if !node.isNew, try isInRepository(directory, in: node, with: worker) {
        reportLeft(
          at: path(of: node),
          "is a repository, or a mount that shows a part of one; left as it is, with nothing below it restored")
        return false
      }
      node.target = directory
      if !node.isNew { try makeWritable(in: node, directory: directory) }
      return true
    } catch {
      if endsRestore(error, in: above) { throw failure("make the directory", at: path(of: node), because: error) }
      let isOther = error == .symbolicLoop || error == .notADirectory
      warn(
        at: path(of: node),
        isOther
          ? "was replaced by something else while it was restored"
          : "cannot be \(node.isNew ? "made" : "opened"), and nothing below it is restored: \(error)")
      return false
    }
  }

  /// Makes the directory if it is missing; false if an entry of another kind stays in its place.
  private func prepare(in node: RestoreNode, in above: Directory) throws(Errno) -> Bool {
    let name = node.name
    let existing = try above.descriptor.statusIfPresent(of: name.span)
    if existing != nil, node.parent!.isNew {
      reportLeft(
        at: path(of: node),
        "is one name with another to the file system, or appeared meanwhile; nothing below it is restored")
      return false
    }
    node.status = existing
    if existing != nil, try isOneWithAnother(name, in: node.parent!) { return false }
    if existing?.kind == .directory { return true }
    if let existing {
      if existing.kind == .symbolicLink, try openLink(existing, at: node, in: above) != nil { return true }
      let found = "is a \(existing.kind?.word ?? "thing of another kind")"
      let left = "left as it is, with nothing below it restored"
      if node.isOnlyOnPath {
        reportLeft(
          at: path(of: node),
          "\(found) where the snapshot has a directory, and only leads to what is restored; \(left); restore to another "
            + "directory, or move \(displayName(path(of: node))) away")
        return false
      }
      guard options.overwrite != .never else {
        reportLeft(at: path(of: node), "exists and is not a directory; \(left)")
        return false
      }
      guard existing.kind != .symbolicLink else {
        reportLeft(at: path(of: node), "\(found) where the snapshot has a directory; \(left); remove the link first")
        return false
      }
      let change = RestoreChange(
        verb: .changed, path: path(of: node), kind: .directory, kindBefore: existing.kind, aspects: [], byteCount: nil,
        present: PresentEntry(existing))
      guard isApproved(change) else { return false }
      node.kindBefore = existing.kind
    }
    node.isNew = true
    let sign: RecordedChange.Sign = existing == nil ? .added : .replaced
    try announce(sign, of: name, in: node.parent!)
    if options.isDryRun { return true }
    if existing != nil {
      if let kept { try kept.move(named: name, from: node.parent!) } else { try above.descriptor.unlink(name.span) }
    }
    try above.descriptor.makeDirectory(name.span, mode: UInt32(Self.unfinishedMode))
    recordChange(sign, of: name, in: node.parent!)
    return true
  }

  /// Opens the directory; `nil` in a dry run that cannot open it.
  private func open(_ node: RestoreNode, in above: Directory) throws(Errno) -> Directory? {
    if node.isNew && options.isDryRun { return nil }
    let name = node.name
    if let link = node.status, link.kind == .symbolicLink {
      guard let target = try openLink(link, at: node, in: above) else { throw .symbolicLoop }
      return target
    }
    do throws(Errno) { return try above.directory(name.span) } catch {
      guard error == .accessDenied, let status = node.status, mayMakeWritable(status) else { throw error }
      if options.isDryRun {
        node.isNew = true
        return nil
      }
      remember(in: node, permissions: status.permissions)
      try above.descriptor.unlock(name.span)
      return try above.directory(name.span)
    }
  }

  /// True for an existing directory that is a repository, or lies in one because of a mount.
  ///
  /// A repository that is part of the snapshot itself is an ordinary tree.
  private func isInRepository(_ directory: Directory, in node: RestoreNode, with worker: RestoreWorker) throws(Errno)
    -> Bool
  {
    let status = node.status!
    if let repository, status.isSameInode(as: repository.identity) { return true }
    if status.mount != node.parent!.status?.mount { return try Repository.isInside(directory.descriptor) }
    guard try Repository.isRepository(directory) else { return false }
    return !hasRepository(in: node, with: worker)
  }

  private func hasRepository(in node: RestoreNode, with worker: RestoreWorker) -> Bool {
    guard let record = try? worker.reader.record(at: node.subtree.place, for: node.subtree.digest),
      let rows = try? record.directories()
    else { return false }
    return rows.contains { Array(record.bytes[$0.name]) == Repository.controlName }
  }

  /// Called after the walk, even if it failed.
  func end() {
    for node in unfinished.withLock({ Array($0.values) }) {
      // The walk has ended with its own error. A later run takes these directories for existing ones.
      if let record = node.record, let target = node.target {
        _ = try? setMetadata(of: node, record: record, target: target)
      }
    }
    for node in opened.withLock({ Array($0.values) }) { close(node) }
    gaps.report(warn) { monitor.warn(Warning(path: $0, message: $1)) }
  }

  // MARK: Leaving a directory

  /// The mode of a directory that a restore has made and not finished. The next run after a kill knows it by that.
  private static let unfinishedMode: UInt16 = 0o1700

  /// True for a directory that this restore, or an earlier one that was killed, made and has not finished.
  private func isUnfinished(_ node: RestoreNode) -> Bool {
    if node.isNew { return true }
    guard let status = node.status, status.metadata.permissions == Self.unfinishedMode else { return false }
    let metadata = node.record?.metadata
    return metadata?.permissions != Self.unfinishedMode
      && [CurrentProcess.effectiveUser, metadata?.user].contains(status.user)
  }

  func leave(_ node: RestoreNode, with worker: RestoreWorker) throws {
    defer {
      close(node)
      node.stored = nil
      node.target = nil
      node.record = nil
    }
    unfinished.withLock { _ = $0.removeValue(forKey: ObjectIdentifier(node)) }
    let isUnfinished = isUnfinished(node)
    if isUnfinished, node.record?.isSynthetic != false, !options.isDryRun {
      // Without metadata of its own in the snapshot, it stays private.
      try? node.target?.descriptor.setPermissions(0o700)
    }
    guard let record = node.record, let target = node.target, !record.isSynthetic,
      // A directory that only leads to wanted entries is the operator's.
      isUnfinished || !node.isOnlyOnPath, !node.isOtherFileSystem
    else { return }
    do throws(Errno) {
      // With `never`, an existing directory is the operator's too. If it had the snapshot's metadata, it must not
      // lose them because entries were added.
      if !isUnfinished, options.overwrite == .never, try !hadMetadata(of: node, record: record, target: target) {
        return gaps.addLeft(path(of: node))
      }
      if !options.isDryRun { try setMetadata(of: node, record: record, target: target) }
    } catch {
      if endsRestore(error, in: target) { throw failure("set the metadata of", at: path(of: node), because: error) }
      warn(at: path(of: node), "its metadata could not be set: \(error)")
    }
  }

  /// True if a directory already had the snapshot's metadata, apart from an owner that only root may set.
  private func hadMetadata(of node: RestoreNode, record: DirectoryRecord, target: Directory) throws(Errno) -> Bool {
    guard var found = node.status?.metadata else { return false }
    if let mode = node.modeBeforeUnlock { found.permissions = UInt16(mode) }
    if !isRoot { (found.user, found.group) = (record.metadata.user, record.metadata.group) }
    if found != record.metadata { return false }
    return AttributeBlock(try target.descriptor.extendedAttributes()).isStored(as: record.attributes)
  }

  private func setMetadata(of node: RestoreNode, record: DirectoryRecord, target: Directory) throws(Errno) {
    if record.isSynthetic { return }
    let status = try target.descriptor.status()
    if node.modeBeforeUnlock == nil, status.metadata == record.metadata,
      AttributeBlock(try target.descriptor.extendedAttributes()).isStored(as: record.attributes)
    {
      return
    }
    let missing = try Engine.setMetadata(
      record.metadata, attributes: record.attributes, to: target.descriptor, by: .descriptor, currently: status,
      mayHaveOthers: !node.isNew)
    // The directory has the snapshot's mode now.
    if !missing.contains(.mode) { forget(node) }
    gaps.add(missing, at: path(of: node))
  }
}

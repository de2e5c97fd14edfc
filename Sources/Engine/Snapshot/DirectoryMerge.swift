internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The merge of one directory: the source's names on one side, the previous catalog's on the other.
struct DirectoryMerge {
  private let work: SnapshotWork
  private let node: SnapshotNode
  private let encoder: RecordEncoder
  private let moment: Timestamp
  private let worker: SnapshotWorker
  private let source: Directory
  /// `nil` for a look-ahead.
  private let target: Directory?
  private let baseTree: Directory?
  private let record: DirectoryRecord?
  private var merge: ListingMerge
  /// For a moved directory: the directory at its path in the snapshot that the source is compared with.
  private let overlaid: RecordIndex?
  /// The compared snapshot's entries that the source no longer has.
  private var gone: UInt64 = 0
  private let inodes: StoredInodes

  init(
    _ work: SnapshotWork, _ node: SnapshotNode, _ record: DirectoryRecord?, overlaid: DirectoryRecord?,
    _ encoder: RecordEncoder, _ moment: Timestamp, _ worker: SnapshotWorker
  ) throws {
    self.work = work
    self.node = node
    self.record = record
    self.encoder = encoder
    self.moment = moment
    self.worker = worker
    source = node.source!
    target = node.build.target
    baseTree = node.build.baseTree
    merge = try ListingMerge(worker.listing, record)
    self.overlaid = overlaid.map { RecordIndex($0) }
    if let overlaid { gone = try overlaid.directories().reduce(UInt64(overlaid.fileCount)) { $0 &+ $1.totals.entries } }
    inodes = StoredInodes(node, record, worker, listsInodes: work.capabilities.listsInodes)
  }

  mutating func run() throws {
    var (count, linked): (UInt64, UInt64) = (0, 0)
    defer {
      work.progress.linked.count(linked)
      if node.isMoved { work.progress.moved.count(linked) }
      node.tally?.unchanged.count(linked)
    }
    while let pair = try merge.nextEntry() {
      let (listed, before) = pair.sides
      guard let entry = listed, let status = try statusOfFile(entry) else {
        if before != nil, !node.isMoved { gone &+= 1 }
        continue
      }
      count += 1
      if count & 0xFF == 0 {
        work.progress.entries.count(256)
        work.progress.files.count(256)
        try checkForSignal()
      }
      if try isLinked(entry.range, status, before) { linked += 1 }
    }
    work.progress.entries.count(count & 0xFF)
    work.progress.files.count(count & 0xFF)
    try addDirectories()
  }

  /// The status of a listed name; `nil` for a directory, which is kept for later, and for a name to skip.
  @inline(__always)
  private mutating func statusOfFile(_ entry: ListingMerge.Entry) throws -> FileStatus? {
    let names = worker.listing.bytes
    if let tag = node.tag, names[entry.range] != tag.name[...], planned(entry.range) == nil { return nil }
    try node.comeToSpare(names.span.extracting(entry.range))
    if !entry.isSurelyDirectory {
      do throws(Errno) {
        let status = try source.descriptor.status(of: names.span.extracting(entry.range))
        if status.kind != .directory { return status }
      } catch {
        try lost(entry.range, error)
        return nil
      }
    }
    merge.mergeAsDirectory(entry, isRecycled: node.build.recycled?.keepsDirectory() ?? false)
    return nil
  }

  /// True if the file is unchanged and was linked; otherwise it is stored or left out.
  @inline(__always)
  private mutating func isLinked(_ range: Range<Int>, _ status: FileStatus, _ before: FileRow?) throws -> Bool {
    let names = worker.listing.bytes
    var isNew = before == nil
    if node.isMoved {
      isNew = try overlaid?.file(names.span.extracting(range)) == nil
      if !isNew { gone &-= 1 } else if before != nil { work.countMove(of: status, in: node, worker) }
    }
    if let rule = node.excludes.rule(for: names.span.extracting(range), in: node.patternPath, isDirectory: false)
      ?? node.excludes.rule(for: status)
    {
      work.exclude(path(range), rule)
      return false
    }
    if encoder.isFull {
      work.warn(path(range), "is left out: its directory has more than a record can hold")
      return false
    }
    if let before, isUnchanged(before, status), try work.isDry || link(before, range) { return true }
    let isStored = try store(range, status, before, isNew: isNew)
    // The snapshot lacks the file, even if the source still has it.
    if !isStored, !isNew { node.tally?.gone.count() }
    return false
  }

  /// The plan below a name; `nil` if the name leads to no other source.
  private func planned(_ range: Range<Int>) -> PathPlan? {
    node.plan.flatMap { plan in
      plan.children.isEmpty ? nil : plan.below(Array(worker.listing.bytes[range]))
    }
  }

  private func path(_ range: Range<Int>) -> [UInt8] {
    node.sourcePath(of: worker.listing.bytes[range])
  }

  private func lost(_ range: Range<Int>, _ error: Errno) throws {
    if error == .noSuchEntry {
      work.progress.vanished.count()
    } else {
      try work.readingFailed(path(range), error)
    }
  }

  private mutating func addDirectories() throws {
    while let pair = try merge.nextDirectory() {
      let (found, row) = pair.sides
      guard let listed = found else {
        if let row, !node.isMoved { gone &+= row.totals.entries }
        continue
      }
      let name = Array(worker.listing.bytes[listed.range])
      let overlaidRow = try overlaid?.directory(name.span)
      if let overlaidRow { gone &-= overlaidRow.totals.entries }
      let plan = planned(listed.range)
      let rule =
        node.tag.flatMap { $0.name == name ? nil : $0.rule }
        ?? node.excludes.rule(for: name.span, in: node.patternPath, isDirectory: true)
      if let rule, plan?.isSource != true { work.exclude(path(listed.range), rule) }
      if rule != nil, plan == nil {
        if listed.isRecycled { try work.discard(name, of: node) }
        continue
      }
      let child = SnapshotNode(
        parent: node, name: name,
        SnapshotDirectory(
          below: node.state, plan: plan, isListed: plan?.isSource == true || rule == nil,
          base: row.map { Subtree($0) }, tree: node.build.tree))
      child.overlaid = overlaidRow.map { Subtree($0) }
      child.build.isRecycled = listed.isRecycled
      node.children.append(child)
    }
    for (name, _) in node.plan?.children ?? [] where !node.children.contains(where: { $0.name == name }) {
      throw Failure(
        .failed,
        "cannot come to a source by way of \(displayName(node.sourcePath(of: name))): inside another source it must "
          + "be a directory and no symbolic link",
        hint: "name the directory itself")
    }
    // An entry that was excluded on purpose is not gone.
    if node.tag == nil { node.tally?.gone.count(gone) }
  }

  // MARK: Unchanged

  /// True if the source inode's status proves that the stored file is right, by the chosen test.
  private func isUnchanged(
    _ row: FileRow, _ status: FileStatus, elsewhere: Bool = false
  ) -> Bool {
    // A file that was found by its inode was searched on this very file system.
    let isSameInode =
      row.isSameInode(as: status) && (elsewhere || node.hasSameInodes) && node.state.trustsChangeTime(of: status)
    let isSame =
      switch work.options.changeDetection {
      case .ctime: isSameInode
      // Only for files with one name. A new hard link, or a new target of a symbolic link, shows in the ctime alone.
      // The old inode number and ctime stay in the catalog, so that a stricter test later reads the file.
      case .mtime:
        isSameInode
          || !elsewhere && row.kind == .regular && row.linkGroup == nil && status.linkCount == 1
            && row.metadata == status.metadata
      case .content: false
      }
    return isSame
      && row.kind == status.kind && (row.kind != .regular || row.size == status.size)
      && row.hints.flags.isDisjoint(with: [.racy, .changedWhileRead])
      // Root stores the values that an ordinary user could not store.
      && !row.hints.flags.isWorthRetrying(asRoot: work.isRoot)
  }

  /// Links the stored file under the same name; false if it cannot be linked and must be copied.
  private func link(_ row: FileRow, _ range: Range<Int>) throws -> Bool {
    if row.hints.flags.contains(.notStored) {
      encoder.append(row, of: record!, hints: row.hints)
      work.progress.catalogOnly.count()
      return true
    }
    guard let baseTree else { return false }
    let names = worker.listing.bytes
    let name = names.span.extracting(range)
    var hints = row.hints
    hints.storedInode = inodes.of(row, named: names[range])
    if node.isMoved || node.isOlder {
      let inode = SourceInode(device: node.sourceStatus!.device, inode: row.hints.sourceInode)
      guard hints.storedInode != 0, work.claim(hints.storedInode, for: inode) else { return false }
    }
    guard
      try work.linked(baseTree.descriptor, name, inode: hints.storedInode, in: node, as: name)
    else {
      try checkLoss(of: row, name, in: baseTree, path(range))
      return false
    }
    if hints.flags.isCatalogOnly { work.progress.catalogOnly.count() }
    encoder.append(row, of: record!, hints: hints)
    return true
  }

  /// Warns if a stored file could not be linked because it is missing.
  private func checkLoss(of row: FileRow, _ name: Span<UInt8>, in baseTree: Directory, _ path: [UInt8]) throws {
    let reason: String
    do throws(Errno) {
      guard try baseTree.descriptor.statusIfPresent(of: name)?.kind != row.kind else { return }
      reason = ""
    } catch { reason = ": \(error)" }
    work.warn(path, "is lost in the previous snapshot and was stored anew\(reason); run treering verify")
  }

  // MARK: Changed, new or moved

  /// Stores an entry; false if the snapshot will not have it.
  ///
  /// `isNew` is true if the snapshot that the source is compared with has no file of this name.
  private func store(_ range: Range<Int>, _ status: FileStatus, _ row: FileRow?, isNew: Bool) throws -> Bool {
    guard status.kind != nil else {
      work.warn(path(range), "is of a kind that this system does not name")
      return false
    }
    let nameBytes = Array(worker.listing.bytes[range])
    var before = row.map {
      StoredFile(
        row: $0, record: record!, directory: baseTree, tree: node.build.tree!, isElsewhere: node.isMoved)
    }
    // Names that the base has were counted before.
    let mayBeMoved = isNew && row == nil
    var origin: SourceTally?
    // Called only for the first name of an inode: the other names are linked to it.
    func find() {
      before = worker.finder.file(status, on: node.fileSystem, known: before)
      guard mayBeMoved, before?.isElsewhere == true else { return }
      origin = work.guards.origin(of: status, on: node.fileSystem, worker.finder)
      origin?.moved.count()
    }
    guard status.linkCount > 1 else {
      find()
      guard let stored = try storeAlone(nameBytes, status, before, inBase: row) else { return false }
      if !work.isDry { encoder.append(nameBytes.span, stored) }
      return true
    }
    return try work.links.add(SourceInode(device: status.device, inode: status.inode)) { first in
      guard try work.isDry || linkToFirst(first, nameBytes, status) else { return false }
      if mayBeMoved { first.value.origin?.moved.count() }
      return true
    } store: { first in
      find()
      guard var entry = try storeAlone(nameBytes, status, before, inBase: row) else { return nil }
      entry.linkGroup = first?.value.entry.linkGroup ?? before.flatMap(groupIfSame(status)) ?? linkGroup(status)
      if !work.isDry { encoder.append(nameBytes.span, entry) }
      return FirstName(
        directory: node.path, name: nameBytes, inode: entry.hints.storedInode,
        value: StoredInode(entry: entry, origin: origin))
    }
  }

  /// Counts the space for storing the entry, and the entry as changed or unchanged.
  ///
  /// An inode with several names counts once.
  private func measure(_ status: FileStatus, _ before: StoredFile?) {
    if let before, before.row.mayHaveContent(of: status) {
      node.tally?.unchanged.count()
      return
    }
    if before?.row.kind == .regular && status.kind == .regular { node.tally?.changed.count() }
    if let before, work.capabilities.reflinks, before.row.isWorthCloning(for: status) {
      work.space.needs(bytes: min(status.size - min(status.size, before.row.size), status.blocks &* 512))
    } else {
      work.space.needs(bytes: status.kind == .regular ? min(status.size, status.blocks &* 512) : 0)
    }
  }

  private func linkToFirst(
    _ first: FirstName<StoredInode>, _ name: [UInt8], _ status: FileStatus
  ) throws -> Bool {
    let entry = first.value.entry
    guard entry.hints.changed == status.changed, entry.kind == status.kind,
      entry.kind != .regular || entry.size == status.size, entry.metadata == status.metadata
    else { return false }
    guard try work.linked(to: first, in: node, as: name.span) else { return false }
    encoder.append(name.span, entry)
    if entry.hints.flags.isCatalogOnly { work.progress.catalogOnly.count() }
    return true
  }

  /// Keeps the group's number from the previous catalog, so that the digest stays the same.
  private func groupIfSame(_ status: FileStatus) -> (StoredFile) -> UInt64? {
    // A file that was found by its inode may be from another subvolume with the same inode numbers.
    { !$0.isElsewhere && $0.row.hints.sourceInode == status.inode ? $0.row.linkGroup : nil }
  }

  /// The link group of an inode: the same for all its names.
  ///
  /// It is also the same after a reboot, if the file system can be recognized.
  private func linkGroup(_ status: FileStatus) -> UInt64 {
    worker.hasher.combine(work.volume(of: source.descriptor, status.device), status.inode)
  }

  private func storeAlone(
    _ name: [UInt8], _ status: FileStatus, _ before: StoredFile?, inBase row: FileRow?
  ) throws -> NewEntry? {
    if work.isDry {
      measure(status, before)
      return NewEntry(kind: .fifo, metadata: status.metadata, hints: .none)
    }
    if let before, let entry = try linkUnread(name, status, before) {
      // The file is moved, or an interrupted run has copied it: then it has changed since the last snapshot, or not.
      if before.tree.isUnfinished { count(entry, comparedWith: row) }
      return entry
    }
    let stored =
      status.kind == .regular
      ? try FileStorer(work, node, worker, moment).store(name, comparedWith: before)
      : try storeSpecial(name, status, before)
    if stored?.hints.flags.isCatalogOnly == true { work.progress.catalogOnly.count() }
    if let stored { count(stored, comparedWith: before?.tree.isUnfinished == true ? row : before?.row) }
    return stored
  }

  /// Counts a regular file as changed or unchanged.
  private func count(_ entry: NewEntry, comparedWith before: FileRow?) {
    guard let before, before.kind == .regular, entry.kind == .regular else { return }
    let isSame = entry.size == before.size && entry.digest == before.digest
    if isSame { node.tally?.unchanged.count() } else { node.tally?.changed.count() }
  }

  /// Links a file that was found by its inode, if its status proves that it has not changed.
  private func linkUnread(
    _ name: [UInt8], _ status: FileStatus, _ before: StoredFile
  ) throws -> NewEntry? {
    guard before.isElsewhere, isUnchanged(before.row, status, elsewhere: true),
      before.row.metadata == status.metadata, before.row.mayBeLinked(for: status),
      !before.row.hints.flags.contains(.notStored),
      let inode = try work.link(before, status, in: node, as: name)
    else { return nil }
    var entry = NewEntry(before.row, of: before.record)
    entry.hints.storedInode = inode
    entry.linkGroup = nil
    if entry.hints.flags.isCatalogOnly { work.progress.catalogOnly.count() }
    return entry
  }

  /// Opens the inode that was seen, by path only; throws `staleHandle` if another inode has its name.
  private func open(_ name: [UInt8], _ seen: FileStatus) throws(Errno) -> Descriptor {
    let handle = try source.descriptor.open(name.span, .pathOnly)
    guard try handle.status().isSameState(as: seen) else { throw .staleHandle }
    return handle
  }

  private func storeSpecial(
    _ name: [UInt8], _ status: FileStatus, _ before: StoredFile?
  ) throws -> NewEntry? {
    var entry = NewEntry(
      kind: status.kind!, metadata: status.metadata,
      hints: Hints(
        sourceInode: status.inode, changed: status.changed, storedInode: 0,
        flags: status.isRacy(since: moment, on: node.identity) ? .racy : []))
    entry.device = status.deviceNumber
    let handle: Descriptor
    do throws(Errno) {
      if entry.kind == .symbolicLink {
        entry.target = try source.descriptor.readSymbolicLink(name.span)
      }
      handle = try open(name, status)
    } catch {
      switch error {
      case .noSuchEntry: work.progress.vanished.count()
      case .staleHandle: work.warn(node.sourcePath(of: name), "was replaced while the snapshot was taken")
      default: try work.readingFailed(node.sourcePath(of: name), error)
      }
      return nil
    }
    entry.attributes = try work.attributes(of: handle, .handle, flags: &entry.hints.flags) {
      node.sourcePath(of: name)
    }
    // Only the ctime changed: the stored entry is still right.
    if let before, before.row.kind == entry.kind,
      before.row.metadata == entry.metadata, before.record.target(of: before.row) == entry.target,
      entry.kind == .symbolicLink || before.row.size == entry.device || entry.device == 0,
      before.record.attributes(of: before.row) == entry.attributes, before.row.mayBeLinked(for: status),
      !before.row.hints.flags.isCatalogOnly,
      let inode = try work.link(before, status, in: node, as: name)
    {
      entry.hints.storedInode = inode
      entry.hints.flags.formUnion(before.row.hints.flags.intersection(.timeNotStored))
      return entry
    }
    try node.makeRoom()
    do throws(Errno) {
      let made = try makeSpecial(
        name.span, in: target!.descriptor, kind: entry.kind, target: entry.target,
        device: entry.device, entry.metadata, entry.attributes)
      entry.hints.storedInode = made.inode
      entry.hints.flags.formUnion(made.missing.refused(toRoot: work.isRoot))
    } catch {
      // A lasting shortage ends the run when the next directory is opened.
      if error.endsRun, !error.isShortage {
        try work.storingFailed("make a copy of", node.sourcePath(of: name), error, isName: true)
        return nil
      }
      // The catalog has the whole entry.
      if error.isLastingRefusal {
        // For example, the target is too long for this file system.
        entry.hints.flags.formUnion(StorageFlags.notStored.refused(toRoot: work.isRoot))
      } else {
        // The next run tries again.
        entry.hints.flags.formUnion([.notStored, .racy])
        work.warn(node.sourcePath(of: name), "cannot be stored in the repository, only its catalog has it: \(error)")
      }
    }
    if !entry.hints.flags.contains(.notStored) { work.progress.copied.count() }
    return entry
  }
}

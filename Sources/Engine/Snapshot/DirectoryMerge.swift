internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The merge of one directory: the source's names on one side, the previous catalog's on the other.
struct DirectoryMerge<Storer: EntryStoring> {
  private let directory: DirectoryContext
  private let storer: Storer
  private let work: SnapshotWork
  private let node: SnapshotNode
  private let encoder: RecordEncoder
  private let worker: SnapshotWorker
  private let source: Directory
  private let names: [UInt8]
  private let excludes: Excludes
  private let tag: (name: [UInt8], rule: String)?
  private let isMoved: Bool
  /// True if most entries are probably unchanged. An entry that is stored is looked at again.
  private let readsAhead: Bool
  private var merge: ListingMerge
  /// For a moved directory: the directory at its path in the snapshot that the source is compared with.
  private let atSamePath: RecordIndex?
  /// The compared snapshot's entries that the source no longer has.
  private var gone: UInt64 = 0

  init(of directory: DirectoryContext, atSamePath: DirectoryRecord?, storer: Storer) throws {
    (self.directory, self.storer) = (directory, storer)
    (work, node, encoder, worker) = (directory.work, directory.node, directory.encoder, directory.worker)
    source = node.source!
    (names, excludes, tag, isMoved) = (directory.names, node.excludes, node.tag, node.isMoved)
    merge = try ListingMerge(worker.listing, with: directory.record)
    readsAhead = directory.record != nil
    worker.statuses.reset()
    self.atSamePath = atSamePath.map { RecordIndex(of: $0) }
    if let atSamePath {
      gone = try atSamePath.directories().reduce(UInt64(atSamePath.fileCount)) { $0 &+ $1.totals.entries }
    }
  }

  mutating func run() throws {
    var (count, linked): (UInt64, UInt64) = (0, 0)
    defer {
      directory.context.progress.linked.count(linked)
      if isMoved { directory.context.progress.moved.count(linked) }
      node.tally?.unchanged.count(linked)
    }
    while let pair = try merge.nextEntry() {
      let (listed, before) = pair.sides
      guard let entry = listed, let status = try statusOfFile(entry) else {
        if let before, !isMoved, listed != nil || !storer.keeps(unlisted: before) { gone &+= 1 }
        continue
      }
      count += 1
      if count & 0xFF == 0 {
        directory.context.progress.entries.count(256)
        directory.context.progress.files.count(256)
        try checkForSignal()
      }
      if try linkOrStore(at: entry.range, status: status, before: before) { linked += 1 }
    }
    directory.context.progress.entries.count(count & 0xFF)
    directory.context.progress.files.count(count & 0xFF)
    try storer.finish()
    try addDirectories()
  }

  /// The status of a listed name; `nil` for a directory, which is kept for later, and for a name to skip.
  @inline(__always)
  private mutating func statusOfFile(_ entry: ListingMerge.Entry) throws -> FileStatus? {
    if let tag = tag, names[entry.range] != tag.name[...], planned(at: entry.range) == nil { return nil }
    try node.advanceSpare(to: names.span.extracting(entry.range))
    if !entry.isSurelyDirectory {
      do throws(Errno) {
        let status =
          readsAhead
          // The merge has passed this entry.
          ? try worker.statuses.status(at: merge.next - 1, of: worker.listing, in: source.descriptor)
          : try source.descriptor.status(of: names.span.extracting(entry.range))
        if status.kind != .directory { return status }
      } catch {
        try lost(at: entry.range, because: error)
        return nil
      }
    }
    merge.mergeAsDirectory(entry, isRecycled: node.build.recycled?.keepsDirectory() ?? false)
    return nil
  }

  /// Links an unchanged file; otherwise stores it or leaves it out. True if it was linked.
  @inline(__always)
  private mutating func linkOrStore(at range: Range<Int>, status: FileStatus, before: FileRow?) throws -> Bool {
    var isNew = before == nil
    if isMoved {
      isNew = try atSamePath?.file(named: names.span.extracting(range)) == nil
      if !isNew { gone &-= 1 } else if before != nil { work.countMove(of: status, in: node, with: worker) }
    }
    if let rule = excludes.rule(for: names.span.extracting(range), in: node.patternPath, isDirectory: false)
      ?? excludes.rule(for: status)
    {
      work.exclude(directory.path(at: range), by: rule)
      return false
    }
    if encoder.isFull {
      directory.context.warn(
        at: directory.path(at: range), "is left out: its directory has more than a record can hold")
      if let dump = node.dump { throw dump.refusal(at: directory.path(at: range)) }
      return false
    }
    if let before, directory.isUnchanged(before, accordingTo: status), try storer.link(before, named: range) {
      return true
    }
    let present = readsAhead ? try presentStatus(at: range) : status
    let isStored = try present.map { try store(at: range, status: $0, row: before, isNew: isNew) } ?? false
    if !isStored, let dump = node.dump { throw dump.refusal(at: directory.path(at: range)) }
    // The snapshot lacks the file, even if the source still has it.
    if !isStored, !isNew { node.tally?.gone.count() }
    return false
  }

  /// The status of an entry that is to be stored; `nil` if the entry is gone. Large files may have been stored since
  /// its first status was read.
  private func presentStatus(at range: Range<Int>) throws -> FileStatus? {
    let status: FileStatus
    do throws(Errno) { status = try source.descriptor.status(of: names.span.extracting(range)) } catch {
      try lost(at: range, because: error)
      return nil
    }
    if status.kind != .directory { return status }
    try lost(at: range, because: .noSuchEntry)
    return nil
  }

  /// The plan below a name; `nil` if the name leads to no other source.
  private func planned(at range: Range<Int>) -> PathPlan? {
    node.plan.flatMap { plan in plan.children.isEmpty ? nil : plan.below(Array(names[range])) }
  }

  private func lost(at range: Range<Int>, because error: Errno) throws {
    if error == .noSuchEntry {
      directory.context.progress.vanished.count()
    } else {
      try work.readingFailed(at: directory.path(at: range), because: error)
    }
    if let dump = node.dump { throw dump.refusal(at: directory.path(at: range)) }
  }

  private mutating func addDirectories() throws {
    while let pair = try merge.nextDirectory() {
      let (found, row) = pair.sides
      guard let listed = found else {
        if let row, !isMoved { gone &+= row.totals.entries }
        continue
      }
      let name = Array(names[listed.range])
      let comparedRow = try atSamePath?.directory(named: name.span)
      if let comparedRow { gone &-= comparedRow.totals.entries }
      let plan = planned(at: listed.range)
      let rule =
        tag.flatMap { $0.name == name ? nil : $0.rule }
        ?? excludes.rule(for: name.span, in: node.patternPath, isDirectory: true)
      if let rule, plan?.isSource != true { work.exclude(directory.path(at: listed.range), by: rule) }
      if rule != nil, plan == nil {
        if listed.isRecycled { try work.builder?.discard(named: name, of: node) }
        continue
      }
      let child = SnapshotNode(
        parent: node, name: name,
        SnapshotDirectory(
          below: node.state, plan: plan, isListed: plan?.isSource == true || rule == nil,
          base: row.map { Subtree($0) }, tree: node.build.tree))
      child.atSamePath = comparedRow.map { Subtree($0) }
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
    if tag == nil { node.tally?.gone.count(gone) }
  }

  // MARK: Changed, new or moved

  /// Stores an entry; false if the snapshot will not have it.
  ///
  /// `isNew` is true if the snapshot that the source is compared with has no file of this name.
  private func store(at range: Range<Int>, status: FileStatus, row: FileRow?, isNew: Bool) throws -> Bool {
    guard status.kind != nil else {
      directory.context.warn(at: directory.path(at: range), "is of a kind that this system does not name")
      return false
    }
    var entry = SourceEntry(
      name: Array(names[range]), status: status, row: row,
      before: row.map {
        StoredFile(
          row: $0, record: directory.record!, directory: node.build.baseTree, tree: node.build.tree!,
          isFoundByInode: isMoved)
      })
    // Names that the base has were counted before.
    let mayBeMoved = isNew && row == nil
    var origin: SourceTally?
    // Called only for the first name of an inode: the other names are linked to it.
    func find() {
      // A dump's files are new inodes, and are searched by their content.
      guard !node.isStaged else { return }
      entry.before = worker.finder.file(with: status, on: node.fileSystem, known: entry.before)
      guard mayBeMoved, entry.before?.isFoundByInode == true else { return }
      origin = work.guards.origin(of: status, on: node.fileSystem, by: worker.finder)
      origin?.moved.count()
    }
    // The links of a fetched file were found before.
    guard status.linkCount > 1, node.placed == nil, !node.isKept else {
      find()
      guard let stored = try storer.store(entry) else { return false }
      storer.record(stored, as: entry.name)
      return true
    }
    return try work.links.add(SourceInode(device: status.device, inode: status.inode)) { first in
      guard try storer.link(entry, to: first) else { return false }
      if mayBeMoved { first.value.origin?.moved.count() }
      return true
    } store: { first in
      find()
      guard var stored = try storer.store(entry) else { return nil }
      stored.linkGroup = first?.value.entry.linkGroup ?? linkGroup(of: entry)
      storer.record(stored, as: entry.name)
      return FirstName(
        directory: node.path, name: entry.name, inode: stored.hints.storedInode,
        value: StoredInode(entry: stored, origin: origin))
    }
  }

  /// The link group of an inode: the same for all its names.
  ///
  /// The number from the previous catalog is kept, so that the digest stays the same. A new number is also the same
  /// after a reboot, if the file system can be recognized.
  private func linkGroup(of entry: SourceEntry) -> UInt64 {
    // A file that was found by its inode may be from another subvolume with the same inode numbers.
    if let before = entry.before, !before.isFoundByInode, before.row.hints.sourceInode == entry.status.inode,
      let group = before.row.linkGroup
    {
      return group
    }
    return worker.tools.hasher.combine(
      work.volume(of: source.descriptor, device: entry.status.device), entry.status.inode)
  }
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Stores the entries of one directory: by a link, a copy or a new node.
struct EntryStorer: EntryStoring {
  private let directory: DirectoryContext
  private let builder: SnapshotBuilder
  private let work: SnapshotWork
  private let node: SnapshotNode
  private let inodes: StoredInodes

  init(of directory: DirectoryContext, with builder: SnapshotBuilder) {
    (self.directory, self.builder) = (directory, builder)
    (work, node) = (directory.work, directory.node)
    inodes = StoredInodes(
      of: node, describedBy: directory.record, with: directory.worker.tools,
      listsInodes: directory.context.capabilities.listsInodes)
  }

  /// Links the stored file under the same name; false if it cannot be linked and must be copied.
  func link(_ row: FileRow, named range: Range<Int>) throws -> Bool {
    if row.hints.flags.contains(.notStored) {
      directory.encoder.append(row, of: directory.record!, hints: row.hints)
      directory.context.progress.catalogOnly.count()
      return true
    }
    guard let baseTree = node.build.baseTree else { return false }
    let names = directory.names
    let name = names.span.extracting(range)
    var hints = row.hints
    hints.storedInode = inodes.of(row: row, named: names[range])
    if node.isMoved || node.isOlder {
      let inode = SourceInode(device: node.sourceStatus!.device, inode: row.hints.sourceInode)
      guard hints.storedInode != 0, work.claim(hints.storedInode, for: inode) else { return false }
    }
    guard
      try builder.linked(from: baseTree.descriptor, name: name, inode: hints.storedInode, in: node, as: name)
    else {
      try checkLoss(of: row, named: name, in: baseTree, path: directory.path(at: range))
      return false
    }
    if hints.flags.isCatalogOnly { directory.context.progress.catalogOnly.count() }
    directory.encoder.append(row, of: directory.record!, hints: hints)
    return true
  }

  /// Warns if a stored file could not be linked because it is missing.
  private func checkLoss(of row: FileRow, named name: Span<UInt8>, in baseTree: Directory, path: [UInt8]) throws {
    let reason: String
    do throws(Errno) {
      guard try baseTree.descriptor.statusIfPresent(of: name)?.kind != row.kind else { return }
      reason = ""
    } catch { reason = ": \(error)" }
    directory.context.warn(
      at: path, "is lost in the previous snapshot and was stored anew\(reason); run treering verify")
  }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) throws -> Bool {
    let (stored, status, name) = (first.value.entry, entry.status, entry.name)
    guard stored.hints.changed == status.changed, stored.kind == status.kind,
      stored.kind != .regular || stored.size == status.size, stored.metadata == status.metadata,
      try builder.linked(to: first, in: node, as: name.span)
    else { return false }
    record(stored, as: name)
    if stored.hints.flags.isCatalogOnly { directory.context.progress.catalogOnly.count() }
    return true
  }

  func record(_ entry: NewEntry, as name: [UInt8]) { directory.encoder.append(name.span, entry) }

  func store(_ entry: SourceEntry) throws -> NewEntry? {
    let before = entry.before
    if let before, let linked = try linkUnread(before, for: entry) {
      // The file is moved, or an interrupted run has copied it: then it has changed since the last snapshot, or not.
      if before.tree.isUnfinished { directory.count(linked, comparedWith: entry.row) }
      return linked
    }
    if node.isKept, entry.row?.isStored(as: entry.status) != true {
      throw node.refusal(
        at: entry.name, because: "is not what the catalog of its snapshot says; run treering verify", kind: .damaged)
    }
    var stored =
      entry.status.kind == .regular
      ? try FileStorer(of: directory, with: builder).store(named: entry.name, comparedWith: before)
      : try storeSpecial(entry)
    // A kept file that can take no more links is copied.
    if node.isKept { stored?.linkGroup = entry.row?.linkGroup }
    if stored?.hints.flags.isCatalogOnly == true { directory.context.progress.catalogOnly.count() }
    if let stored { directory.count(stored, comparedWith: before?.tree.isUnfinished == true ? entry.row : before?.row) }
    return stored
  }

  func keeps(unlisted row: FileRow) -> Bool {
    guard node.isKept, row.hints.flags.contains(.notStored) else { return false }
    directory.encoder.append(row, of: directory.record!, hints: row.hints)
    directory.context.progress.catalogOnly.count()
    return true
  }

  /// Links a file that was found by its inode, if its status proves that it has not changed.
  private func linkUnread(_ before: StoredFile, for source: SourceEntry) throws -> NewEntry? {
    let status = source.status
    guard before.isFoundByInode, directory.isUnchanged(before.row, accordingTo: status, isFoundByInode: true),
      before.row.metadata == status.metadata, before.row.mayBeLinked(for: status),
      !before.row.hints.flags.contains(.notStored),
      let inode = try work.link(before, for: status, in: node, as: source.name)
    else { return nil }
    var entry = NewEntry(before.row, of: before.record)
    entry.hints.storedInode = inode
    entry.linkGroup = nil
    if entry.hints.flags.isCatalogOnly { directory.context.progress.catalogOnly.count() }
    return entry
  }

  private func storeSpecial(_ source: SourceEntry) throws -> NewEntry? {
    guard var entry = try directory.readSpecial(source) else { return nil }
    // Only the ctime changed: the stored entry is still right.
    if let before = source.before, before.row.kind == entry.kind,
      before.row.metadata == entry.metadata, before.record.target(of: before.row) == entry.target,
      entry.kind == .symbolicLink || before.row.size == entry.device || entry.device == 0,
      before.record.attributes(of: before.row) == entry.attributes, before.row.mayBeLinked(for: source.status),
      !before.row.hints.flags.isCatalogOnly,
      let inode = try work.link(before, for: source.status, in: node, as: source.name)
    {
      entry.hints.storedInode = inode
      entry.hints.flags.formUnion(before.row.hints.flags.intersection(.timeNotStored))
      return entry
    }
    guard try makeSpecial(&entry, named: source.name) else { return nil }
    if !entry.hints.flags.contains(.notStored) { directory.context.progress.copied.count() }
    return entry
  }

  /// Makes the entry in the repository, or marks it as not stored; false if it is left out.
  private func makeSpecial(_ entry: inout NewEntry, named name: [UInt8]) throws -> Bool {
    let context = directory.context
    try node.makeRoom()
    do throws(Errno) {
      let made = try Engine.makeSpecial(
        name.span, in: node.build.target!.descriptor, kind: entry.kind, target: entry.target,
        device: entry.device, metadata: entry.metadata, attributes: entry.attributes)
      entry.hints.storedInode = made.inode
      entry.hints.flags.formUnion(made.missing.refused(toRoot: context.isRoot))
    } catch {
      // A lasting shortage ends the run when the next directory is opened.
      if error.endsRun, !error.isShortage {
        try context.storingFailed("make a copy of", at: node.sourcePath(of: name), because: error, isName: true)
        return false
      }
      // The catalog has the whole entry.
      if error.isLastingRefusal {
        // For example, the target is too long for this file system.
        entry.hints.flags.formUnion(StorageFlags.notStored.refused(toRoot: context.isRoot))
      } else {
        // The next run tries again.
        entry.hints.flags.formUnion([.notStored, .racy])
        context.warn(
          at: node.sourcePath(of: name), "cannot be stored in the repository, only its catalog has it: \(error)")
      }
    }
    return true
  }
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The merge of one directory: its wanted names on one side, the base's names on the other.
struct ReceiveMerge {
  private let work: ReceiveWork
  private let node: ReceiveNode
  private let record: DirectoryRecord
  private let base: DirectoryRecord?
  private let encoder: RecordEncoder
  private let worker: ReceiveWorker
  private let inodes: StoredInodes

  init(
    in work: ReceiveWork, node: ReceiveNode, record: DirectoryRecord, base: DirectoryRecord?,
    encoder: RecordEncoder, with worker: ReceiveWorker
  ) throws {
    self.work = work
    self.node = node
    self.record = record
    self.base = base
    self.encoder = encoder
    self.worker = worker
    inodes = StoredInodes(
      of: node, describedBy: base, with: worker.tools, listsInodes: work.context.capabilities.listsInodes)
  }

  /// Returns the sub-directories, each with the base's directory of the same name.
  ///
  /// `isRecycled` is true if the spare has the directory.
  func run() throws -> [(row: DirectoryRow, base: DirectoryRow?, isRecycled: Bool)] {
    var merge = try RecordMerge(record, base)
    let rows = try record.directories()
    try work.takeAnnounced(entries: record.fileCount + rows.count)
    // The spare's names are in one order, files and directories together.
    let areRecycled = try rows.map { row in
      let name = record.bytes.span.extracting(row.name)
      while let pair = try merge.nextFile(before: name) { try take(pair) }
      return try node.keepsDirectory(named: name)
    }
    while let pair = try merge.nextFile() { try take(pair) }
    var directories: [(row: DirectoryRow, base: DirectoryRow?, isRecycled: Bool)] = []
    while let pair = try merge.nextDirectory() {
      guard let row = pair.sides.left else { continue }
      directories.append((row, pair.sides.right, areRecycled[directories.count]))
    }
    return directories
  }

  private func take(_ files: Pair<FileRow, FileRow>) throws {
    let (wanted, before) = files.sides
    guard let row = wanted else { return }
    try checkForSignal()
    let name = record.bytes.span.extracting(row.name)
    try node.advanceSpare(to: name)
    work.context.progress.entries.count()
    work.context.progress.files.count()
    let isSame = before.map { record.hasSameContent(row, as: $0, of: base!) } ?? false
    if isSame, row.linkGroup == nil, let before, try linkSame(before: before, row: row) { return }
    let hints: Hints
    do { hints = try row.linkGroup == nil ? store(row, before: before) : storeGrouped(row, before: before) } catch {
      guard let refused = error as? Unstorable else { throw error }
      work.context.monitor.note("\(displayName(path(of: row))): only its catalog has it: \(refused.error)")
      hints = Self.hints(of: row, inode: 0, flags: StorageFlags.notStored.refused(toRoot: work.context.isRoot))
    }
    if hints.flags.isCatalogOnly { work.context.progress.catalogOnly.count() }
    encoder.append(row, of: record, hints: hints)
  }

  private func path(of row: FileRow) -> [UInt8] { node.sourcePath(of: record.bytes[row.name]) }

  private static func hints(of row: FileRow, inode: UInt64, flags: StorageFlags) -> Hints {
    guard row.hints.knowSource
    else { return Hints(sourceInode: 0, changed: row.metadata.modified, storedInode: inode, flags: flags) }
    var hints = row.hints.ofSource
    hints.storedInode = inode
    hints.flags.formUnion(flags)
    return hints
  }

  // MARK: Links

  /// Links the base's entry of the same name. Only its row is examined.
  private func linkSame(before: FileRow, row: FileRow) throws -> Bool {
    guard let hints = try linkBase(before, for: row) else { return false }
    if hints.flags.isCatalogOnly { work.context.progress.catalogOnly.count() }
    encoder.append(row, of: record, hints: hints)
    return true
  }

  private func linkBase(_ before: FileRow, for row: FileRow) throws -> Hints? {
    var hints = before.hints
    if hints.flags.contains(.notStored) {
      return work.context.isRoot && !hints.flags.contains(.refusedToRoot) ? nil : hints
    }
    guard let baseTree = node.build.baseTree, !hints.flags.isWorthRetrying(asRoot: work.context.isRoot)
    else { return nil }
    let name = base!.bytes.span.extracting(before.name)
    hints.storedInode = inodes.of(row: before, named: base!.bytes[before.name])
    if work.onlyPath != nil {
      // The tree is that of another repository, whose repairs and losses the catalog here does not know.
      if node.build.tree?.inodeNumbersAreValid == true { hints.storedInode = before.hints.storedInode }
      guard let status = try? baseTree.descriptor.status(of: name),
        before.isStored(as: status, inode: hints.storedInode)
      else { return nil }
    }
    hints = Self.hints(of: row, inode: hints.storedInode, flags: hints.flags.subtracting([.racy, .changedWhileRead]))
    if node.isMoved {
      let path = node.baseLocation + [Array(base!.bytes[before.name])]
      guard isStill(row: before, name: name, in: baseTree, inode: hints.storedInode),
        try !work.isFile(at: path, row: before, of: base!, linkGroup: before.linkGroup, with: worker),
        work.claim(inode: hints.storedInode)
      else { return nil }
    }
    guard
      try work.builder.linked(from: baseTree.descriptor, name: name, inode: hints.storedInode, in: node, as: name)
    else { return nil }
    work.context.progress.linked.count()
    if node.isMoved { work.context.progress.moved.count() }
    return hints
  }

  /// Stores a name of an inode that has several, so that all of them share one inode again.
  private func storeGrouped(_ row: FileRow, before: FileRow?) throws -> Hints {
    let key = ReceivedInode(
      group: row.linkGroup!, digest: row.digest, kind: row.kind, size: row.size, metadata: row.metadata,
      rest: record.target(of: row) + record.attributes(of: row).bytes)
    let name = Array(record.bytes[row.name])
    var hints = Hints.none
    try work.links.add(key) { first in
      guard !first.value.contains(.notStored), try work.builder.linked(to: first, in: node, as: name.span)
      else { return false }
      hints = Self.hints(of: row, inode: first.inode, flags: first.value)
      return true
    } store: { _ in
      hints = try store(row, before: before)
      return FirstName(directory: node.path, name: name, inode: hints.storedInode, value: hints.flags)
    }
    return hints
  }

  // MARK: One inode

  /// Gives a name its inode: the base's inode, a received content, or a copy.
  private func store(_ row: FileRow, before: FileRow?) throws -> Hints {
    if let before, record.mayShareInode(row, with: before, of: base!), let hints = try linkBase(before, for: row) {
      return hints
    }
    guard row.kind == .regular else { return try makeSpecial(row) }
    if row.size == 0 { return try finish(try makeTarget(for: row), row: row) }
    var stored: [StoredFile] = []
    if let before, before.kind == .regular, before.digest == row.digest, before.size == row.size,
      let tree = node.build.tree
    {
      stored.append(
        StoredFile(row: before, record: base!, directory: node.build.baseTree, tree: tree, isFoundByInode: false))
    } else if let path = try work.wanted.baseFile(for: row.digest), let found = work.storedFile(at: path, with: worker),
      found.row.kind == .regular, found.row.digest == row.digest, found.row.size == row.size
    {
      if let hints = try linkElsewhere(found, path: path, row: row) { return hints }
      stored.append(found)
    }
    for file in stored { if let hints = try copy(file, for: row) { return hints } }
    return try place(contentOf: row)
  }

  private func linkElsewhere(_ found: StoredFile, path: TreePath, row: FileRow) throws -> Hints? {
    guard record.mayShareInode(row, with: found.row, of: found.record), let directory = found.directory,
      let inode = found.inode,
      found.row.hints.flags.isDisjoint(with: [.notStored]),
      !found.row.hints.flags.isWorthRetrying(asRoot: work.context.isRoot),
      work.onlyPath == nil || !found.tree.inodeNumbersAreValid || found.row.hints.storedInode == inode,
      try !work.isFile(at: path, row: found.row, of: found.record, linkGroup: row.linkGroup, with: worker),
      work.claim(inode: inode)
    else { return nil }
    let storedName = found.name
    let name = record.bytes.span.extracting(row.name)
    guard isStill(row: found.row, name: storedName.span, in: directory, inode: inode),
      try work.builder.linked(from: directory.descriptor, name: storedName.span, inode: inode, in: node, as: name)
    else { return nil }
    work.context.progress.linked.count()
    work.context.progress.moved.count()
    return Self.hints(of: row, inode: inode, flags: found.row.hints.flags.subtracting([.racy, .changedWhileRead]))
  }

  /// True if a file of the base still matches its row, as far as its status shows.
  ///
  /// This is the check before the file is linked at another path.
  private func isStill(row: FileRow, name: Span<UInt8>, in directory: Directory, inode: UInt64) -> Bool {
    guard let status = try? directory.descriptor.status(of: name) else { return false }
    return status.kind == row.kind && status.inode == inode && status.recordedSize == row.size
      && (row.hints.flags.contains(.timeNotStored) || status.modified == row.metadata.modified)
  }

  private func makeSpecial(_ row: FileRow) throws -> Hints {
    try node.makeRoom()
    do throws(Errno) {
      let made = try Engine.makeSpecial(
        record.bytes.span.extracting(row.name), in: node.build.target!.descriptor, kind: row.kind,
        target: record.target(of: row), device: row.size, metadata: row.metadata, attributes: record.attributes(of: row)
      )
      work.context.progress.copied.count()
      return Self.hints(of: row, inode: made.inode, flags: made.missing.refused(toRoot: work.context.isRoot))
    } catch { throw refusal("make", row: row, because: error) }
  }

  /// This file system cannot hold the entry under this name. Only the catalog has it, as in a local snapshot.
  private struct Unstorable: Error { let error: Errno }

  private func refusal(_ what: String, row: FileRow, because error: Errno) -> any Error {
    let isOwn = error.isLastingRefusal || error == .noSpace && !work.context.endsRunForName(error)
    return isOwn ? Unstorable(error: error) : Failure.writing(what, at: path(of: row), because: error)
  }

  private func makeTarget(for row: FileRow) throws -> NewFile {
    try node.makeRoom()
    do throws(Errno) { return try NewFile(Array(record.bytes[row.name]), in: node.build.target!) } catch {
      throw refusal("make", row: row, because: error)
    }
  }

  private func finish(_ target: consuming NewFile, row: FileRow) throws -> Hints {
    do throws(Errno) {
      let made = try target.finish(row.metadata, attributes: record.attributes(of: row))
      work.context.progress.copied.count()
      return Self.hints(of: row, inode: made.inode, flags: made.missing.refused(toRoot: work.context.isRoot))
    } catch { throw Failure.writing("write", at: path(of: row), because: error) }
  }

  // MARK: Copies

  /// Copies the base's content if only the metadata differ; `nil` if its bytes are wrong.
  private func copy(_ stored: StoredFile, for row: FileRow) throws -> Hints? {
    let old: OldVersion
    do throws(Errno) { old = try open(stored, row: row) } catch {
      // A file that this user may not open is not damaged for that reason.
      if error != .accessDenied, !node.isBaseClosed { reportDamage(of: stored, row: row) }
      return nil
    }
    return try copy(old.file, with: try old.file.status(), for: row) { reportDamage(of: stored, row: row) }
  }

  private func open(_ stored: StoredFile, row: FileRow) throws(Errno) -> OldVersion {
    let name = stored.name
    guard let directory = stored.directory else { throw .noSuchEntry }
    let file = try directory.descriptor.openToRead(name.span)
    let status = try file.status()
    guard status.kind == .regular, status.size == row.size else { throw .noSuchEntry }
    return OldVersion(of: file, byteCount: status.size)
  }

  private func copy(
    _ old: borrowing Descriptor, with status: FileStatus, for row: FileRow, ifDamaged: () -> Void
  ) throws -> Hints? {
    try work.context.space.take(bytes: min(status.size, status.blocks &* 512), for: path(of: row))
    let target = try makeTarget(for: row)
    var isRight = false
    do throws(CopyError) {
      let pass: PassResult
      if work.context.capabilities.reflinks {
        pass = try worker.tools.reader.hash(
          old, byteCount: status.size, hasHoles: status.hasHoles, elidingZeros: row.digest.isSparse)
        if pass.digest == row.digest {
          do throws(Errno) { try target.descriptor.clone(old) } catch { throw .writing(error) }
        }
      } else {
        pass = try worker.tools.reader.copy(
          old, to: target.descriptor, byteCount: status.size, hasHoles: status.hasHoles,
          elidingZeros: row.digest.isSparse)
      }
      isRight = pass.digest == row.digest && pass.byteCount == row.size
    } catch {
      switch error {
      case .interrupted: try checkForSignal()
      case .writing(let error): throw Failure.writing("write a copy of", at: path(of: row), because: error)
      case .reading: break
      }
    }
    if isRight { return try finish(target, row: row) }
    try work.builder.remove(target, for: path(of: row))
    ifDamaged()
    return nil
  }

  private func reportDamage(of stored: StoredFile, row: FileRow) {
    let name = work.context.repository.nameOfTree(stored.tree.name)
    work.context.monitor.note(
      "\(displayName(path(of: row))): its bytes in the snapshot \(name) are damaged; sent whole")
  }

  /// Puts a received content in its place; after the first time, a copy of it.
  ///
  /// A file that its owner may not read is always a copy, because the content could not be opened again.
  private func place(contentOf row: FileRow) throws -> Hints {
    let digest = row.digest.fileName
    let contents = work.wanted.contents
    if (try? contents.descriptor.status(of: digest.span)) == nil {
      try work.wanted.fetchContent(row.digest, byteCount: row.size, at: node.path + record.bytes[row.name])
      if work.wanted.isTooLarge(row.digest) { throw Unstorable(error: .fileTooLarge) }
    }
    let name = record.bytes.span.extracting(row.name)
    let locksOut = !work.context.isRoot && row.metadata.permissions & 0o400 == 0
    // An inode with another name may belong to a published snapshot: a killed server leaves such inodes.
    let isOwn = try contents.descriptor.status(of: digest.span).linkCount == 1
    guard !locksOut, isOwn, work.isFirst(toPlace: row.digest) else {
      let old = try contents.descriptor.openToRead(digest.span)
      if let hints = try copy(old, with: try old.status(), for: row, ifDamaged: {}) { return hints }
      throw Failure(.failed, "the content of \(displayName(path(of: row))) changed while it was stored")
    }
    try node.makeRoom()
    do throws(Errno) { try contents.descriptor.link(digest.span, to: node.build.target!.descriptor, as: name) } catch {
      throw refusal("write", row: row, because: error)
    }
    var isOther = false
    do throws(Errno) {
      let target = try node.build.target!.descriptor.openToRead(name)
      // An interrupted run may already have given this inode its metadata.
      let made = try target.status()
      // A digest names the content, but not the size that a record claims.
      isOther = made.size != row.size
      if isOther { throw .invalid }
      let stored = try applyMetadata(
        row.metadata, attributes: record.attributes(of: row), to: target, by: .descriptor, currently: made,
        mayHaveOthers: true)
      work.context.progress.copied.count()
      work.context.progress.bytesCopied.count(min(made.size, made.blocks &* 512))
      return Self.hints(of: row, inode: made.inode, flags: stored.missing.refused(toRoot: work.context.isRoot))
    } catch {
      if isOther { throw Failure(.refused, "\(displayName(path(of: row))) is sent with a size that it has not") }
      throw Failure.writing("write", at: path(of: row), because: error)
    }
  }
}

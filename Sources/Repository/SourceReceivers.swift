internal import Catalog
public import Model
public import Posix
internal import Synchronization

/// A stored source in the tree of another repository, as the tree of a snapshot.
struct ShownTree {
  /// The snapshot here.
  let name: SnapshotName
  /// The snapshot of the other repository.
  let original: SnapshotName
  let directory: Directory
}

// The repositories that receive sources from the treering of their hosts: `.treering/hosts/NAME`.
//
// Such a repository has one source of one host, and nothing of it but the catalogs, with the inodes and times of the
// host's files. A received tree goes to its place in `.treering/fetched` at once.
extension FetchDirectory {
  private static let receiversName = Array("hosts".utf8)

  /// Opens the repository that receives a source, or makes it.
  ///
  /// One of its catalogs serves if it has the source with the very digest that `base` has. If none does, as after a
  /// fetch by rsync(1), one is made of that of `base`. The files of the source in `base`, and no others of that
  /// snapshot, then count as those of the receiver's.
  public func receiver(of source: [UInt8], base: SnapshotName?, at time: Timestamp) throws -> Repository {
    let name = Self.name(of: source)
    try repository.makeDirectory(Self.receiversName, in: repository.control)
    let all = try repository.control.directory(Self.receiversName.span)
    let place: TreePath = [Repository.controlName, Self.receiversName, name]
    let path = place.bytes(below: try CurrentProcess.realPath(repository.path))
    func open() throws -> Repository {
      try repository.makeDirectory(name, in: all)
      return try Repository.openInner(path, for: TreePath(parsing: source), at: time, owner: repository.owner)
    }
    let receiver: Repository
    do { receiver = try open() } catch {
      try repository.retirement.discard(name, of: all)
      receiver = try open()
    }
    let list = try receiver.snapshots()
    let names = list.snapshots.reversed().map(\.name)
    let shown: ShownTree?
    do {
      shown = try base.flatMap { base in
        try repository.source(TreePath(parsing: source), of: base, asIn: receiver, names, at: time)
      }
    } catch {
      guard Self.isUnusable(error) else { throw error }
      shown = nil
    }
    receiver.shownTree.withLock { $0 = shown }
    for name in names + list.unusable.map(\.name) where name != shown?.name { try receiver.forget(name) }
    return receiver
  }

  /// True if a snapshot cannot be compared with. Any other trouble may pass, and must not cost a transfer of all files.
  private static func isUnusable(_ error: any Error) -> Bool {
    error is CatalogError || (error as? Failure)?.kind == .damaged || (error as? Errno)?.meansAbsence == true
  }

  /// Moves a received source to its place.
  public func take(_ snapshot: SnapshotName, from receiver: Repository, of source: [UInt8], to place: Place) throws {
    let path = TreePath(parsing: source)
    guard let name = path.last else { throw Errno.noSuchEntry }
    let parent = try receiver.root.directory(path: [snapshot.bytes]).directory(path: path.dropLast())
    try Self.move(name, of: parent, to: place.directory, as: Place.tree)
  }

  /// An ordinary user can move a directory to another parent only if the directory itself is writable.
  public static func move(
    _ name: [UInt8], of parent: Directory, to directory: Directory, as newName: [UInt8]
  ) throws(Errno) {
    let tree = try parent.descriptor.openDirectory(name.span)
    let permissions = try tree.status().permissions
    let isLocked = permissions & 0o200 == 0
    if isLocked { try tree.setPermissions(permissions | 0o200) }
    try parent.descriptor.rename(name.span, to: directory.descriptor, as: newName.span)
    if isLocked { try tree.setPermissions(permissions) }
  }

  func discardReceivers(but sources: [[UInt8]]) {
    do {
      guard try repository.control.descriptor.statusIfPresent(of: Self.receiversName.span) != nil else { return }
      let all = try repository.control.directory(Self.receiversName.span)
      let kept = Set(sources.map(Self.name(of:)))
      for name in try all.names() where !kept.contains(name) { try repository.retirement.discard(name, of: all) }
    } catch { repository.problems.note("cannot be removed", at: [Self.receiversName], because: error) }
  }
}

extension Repository {
  /// The digest of a directory of a snapshot; `nil` if the snapshot has no such directory.
  public func digest(of path: TreePath, in snapshot: SnapshotName) throws -> Digest? {
    guard case .directory(_, let subtree)? = try CatalogReader(reading: openCatalog(of: snapshot)).find(path) else {
      return nil
    }
    return subtree.digest
  }

  /// True if the tree of another repository stands for that of a snapshot here.
  public var showsTree: Bool { shownTree.withLock { $0 != nil } }

  /// The name of a snapshot, or of the one whose tree stands for its own.
  public func nameOfTree(_ name: SnapshotName) -> SnapshotName {
    shownTree.withLock { $0.flatMap { $0.name == name ? $0.original : nil } } ?? name
  }

  /// A source of a snapshot, as that of the first of some snapshots of a receiver that has it with the same digest.
  ///
  /// The directories above the source are the receiver's own, which hold nothing.
  fileprivate func source(
    _ path: TreePath, of base: SnapshotName, asIn receiver: Repository, _ names: [SnapshotName], at time: Timestamp
  ) throws -> ShownTree? {
    let reader = CatalogReader(reading: try openCatalog(of: base))
    guard case .directory(_, let subtree)? = try reader.find(path) else { return nil }
    let stored = try openTree(of: base).directory(path: path)
    let name =
      try names.first { (try? receiver.digest(of: path, in: $0)) == subtree.digest }
      ?? receiver.withLock(for: "fetch", at: time) {
        try receiver.publication.recover()
        let isValid = reader.summary.repositoryID == id && !marks.contains(.repaired, on: base)
        return try receiver.add(subtree, at: path, from: reader, inodesAreValid: isValid, at: time)
      }
    let own = try receiver.root.directory(name.bytes.span)
    return ShownTree(name: name, original: base, directory: try own.showing(stored, at: path))
  }

  /// Adds a snapshot with a directory of another catalog, and the directories above it. Its tree has the latter alone.
  private func add(
    _ subtree: Subtree, at path: TreePath, from reader: CatalogReader, inodesAreValid: Bool, at time: Timestamp
  ) throws -> SnapshotName {
    let pending = try publication.beginSnapshot(
      at: time, catalogBytes: reader.catalog.byteCount, mayRecycle: false)
    let (writer, hasher) = (FrameWriter(sink: pending.sink), SHA256())
    var top = try Self.copy(subtree, from: reader, into: writer, hasher: hasher)
    let metadata = Metadata(permissions: 0o755, user: 0, group: 0, modified: time)
    for name in path.reversed() {
      let encoder = RecordEncoder()
      encoder.begin(with: metadata, flags: [], attributes: .empty)
      encoder.append(name.span, top)
      top = try encoder.finish(.none, blocks: 0, into: writer, hasher: hasher)
    }
    var directory = pending.tree
    for name in path.dropLast() {
      try directory.descriptor.makeDirectory(name.span, mode: 0o755)
      directory = try directory.directory(name.span)
    }
    try writer.flush()
    var summary = CatalogSummary(root: top)
    (summary.started, summary.finished, summary.outcome) = (time, time, reader.summary.outcome)
    (summary.label, summary.sources) = (path.first ?? [], [path.dropFirst().absolute])
    summary.repositoryID = inodesAreValid ? id : []
    summary.fileSystemID = reader.summary.fileSystemID
    try pending.publishCatalog(summary, with: writer)
    return pending.name
  }

  /// Copies the records of a directory, children first.
  private static func copy(
    _ subtree: Subtree, from reader: CatalogReader, into writer: FrameWriter, hasher: SHA256
  ) throws -> Subtree {
    let record = try reader.record(at: subtree.place, for: subtree.digest)
    let encoder = RecordEncoder()
    encoder.begin(with: record.metadata, flags: record.flags, attributes: record.attributes)
    var files = try FileCursor(of: record)
    while let row = files.current {
      encoder.append(row, of: record, hints: row.hints)
      try files.advance()
    }
    for row in try files.directories() {
      encoder.append(
        record.bytes.span.extracting(row.name), try copy(Subtree(row), from: reader, into: writer, hasher: hasher))
    }
    return try encoder.finish(record.hints, blocks: 0, into: writer, hasher: hasher)
  }
}

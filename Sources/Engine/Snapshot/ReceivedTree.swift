public import Catalog
public import Model
public import Posix
public import Repository
internal import Synchronization

/// A source as its host announced it, with the catalog of its reception. A snapshot of it has these very records.
public struct ReceivedTree: Sendable {
  let catalog: OpenCatalog
  /// The digest of the source.
  let digest: Digest
  /// The source in the snapshot with which the host compared it; `nil` for none.
  let earlier: Directory?

  public init(catalog: OpenCatalog, digest: Digest, earlier: Directory?) {
    (self.catalog, self.digest, self.earlier) = (catalog, digest, earlier)
  }
}

/// A source that is as in its base. The snapshot has the base's records.
public struct KeptSource: Sendable {
  /// The source in the base.
  let directory: Directory
  let digest: Digest
  /// The entries of the source that are not as on the host.
  let warnings: [Warning]

  public init(directory: Directory, digest: Digest, warnings: [Warning]) {
    (self.directory, self.digest, self.warnings) = (directory, digest, warnings)
  }
}

extension Hints {
  /// The hints of an entry that a host's treering described: as those of a fetched one, but with the values that are
  /// in the catalog alone.
  func placed(as inode: UInt64) -> Hints {
    var hints = PlacedFiles.hints(storedInode: inode)
    hints.flags.formUnion(flags.intersection(.lacks))
    return hints
  }
}

/// Takes over the rows of one directory of a received tree, if the tree has their inodes.
final class ReceivedStorer: EntryStoring {
  private let directory: DirectoryContext
  private let files: PlacedFiles
  private let tree: FetchedTree
  private var rows: FileCursor

  init(
    of directory: DirectoryContext, in files: PlacedFiles, of tree: FetchedTree, describedBy record: DirectoryRecord
  ) throws {
    (self.directory, self.files, self.tree) = (directory, files, tree)
    rows = try FileCursor(of: record)
  }

  /// Goes to the row of a name; `nil` if there is none. Rows without an inode are added on the way.
  private func row(named name: Span<UInt8>) throws -> FileRow? {
    while let row = rows.current {
      let order = compareNames(rows.record.bytes.span.extracting(row.name), name)
      if order != .before { return order == .same ? row : nil }
      try pass(row)
    }
    return nil
  }

  private func pass(_ row: FileRow) throws {
    if row.hints.flags.contains(.notStored) { add(row) }
    try rows.advance()
  }

  private func add(_ row: FileRow) {
    if row.hints.flags.isCatalogOnly { directory.context.progress.catalogOnly.count() }
    directory.encoder.append(row, of: rows.record, hints: row.hints.placed(as: row.hints.storedInode))
  }

  func link(_ before: FileRow, named range: Range<Int>) throws -> Bool {
    let names = directory.names
    guard let row = try row(named: names.span.extracting(range)), row.hints.storedInode == before.hints.storedInode,
      row.kind == before.kind, row.size == before.size, row.metadata == before.metadata, row.digest == before.digest
    else { return false }
    tree.noteKnown(row.hints.storedInode)
    add(row)
    try rows.advance()
    return true
  }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) -> Bool { false }

  /// `store` has added the row itself.
  func record(_ entry: NewEntry, as name: [UInt8]) {}

  func store(_ source: SourceEntry) throws -> NewEntry? {
    let (node, status, name) = (directory.node, source.status, source.name)
    guard let row = try row(named: name.span), row.isStored(as: status) else {
      throw node.refusal(at: name, because: "is not what the host sent")
    }
    let entry = NewEntry(row, of: rows.record)
    if files.isForeign(status, row: source.row) {
      // A moved file, if it is one of the host.
      tree.noteForeign(status.inode, at: node.sourcePath(of: name))
      // The source is refused unless the file was in it before, so it is not gone.
      if source.row == nil { node.tally?.moved.count() }
      directory.context.progress.linked.count()
      directory.context.progress.moved.count()
    } else {
      tree.noteKnown(status.inode)
      directory.countPlaced(entry, status: status, comparedWith: source.row)
    }
    add(row)
    try rows.advance()
    return entry
  }

  /// An entry that the base describes without an inode is not on the disk.
  func keeps(unlisted before: FileRow) -> Bool { before.hints.flags.contains(.notStored) }

  func finish() throws { while let row = rows.current { try pass(row) } }
}

// Sources that a catalog describes before they are walked.
extension SnapshotWork {
  /// The digest that a source must have; `nil` if its host announced none.
  private func announcedDigest(of source: [UInt8]) -> Digest? {
    options.fetchedTree(of: source)?.reception?.digest ?? options.keptSource(of: source)?.digest
  }

  /// The record of a directory that a catalog describes; `nil` for one that the walk itself describes.
  func description(
    of node: SnapshotNode, base: DirectoryRecord?, with worker: SnapshotWorker
  ) throws -> DirectoryRecord? {
    guard builder != nil, node.isListed, let tally = node.tally else { return nil }
    var record: DirectoryRecord?
    if node.isKept {
      record = base
    } else if let reception = node.placed == nil ? nil : options.fetchedTree(of: tally.path)?.reception {
      let reader = worker.reader(of: reception, path: tally.path)
      if case .directory(let found, _)? = try reader.find(node.path) { record = found }
    } else {
      return nil
    }
    guard let record, record.metadata == node.sourceStatus?.metadata || !record.hints.flags.isDisjoint(with: .lacks)
    else { throw mismatch(of: node) }
    return record
  }

  private func mismatch(of node: SnapshotNode) -> SourceRefusal {
    let words = node.isKept ? "what the catalog of its snapshot says; run treering verify" : "what the host sent"
    return node.refusal(at: nil, because: "is not \(words)", kind: node.isKept ? .damaged : .failed)
  }

  /// Takes over the values of a described directory.
  func take(_ record: DirectoryRecord, for node: SnapshotNode) {
    (node.build.metadata, node.build.attributes) = (record.metadata, record.attributes)
    // The builder itself marks the directories that it makes.
    guard node.placed != nil else { return }
    node.build.hints.flags.formUnion(record.hints.flags.intersection(.lacks))
    if node.build.hints.flags.isCatalogOnly { context.progress.catalogOnly.count() }
  }

  /// Refuses a source that is not the announced one.
  func checkAnnounced(_ node: SnapshotNode) throws {
    guard node.isSource, let digest = announcedDigest(of: node.sourcePath), node.build.result?.digest != digest else {
      return
    }
    throw mismatch(of: node)
  }
}

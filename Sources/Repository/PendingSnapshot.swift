public import Catalog
public import Model
public import Posix

/// A snapshot under construction in `.treering/pending`. It is never listed, and no snapshot links to its files.
public final class PendingSnapshot: Sendable {
  public let name: SnapshotName
  /// The tree under construction.
  public let tree: Directory
  /// True if the tree was the spare. Names of the older snapshot are still in it and must become those of the new one.
  public let isRecycled: Bool
  let catalog: NewCatalogFile
  private let repository: Repository
  private let pending: Directory

  /// The sink for finished frames of the catalog.
  public var sink: any FrameSink { catalog }

  /// The minimum preallocation for a catalog. It covers the records that are open when a run ends.
  private static var reservedBytes: UInt64 { 1 << 20 }

  init(named name: SnapshotName, in repository: Repository, catalogBytes: UInt64, mayRecycle: Bool) throws(Failure) {
    (self.repository, self.name) = (repository, name)
    pending = try repository.pending
    do {
      if let spare = mayRecycle ? repository.retirement.takeSpare(as: name, in: pending) : nil {
        tree = spare
        isRecycled = true
      } else {
        isRecycled = false
        try pending.descriptor.makeDirectory(name.bytes.span, mode: 0o700)
        tree = try pending.directory(name.bytes.span)
        // All directories below inherit a default ACL, but a snapshot may have only the ACLs of its source.
        try tree.descriptor.dropInheritedACLs()
      }
      catalog = try NewCatalogFile(
        file:
          try repository.openFile(name.catalogName, in: pending, flags: [.readWrite, .exclusive]))
      try catalog.reserve(byteCount: catalogBytes + catalogBytes / 4 + Self.reservedBytes)
    } catch { throw .writing("begin a snapshot in", at: repository.path, because: error) }
  }

  /// Makes tree and catalog durable, then visible: the catalog first, the tree second.
  ///
  /// No rename precedes the return of `syncfs`, so every name that is found after a crash refers to complete data. A
  /// crash between the two renames leaves one of the pair in `pending`. `Publication.recover` finds its published
  /// partner and completes the pair.
  ///
  /// An error undoes all renames, so nothing is published if this throws. If the undo fails, the snapshot stays, with a
  /// warning. `latest` and the set links are updated after this.
  public func publish(_ summary: CatalogSummary, with writer: FrameWriter) throws {
    let catalogs = try repository.catalogs
    var isVisible = false
    do {
      try catalog.finish(summary, with: writer)
      try tree.descriptor.setPermissions(0o755)
      try tree.descriptor.setModificationTime(summary.started)
      try repository.owner.give(tree.descriptor)
      try repository.publication.synchronizeFileSystem(through: pending.descriptor)
      try pending.descriptor.rename(name.catalogName.span, to: catalogs.descriptor, as: name.catalogName.span)
      try pending.descriptor.rename(name.bytes.span, to: repository.root.descriptor, as: name.bytes.span)
      isVisible = true
      try repository.publication.synchronizeRenames(of: catalogs)
    } catch {
      do throws(Errno) { try withdraw(from: catalogs, isVisible: isVisible) } catch let refusal {
        repository.problems.note(
          Failure(
            .failed,
            "the snapshot \(name) is published, but a power cut may take it away: \(error); it cannot be taken "
              + "back: \(refusal)"))
        return
      }
      guard let error = error as? Errno else { throw error }
      throw Failure.writing("publish the snapshot \(name) in", at: repository.path, because: error)
    }
  }

  /// Publishes the catalog in a cache, with the tree as it is. The catalog is durable before it is visible.
  public func publishCatalog(_ summary: CatalogSummary, with writer: FrameWriter) throws {
    let catalogs = try repository.catalogs
    do {
      try catalog.finish(summary, with: writer)
      try catalog.synchronize()
      try pending.descriptor.rename(name.bytes.span, to: repository.root.descriptor, as: name.bytes.span)
      try pending.descriptor.rename(name.catalogName.span, to: catalogs.descriptor, as: name.catalogName.span)
    } catch {
      guard let error = error as? Errno else { throw error }
      throw Failure.writing("keep the catalog of \(name) in", at: repository.path, because: error)
    }
  }

  /// Keeps an interrupted run's tree, so that the next run can link to its files.
  ///
  /// The catalog's new name contains the boot ID. A tree that cannot be made durable is not kept: its data may be lost
  /// before the next run.
  public func keepUnfinished(_ summary: CatalogSummary, with writer: FrameWriter) throws {
    try catalog.finish(summary, with: writer)
    try repository.publication.synchronizeFileSystem(through: pending.descriptor)
    let unfinished = name.bytes + (try Publication.unfinishedSuffix())
    try pending.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: unfinished.span)
  }

  /// Undoes the renames, the tree first: a catalog alone is no snapshot. Throws if the tree stays visible.
  private func withdraw(from catalogs: Directory, isVisible: Bool) throws(Errno) {
    if isVisible { try repository.root.descriptor.rename(name.bytes.span, to: pending.descriptor, as: name.bytes.span) }
    do throws(Errno) {
      try catalogs.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: name.catalogName.span)
    } catch {
      // If the catalog stayed published, the next recovery would publish the tree. Without it, the tree is built anew.
      try? catalogs.descriptor.unlink(name.catalogName.span)
    }
  }
}

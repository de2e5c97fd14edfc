public import Catalog
public import Model
public import Posix

/// A foreign tree that is being adopted as a snapshot.
///
/// The tree itself is not modified. It gets a catalog and a place among the snapshots.
public final class Adoption: Sendable {
  public let name: SnapshotName
  private let catalog: NewCatalogFile
  private let repository: Repository
  private let pending: Directory

  /// The sink for finished frames of the catalog.
  public var sink: any FrameSink { catalog }

  init(named name: SnapshotName, in repository: Repository) throws(Failure) {
    (self.repository, self.name) = (repository, name)
    pending = try repository.pending
    do {
      catalog = try NewCatalogFile(
        file:
          try repository.openFile(name.catalogName, in: pending, flags: [.readWrite, .exclusive]))
    } catch { throw .writing("begin a catalog in", at: repository.path, because: error) }
  }

  /// Makes catalog and tree durable, moves the tree out of `directory`, then publishes the catalog.
  ///
  /// The tree is renamed first. After a crash between the renames, the catalog is in `pending` and the tree in its
  /// final place. `Publication.recover` then completes the pair. An error undoes all renames, and the tree is back at
  /// its old path. If the undo fails, the snapshot stays, with a warning. Also throws if `found` is no longer the same
  /// unchanged directory.
  public func publish(
    _ summary: CatalogSummary, with writer: FrameWriter, moving found: [UInt8], of directory: Directory,
    whichWas tree: FileStatus
  ) throws {
    let catalogs = try repository.catalogs
    let root = repository.root
    var (isMoved, isCataloged) = (false, false)
    do {
      try catalog.finish(summary, with: writer)
      try repository.publication.synchronizeFileSystem(through: pending.descriptor)
      try directory.descriptor.rename(found.span, to: root.descriptor, as: name.bytes.span)
      isMoved = true
      let moved = try root.descriptor.status(of: name.bytes.span)
      guard moved.inode == tree.inode, moved.modified == tree.modified else {
        throw Failure(
          .failed, "\(displayName(found)) was replaced by another directory, or has changed, meanwhile", path: found)
      }
      try root.descriptor.synchronize()
      try directory.descriptor.synchronize()
      try pending.descriptor.rename(name.catalogName.span, to: catalogs.descriptor, as: name.catalogName.span)
      isCataloged = true
      try catalogs.descriptor.synchronize()
      try repository.publication.pointLatest(to: name)
      try root.descriptor.synchronize()
    } catch {
      do throws(Errno) {
        if isCataloged {
          try catalogs.descriptor.rename(name.catalogName.span, to: pending.descriptor, as: name.catalogName.span)
        }
        if isMoved { try root.descriptor.rename(name.bytes.span, to: directory.descriptor, as: found.span) }
      } catch let refusal {
        repository.problems.note(
          Failure(
            .failed,
            "\(displayName(found)) is the snapshot \(name) now, but a power cut may undo it: \(error); it cannot be "
              + "taken back: \(refusal)"))
        return
      }
      throw Failure.writing("adopt \(displayName(found)) in", at: repository.path, because: error)
    }
  }

  /// Removes the catalog of an adoption that failed.
  ///
  /// If the tree could not be moved back, the catalog stays: `recover` needs it.
  public func giveUp() {
    let isPlaced = (try? repository.root.descriptor.statusIfPresent(of: name.bytes.span) != nil) ?? true
    if !isPlaced { try? pending.descriptor.unlink(name.catalogName.span) }
  }
}

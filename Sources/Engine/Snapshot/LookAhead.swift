internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Counts the needs and changes of one directory, and stores nothing.
struct LookAhead: EntryStoring {
  private let directory: DirectoryContext

  init(of directory: DirectoryContext) { self.directory = directory }

  func link(_ row: FileRow, named range: Range<Int>) -> Bool { true }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) -> Bool { true }

  func record(_ entry: NewEntry, as name: [UInt8]) {}

  func store(_ entry: SourceEntry) -> NewEntry? {
    measure(entry.status, before: entry.before)
    return NewEntry(kind: .fifo, metadata: entry.status.metadata, hints: .none)
  }

  /// Counts the space for storing the entry, and the entry as changed or unchanged.
  ///
  /// An inode with several names counts once.
  private func measure(_ status: FileStatus, before: StoredFile?) {
    // A file that is moved in takes no more space.
    let isMovedIn = directory.node.isStaged && status.device == directory.context.repository.identity.device
    if isMovedIn, directory.node.dump != nil { return }
    if let before, before.row.mayHaveContent(of: status) {
      directory.node.tally?.unchanged.count()
      return
    }
    if before?.row.kind == .regular && status.kind == .regular { directory.node.tally?.changed.count() }
    if isMovedIn { return }
    if let before, directory.context.capabilities.reflinks, before.row.isWorthCloning(for: status) {
      directory.context.space.needs(bytes: min(status.size - min(status.size, before.row.size), status.blocks &* 512))
    } else {
      directory.context.space.needs(bytes: status.kind == .regular ? min(status.size, status.blocks &* 512) : 0)
    }
  }
}

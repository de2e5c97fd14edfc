internal import Catalog
internal import Model
internal import Posix

/// A directory of the source in the midst of a snapshot, with all that its merge needs.
struct DirectoryContext {
  let work: SnapshotWork
  let node: SnapshotNode
  /// The compared directory of the base.
  let record: DirectoryRecord?
  /// The record by which the entries are described already; `nil` if the walk describes them.
  var described: DirectoryRecord?
  let encoder: RecordEncoder
  /// A change after this moment sets a later ctime.
  let moment: Timestamp
  let worker: SnapshotWorker
  /// The bytes of the listed names.
  let names: [UInt8]

  var context: BuildContext { work.context }

  func path(at range: Range<Int>) -> [UInt8] { node.sourcePath(of: names[range]) }

  /// True if the source inode's status proves that the stored file is right, by the chosen test.
  ///
  /// The status must be that of the catalog: inode, ctime and mtime, on a file system that is the same and has true
  /// ctimes; kind and size. The stored file must have been read at rest, and root must have nothing more to store.
  func isUnchanged(_ row: FileRow, accordingTo status: FileStatus, isFoundByInode: Bool = false) -> Bool {
    if let placed = node.placed {
      return work.options.changeDetection != .content && placed.isSame(row, accordingTo: status)
    }
    if node.isKept { return row.isStored(as: status) }
    // A file that was found by its inode was searched on this very file system.
    let isProven =
      row.hasInodeAndTimes(of: status) && (isFoundByInode || node.hasSameInodes)
      && node.identity.trustsChangeTime(of: status)
    let isSame =
      switch work.options.changeDetection {
      case .ctime: isProven
      // Only for files with one name. A new hard link, or a new target of a symbolic link, shows in the ctime alone.
      // The old inode number and ctime stay in the catalog, so that a stricter test later reads the file.
      case .mtime:
        isProven
          || !isFoundByInode && row.kind == .regular && row.linkGroup == nil && status.linkCount == 1
            && row.metadata == status.metadata
      case .content: false
      }
    return isSame
      && row.kind == status.kind && (row.kind != .regular || row.size == status.size)
      && row.hints.flags.isDisjoint(with: [.racy, .changedWhileRead])
      // Root stores the values that an ordinary user could not store.
      && !row.hints.flags.isWorthRetrying(asRoot: work.context.isRoot)
  }
}

/// A file of the source that is not known to be unchanged.
struct SourceEntry {
  let name: [UInt8]
  let status: FileStatus
  let row: FileRow?
  /// A stored file that may have the same content: the base's, or one found by the inode.
  var before: StoredFile?
}

/// The actions of a merge on the snapshot's side.
protocol EntryStoring {
  /// Links the stored file under the same name; false if it cannot be linked and must be stored anew.
  func link(_ row: FileRow, named range: Range<Int>) throws -> Bool
  /// Links a name to the first name of its inode; false if the file has changed since, or if that cannot be.
  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) throws -> Bool
  /// Stores an inode; `nil` if it is left out.
  func store(_ entry: SourceEntry) throws -> NewEntry?
  /// Adds a stored entry to the directory's record.
  func record(_ entry: NewEntry, as name: [UInt8])
  /// True if an entry of the base that the source does not list is in the snapshot all the same.
  func keeps(unlisted row: FileRow) -> Bool
  /// Called after the last file.
  func finish() throws
}

extension EntryStoring {
  func keeps(unlisted row: FileRow) -> Bool { false }
  func finish() {}
}

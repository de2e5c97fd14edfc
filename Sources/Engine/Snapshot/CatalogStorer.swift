internal import Catalog
public import Model
internal import Posix
internal import Repository

/// The files of a snapshot without a local tree that are copied, so that they can be sent as they were.
public struct CopiedFiles: Sendable {
  /// The paths of files that changed or vanished between the walk and the push of an earlier attempt.
  public var unsteady: Set<TreePath> = []
  /// Other new and changed files are copied up to this size.
  public var largestByteCount: UInt64 = 0
  /// True if a file that cannot be copied is left out.
  public var areRequired = false

  public init() {}
}

/// The parts of a snapshot that is taken without a local tree: the catalog alone is made here.
struct TreelessSnapshot {
  let records: any FrameSink
  /// Takes copies of the files in `unsteady`, each named by `ContentDigest.fileName`.
  let copies: Directory
  let copied: CopiedFiles
}

/// Records the entries of one directory with the digests of their contents, and stores no files.
///
/// Only files that may not last until they are sent are copied.
struct CatalogStorer: EntryStoring {
  private let directory: DirectoryContext
  private let snapshot: TreelessSnapshot
  private var node: SnapshotNode { directory.node }

  init(of directory: DirectoryContext, for snapshot: TreelessSnapshot) {
    (self.directory, self.snapshot) = (directory, snapshot)
  }

  func link(_ row: FileRow, named range: Range<Int>) -> Bool {
    if row.digest.form == .chunks || isUnsteady(named: Array(directory.names[range])) { return false }
    directory.encoder.append(row, of: directory.record!, hints: row.hints.ofSource)
    return true
  }

  func link(_ entry: SourceEntry, to first: FirstName<StoredInode>) -> Bool {
    let (stored, status) = (first.value.entry, entry.status)
    guard stored.hints.changed == status.changed, stored.kind == status.kind,
      stored.kind != .regular || stored.size == status.size, stored.metadata == status.metadata
    else { return false }
    directory.context.progress.linked.count()
    record(stored, as: entry.name)
    return true
  }

  func record(_ entry: NewEntry, as name: [UInt8]) { directory.encoder.append(name.span, entry) }

  func store(_ entry: SourceEntry) throws -> NewEntry? {
    let isUnsteady = isUnsteady(named: entry.name)
    let before = entry.before
    if !isUnsteady, let before, let known = known(before, for: entry) {
      if before.tree.isUnfinished { directory.count(known, comparedWith: entry.row) }
      return known
    }
    guard let stored = try read(entry, isUnsteady: isUnsteady) else { return nil }
    if let before, Self.isSame(stored, as: before) {
      directory.context.progress.linked.count()
      if before.isFoundByInode { directory.context.progress.moved.count() }
    } else {
      directory.context.progress.copied.count()
      if !isUnsteady { directory.context.progress.bytesCopied.count(stored.size) }
    }
    directory.count(stored, comparedWith: before?.tree.isUnfinished == true ? entry.row : before?.row)
    return stored
  }

  /// True if the stored file has the same content, or is the same special file.
  private static func isSame(_ entry: NewEntry, as before: StoredFile) -> Bool {
    let row = before.row
    guard row.kind == entry.kind else { return false }
    return switch entry.kind {
    case .regular: row.size == entry.size && row.digest == entry.digest
    case .symbolicLink: before.record.target(of: row) == entry.target
    default: row.size == entry.device
    }
  }

  private func isUnsteady(named name: [UInt8]) -> Bool {
    !snapshot.copied.unsteady.isEmpty && snapshot.copied.unsteady.contains(node.path + name)
  }

  /// The entry of a file that was found by its inode, if its status proves that it has not changed.
  private func known(_ before: StoredFile, for source: SourceEntry) -> NewEntry? {
    guard before.isFoundByInode,
      directory.isUnchanged(before.row, accordingTo: source.status, isFoundByInode: true),
      before.row.metadata == source.status.metadata
    else { return nil }
    var entry = NewEntry(before.row, of: before.record)
    entry.hints = before.row.hints.ofSource
    entry.linkGroup = nil
    directory.context.progress.linked.count()
    directory.context.progress.moved.count()
    return entry
  }

  // MARK: Reading

  /// Copies leave a twentieth of the cache's file system free, but not more than this.
  private static let largestReserve: UInt64 = 1 << 30

  private func read(_ entry: SourceEntry, isUnsteady: Bool) throws -> NewEntry? {
    guard entry.status.kind == .regular else { return try directory.readSpecial(entry) }
    if isUnsteady { return try read(entry.name, byCopying: true, isRequired: true) }
    let mayCopy = entry.status.size <= snapshot.copied.largestByteCount
    let isRequired = mayCopy && snapshot.copied.areRequired
    if mayCopy, entry.before == nil { return try read(entry.name, byCopying: true, isRequired: isRequired) }
    // The remote has the file if its content is the same.
    let stored = try read(entry.name, byCopying: false)
    guard let stored, mayCopy, let before = entry.before, !Self.isSame(stored, as: before) else { return stored }
    return try read(entry.name, byCopying: true, isRequired: isRequired)
  }

  private func read(_ name: [UInt8], byCopying copies: Bool, isRequired: Bool = false) throws -> NewEntry? {
    guard var file = try directory.openFile(named: name) else { return nil }
    let pass: PassResult
    do throws(CopyError) {
      pass = try copies ? copy(&file) : hash(&file)
    } catch {
      let path = node.sourcePath(of: name)
      switch error {
      case .interrupted:
        try checkForSignal()
        throw Failure(.failed, "interrupted")
      case .reading(let error): try directory.work.readingFailed(at: path, because: error)
      case .writing(let error):
        guard isRequired else { return try read(name, byCopying: false) }
        directory.context.warn(
          at: path, "changes too often to be sent as it is, and cannot be copied for that: \(error)")
      }
      return nil
    }
    if file.flags.contains(.changedWhileRead), let dump = file.dump {
      throw dump.refusal(at: node.sourcePath(of: name))
    }
    return file.entry(pass, storedInode: 0, flags: [])
  }

  private func hash(_ file: inout SourceFile) throws(CopyError) -> PassResult {
    let reader = directory.worker.tools.reader
    return try directory.readUntilStill(&file) { file, _ throws(CopyError) in
      try reader.hash(
        file.descriptor, byteCount: file.status.size, hasHoles: file.status.hasHoles, elidingZeros: true)
    }
  }

  /// Copies a file beside the catalog, so that it can be sent as it was.
  private func copy(_ file: inout SourceFile) throws(CopyError) -> PassResult {
    let name = Array("\(file.status.device)-\(file.status.inode)".utf8)
    let copies = snapshot.copies
    do throws(Errno) {
      let free = try copies.descriptor.fileSystem()
      let reserve = min((free.bytesUsed &+ free.bytesAvailable) / 20, Self.largestReserve)
      guard !free.lacks(bytes: file.status.size, inodes: 1, reserve: reserve) else { throw .noSpace }
    } catch { throw .writing(error) }
    do throws(CopyError) {
      let pass = try copy(&file, to: Self.create(name, in: copies))
      let digestName = pass.digest.fileName
      do throws(Errno) {
        try copies.descriptor.rename(name.span, to: copies.descriptor, as: digestName.span, replacing: true)
      } catch { throw .writing(error) }
      return pass
    } catch {
      try? copies.descriptor.unlink(name.span)
      throw error
    }
  }

  private func copy(_ file: inout SourceFile, to target: borrowing Descriptor) throws(CopyError) -> PassResult {
    let reader = directory.worker.tools.reader
    return try directory.readUntilStill(&file) { file, _ throws(CopyError) in
      do throws(Errno) {
        try target.setLength(0)
        try target.seek(to: 0)
      } catch { throw .writing(error) }
      return try reader.copy(
        file.descriptor, to: target, byteCount: file.status.size, hasHoles: file.status.hasHoles, elidingZeros: true)
    }
  }

  private static func create(_ name: [UInt8], in directory: Directory) throws(CopyError) -> Descriptor {
    do throws(Errno) {
      return try directory.descriptor.open(name.span, [.write, .create, .truncate], mode: 0o600)
    } catch { throw .writing(error) }
  }
}

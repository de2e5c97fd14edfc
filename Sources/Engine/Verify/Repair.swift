internal import Catalog
public import Model
internal import Posix
public import Repository

/// The outcome of the repair of one damaged path.
public struct Repair: Sendable {
  public var problem: Problem
  /// The reason why the path stays damaged; `nil` if it is whole again.
  public var obstacle: String?
}

public struct RepairResult: Sendable {
  public var repairs: [Repair]
  /// Damaged inodes that still have names, under paths that were not searched.
  public var sharedInodes: Int
}

/// Replaces damaged entries by the other repository's copies. The caller holds the repository's lock.
///
/// An entry is replaced only if the other repository's catalog has the same description of it. Its bytes are checked
/// against the digest first. The new entry takes its place by one rename. Nothing else in a snapshot changes.
///
/// Another snapshot that has the damaged inode at the same path gets the repaired inode too. The spare and the
/// unfinished snapshot are given up, because damaged inodes would come back from there.
public func repair(
  _ problems: [Problem], in repository: Repository, from other: any SnapshotStore, threads: ThreadCount,
  progress: Progress
) throws -> RepairResult {
  try repository.publication.recover(keepingUnfinished: false)
  repository.retirement.discardSpare()
  let work = try RepairWork(of: repository, from: other, threads: threads, progress: progress)
  let repairs = try problems.map { problem in
    try checkForSignal()
    do {
      try work.repair(problem)
      return Repair(problem: problem, obstacle: nil)
    } catch let failure as Failure {
      switch failure.kind {
      case .noSpace, .interrupted, .remote: throw failure
      default: return Repair(problem: problem, obstacle: failure.message)
      }
    } catch { return Repair(problem: problem, obstacle: "\(error)") }
  }
  return RepairResult(repairs: repairs, sharedInodes: work.sharedInodes)
}

private final class RepairWork {
  private struct Place: Hashable {
    var snapshot: SnapshotName
    var path: TreePath
  }

  /// The key that all names of one inode share, in one snapshot or in several.
  private struct Key: Hashable {
    /// Empty if the inode has several names in one snapshot.
    var path: TreePath
    var group: UInt64?
    var kind: EntryKind
    var digest: ContentDigest
    var metadata: Metadata

    init(_ row: FileRow, at path: TreePath) {
      self.path = row.linkGroup == nil ? path : []
      group = row.linkGroup
      kind = row.kind
      digest = row.digest
      metadata = row.metadata
    }
  }

  private let repository: Repository
  private let other: any SnapshotStore
  private let list: SnapshotList
  private let threads: ThreadCount
  private let progress: Progress
  private let names: [SnapshotName]
  /// The repaired entries, for other snapshots that shared the damaged inode.
  private var repaired: [Key: (snapshot: SnapshotName, path: TreePath)] = [:]
  /// The paths that were repaired together with another snapshot.
  private var done: Set<Place> = []
  private var marked: Set<SnapshotName> = []
  /// For each damaged inode, true if it has names left.
  private var hasNames: [UInt64: Bool] = [:]

  var sharedInodes: Int { hasNames.values.count { $0 } }

  init(of repository: Repository, from other: any SnapshotStore, threads: ThreadCount, progress: Progress) throws {
    (self.repository, self.other) = (repository, other)
    list = try other.snapshots()
    (self.threads, self.progress) = (threads, progress)
    let list = try repository.snapshots()
    names = list.snapshots.map(\.name) + list.damaged.map(\.name)
  }

  func repair(_ problem: Problem) throws {
    if done.contains(Place(snapshot: problem.snapshot, path: problem.place)) { return }
    guard let name = problem.place.last
    else { throw Failure(.failed, "only paths can be repaired, and not a snapshot as a whole") }
    let reader = CatalogReader(reading: try repository.openCatalog(of: problem.snapshot))
    guard let wanted = try reader.find(problem.place)
    else { throw Failure(.failed, "it is not in the catalog, and is left") }
    let folderPath = problem.place.dropLast()
    guard case .directory(let folder, _)? = try reader.find(folderPath) else { throw CatalogError("no directory") }
    let tree = try repository.openTree(of: problem.snapshot)
    let target = try tree.directory(path: folderPath)
    try mark(problem.snapshot)
    switch wanted {
    case .directory(let record, _):
      if let present = try? target.directory(name.span) {
        // The directory is present; only its metadata differ.
        _ = try correctMetadata(record.metadata, attributes: record.attributes, of: present.descriptor)
        return
      }
      try replace(name, in: target, with: problem.place, wanted: wanted)
    case .file(let row, let record):
      let key = Key(row, at: problem.place)
      // The descriptor stays open so that the inode number is not reused before the inode's other names are found.
      let damaged = try? target.descriptor.open(name.span, .pathOnly)
      let before = try damaged?.status()
      if try !linkRepaired(key: key, name: name, in: target, row: row, of: record) {
        try replace(name, in: target, with: problem.place, wanted: wanted)
        repaired[key] = (problem.snapshot, problem.place)
      }
      if let before, before.kind != .directory {
        try repairOthers(of: problem, key: key, damaged: before)
        if let damaged { hasNames[before.inode] = try damaged.status().linkCount > 0 }
      }
    }
    // The directory has its old names, so it gets its old mtime back.
    if !folder.isSynthetic { try target.descriptor.setModificationTime(folder.metadata.modified) }
  }

  /// Marks the snapshot as repaired: the next snapshot must not trust the inode numbers in its catalog.
  ///
  /// The numbers may soon belong to other files.
  private func mark(_ snapshot: SnapshotName) throws {
    guard marked.insert(snapshot).inserted else { return }
    try repository.marks.add(.repaired, to: snapshot, reason: "", at: Clock.now())
  }

  /// Gives the repaired inode to every other snapshot that has the damaged one under the same path.
  private func repairOthers(of problem: Problem, key: Key, damaged: FileStatus) throws {
    let folderPath = problem.place.dropLast()
    guard let name = problem.place.last else { return }
    for snapshot in names where snapshot != problem.snapshot {
      try checkForSignal()
      guard let target = try? repository.openTree(of: snapshot).directory(path: folderPath),
        let present = try? target.descriptor.status(of: name.span),
        present.isSameInode(as: damaged)
      else { continue }
      let reader = CatalogReader(reading: try repository.openCatalog(of: snapshot))
      guard case .file(let row, let record)? = try reader.find(problem.place),
        case .directory(let folder, _)? = try reader.find(folderPath), Key(row, at: problem.place) == key
      else { continue }
      try mark(snapshot)
      guard try linkRepaired(key: key, name: name, in: target, row: row, of: record) else { continue }
      done.insert(Place(snapshot: snapshot, path: problem.place))
      if !folder.isSynthetic { try target.descriptor.setModificationTime(folder.metadata.modified) }
    }
  }

  /// Links the inode that was already repaired, so that the snapshots share it again. False if there is none.
  private func linkRepaired(
    key: Key, name: [UInt8], in target: Directory, row: FileRow, of record: DirectoryRecord
  ) throws -> Bool {
    guard let (snapshot, path) = repaired[key],
      case .file(let before, let other)? = try? CatalogReader(reading: repository.openCatalog(of: snapshot)).find(path),
      row.linkGroup == nil
        ? record.hasSameContent(row, as: before, of: other)
        : row.kind == .regular && Key(before, at: path) == key
          && other.attributes(of: before) == record.attributes(of: row),
      let firstName = path.last,
      let source = try? repository.openTree(of: snapshot).directory(path: path.dropLast())
    else { return false }
    // The link is made outside the snapshot first. An interrupted repair then leaves no temporary name in a snapshot.
    let place = try repository.repairDirectory.make()
    defer { try? repository.repairDirectory.discard() }
    do throws(Errno) { try source.descriptor.link(firstName.span, to: place.descriptor, as: name.span) } catch {
      return false
    }
    try place.descriptor.rename(name.span, to: target.descriptor, as: name.span, replacing: true)
    return true
  }

  private func replace(_ name: [UInt8], in target: Directory, with path: TreePath, wanted: Found) throws {
    let place = try repository.repairDirectory.make()
    defer { try? repository.repairDirectory.discard() }
    let from = try source(of: path, wanted: wanted)
    let options = RestoreOptions(
      paths: [path], destination: repository.path, overwrite: .never, isDryRun: false, threads: threads)
    let silent = SilentMonitor()
    let result = try restore(from, from: other, into: place, options: options, progress: progress, monitor: silent)
    let below = try? place.directory(path: path.dropFirst().dropLast())
    guard result.damaged == 0, let below, (try? below.descriptor.status(of: name.span)) != nil
    else { throw Failure(.failed, "it is damaged in \(displayName(other.path)) as well", path: other.path) }
    try repository.publication.synchronizeFileSystem(through: below.descriptor)
    // The present entry is damaged. It is moved away first if the entry or its replacement is a directory.
    let isDirectory = if case .directory = wanted { true } else { false }
    if let present = try? target.descriptor.status(of: name.span), isDirectory || present.kind == .directory {
      try repository.retirement.discard(name, of: target)
    }
    try below.descriptor.rename(name.span, to: target.descriptor, as: name.span, replacing: true)
    try target.descriptor.synchronize()
  }

  /// The newest snapshot of the other repository that has exactly this entry at the path.
  private func source(of path: TreePath, wanted: Found) throws -> Snapshot {
    for candidate in list.snapshots.reversed() {
      guard let found = try? CatalogReader(reading: other.openCatalog(of: candidate.name)).find(path) else { continue }
      switch (wanted, found) {
      case (.file(let row, let record), .file(let there, let other)):
        if record.hasSameContent(row, as: there, of: other) { return candidate }
      case (.directory(_, let subtree), .directory(_, let there)):
        if subtree.digest == there.digest { return candidate }
      default: break
      }
    }
    throw Failure(.failed, "\(displayName(other.path)) does not have it", path: other.path)
  }
}

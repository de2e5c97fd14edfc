public import Catalog
internal import Posix
public import Repository

/// What became of one damaged path.
public struct Repair: Sendable {
  public var problem: Problem
  /// Why it stays damaged; `nil` where it is whole again.
  public var obstacle: String?
}

/// Replaces what is damaged by what another repository has of it. The caller holds the repository's lock.
///
/// A path is replaced only by an entry that the other repository's catalog describes just as this one's does, after
/// its bytes were checked against the digest; it takes its place by one rename. Nothing else of a snapshot changes.
public func repair(
  _ problems: [Problem], in repository: Repository, from other: any SnapshotStore,
  fetcher: @escaping (SnapshotName) -> (any ContentFetcher)?, threads: Int, progress: Progress
) throws -> [Repair] {
  let work = RepairWork(repository, other, try other.snapshots(), fetcher, threads, progress)
  return try problems.map { problem in
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
}

private final class RepairWork {
  /// Names of one inode, in one snapshot or in several, have one key.
  private struct Key: Hashable {
    /// Empty for names of an inode that has several in one snapshot.
    var path: [[UInt8]]
    var group: UInt64?
    var digest: Digest
    var metadata: Metadata
  }

  private let repository: Repository
  private let other: any SnapshotStore
  private let list: SnapshotList
  private let fetcher: (SnapshotName) -> (any ContentFetcher)?
  private let threads: Int
  private let progress: Progress
  /// What was repaired, for other snapshots that shared it.
  private var repaired: [Key: (snapshot: SnapshotName, path: [[UInt8]])] = [:]

  init(
    _ repository: Repository, _ other: any SnapshotStore, _ list: SnapshotList,
    _ fetcher: @escaping (SnapshotName) -> (any ContentFetcher)?, _ threads: Int, _ progress: Progress
  ) {
    self.repository = repository
    self.other = other
    self.list = list
    self.fetcher = fetcher
    self.threads = threads
    self.progress = progress
  }

  func repair(_ problem: Problem) throws {
    guard let name = problem.components.last else {
      throw Failure(.failed, "only paths can be repaired, and not a snapshot as a whole")
    }
    let reader = CatalogReader(try repository.openCatalog(problem.snapshot))
    guard let wanted = try reader.find(problem.components) else {
      throw Failure(.failed, "it is not in the catalog, and is left")
    }
    let folderPath = Array(problem.components.dropLast())
    guard case .directory(let folder, _)? = try reader.find(folderPath) else { throw CatalogError("no directory") }
    let tree = try repository.openTree(problem.snapshot)
    let target = try tree.directory(path: folderPath)
    switch wanted {
    case .directory(let record, _):
      if let present = try? target.directory(name.span) {
        // It is there, with other metadata.
        _ = try correctMetadata(record.metadata, record.attributes, of: present.descriptor)
        return
      }
      try replace(name, in: target, with: problem.components, wanted)
    case .file(let row, let record):
      let key = Key(
        path: row.linkGroup == nil ? problem.components : [], group: row.linkGroup, digest: row.digest,
        metadata: row.metadata)
      if try !linkRepaired(key, name, in: target, row, of: record) {
        try replace(name, in: target, with: problem.components, wanted)
        repaired[key] = (problem.snapshot, problem.components)
      }
    }
    // Its names are as they were, and so is its time.
    if !folder.isSynthetic { try target.descriptor.setModificationTime(folder.metadata.modified) }
  }

  /// Lets snapshots share again what they shared.
  private func linkRepaired(
    _ key: Key, _ name: [UInt8], in target: Directory, _ row: FileRow, of record: DirectoryRecord
  ) throws -> Bool {
    guard let (snapshot, path) = repaired[key],
      case .file(let before, let other)? = try? CatalogReader(repository.openCatalog(snapshot)).find(path),
      other.attributes(of: before) == record.attributes(of: row), let firstName = path.last,
      let source = try? repository.openTree(snapshot).directory(path: path.dropLast())
    else { return false }
    let temporary = try Self.temporaryName()
    do throws(Errno) { try source.descriptor.link(firstName.span, to: target.descriptor, as: temporary.span) } catch {
      return false
    }
    try target.descriptor.rename(temporary.span, to: target.descriptor, as: name.span, replacing: true)
    return true
  }

  private static func temporaryName() throws -> [UInt8] {
    Array(".treering-".utf8) + (try Process.randomBytes(8).map { 97 + $0 % 26 })
  }

  private func replace(_ name: [UInt8], in target: Directory, with path: [[UInt8]], _ wanted: Found) throws {
    let place = try repository.repairPlace()
    defer { try? repository.discardRepairPlace() }
    let from = try source(of: path, wanted)
    let options = RestoreOptions(
      paths: [path], destination: place.path, overwrite: .never, isDryRun: false, threads: threads)
    let silent = RepairMonitor()
    let result = try restore(from, from: other, fetcher: fetcher(from.name), options, progress: progress, monitor: silent)
    let below = try? place.directory.directory(path: path.dropFirst().dropLast())
    guard result.damaged == 0, let below, (try? below.descriptor.status(of: name.span)) != nil else {
      throw Failure(.failed, "it is damaged in \(displayName(other.path)) as well")
    }
    try below.descriptor.synchronizeFileSystem()
    // Whatever stands there is damaged. Where it or what takes its place is a directory, it is moved away first.
    let isDirectory = if case .directory = wanted { true } else { false }
    if let present = try? target.descriptor.status(of: name.span), isDirectory || present.kind == .directory {
      try repository.discard(directory: name, of: target)
    }
    try below.descriptor.rename(name.span, to: target.descriptor, as: name.span, replacing: true)
    try target.descriptor.synchronize()
  }

  /// A snapshot of the other repository that has just this at the path: the one of the same name, or another.
  private func source(of path: [[UInt8]], _ wanted: Found) throws -> Snapshot {
    for candidate in list.snapshots.reversed() {
      guard let found = try? CatalogReader(other.openCatalog(candidate.name)).find(path) else { continue }
      switch (wanted, found) {
      case (.file(let row, let record), .file(let there, let other)):
        if record.hasSameContent(row, other, there) { return candidate }
      case (.directory(_, let subtree), .directory(_, let there)):
        if subtree.digest == there.digest { return candidate }
      default: break
      }
    }
    throw Failure(.failed, "\(displayName(other.path)) does not have it")
  }
}

private final class RepairMonitor: Monitor {
  func warn(_ warning: Warning) {}
}

internal import Catalog
internal import Posix
internal import Repository
internal import Synchronization

/// A directory of a snapshot on its way back.
final class RestoreNode: WalkNode, @unchecked Sendable {
  let subtree: Subtree
  /// What of it is wanted; `nil` for everything.
  let selection: PathPlan?
  /// In the repository; `nil` where it is missing there.
  var stored: Directory?
  /// At the destination; `nil` in a dry run where it does not exist.
  var target: Directory?
  /// True where this run made the directory.
  var isNew: Bool
  var record: DirectoryRecord?
  var status: FileStatus?

  var restoreParent: RestoreNode? { parent.map { unsafeDowncast($0, to: RestoreNode.self) } }

  init(
    parent: RestoreNode?, name: [UInt8], subtree: Subtree, selection: PathPlan?,
    stored: Directory? = nil, target: Directory? = nil, isNew: Bool = false
  ) {
    self.subtree = subtree
    self.selection = selection
    self.stored = stored
    self.target = target
    self.isNew = isNew
    super.init(parent: parent, name: name)
  }
}

/// The names of one inode in the snapshot become names of one inode again.
struct RestoredInode: Hashable, Sendable {
  var group: UInt64
  var digest: Digest
}

struct RestoredLink: Sendable {
  var directory: [[UInt8]]
  var name: [UInt8]
  var inode: UInt64
}

final class RestoreWorker {
  let reader: CatalogReader
  let files: FileReader
  let tools = AssemblyTools()
  init(_ reader: CatalogReader, _ files: FileReader) {
    self.reader = reader
    self.files = files
  }
}

/// The work of a restore: in each directory, the merge of the catalog's names with what is wanted and
/// with what the destination holds.
final class RestoreWork: TreeWork {
  let catalog: OpenCatalog
  let options: RestoreOptions
  let destination: Directory?
  /// The path of the walk's root in the snapshot.
  let label: [[UInt8]]
  /// `nil` where the stored files are here.
  let fetcher: (any ContentFetcher)?
  let progress: Progress
  let monitor: any Monitor
  let damaged = Atomic<UInt64>(0)
  let links = LinkTable<RestoredInode, RestoredLink>()
  private let user = Process.effectiveUser

  init(
    catalog: OpenCatalog, options: RestoreOptions, destination: Directory?, label: [[UInt8]],
    fetcher: (any ContentFetcher)?, progress: Progress, monitor: any Monitor
  ) {
    self.label = label
    self.fetcher = fetcher
    self.catalog = catalog
    self.options = options
    self.destination = destination
    self.progress = progress
    self.monitor = monitor
  }

  func makeWorker() throws -> RestoreWorker {
    RestoreWorker(CatalogReader(catalog), FileReader(progress))
  }

  func finish(_ worker: RestoreWorker) throws {}

  /// The path of an entry at the destination.
  func path(_ node: RestoreNode, _ name: [UInt8]? = nil) -> [UInt8] {
    joined([options.destination] + node.path + (name.map { [$0] } ?? []))
  }

  func warn(_ path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  func reportDamage(_ path: [UInt8], _ message: String) {
    damaged.count()
    monitor.warn(Warning(path: path, message: message))
  }

  func reportLeft(_ path: [UInt8], _ message: String) {
    progress.left.count()
    monitor.warn(Warning(path: path, message: message))
  }

  // MARK: Entering a directory

  func enter(_ node: RestoreNode, _ worker: RestoreWorker) throws -> [RestoreNode] {
    guard try openTarget(node) else { return [] }
    progress.entries.count()
    if node.isNew { progress.directories.count() }
    if let parent = node.restoreParent {
      let name = node.name
      node.stored = try? parent.stored?.directory(name.span)
    }
    let record: DirectoryRecord
    do { record = try worker.reader.record(node.subtree.place, node.subtree.digest) } catch {
      reportDamage(path(node), "is not restored, because its record in the catalog is damaged: \(error)")
      return []
    }
    node.record = record
    do {
      var files = try FileCursor(record)
      let merge = RestoreMerge(self, node, record, worker)
      // All that is wanted of a directory is asked for before the first of it is waited for.
      var wanted: [FileRow] = []
      func take(_ row: FileRow) throws {
        wanted.append(row)
        if wanted.count == RestoreMerge.batch { try restoreAll() }
      }
      func restoreAll() throws {
        try merge.restore(wanted)
        wanted.removeAll(keepingCapacity: true)
      }
      var children: [RestoreNode] = []
      if let selection = node.selection {
        for (name, _) in selection.children {
          if let row = try files.seek(name.span) { try take(row) }
        }
        try restoreAll()
        while files.current != nil { try files.advance() }
        var rows = DirectoryCursor(record, try files.directories())
        for (name, plan) in selection.children {
          guard let row = rows.seek(name.span) else { continue }
          children.append(child(node, name, row, plan.isSource ? nil : plan))
        }
      } else {
        while let row = files.current {
          try take(row)
          try files.advance()
        }
        try restoreAll()
        for row in try files.directories() {
          children.append(child(node, Array(record.bytes[row.name]), row, nil))
        }
      }
      return children
    } catch let error as CatalogError {
      reportDamage(path(node), "is restored in part, because its record is damaged: \(error)")
      return []
    }
  }

  private func child(
    _ node: RestoreNode, _ name: [UInt8], _ row: DirectoryRow, _ selection: PathPlan?
  ) -> RestoreNode {
    RestoreNode(parent: node, name: name, subtree: Subtree(row), selection: selection)
  }

  /// Makes or opens the directory; false where something else is in its place and stays.
  private func openTarget(_ node: RestoreNode) throws -> Bool {
    guard let parent = node.restoreParent else {
      node.status = try? node.target?.descriptor.status()
      return true
    }
    guard let above = parent.target else {
      node.isNew = true  // A dry run, below a directory that would be new.
      return true
    }
    let name = node.name
    do throws(Errno) {
      let existing = try? above.descriptor.status(of: name.span)
      if let existing, existing.kind != .directory {
        guard options.overwrite != .never else {
          reportLeft(
            path(node), "exists and is not a directory; left as it is, with nothing below it restored")
          return false
        }
        if options.isDryRun {
          node.isNew = true
          return true
        }
        try above.descriptor.unlink(name.span)
      }
      if existing?.kind != .directory {
        node.isNew = true
        if options.isDryRun { return true }
        try above.descriptor.makeDirectory(name.span, mode: 0o700)
      }
      let directory = try above.directory(name.span)
      let status = try directory.descriptor.status()
      if node.isNew && status.user != user {
        warn(path(node), "was replaced by somebody else while it was restored")
        return false
      }
      if node.isNew && !parent.isNew { try directory.descriptor.dropInheritedACLs() }
      node.target = directory
      node.status = status
      return true
    } catch {
      if error == .symbolicLoop || error == .notADirectory {
        warn(path(node), "was replaced by something else while it was restored")
        return false
      }
      if error == .accessDenied {
        warn(path(node), "cannot be opened: \(error)")
        return false
      }
      throw Failure.writing("make the directory", path(node), error)
    }
  }

  // MARK: Leaving a directory

  func leave(_ node: RestoreNode, _ worker: RestoreWorker) throws {
    defer {
      node.stored = nil
      node.target = nil
      node.record = nil
    }
    guard let record = node.record, let target = node.target, let status = node.status,
      !options.isDryRun, !record.isSynthetic,
      // A directory on the way to what is wanted, or that was there, is the operator's.
      node.isNew || (options.overwrite != .never && node.selection == nil)
    else { return }
    do throws(Errno) {
      let missing = try applyMetadata(
        record.metadata, record.attributes, to: target.descriptor, .open, currently: status,
        mayHaveOthers: !node.isNew)
      if missing.isCatalogOnly { progress.catalogOnly.count() }
    } catch {
      throw Failure.writing("set the metadata of", path(node), error)
    }
  }
}

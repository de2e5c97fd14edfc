internal import Catalog
internal import Posix
internal import Repository
internal import Synchronization

/// An inode of the source with several names, and what its first name was stored as.
struct SourceInode: Hashable, Sendable {
  var device: UInt64
  var inode: UInt64
}

struct StoredLink: Sendable {
  /// Where the first name is, from the snapshot's root.
  var directory: [[UInt8]]
  var name: [UInt8]
  var entry: NewEntry
}

/// One thread's tools.
final class SnapshotWorker {
  let base: CatalogReader?
  let writer: FrameWriter
  let hasher = SHA256()
  let reader: FileReader
  var listing = DirectoryListing()
  var encoders: [RecordEncoder] = []

  init(base: CatalogReader?, writer: FrameWriter, reader: FileReader) {
    self.base = base
    self.writer = writer
    self.reader = reader
  }

  func takeEncoder() -> RecordEncoder { encoders.popLast() ?? RecordEncoder() }

  func giveBack(_ encoder: RecordEncoder) {
    if !encoder.isOversized && encoders.count < 64 { encoders.append(encoder) }
  }
}

/// The work of a snapshot: in each directory, the merge of the source's names with the previous
/// catalog's, and a link, a copy or a new node for each.
final class SnapshotWork: TreeWork {
  let options: SnapshotOptions
  let repository: Repository
  let pending: PendingSnapshot
  let base: OpenCatalog?
  let baseTree: Directory?
  let progress: Progress
  let monitor: any Monitor
  /// Of the repository's file system.
  let fileSystemID: UInt64
  /// True where the previous catalog's inode numbers are of this file system.
  let baseInodesCount: Bool
  let isRoot = Process.effectiveUser == 0
  let links = LinkTable<SourceInode, StoredLink>()
  /// `f_fsid` of each source device, for hard-link groups that mean the same after a reboot.
  let fileSystems = Mutex<[UInt64: UInt64]>([:])
  /// When each source device was made to write what it held in memory.
  private let settled = Mutex<[UInt64: Timestamp]>([:])
  private let plan: PathPlan

  init(
    options: SnapshotOptions, repository: Repository, pending: PendingSnapshot, base: Base?,
    progress: Progress, monitor: any Monitor
  ) throws {
    self.options = options
    self.repository = repository
    self.pending = pending
    self.base = base?.catalog
    baseTree = base?.tree
    self.progress = progress
    self.monitor = monitor
    plan = PathPlan(absolutePaths: options.sources)
    let fileSystemID = try repository.root.descriptor.fileSystem().id
    self.fileSystemID = fileSystemID
    baseInodesCount =
      base.map {
        $0.catalog.summary.repositoryID == repository.id
          && $0.catalog.summary.fileSystemID == fileSystemID
      } ?? false
  }

  func rootNode() -> SnapshotNode {
    SnapshotNode(parent: nil, name: [], plan: plan, isSynthetic: true, base: base?.summary.root)
  }

  func makeWorker() throws -> SnapshotWorker {
    SnapshotWorker(
      base: base.map { CatalogReader($0) }, writer: FrameWriter(sink: pending.sink),
      reader: FileReader(progress))
  }

  func finish(_ worker: SnapshotWorker) throws { try worker.writer.flush() }

  func warn(_ path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  /// The repository refused one entry: without room, or with a failing disk, the run ends; else the
  /// entry is named and left out.
  func storingFailed(_ what: String, _ path: [UInt8], _ error: Errno) throws(Failure) {
    if error.endsRun {
      throw Failure.writing(what, path, error)
    }
    warn(path, "cannot be stored in the repository: \(error)")
  }

  // MARK: Entering a directory

  func enter(_ node: SnapshotNode, _ worker: SnapshotWorker) throws -> [SnapshotNode] {
    // Before anything is read: a change after this moment must not pass for older.
    let now = Clock.fileStampNow()
    guard try openSource(node), try openTarget(node) else { return [] }
    let moment = settledMoment(node) ?? now
    progress.entries.count()
    progress.directories.count()
    if let status = node.sourceStatus, status.isRacy(since: moment) { node.hintFlags = .racy }
    let base = baseRecord(node, worker)
    node.attributes = directoryAttributes(node, base)
    let encoder = worker.takeEncoder()
    node.encoder = encoder
    var flags: EntryFlags = node.isSynthetic ? .synthetic : []
    if !node.isListed {
      encoder.begin(node.metadata, flags: flags, attributes: node.attributes)
      try addPlanned(node, base)
      return node.children
    }
    let isListed = node.source != nil && !isSkipped(node) && list(node, worker)
    if !isListed && !node.isSkipped { flags.insert(.incomplete) }
    encoder.begin(node.metadata, flags: flags, attributes: node.attributes)
    if isListed {
      do {
        var merge = try DirectoryMerge(self, node, base, encoder, moment, worker)
        try merge.run()
      } catch let error as CatalogError {
        throw Failure(
          .damaged, "the previous catalog is damaged at \(displayName(node.sourcePath)): \(error)")
      }
      worker.listing.trim()
    }
    return node.children
  }

  /// The moment after which a change on the directory's file system sets a new ctime, whatever makes it.
  ///
  /// A store through a shared mapping sets the ctime when it makes a clean page dirty, and never again while
  /// the page is dirty. So all pages are made clean once, before the first file is read: a page that was made
  /// dirty since has a ctime since, and its file counts as racy.
  private func settledMoment(_ node: SnapshotNode) -> Timestamp? {
    guard node.isListed, let source = node.source, let status = node.sourceStatus else { return nil }
    return settled.withLock { moments in
      if let moment = moments[status.device] { return moment }
      let moment = Clock.fileStampNow()
      moments[status.device] = moment
      do throws(Errno) { try source.descriptor.synchronizeFileSystem() } catch {
        warn(node.sourcePath, "its file system cannot be synchronized: \(error)")
      }
      return moment
    }
  }

  /// The directory's record in the previous catalog; without it everything is copied.
  private func baseRecord(_ node: SnapshotNode, _ worker: SnapshotWorker) -> DirectoryRecord? {
    guard let base = node.base, let reader = worker.base else { return nil }
    do { return try reader.record(base.place, base.digest) } catch {
      warn(node.sourcePath, "the previous catalog is damaged here, so all files are copied: \(error)")
      return nil
    }
  }

  private func list(_ node: SnapshotNode, _ worker: SnapshotWorker) -> Bool {
    do throws(Errno) {
      try worker.listing.read(node.source!.descriptor)
      let refused = worker.listing.refusedNames
      if refused > 0 {
        warn(node.sourcePath, "has \(refused) names longer than 255 bytes, which are left out")
      }
      return true
    } catch {
      warn(node.sourcePath, "cannot be listed: \(error)")
      return false
    }
  }

  /// Opens the source's directory; false where there is nothing to record.
  private func openSource(_ node: SnapshotNode) throws -> Bool {
    let name = node.name
    if node.isSynthetic { return true }
    do throws(Errno) {
      let source: Descriptor
      if let plan = node.plan {
        source = try openPlanned(node, isSource: plan.isSource)
      } else {
        source = try node.snapshotParent!.source!.descriptor.openDirectory(name.span)
      }
      node.sourceStatus = try source.status()
      node.source = Directory(source)
      return true
    } catch {
      if node.plan != nil {
        throw Failure(
          .failed, "cannot read the source \(displayName(node.sourcePath)): \(error)")
      }
      switch error {
      case .noSuchEntry:
        progress.vanished.count()
        return false
      case .notADirectory, .symbolicLoop:
        warn(node.sourcePath, "was replaced by something else while the snapshot was taken")
        return false
      default:
        warn(node.sourcePath, "cannot be read: \(error)")
        node.sourceStatus = try? node.snapshotParent!.source!.descriptor.status(of: name.span)
        return node.sourceStatus?.kind == .directory
      }
    }
  }

  /// A directory on the way to a source, or a source: the operator named it, so links are followed.
  private func openPlanned(_ node: SnapshotNode, isSource: Bool) throws(Errno) -> Descriptor {
    let name = node.name
    let flags: OpenFlags = isSource ? [.read, .directory] : [.pathOnly, .directory]
    let root = [UInt8(ascii: "/")]
    // The label stands for the source's root directory.
    let path = node.parent?.parent == nil ? root : root + name
    func open(_ flags: OpenFlags) throws(Errno) -> Descriptor {
      guard let above = node.snapshotParent?.source else {
        return try Descriptor.open(path: path, flags)
      }
      return try above.descriptor.openFollowing(name.span, flags)
    }
    guard isSource else { return try open(flags) }
    do { return try open(flags.union(.noAccessTime)) } catch {
      guard error == .notPermitted else { throw error }
      return try open(flags)
    }
  }

  /// True for the repository itself and for file systems that are windows into the kernel: they have no
  /// content to keep.
  private func isSkipped(_ node: SnapshotNode) -> Bool {
    let status = node.sourceStatus!
    var skip =
      status.inode == repository.identity.inode && status.device == repository.identity.device
    if !skip, let parent = node.snapshotParent, parent.sourceStatus?.device != status.device {
      skip = (try? node.source!.descriptor.fileSystem())?.isKernelView ?? false
    }
    if skip {
      node.isSkipped = true
      progress.skipped.count()
    }
    return skip
  }

  /// Children of a directory above the sources, in place of its listing.
  private func addPlanned(_ node: SnapshotNode, _ record: DirectoryRecord?) throws {
    var baseRows = try record.map { DirectoryCursor($0, try $0.directories()) }
    // The snapshot's own directory holds the label; the label holds the plan.
    if node.parent == nil {
      let label = options.label
      let row = baseRows?.seek(label.span)
      node.children = [
        SnapshotNode(
          parent: node, name: label, plan: plan, isSynthetic: !plan.isSource,
          base: row.map { Subtree($0) })
      ]
    } else {
      node.children = (node.plan?.children ?? []).map { name, plan in
        let row = baseRows?.seek(name.span)
        return SnapshotNode(parent: node, name: name, plan: plan, base: row.map { Subtree($0) })
      }
    }
  }

  /// Makes the directory in the snapshot; false where the repository cannot hold it.
  private func openTarget(_ node: SnapshotNode) throws -> Bool {
    let name = node.name
    guard let parent = node.snapshotParent else {
      node.target = pending.tree
      node.targetStatus = try node.target!.descriptor.status()
      node.baseTree = baseTree
      return true
    }
    do throws(Errno) {
      try parent.target!.descriptor.makeDirectory(name.span, mode: 0o700)
      node.target = try parent.target!.directory(name.span)
      node.targetStatus = try node.target!.descriptor.status()
    } catch {
      // Made, but not to be opened: no name may be in the tree that is not in the catalog.
      try? parent.target!.descriptor.removeDirectory(name.span)
      try storingFailed("make the directory", node.sourcePath, error)
      return false
    }
    if node.base != nil { node.baseTree = try? parent.baseTree?.directory(name.span) }
    return true
  }

  private func directoryAttributes(
    _ node: SnapshotNode, _ record: DirectoryRecord?
  ) -> AttributeBlock {
    guard let status = node.sourceStatus, let source = node.source else { return .empty }
    if options.changeDetection != .content, let record, !record.isSynthetic,
      record.hints.changed == status.changed,
      record.hints.sourceInode == status.inode, !record.hints.flags.contains(.racy)
    {
      return record.attributes
    }
    // Directories above a source are open by path only.
    return attributes(
      of: source.descriptor, node.isListed ? .descriptor : .handle, flags: &node.hintFlags
    ) { node.sourcePath }
  }

  /// The attributes of an inode of the source. What cannot be read or kept is named, and makes the entry
  /// racy: the next run must not take it for unchanged.
  func attributes(
    of source: borrowing Descriptor, _ access: AttributeAccess, flags: inout StorageFlags,
    path: () -> [UInt8]
  ) -> AttributeBlock {
    do throws(Errno) {
      let block = AttributeBlock(try source.extendedAttributes(access))
      if block.bytes.count <= AttributeBlock.maximumBytes { return block }
      warn(path(), "has more than 1 MiB of extended attributes, which are left out")
    } catch {
      warn(path(), "its extended attributes cannot be read: \(error)")
    }
    flags.insert(.racy)
    return .empty
  }

  // MARK: Leaving a directory

  func leave(_ node: SnapshotNode, _ worker: SnapshotWorker) throws {
    defer {
      node.source = nil
      node.baseTree = nil
      node.target = nil
      node.children = []
      node.encoder = nil
    }
    guard let encoder = node.encoder, let target = node.target else { return }
    for child in node.children {
      let name = child.name
      if let subtree = child.result { encoder.append(name.span, subtree) }
    }
    let stored = node.targetStatus!
    do throws(Errno) {
      if !node.isSynthetic {
        // Last, because until now the children needed a directory that its owner may write to.
        let missing = try applyMetadata(
          node.metadata, node.attributes, to: target.descriptor, .open, currently: stored)
        node.hintFlags.formUnion(missing.refused(toRoot: isRoot))
      } else if node.parent != nil {
        try target.descriptor.setPermissions(0o755)
      }
    } catch { throw Failure.writing("set the metadata of", node.sourcePath, error) }
    if node.hintFlags.isCatalogOnly { progress.catalogOnly.count() }
    let hints = Hints(
      sourceInode: node.sourceStatus?.inode ?? 0,
      changed: node.sourceStatus?.changed ?? node.metadata.modified, storedInode: stored.inode,
      flags: node.hintFlags)
    node.result = try encoder.finish(hints, into: worker.writer, worker.hasher)
    worker.giveBack(encoder)
  }
}

extension StorageFlags {
  /// True where root may succeed with what an ordinary user could not store.
  func isWorthRetrying(asRoot isRoot: Bool) -> Bool {
    isRoot && isCatalogOnly && !contains(.refusedToRoot)
  }

  /// What could not be stored, with whether it was root who could not.
  func refused(toRoot isRoot: Bool) -> StorageFlags {
    isRoot && isCatalogOnly ? union(.refusedToRoot) : self
  }

  /// True where the stored inode alone would not restore the entry.
  var isCatalogOnly: Bool {
    !isDisjoint(with: [.notStored, .ownerNotStored, .attributesNotStored])
  }
}

extension FileSystemStatus {
  /// File systems whose files the kernel makes up; the numbers are those of `linux/magic.h`.
  var isKernelView: Bool {
    let magics: Set<Int64> = [
      0x9fa0,  // proc
      0x6265_6572,  // sysfs
      0x1cd1,  // devpts
      0x6462_6720,  // debugfs
      0x7472_6163,  // tracefs
      0x7363_6673,  // securityfs
      0x0027_e0eb, 0x6367_7270,  // cgroup, cgroup2
      0xcafe_4a11,  // bpf
      0x6265_6570,  // configfs
      0x6165_676c,  // pstore
      0xde5e_81e4,  // efivarfs
      0x1980_0202,  // mqueue
      0x4249_4e4d,  // binfmt_misc
      0x6573_5543,  // fusectl
      0xf97c_ff8c,  // selinuxfs
      0x6e73_6673,  // nsfs
      0x6759_6969,  // rpc_pipefs
    ]
    return magics.contains(type)
  }
}

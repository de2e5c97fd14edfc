internal import Catalog
internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Synchronization

// The directories of the source: opened, identified, listed.
extension SnapshotWork {
  /// Identifies the file system of a source's directory, and decides whether the directory is left out.
  func identify(_ node: SnapshotNode) throws {
    guard node.isListed, let status = node.sourceStatus, let source = node.source else { return }
    let isSource = node.isSource
    if isSource { try begin(node) }
    if let lack = lack(of: node, status: status) { return leaveOut(node, because: lack) }
    let isMount = isSource || status.device != node.parent?.sourceStatus?.device
    let identity = try fileSystem(of: source.descriptor, device: status.device, in: node)
    node.identity = identity
    noteSameness(of: node, identity: identity, isMount: isMount)
    if !node.excludes.patterns.isEmpty && !isSource {
      let above = node.parent!.patternPath
      node.patternPath = above.isEmpty ? node.name : above + [slash] + node.name
    }
    if !leftOut.isEmpty, leftOut.contains(node.sourcePath) {
      node.isSkipped = true
    } else if isRepository(status) || isMount && identity.isKernelView {
      node.isSkipped = true
      context.progress.skipped.count()
    } else if isMount && !isSource && node.excludes.isOneFileSystem {
      if node.plan == nil { node.isSkipped = true } else { node.isListed = false }
      exclude(node.sourcePath, by: "--one-file-system")
    } else if !node.isStaged {
      try guards.check(node, on: identity, isMount: isMount)
    }
  }

  private func begin(_ node: SnapshotNode) throws {
    let dump = options.dumps[node.sourcePath]
    let tally = guards.begin(at: node, isDump: dump != nil)
    node.tally = tally
    if let tree = options.fetchedTree(of: node.sourcePath) {
      tally.isFetched.store(true, ordering: .relaxed)
      for warning in tree.warnings { context.warn(at: warning.path, warning.message) }
      let base = tally.base?.tree
      let isDamaged = base.map { context.repository.marks.contains(.damaged, on: $0.name) } ?? false
      node.placed = PlacedFiles(base: isDamaged ? nil : base, linkedInodes: tree.linkedInodes)
    } else if let kept = options.keptSource(of: node.sourcePath) {
      tally.isFetched.store(true, ordering: .relaxed)
      for warning in kept.warnings { context.warn(at: warning.path, warning.message) }
      node.isKept = true
    } else if let dump {
      let tree = DumpedTree(of: dump, comparedWith: tally.base, in: context.repository)
      node.dump = tree
      dumpedTrees.withLock { $0.append(tree) }
    } else {
      node.excludes = options.excludesOfSource[node.sourcePath] ?? options.excludes
      if let frozen = options.frozen[node.sourcePath] { begin(frozen, at: node) }
    }
  }

  /// A frozen snapshot has another device than the live file system, and its inodes and ctimes.
  private func begin(_ frozen: FrozenSource, at node: SnapshotNode) {
    guard let device = node.sourceStatus?.device else { return }
    if let identity = frozen.identity { fileSystems.withLock { $0[device] = identity } }
    settled.withLock { $0[device] = min($0[device] ?? frozen.moment, frozen.moment) }
  }

  /// The reason for which a directory of a frozen snapshot is empty, and not the live one; `nil` for any other.
  ///
  /// The way to another source is never left out. The merge throws if the source is lacking.
  private func lack(of node: SnapshotNode, status: FileStatus) -> String? {
    guard !options.frozen.isEmpty, node.plan == nil, let frozen = node.tally.flatMap({ options.frozen[$0.path] })
    else { return nil }
    if !frozen.lackingMounts.isEmpty, frozen.lackingMounts.contains(node.sourcePath) {
      return "is another file system, which cannot be shown in the frozen snapshot; exclude it"
    }
    // In the place of a subvolume inside, a snapshot of a btrfs subvolume has an empty directory with this number;
    // BTRFS_EMPTY_SUBVOL_DIR_OBJECTID of linux/btrfs_tree.h. The node has the identity of the directory around it.
    guard status.inode == 2, node.identity.type == 0x9123_683e else { return nil }
    return "is a subvolume of its own, which the frozen snapshot lacks; give it a table [[source]], or exclude it"
  }

  private func leaveOut(_ node: SnapshotNode, because lack: String) {
    node.isSkipped = true
    if node.excludes.isOneFileSystem { return exclude(node.sourcePath, by: "--one-file-system") }
    context.warn(at: node.sourcePath, lack)
  }

  private func isRepository(_ status: FileStatus) -> Bool {
    status.isSameInode(as: context.repository.identity) || innerMounts.contains(status.mount)
  }

  private func fileSystem(
    of directory: borrowing Descriptor, device: UInt64, in node: SnapshotNode
  ) throws(Failure) -> FileSystemIdentity {
    if let known = fileSystems.withLock({ $0[device] }) { return known }
    var found = FileSystemIdentity.unknown
    do throws(Errno) { found = try directory.fileSystemIdentity() } catch {
      // Without an identity, no file on it counts as unchanged without being read.
      try readingFailed(at: node.sourcePath, because: error, what: "its file system cannot be identified")
    }
    fileSystems.withLock { $0[device] = found }
    return found
  }

  /// Finds out whether the base's directory was on the same file system.
  ///
  /// The answer can only change at a directory that is a mount point, or was one.
  private func noteSameness(of node: SnapshotNode, identity: FileSystemIdentity, isMount: Bool) {
    let names = node.build.tree?.mountNames ?? []
    guard isMount || names.contains(node.name) else { return }
    if let before = node.build.tree?.mounts[node.path.absolute] {
      node.hasSameInodes = identity.isSame(as: (before.type, before.number, before.volume))
    } else if isMount {
      node.hasSameInodes = false
    }
  }

  /// The number that distinguishes a source's file system, or subvolume, from others in one snapshot.
  ///
  /// It is the device number only if there is no better one.
  func volume(of directory: borrowing Descriptor, device: UInt64) -> UInt64 {
    let volume = fileSystems.withLock { $0[device]?.volume } ?? 0
    return volume == 0 ? device : volume
  }

  /// Names an entry of the source that cannot be read; the entry is left out.
  ///
  /// Throws if the process lacks descriptors or memory, because the next entry would fail too.
  func readingFailed(at path: [UInt8], because error: Errno, what: String = "cannot be read") throws(Failure) {
    if error.isShortage {
      throw Failure(
        .failed, "\(displayName(path)): \(what): \(error)", path: path,
        hint: "nothing was published; raise the limits of the process (ulimit -n, -v)")
    }
    context.warn(at: path, "\(what): \(error)")
  }

  /// Lists the directory; false if it cannot be listed, or is left out.
  func list(_ node: SnapshotNode, with worker: SnapshotWorker) throws(Failure) -> Bool {
    guard let source = node.source, !node.isSkipped else { return false }
    do throws(Errno) { try worker.listing.read(source.descriptor) } catch {
      try readingFailed(at: node.sourcePath, because: error, what: "cannot be listed")
      return false
    }
    let refused = worker.listing.refusedNames
    if refused > 0 {
      context.warn(at: node.sourcePath, "has \(refused) names longer than 255 bytes, which are left out")
    }
    let controlName = Repository.controlName
    if worker.listing.contains(controlName.span), context.repository.location.isShown(by: source.descriptor) {
      if node.isSource {
        throw Failure(
          .refused, "the source \(displayName(node.sourcePath)) is the repository itself", path: node.sourcePath)
      }
      node.isSkipped = true
      context.progress.skipped.count()
      return false
    }
    return true
  }

  /// Opens the source's directory; false if there is nothing to record.
  func openSource(of node: SnapshotNode) throws -> Bool {
    let name = node.name
    if node.build.isSynthetic { return true }
    do throws(Errno) {
      let source: Descriptor
      if node.isSource, let tree = options.fetchedTree(of: node.sourcePath) {
        source = try tree.open()
      } else if node.isSource, let kept = options.keptSource(of: node.sourcePath) {
        source = try kept.directory.descriptor.reopenDirectory()
      } else if let plan = node.plan, !node.parent!.isListed || options.origins[node.sourcePath] != nil {
        source = try openPlanned(node, isSource: plan.isSource)
      } else {
        source = try node.parent!.source!.descriptor.openDirectory(name.span)
      }
      node.sourceStatus = try source.status()
      node.source = Directory(source)
      return true
    } catch {
      if node.plan != nil {
        throw Failure(
          .failed, "cannot read the source \(displayName(node.sourcePath)): \(error)", path: node.sourcePath)
      }
      switch error {
      case .noSuchEntry:
        context.progress.vanished.count()
        return false
      case .notADirectory, .symbolicLoop:
        context.warn(at: node.sourcePath, "was replaced by something else while the snapshot was taken")
        return false
      default:
        try readingFailed(at: node.sourcePath, because: error)
        // The next run must not trust an entry that this run could not read.
        node.build.hints.flags.insert(.racy)
        node.sourceStatus = try? node.parent!.source!.descriptor.status(of: name.span)
        return node.sourceStatus?.kind == .directory
      }
    }
  }

  /// Opens a source, or a directory on the way to it. Links are followed, because the operator named the path.
  private func openPlanned(_ node: SnapshotNode, isSource: Bool) throws(Errno) -> Descriptor {
    let name = node.name
    let flags: OpenFlags = isSource ? [.read, .directory] : [.pathOnly, .directory]
    let origin = isSource ? options.origins[node.sourcePath] : nil
    // The label represents the source's root directory.
    let path = origin ?? (node.parent?.parent == nil ? [slash] : [slash] + name)
    func open(_ flags: OpenFlags) throws(Errno) -> Descriptor {
      guard origin == nil, let above = node.parent?.source else { return try Descriptor.open(path: path, flags) }
      return try above.descriptor.openFollowing(name.span, flags)
    }
    guard isSource else { return try open(flags) }
    do { return try open(flags.union(.noAccessTime)) } catch {
      guard error == .notPermitted else { throw error }
      return try open(flags)
    }
  }

  func directoryAttributes(of node: SnapshotNode, record: DirectoryRecord?) throws(Failure) -> AttributeBlock {
    guard let status = node.sourceStatus, let source = node.source else { return .empty }
    if options.changeDetection != .content, let record, !record.isSynthetic,
      record.hints.changed == status.changed,
      record.hints.sourceInode == status.inode, node.hasSameInodes || node.isMoved,
      node.identity.trustsChangeTime(of: status), record.hints.flags.isDisjoint(with: .racy),
      !record.flags.contains(.incomplete)
    {
      return record.attributes
    }
    // Directories above a source are open by path only.
    var flags = node.build.hints.flags
    defer { node.build.hints.flags = flags }
    return try attributes(of: source.descriptor, by: node.isListed ? .descriptor : .handle, flags: &flags) {
      node.sourcePath
    }
  }

  /// The attributes of an inode of the source.
  ///
  /// Attributes that cannot be read or kept are named, and make the entry racy. The next run must not take it for
  /// unchanged.
  func attributes(
    of source: borrowing Descriptor, by access: AttributeAccess, flags: inout StorageFlags,
    path: () -> [UInt8]
  ) throws(Failure) -> AttributeBlock {
    do throws(Errno) {
      let block = AttributeBlock(try source.extendedAttributes(access))
      if block.bytes.count <= AttributeBlock.maximumBytes { return block }
      context.warn(at: path(), "has more than 1 MiB of extended attributes, which are left out")
    } catch { try readingFailed(at: path(), because: error, what: "its extended attributes cannot be read") }
    flags.insert(.racy)
    return .empty
  }
}

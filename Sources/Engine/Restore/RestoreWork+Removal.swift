internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The directories that a restore in place must not remove or move.
struct RestoreRemovals: Sendable {
  private struct Inode: Hashable, Sendable {
    let device: UInt64
    let inode: UInt64
  }

  /// Paths of mount points; `nil` if they are unknown.
  private let mountPoints: [[UInt8]]?
  /// The repository and the directories above it.
  private let aboveRepository: Set<Inode>
  /// By source: the rules by which snapshots leave entries out.
  private let excludes: [[UInt8]: Excludes]

  init(except repository: Repository?, excludes: [[UInt8]: Excludes]) {
    self.excludes = excludes
    mountPoints = MountLine.all()?.map(\.point)
    var inodes: Set<Inode> = []
    _ = try? repository?.root.descriptor.isAtOrBelow { status in
      inodes.insert(Inode(device: status.device, inode: status.inode))
      return false
    }
    aboveRepository = inodes
  }

  /// The rules for the entries of a directory, and its path below the source.
  func rules(in path: [[UInt8]]) -> (excludes: Excludes, directory: [UInt8])? {
    for count in stride(from: path.count, through: 0, by: -1) {
      guard let excludes = excludes[joined(path.prefix(count), absolute: true)] else { continue }
      return (excludes, Array(path.dropFirst(count).joined(separator: [slash])))
    }
    return nil
  }

  /// The reason why a directory stays, or `nil`.
  func obstacle(to path: [UInt8], status: FileStatus) -> String? {
    if aboveRepository.contains(Inode(device: status.device, inode: status.inode)) { return "holds the repository" }
    guard let mountPoints else { return "may hold a mounted file system: /proc is not mounted" }
    let isMounted = mountPoints.contains {
      $0.starts(with: path) && ($0.count == path.count || $0[path.count] == slash)
    }
    return isMounted ? "holds a mounted file system" : nil
  }
}

// Entries that a restore in place displaces.
extension RestoreWork {
  var keptPaths: [[UInt8]] { options.displacement?.isKept == true ? kept?.paths ?? [] : [] }

  /// Secures an entry that is about to be replaced. A directory is moved away; of another entry a name is kept.
  func displace(_ name: [UInt8], present: FileStatus, in node: RestoreNode) throws(Errno) {
    guard let kept, let displacement = options.displacement else { return }
    if present.kind == .directory {
      try kept.move(name, from: node)
    } else if displacement.isKept {
      try kept.keep(name, in: node)
    }
  }

  /// True if a directory may give way to an entry of another kind.
  func mayRemoveDirectory(_ status: FileStatus, at path: [UInt8]) -> Bool {
    removals.map { $0.obstacle(to: path, status: status) == nil } ?? false
  }

  /// True for a mount point whose file system is not in the snapshot: that has an empty directory in its place, as for
  /// /proc. The mounted file system stays as it is.
  func isOtherFileSystem(_ node: RestoreNode, record: DirectoryRecord) throws -> Bool {
    guard kept != nil, !node.isNew, let parent = node.parent, node.status?.mount != parent.status?.mount else {
      return false
    }
    return try record.fileCount == 0 && record.directories().isEmpty
  }

  /// True if entries of an existing directory that the snapshot lacks are removed.
  func removesOthers(in node: RestoreNode, record: DirectoryRecord, listing: DirectoryListing) throws -> Bool {
    guard let removals, let target = node.target, !node.isOnlyOnPath, !record.isSynthetic,
      !record.flags.contains(.incomplete), try !isOtherFileSystem(node, record: record)
    else { return false }
    // A tagged directory is in the snapshot with its tag alone.
    return removals.rules(in: node.path)?.excludes.tag(in: listing, of: target.descriptor) == nil
  }

  /// Removes an entry that the snapshot does not have, with everything below it. An entry that a rule leaves out of the
  /// snapshots stays.
  func remove(_ name: [UInt8], from node: RestoreNode) throws {
    let path = path(of: node, named: name)
    guard let kept, let removals, let target = node.target else { return }
    do throws(Errno) {
      guard let status = try target.descriptor.statusIfPresent(of: name.span) else { return }
      let isDirectory = status.kind == .directory
      if let (excludes, directory) = removals.rules(in: node.path),
        excludes.rule(for: name.span, in: directory, isDirectory: isDirectory) ?? excludes.rule(for: status) != nil
      {
        return
      }
      if isDirectory {
        let isRepository =
          (try? target.directory(name.span)).map { (try? Repository.isRepository($0)) ?? true } ?? false
        if let obstacle = isRepository ? "is a repository" : removals.obstacle(to: path, status: status) {
          return reportLeft(at: path, "is not in the snapshot, and is left as it is: it \(obstacle)")
        }
      }
      if !options.isDryRun {
        if isDirectory || options.displacement?.isKept == true {
          try kept.move(name, from: node)
        } else {
          try target.descriptor.unlink(name.span)
        }
      }
      guard monitor.wantsChanges else { return }
      let byteCount = status.kind == .regular ? status.size : nil
      monitor.changed(
        RestoreChange(
          verb: .removed, path: path, kind: status.kind, kindBefore: nil, aspects: [], byteCount: byteCount))
    } catch { warn(at: path, "is not in the snapshot, and cannot be removed: \(error)") }
  }

  /// Deletes the displaced entries, if they are not to be kept.
  func discardDisplaced() throws {
    if let kept, options.displacement?.isKept == false { try kept.delete(threads: options.threads) }
  }

  // MARK: Reports

  /// Reports a directory that is new, replaces another entry, or gets other metadata. The former metadata are kept.
  func reportDirectory(_ node: RestoreNode, record: DirectoryRecord) throws {
    guard monitor.wantsChanges, node.parent != nil, !record.isSynthetic,
      try !isOtherFileSystem(node, record: record)
    else { return }
    var aspects: ChangedAspects = []
    if !node.isNew {
      guard options.overwrite != .never, !node.isOnlyOnPath, var metadata = node.status?.metadata else { return }
      if let mode = node.modeBeforeUnlock { metadata.permissions = UInt16(mode) }
      aspects = metadataAspects(from: metadata, to: record.metadata)
      if !isRoot { aspects.remove(.owner) }
      if let attributes = try? node.target?.descriptor.extendedAttributes(),
        !AttributeBlock(attributes).isStored(as: record.attributes)
      {
        aspects.insert(.attributes)
      }
      // The time follows from other changes.
      if aspects.isSubset(of: .modified) { return }
      if !options.isDryRun, options.displacement?.isKept == true { try kept?.keepMetadata(of: node) }
    }
    monitor.changed(
      RestoreChange(
        verb: node.isNew && node.kindBefore == nil ? .added : .changed, path: path(of: node), kind: .directory,
        kindBefore: node.kindBefore, aspects: aspects, byteCount: nil))
  }

  // MARK: Symbolic links at the destination

  /// True for a link that leads to a restored path, or stands in its place, and is to be followed.
  func followsLink(at node: RestoreNode) -> Bool {
    options.followsLinks && (node.isOnlyOnPath || node.parent?.isOnlyOnPath == true)
  }

  /// Refuses a symbolic link that leads to a restored path, or stands in the place of a restored directory.
  func checkLinks(to plan: PathPlan, in directory: Directory, path: [[UInt8]], reader: CatalogReader) throws {
    for (name, plan) in plan.children {
      let path = path + [name]
      guard let status = try? directory.descriptor.statusIfPresent(of: name.span) else { continue }
      let isWanted = plan.isSource
      if status.kind == .symbolicLink {
        if isWanted, try reader.find(label + path)?.kind != .directory { continue }
        guard options.followsLinks else {
          let target = (try? directory.descriptor.readSymbolicLink(name.span)).map { displayName($0) }
          throw Failure(
            .refused,
            "\(displayName(self.path(path))) is a symbolic link\(target.map { " to \($0)" } ?? ""), and the snapshot has "
              + "a directory there; nothing was restored",
            hint: "restore through the link with --follow-destination-links, or move it away")
        }
        let next = Directory(try directory.descriptor.openFollowing(name.span, [.read, .directory]))
        try checkLinks(to: plan, in: next, path: path, reader: reader)
      } else if status.kind == .directory, let next = try? directory.directory(name.span) {
        try checkLinks(to: plan, in: next, path: path, reader: reader)
      }
    }
  }
}

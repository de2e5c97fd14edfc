internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The rules of a restore in place for entries that the snapshot does not have.
struct RestoreRemovals: Sendable {
  /// By source: the rules by which snapshots leave entries out.
  let excludes: [[UInt8]: Excludes]

  /// The rules for the entries of a directory, and its path below the source.
  func rules(in path: TreePath) -> (excludes: Excludes, directory: [UInt8])? {
    for count in stride(from: path.count, through: 0, by: -1) {
      guard let excludes = excludes[path.prefix(count).absolute] else { continue }
      return (excludes, path.dropFirst(count).bytes)
    }
    return nil
  }

  /// True for an entry that a rule leaves out of the snapshots.
  func isExcluded(_ name: Span<UInt8>, in path: TreePath, status: FileStatus) -> Bool {
    guard let (excludes, directory) = rules(in: path) else { return false }
    let isDirectory = status.kind == .directory
    return (excludes.rule(for: name, in: directory, isDirectory: isDirectory) ?? excludes.rule(for: status)) != nil
  }

  /// The reason why a directory and everything below it stays, or `nil`: a repository, another mounted file system, or
  /// an entry that is in no snapshot because of a rule. `found` gets each entry below the directory.
  func obstacle(
    to name: [UInt8], in above: Directory, path: TreePath, found: (TreePath, FileStatus) -> Void
  ) throws(Errno) -> String? {
    let mount = try above.descriptor.status().mount
    let path = path + name
    var waiting: [(above: Directory, name: [UInt8], path: TreePath)] = [(above, name, path)]
    var listing = DirectoryListing()
    while let (above, name, here) = waiting.popLast() {
      func shown(_ name: [UInt8]? = nil) -> String { (here.dropFirst(path.count - 1) + name).displayed }
      guard try above.descriptor.status(of: name.span).mount == mount
      else { return "\(shown()) is a mounted file system" }
      let directory = try above.directory(name.span)
      guard try !Repository.isRepository(directory) else { return "\(shown()) is a repository" }
      try listing.read(directory.descriptor)
      if let excludes = rules(in: here)?.excludes, excludes.tag(in: listing, of: directory.descriptor) != nil {
        return "a rule leaves the content of \(shown()) out of the snapshots"
      }
      for entry in listing.entries {
        let name = Array(listing.bytes[entry.range])
        guard let status = try directory.descriptor.statusIfPresent(of: name.span) else { continue }
        if isExcluded(name.span, in: here, status: status) {
          return "a rule leaves \(shown(name)) out of the snapshots"
        }
        found(here + name, status)
        if status.kind == .directory { waiting.append((directory, name, here + name)) }
      }
    }
    return nil
  }
}

// Entries that a restore in place displaces.
extension RestoreWork {
  /// The directories with the displaced entries; in a dry run those that would be made.
  var keptPaths: [[UInt8]] {
    guard let kept, options.displacement?.isKept == true else { return [] }
    return options.isDryRun ? kept.plannedPaths : kept.paths
  }

  /// True if a kill must leave a record of each change.
  var hasJournal: Bool { options.displacement?.isKept == true && !options.isDryRun }

  /// Announces a change of an entry, or of the directory itself, for an undoing. In a dry run notes the directory that
  /// would keep the present entry. `inode` and `modified` are of the entry that gets the name.
  func announce(
    _ sign: RecordedChange.Sign, of name: [UInt8]? = nil, in node: RestoreNode, inode: UInt64 = 0,
    modified: Timestamp = Timestamp(seconds: 0, nanoseconds: 0)
  ) throws(Errno) {
    guard let kept, options.displacement?.isKept == true else { return }
    if options.isDryRun { return kept.plan(for: node, isFilling: sign != .added) }
    var change = RecordedChange(sign, at: node.path + name)
    change.isAnnounced = true
    (change.inode, change.changed) = (inode, modified)
    try kept.announce(change, in: node)
  }

  /// Records that an announced change was made. Without this line the undoing knows less, but enough.
  func recordChange(_ sign: RecordedChange.Sign, of name: [UInt8], in node: RestoreNode) {
    guard let kept, hasJournal, let status = try? node.target?.descriptor.status(of: name.span) else { return }
    var change = RecordedChange(sign, at: node.path + name)
    change.inode = status.inode
    if status.kind != .directory { change.changed = status.changed }
    try? kept.complete(change, in: node)
  }

  /// Ends the record of the changes. If a whole restore replaced, removed and corrected nothing, the record goes.
  func endRecord(isWhole: Bool) {
    guard hasJournal else { return }
    do throws(Errno) {
      if isWhole { try kept?.removeJournalsAlone() }
      try kept?.endJournals()
    } catch { warn(at: path([]), "the record of the changes could not be ended: \(error)") }
  }

  /// Keeps an entry that gives way to a new one. True if the new one is in its place already.
  func displace(_ name: [UInt8], present: FileStatus, in node: RestoreNode, by new: [UInt8]) throws(Errno) -> Bool {
    guard let kept, let displacement = options.displacement else {
      if present.kind == .directory { try node.target!.descriptor.removeDirectory(name.span) }
      return false
    }
    if present.kind == .directory {
      try kept.move(named: name, from: node)
      return false
    }
    if displacement.isKept { try kept.replace(named: name, in: node, by: new) }
    return displacement.isKept
  }

  /// True for a change that is wanted, with the removals that follow from it. Another one is reported, because it was
  /// not in the plan.
  func isApproved(_ change: RestoreChange, removing below: [RestoreChange] = []) -> Bool {
    guard let approves = options.displacement?.approves, !approves(change) || !below.allSatisfy(approves)
    else { return true }
    reportLeft(at: change.path, "has changed since the plan was made; left as it is")
    return false
  }

  /// The reason why a directory does not give way to an entry of another kind, or `nil` if it does: an empty one does.
  /// `below` has what goes with it.
  func reasonToLeave(directory name: [UInt8], in node: RestoreNode, below: inout [RestoreChange]) -> String? {
    guard let target = node.target else { return "" }
    do throws(Errno) {
      guard let removals, mayRemove(in: node) else {
        if options.overwrite == .never { return "" }
        return try isEmpty(directory: name, in: target) ? nil : ""
      }
      return try removals.obstacle(to: name, in: target, path: node.path) { below.append(removal(of: $0, status: $1)) }
        .map { ": \($0)" }
    } catch { return ": it cannot be looked into: \(error)" }
  }

  /// True for a directory without entries. A mounted file system is not such a directory.
  private func isEmpty(directory name: [UInt8], in above: Directory) throws(Errno) -> Bool {
    let directory = try above.directory(name.span)
    guard try directory.descriptor.status().mount == above.descriptor.status().mount else { return false }
    return try directory.names().isEmpty
  }

  private func removal(of path: TreePath, status: FileStatus) -> RestoreChange {
    RestoreChange(
      verb: .removed, path: self.path(path), kind: status.kind, kindBefore: nil, aspects: [],
      byteCount: status.kind == .regular ? status.size : nil, present: PresentEntry(status))
  }

  /// True if entries of a directory may be removed: it was requested, and is on the file system of what was requested.
  private func mayRemove(in node: RestoreNode) -> Bool {
    removals != nil && !node.isOnlyOnPath && node.status?.mount == node.removalMount
  }

  /// True for a mount point whose file system is not in the snapshot: that has an empty directory in its place, as for
  /// /proc. The mounted file system stays as it is.
  func isOtherFileSystem(_ node: RestoreNode, record: DirectoryRecord) throws(CatalogError) -> Bool {
    guard kept != nil, !node.isNew, let parent = node.parent, node.status?.mount != parent.status?.mount
    else { return false }
    if record.fileCount > 0 { return false }
    return try record.directories().isEmpty
  }

  /// True if entries of an existing directory that the snapshot lacks are removed.
  func removesOthers(in node: RestoreNode, record: DirectoryRecord, listing: DirectoryListing) throws -> Bool {
    guard let removals, let target = node.target, mayRemove(in: node), !record.isSynthetic,
      !record.flags.contains(.incomplete)
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
      if removals.isExcluded(name.span, in: node.path, status: status) { return }
      let isDirectory = status.kind == .directory
      var below: [RestoreChange] = []
      let obstacle =
        try isDirectory
        ? removals.obstacle(to: name, in: target, path: node.path) { below.append(removal(of: $0, status: $1)) } : nil
      if let obstacle { return reportLeft(at: path, "is not in the snapshot, and is left as it is: \(obstacle)") }
      let change = removal(of: node.path + name, status: status)
      guard isApproved(change, removing: below) else { return }
      try announce(.removed, of: name, in: node)
      if !options.isDryRun {
        if isDirectory || options.displacement?.isKept == true {
          try kept.move(named: name, from: node)
        } else {
          try target.descriptor.unlink(name.span)
        }
      }
      if monitor.wantsChanges { monitor.report([change] + below) }
    } catch { warn(at: path, "is not in the snapshot, and cannot be removed: \(error)") }
  }

  /// Deletes the displaced entries, if they are not to be kept.
  func discardDisplaced() throws {
    if let kept, options.displacement?.isKept == false { try kept.delete(threads: options.threads) }
  }

  // MARK: Reports

  /// Names the directories with displaced entries, after an error.
  func nameKept() {
    for path in kept?.paths ?? [] {
      let remedy = hasJournal ? "; undo it with: treering restore --undo \(displayName(path))" : ""
      monitor.warn(Warning(path: path, message: "has what was replaced and removed before" + remedy))
    }
  }

  /// Reports a directory that is new, replaces another entry, or gets other metadata. The former metadata are kept.
  func reportDirectory(_ node: RestoreNode, record: DirectoryRecord) throws(Errno) {
    guard monitor.wantsChanges || kept != nil, node.parent != nil, !record.isSynthetic, !node.isOtherFileSystem
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
      if aspects.isEmpty { return }
      if hasJournal { try kept?.keepMetadata(of: node) }
      if let status = node.status {
        try announce(.corrected, in: node, inode: status.inode, modified: status.modified)
      }
    }
    guard monitor.wantsChanges else { return }
    monitor.changed(
      RestoreChange(
        verb: node.isNew && node.kindBefore == nil ? .added : .changed, path: path(of: node), kind: .directory,
        kindBefore: node.kindBefore, aspects: aspects, byteCount: nil))
  }
}

extension Monitor {
  /// Reports changes in the order of their paths, a directory before its entries.
  func report(_ changes: [RestoreChange]) {
    func key(_ byte: UInt8) -> UInt8 { byte == slash ? 0 : byte }
    let sorted = changes.sorted { $0.path.lexicographicallyPrecedes($1.path) { key($0) < key($1) } }
    for change in sorted { changed(change) }
  }
}

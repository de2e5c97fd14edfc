public import Catalog
public import Model
internal import Posix

/// One change that a restore makes at the destination, or would make.
public struct RestoreChange: Sendable {
  public let verb: Change.Verb
  /// The path at the destination.
  public let path: [UInt8]
  /// The kind of the snapshot's entry; of a removed entry its own, `nil` if the system does not know it.
  public let kind: EntryKind?
  /// The kind of the present entry in its place, if that is another.
  public let kindBefore: EntryKind?
  /// The aspects in which a present entry of the same kind differs.
  public let aspects: ChangedAspects
  /// The size of the snapshot's regular file in bytes.
  public let byteCount: UInt64?
  /// The present entry; `nil` if there is none.
  public var present: PresentEntry?
}

/// The state in which an entry was found. The operator confirms its change in this state.
public struct PresentEntry: Hashable, Sendable {
  let inode, size: UInt64
  /// `nil` for a directory: the restore changes it when it changes entries.
  let modified: Timestamp?

  init(_ status: FileStatus) {
    let isDirectory = status.kind == .directory
    (inode, size) = (status.inode, isDirectory ? 0 : status.size)
    modified = isDirectory ? nil : status.modified
  }
}

extension RestoreMerge {
  /// The treatment of a present entry.
  enum Treatment {
    case replacement(RestoreChange)
    /// The content of a regular file is right, and no other name shares its inode. See `mayCorrect`.
    case correction(RestoreChange)
  }

  /// Decides about a present entry; `nil` if it stays. `below` gets the entries that go with a directory.
  func treatment(of present: FileStatus, row: FileRow, name: [UInt8], below: inout [RestoreChange]) -> Treatment? {
    if present.kind == .directory, let reason = work.reasonToLeave(directory: name, in: node, below: &below) {
      work.reportLeft(
        at: path(of: name), "is a directory where the snapshot has a \(row.kind.word); left as it is\(reason)")
      return nil
    }
    var aspects: ChangedAspects = []
    let overwrite = work.options.overwrite
    if present.kind == row.kind {
      aspects = differences(of: present, row: row, name: name, overwrite: overwrite)
      if aspects.isEmpty, overwrite != .never, !hasItsInode(present: present, row: row, name: name) {
        aspects.insert(.links)
      }
      if aspects.isEmpty, overwrite != .always {
        if row.kind == .regular { work.progress.expectLess(bytes: row.size) }
        return nil
      }
    }
    if work.options.keepsNewer, present.modified > row.metadata.modified {
      work.progress.newer.count()
      return nil
    }
    if overwrite == .never {
      work.reportLeft(at: path(of: name), "exists; left as it is")
      return nil
    }
    let change = RestoreChange(
      verb: .changed, path: path(of: name), kind: row.kind, kindBefore: present.kind == row.kind ? nil : present.kind,
      aspects: aspects, byteCount: row.kind == .regular ? row.size : nil, present: PresentEntry(present))
    guard work.isApproved(change, removing: below) else { return nil }
    // Other names of the inode may be none of the restore's.
    let isCorrection =
      overwrite != .always && present.kind == .regular && row.kind == .regular && !aspects.contains(.content)
      && present.linkCount == 1
    return isCorrection ? .correction(change) : .replacement(change)
  }

  /// The differences of two entries of one kind. `ifDifferent` compares the content and the attributes, too;
  /// `ifChanged` the content of a file of which anything differs: another file may have the same size and time.
  private func differences(
    of present: FileStatus, row: FileRow, name: [UInt8], overwrite: Overwrite
  ) -> ChangedAspects {
    var aspects = metadataAspects(from: present.metadata, to: row.metadata)
    // Only root may set an owner.
    if !work.isRoot { aspects.remove(.owner) }
    let target = node.target!
    switch row.kind {
    case .regular:
      if present.size != row.size { aspects.insert(.content) }
    case .symbolicLink:
      // The mode of a link has no meaning.
      aspects.remove(.permissions)
      if (try? target.descriptor.readSymbolicLink(name.span)) != record.target(of: row) { aspects.insert(.target) }
    case .fifo, .socket: aspects.remove(.modified)
    case .characterDevice, .blockDevice:
      aspects.remove(.modified)
      if present.deviceNumber != row.size { aspects.insert(.device) }
    case .directory: break
    }
    let isComplete = overwrite == .ifDifferent
    guard row.kind == .regular, isComplete || overwrite == .ifChanged && !aspects.isEmpty else { return aspects }
    do {
      let file = try target.descriptor.openToRead(name.span)
      if isComplete, !AttributeBlock(try file.extendedAttributes()).isStored(as: record.attributes(of: row)) {
        aspects.insert(.attributes)
      }
      if !aspects.contains(.content), !isUnchanged(present, since: row) {
        let pass = try worker.files.hash(
          file, byteCount: row.size, hasHoles: present.hasHoles, elidingZeros: row.digest.isSparse)
        if pass.digest != row.digest { aspects.insert(.content) }
      }
    } catch {
      // A file that cannot be read is not known to be right.
      aspects.insert(.content)
    }
    return aspects
  }

  /// True if the present file is the one that the snapshot was taken of, by the test of the next snapshot: size, inode
  /// and times.
  private func isUnchanged(_ present: FileStatus, since row: FileRow) -> Bool {
    row.size == 0
      || row.hints.sourceInode == present.inode && row.hints.changed == present.changed
        && row.metadata.modified == present.modified && row.hints.flags.isDisjoint(with: [.racy, .changedWhileRead])
  }

  /// False if the present entry is right, but is not a hard link of its group.
  ///
  /// The first name counts as the restored inode, as if it had been restored.
  private func hasItsInode(present: FileStatus, row: FileRow, name: [UInt8]) -> Bool {
    guard let group = row.linkGroup else { return true }
    let key = RestoredInode(group: group, digest: row.digest)
    let own = FirstName(directory: node.path, name: name, inode: present.inode, value: ())
    return work.links.first(for: key, orSet: own)?.inode ?? present.inode == present.inode
  }

  /// True in a dry run for the name that would get the content of its inode.
  func isFirstName(of row: FileRow, named name: [UInt8]) -> Bool {
    guard let group = row.linkGroup else { return true }
    let own = FirstName(directory: node.path, name: name, inode: 0, value: ())
    return work.links.first(for: RestoredInode(group: group, digest: row.digest), orSet: own) == nil
  }

  /// The metadata that a new file would keep of the snapshot's. An empty file shows them, so that no content is written
  /// again.
  private func trial(
    of row: FileRow
  ) throws(Errno) -> (metadata: Metadata, attributes: AttributeBlock, gaps: MetadataGaps) {
    let target = node.target!
    let name = worker.temporaryName()
    let file = try target.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o600)
    defer { try? target.descriptor.unlink(name.span) }
    let gaps = try setMetadata(
      row.metadata, attributes: record.attributes(of: row), to: file, by: .descriptor, currently: file.status(),
      mayHaveOthers: true)
    return (try file.status().metadata, AttributeBlock(try file.extendedAttributes()), gaps)
  }

  /// True if only metadata of a hard link differ, and the file system would not keep those of the snapshot either.
  ///
  /// The gaps are reported once more.
  func isRightAsFarAsPossible(
    _ present: FileStatus, row: FileRow, name: [UInt8], change: RestoreChange
  ) throws(Errno) -> Bool {
    guard row.linkGroup != nil, present.linkCount > 1, change.kind == .regular, change.kindBefore == nil,
      work.options.overwrite != .always, change.aspects.isDisjoint(with: [.content, .links])
    else { return false }
    let new = try trial(of: row)
    let file = try node.target!.descriptor.openToRead(name.span)
    guard metadataAspects(from: present.metadata, to: new.metadata).isEmpty,
      AttributeBlock(try file.extendedAttributes()) == new.attributes,
      hasItsInode(present: present, row: row, name: name)
    else { return false }
    work.gaps.add(new.gaps, at: path(of: name))
    return true
  }

  /// False for a file of another owner, who may have it open, and could write to it afterwards. A user other than root
  /// cannot correct it either.
  func mayCorrect(_ present: FileStatus, row: FileRow) throws(Errno) -> Bool {
    func owner(_ metadata: Metadata) -> [UInt32] { [metadata.user, metadata.group] }
    let isOwn =
      work.isRoot
      ? owner(present.metadata) == owner(row.metadata) : present.metadata.user == CurrentProcess.effectiveUser
    if isOwn { return true }
    // A file system may give all files one owner.
    return owner(present.metadata) == owner(try trial(of: row).metadata)
  }

  /// Gives a present file the snapshot's metadata.
  ///
  /// False if the file changed meanwhile, which is reported.
  func correct(_ row: FileRow, present: FileStatus, name: [UInt8]) throws(Errno) -> Bool {
    let file = try node.target!.descriptor.openToRead(name.span)
    let status = try file.status()
    // Another program could have put another inode there.
    guard status.isSameState(as: present), status.linkCount == 1 else {
      work.warn(at: path(of: name), "changed while it was restored; left as it is")
      return false
    }
    if work.hasJournal {
      try work.kept?.keepMetadata(of: file, status: status, name: name, in: node)
      try work.announce(.corrected, of: name, in: node, inode: status.inode, modified: row.metadata.modified)
    }
    let gaps = try setMetadata(
      row.metadata, attributes: record.attributes(of: row), to: file, by: .descriptor, currently: status,
      mayHaveOthers: true)
    work.gaps.add(gaps, at: path(of: name))
    return true
  }
}

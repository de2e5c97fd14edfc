internal import Catalog
internal import Posix

extension FileStatus {
  /// True where the two looks saw the same inode in the same state.
  func isSameState(as other: FileStatus) -> Bool {
    inode == other.inode && device == other.device && mode == other.mode && size == other.size
      && changed == other.changed && modified == other.modified
  }

  /// True where a change after `moment` could have left the ctime that this look saw.
  ///
  /// Time stamps come from a clock that ticks every 1 to 10 ms (`jiffies`, see `time(7)`); where the stamp
  /// has no fraction the file system may count in seconds, or in two of them as FAT does.
  /// Those of a network file system come from the clock of another machine.
  func isRacy(since moment: Timestamp, on fileSystem: FileSystemIdentity) -> Bool {
    let granularity = changed.nanoseconds == 0 && modified.nanoseconds == 0 ? 2.0 : 0.02
    return changed - moment > -granularity - fileSystem.clockDifferenceSeconds
  }
}

extension FileRow {
  /// True where the stored inode may become this source inode's: if it already stands for several names,
  /// those must be names of the same inode still, or files that were parted would stay one. Of which inode an
  /// adopted one is, is not known: the first to claim it has it.
  func mayStandFor(_ status: FileStatus) -> Bool {
    linkGroup == nil
      || (status.linkCount > 1 && (status.inode == hints.sourceInode || hints.sourceInode == 0))
  }
}

extension AttributeBlock {
  init(_ attributes: [ExtendedAttribute]) {
    self = attributes.isEmpty
      ? .empty : AttributeBlock(attributes.map { (name: $0.name, value: $0.value) })
  }

  /// True where an inode has the attributes that a catalog names. A label that the kernel gave it by itself is no
  /// difference where the catalog names none.
  func isStored(as expected: AttributeBlock) -> Bool {
    if self == expected { return true }
    guard let own = try? decoded(), let wanted = try? expected.decoded() else { return false }
    let compared = own.filter { attribute in
      !ExtendedAttribute.isKernelLabel(attribute.name) || wanted.contains { $0.name == attribute.name }
    }
    return compared.isEmpty ? expected.isEmpty : AttributeBlock(compared) == expected
  }
}

/// How the inode that gets metadata was opened.
enum TargetHandle {
  /// For reading or writing: a regular file or a directory.
  case open
  /// With `O_PATH`: anything else.
  case handle(isSymbolicLink: Bool)
}

/// The values of an inode's metadata, by how they are set.
enum MetadataKind: Int, CaseIterable {
  case owner, mode, attributes, time

  /// That a stored inode lacks the value.
  var flag: StorageFlags {
    switch self {
    case .owner: .ownerNotStored
    case .mode: .modeNotStored
    case .attributes: .attributesNotStored
    case .time: .timeNotStored
    }
  }
}

/// The values that an inode did not take, each with the first reason; a reason of `nil` is a file system that
/// took the value without an error, and has another.
struct MetadataGaps {
  private(set) var reasons: [(kind: MetadataKind, reason: Errno?)] = []

  var isEmpty: Bool { reasons.isEmpty }

  /// The first reason that the next try need not meet again, such as want of memory.
  var transient: Errno? {
    for case (_, let reason?) in reasons where !reason.refusesMetadata && reason != .noSpace { return reason }
    return nil
  }

  var flags: StorageFlags { reasons.reduce(into: []) { $0.insert($1.kind.flag) } }

  func contains(_ kind: MetadataKind) -> Bool { reasons.contains { $0.kind == kind } }

  mutating func add(_ kind: MetadataKind, _ reason: Errno?) {
    if !contains(kind) { reasons.append((kind, reason)) }
  }
}

/// Gives an open directory of the repository the metadata that it should have, where it has others: where nothing
/// differs, nothing is written. Says what could not be given.
func correctMetadata(
  _ metadata: Metadata, _ attributes: AttributeBlock, of target: borrowing Descriptor
) throws(Errno) -> StorageFlags {
  let status = try target.status()
  if status.metadata == metadata, AttributeBlock(try target.extendedAttributes(.descriptor)).isStored(as: attributes) {
    return []
  }
  return try applyMetadata(metadata, attributes, to: target, .open, currently: status, mayHaveOthers: true)
}

/// Gives an inode of the repository its metadata, and says which values it did not take. Throws where another try
/// may succeed: what a catalog calls not stored is not tried again.
func applyMetadata(
  _ metadata: Metadata, _ attributes: AttributeBlock, to target: borrowing Descriptor,
  _ handle: TargetHandle, currently: FileStatus, mayHaveOthers: Bool = false
) throws(Errno) -> StorageFlags {
  let gaps = try setMetadata(
    metadata, attributes, to: target, handle, currently: currently, mayHaveOthers: mayHaveOthers)
  if let error = gaps.transient { throw error }
  return gaps.flags
}

/// Gives an inode its metadata, by its descriptor, reads them back, and says which it did not take. Throws where
/// the next inode would fare no better.
///
/// An inode that may have attributes already, its own or those of a default ACL above it, loses them where
/// they are not wanted (`mayHaveOthers`).
///
/// Order matters: `chown` clears setuid, setgid and capabilities; an ACL needs the mode's bits after it;
/// the time comes last, because everything before it counts as a change.
func setMetadata(
  _ metadata: Metadata, _ attributes: AttributeBlock, to target: borrowing Descriptor,
  _ handle: TargetHandle, currently: FileStatus, mayHaveOthers: Bool = false
) throws(Errno) -> MetadataGaps {
  let setter = MetadataSetter(handle, metadata)
  return try setter.set(attributes, on: target, currently, mayHaveOthers)
}

private struct MetadataSetter {
  private let metadata: Metadata
  private let access: AttributeAccess
  private let isSymbolicLink: Bool

  init(_ handle: TargetHandle, _ metadata: Metadata) {
    self.metadata = metadata
    switch handle {
    case .open: (access, isSymbolicLink) = (.descriptor, false)
    case .handle(let link): (access, isSymbolicLink) = (.handle, link)
    }
  }

  func set(
    _ attributes: AttributeBlock, on target: borrowing Descriptor, _ currently: FileStatus, _ mayHaveOthers: Bool
  ) throws(Errno) -> MetadataGaps {
    var gaps = MetadataGaps()
    let changedOwner = try setOwner(target, currently, &gaps)
    try setAttributes(attributes, target, mayHaveOthers, &gaps)
    var permissions = UInt32(metadata.permissions)
    if gaps.contains(.owner) { permissions &= Self.ofAnotherOwner }
    if !isSymbolicLink, changedOwner || !attributes.isEmpty || currently.permissions != permissions {
      try setMode(permissions, target, &gaps)
    }
    do throws(Errno) { try target.setModificationTime(metadata.modified) } catch {
      try note(error, .time, &gaps)
    }
    try readBack(permissions, target, &gaps)
    return gaps
  }

  /// A program must not run as somebody it was never given to.
  private static var ofAnotherOwner: UInt32 { 0o1777 }

  private func note(_ error: Errno, _ kind: MetadataKind, _ gaps: inout MetadataGaps) throws(Errno) {
    if error.endsRun && !error.isShortage || error == .interrupted { throw error }
    gaps.add(kind, error)
  }

  private func setOwner(
    _ target: borrowing Descriptor, _ currently: FileStatus, _ gaps: inout MetadataGaps
  ) throws(Errno) -> Bool {
    if currently.user == metadata.user && currently.group == metadata.group { return false }
    do throws(Errno) {
      try target.setOwner(user: metadata.user, group: metadata.group)
      return true
    } catch {
      try note(error, .owner, &gaps)
      // What a group member may set: the group alone.
      return (try? target.setOwner(user: currently.user, group: metadata.group)) != nil
    }
  }

  private func setAttributes(
    _ attributes: AttributeBlock, _ target: borrowing Descriptor, _ mayHaveOthers: Bool, _ gaps: inout MetadataGaps
  ) throws(Errno) {
    let wanted: [(name: [UInt8], value: [UInt8])]
    do throws(CatalogError) { wanted = try attributes.decoded() } catch { throw .invalid }
    do throws(Errno) {
      let unwanted =
        mayHaveOthers
        ? try target.extendedAttributes(access).filter { present in
          !ExtendedAttribute.isKernelLabel(present.name) && !wanted.contains { $0.name == present.name }
        } : []
      for attribute in unwanted {
        do throws(Errno) { try target.removeExtendedAttribute(attribute.name, access) } catch {
          try note(error, .attributes, &gaps)
        }
      }
    } catch { try note(error, .attributes, &gaps) }
    for (name, value) in wanted {
      do throws(Errno) {
        try target.setExtendedAttribute(ExtendedAttribute(name: name, value: value), access)
        // Some file systems take what they do not keep.
        if try target.extendedAttribute(name, access) != value { gaps.add(.attributes, nil) }
      } catch {
        // ext4 says so where an inode's attributes do not fit into their block.
        if error == .noSpace, (try? target.fileSystem())?.hasRoom == true { gaps.add(.attributes, error) } else {
          try note(error, .attributes, &gaps)
        }
      }
    }
  }

  private func setMode(
    _ permissions: UInt32, _ target: borrowing Descriptor, _ gaps: inout MetadataGaps
  ) throws(Errno) {
    do throws(Errno) { try change(target, permissions) } catch {
      try note(error, .mode, &gaps)
      // FAT refuses setuid, setgid and the sticky bit.
      if permissions & 0o7000 != 0 { try? change(target, permissions & 0o777) }
    }
  }

  private func change(_ target: borrowing Descriptor, _ permissions: UInt32) throws(Errno) {
    switch access {
    case .descriptor: try target.setPermissions(permissions)
    case .handle: try target.setPermissionsOfHandle(permissions)
    }
  }

  /// A call that succeeds proves little where users are mapped, modes are made up or years are few.
  private func readBack(
    _ permissions: UInt32, _ target: borrowing Descriptor, _ gaps: inout MetadataGaps
  ) throws(Errno) {
    var status = try target.status()
    if status.modified != metadata.modified {
      // A coarser clock gives no more at the second try; libfuse 2 passes over a call that sets one time alone.
      if !status.modified.isCoarser(than: metadata.modified) {
        do throws(Errno) { try target.setTimes(accessed: Clock.now(), modified: metadata.modified) } catch {
          try note(error, .time, &gaps)
        }
        status = try target.status()
      }
      if status.modified != metadata.modified { gaps.add(.time, nil) }
    }
    var permissions = permissions
    if status.user != metadata.user || status.group != metadata.group {
      gaps.add(.owner, nil)
      permissions &= Self.ofAnotherOwner
      if !isSymbolicLink, status.permissions & ~Self.ofAnotherOwner != 0 {
        try setMode(permissions, target, &gaps)
        status = try target.status()
      }
    }
    if !isSymbolicLink, status.permissions != permissions { gaps.add(.mode, nil) }
  }
}

extension Timestamp {
  /// True for what a file system makes of a time that counts in seconds, or in two of them as FAT does.
  fileprivate func isCoarser(than time: Timestamp) -> Bool {
    nanoseconds == 0 && self <= time && time - self < 2
  }
}

extension FileSystemStatus {
  /// True where a file system that says it is full means one directory, or one inode's attributes.
  var hasRoom: Bool { bytesAvailable > 1 << 20 && (inodes == 0 || inodesFree > 0) }
}

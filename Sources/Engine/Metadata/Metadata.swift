internal import Catalog
internal import Model
internal import Posix

extension FileStatus {
  /// True if inode, device, mode, size, ctime and mtime are equal.
  func isSameState(as other: FileStatus) -> Bool {
    isSameInode(as: other) && mode == other.mode && size == other.size && changed == other.changed
      && modified == other.modified
  }

  /// True if a change after `moment` could have left the ctime of this status.
  ///
  /// Time stamps come from a clock that ticks every 1 to 10 ms (`jiffies`, see `time(7)`). A stamp without a fraction
  /// may be in whole seconds, or in units of two as on FAT. The stamps of a network file system come from another
  /// machine's clock.
  func isRacy(since moment: Timestamp, on fileSystem: FileSystemIdentity) -> Bool {
    let granularity = changed.nanoseconds == 0 && modified.nanoseconds == 0 ? 2.0 : 0.02
    return changed - moment > -granularity - fileSystem.clockDifferenceSeconds
  }
}

extension FileRow {
  /// True if the stored inode may be linked for this source inode.
  ///
  /// If the stored inode has several names, they must still be names of this source inode. Otherwise, files that were
  /// separated would remain one. The source inode of an adopted file is unknown: the first claimant gets it.
  func mayBeLinked(for status: FileStatus) -> Bool {
    linkGroup == nil
      || (status.linkCount > 1 && (status.inode == hints.sourceInode || hints.sourceInode == 0))
  }
}

extension AttributeBlock {
  init(_ attributes: [ExtendedAttribute]) {
    self =
      attributes.isEmpty
      ? .empty : AttributeBlock(attributes.map { (name: $0.name, value: $0.value) })
  }

  /// True if an inode has the attributes that a catalog names.
  ///
  /// A label that the kernel set by itself is ignored if the catalog names none.
  func isStored(as expected: AttributeBlock) -> Bool {
    if self == expected { return true }
    guard let own = try? decoded(), let wanted = try? expected.decoded() else { return false }
    let compared = own.filter { attribute in
      !ExtendedAttribute.isKernelLabel(attribute.name) || wanted.contains { $0.name == attribute.name }
    }
    return compared.isEmpty ? expected.isEmpty : AttributeBlock(compared) == expected
  }
}

/// The values of an inode's metadata, by how they are set.
enum MetadataKind: Int, CaseIterable {
  case owner, mode, attributes, time

  /// Marks a stored inode that lacks the value.
  var flag: StorageFlags {
    switch self {
    case .owner: .ownerNotStored
    case .mode: .modeNotStored
    case .attributes: .attributesNotStored
    case .time: .timeNotStored
    }
  }
}

/// The values that an inode did not take, each with the first reason.
///
/// The reason is `nil` if the file system took the value without an error, but has another value.
struct MetadataGaps {
  private(set) var reasons: [(kind: MetadataKind, reason: Errno?)] = []
  /// The status that was read back.
  fileprivate(set) var status: FileStatus?

  var isEmpty: Bool { reasons.isEmpty }

  /// The first reason that may not recur on the next try, such as lack of memory.
  var transient: Errno? {
    for case (_, let reason?) in reasons where !reason.refusesMetadata && reason != .noSpace { return reason }
    return nil
  }

  var flags: StorageFlags { reasons.reduce(into: []) { $0.insert($1.kind.flag) } }

  func contains(_ kind: MetadataKind) -> Bool { reasons.contains { $0.kind == kind } }

  mutating func add(_ kind: MetadataKind, because reason: Errno?) {
    if !contains(kind) { reasons.append((kind, reason)) }
  }
}

/// The metadata of an inode as they were read back.
struct StoredMetadata {
  /// The values that the inode did not take.
  var missing: StorageFlags
  var status: FileStatus
}

/// Corrects the metadata of an open directory in the repository.
///
/// Nothing is written if nothing differs.
func correctMetadata(
  _ metadata: Metadata, attributes: AttributeBlock, of target: borrowing Descriptor
) throws(Errno) -> StoredMetadata {
  let status = try target.status()
  if status.metadata == metadata, AttributeBlock(try target.extendedAttributes(.descriptor)).isStored(as: attributes) {
    return StoredMetadata(missing: [], status: status)
  }
  return try applyMetadata(
    metadata, attributes: attributes, to: target, by: .descriptor, currently: status, mayHaveOthers: true)
}

/// Gives an inode of the repository its metadata.
///
/// Throws if another try may succeed, because a value that a catalog calls not stored is not tried again.
func applyMetadata(
  _ metadata: Metadata, attributes: AttributeBlock, to target: borrowing Descriptor,
  by access: AttributeAccess, currently: FileStatus, mayHaveOthers: Bool = false
) throws(Errno) -> StoredMetadata {
  let gaps = try setMetadata(
    metadata, attributes: attributes, to: target, by: access, currently: currently, mayHaveOthers: mayHaveOthers)
  if let error = gaps.transient { throw error }
  return StoredMetadata(missing: gaps.flags, status: gaps.status ?? currently)
}

/// Gives an inode its metadata by its descriptor, and reads them back. Returns the values that it did not take.
///
/// Throws if the next inode would fail too. If `mayHaveOthers` is true, the inode may already have attributes, its
/// own or from a default ACL above it. The unwanted ones are removed.
///
/// Order matters. `chown` clears setuid, setgid and capabilities. An ACL needs the mode's bits after it. The time
/// comes last, because every earlier step counts as a change.
func setMetadata(
  _ metadata: Metadata, attributes: AttributeBlock, to target: borrowing Descriptor,
  by access: AttributeAccess, currently: FileStatus, mayHaveOthers: Bool = false
) throws(Errno) -> MetadataGaps {
  let setter = MetadataSetter(metadata: metadata, access: access, isSymbolicLink: currently.kind == .symbolicLink)
  return try setter.set(attributes, on: target, currently: currently, mayHaveOthers: mayHaveOthers)
}

private struct MetadataSetter {
  let metadata: Metadata
  let access: AttributeAccess
  let isSymbolicLink: Bool

  func set(
    _ attributes: AttributeBlock, on target: borrowing Descriptor, currently: FileStatus, mayHaveOthers: Bool
  ) throws(Errno) -> MetadataGaps {
    var gaps = MetadataGaps()
    let changedOwner = try setOwner(of: target, currently: currently, into: &gaps)
    try setAttributes(attributes, target: target, mayHaveOthers: mayHaveOthers, into: &gaps)
    var permissions = UInt32(metadata.permissions)
    if gaps.contains(.owner) { permissions &= Self.ofAnotherOwner }
    if !isSymbolicLink, changedOwner || !attributes.isEmpty || currently.permissions != permissions {
      try setMode(permissions: permissions, target: target, into: &gaps)
    }
    do throws(Errno) { try target.setModificationTime(metadata.modified) } catch {
      try note(error, kind: .time, into: &gaps)
    }
    try readBack(permissions: permissions, target: target, into: &gaps)
    return gaps
  }

  /// A program must not run as a user to whom it was never given.
  private static var ofAnotherOwner: UInt32 { 0o1777 }

  private func note(_ error: Errno, kind: MetadataKind, into gaps: inout MetadataGaps) throws(Errno) {
    if error.endsRun && !error.isShortage || error == .interrupted { throw error }
    gaps.add(kind, because: error)
  }

  private func setOwner(
    of target: borrowing Descriptor, currently: FileStatus, into gaps: inout MetadataGaps
  ) throws(Errno) -> Bool {
    if currently.user == metadata.user && currently.group == metadata.group { return false }
    do throws(Errno) {
      try target.setOwner(user: metadata.user, group: metadata.group)
      return true
    } catch {
      try note(error, kind: .owner, into: &gaps)
      // A group member may set the group alone.
      return (try? target.setOwner(user: currently.user, group: metadata.group)) != nil
    }
  }

  private func setAttributes(
    _ attributes: AttributeBlock, target: borrowing Descriptor, mayHaveOthers: Bool, into gaps: inout MetadataGaps
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
        do throws(Errno) { try target.removeExtendedAttribute(attribute.name, by: access) } catch {
          try note(error, kind: .attributes, into: &gaps)
        }
      }
    } catch { try note(error, kind: .attributes, into: &gaps) }
    for (name, value) in wanted {
      let attribute = ExtendedAttribute(name: name, value: value)
      do throws(Errno) {
        try target.setExtendedAttribute(attribute, by: access)
      } catch {
        // ext4 gives ENOSPC, too, if an inode's attributes do not fit into their block, and then gives it again.
        guard error == .noSpace, (try? target.fileSystem())?.hasRoom == true else {
          try note(error, kind: .attributes, into: &gaps)
          continue
        }
        guard (try? target.setExtendedAttribute(attribute, by: access)) != nil else {
          gaps.add(.attributes, because: error)
          continue
        }
      }
      do throws(Errno) {
        // Some file systems accept attributes that they do not keep.
        if try target.extendedAttribute(name, by: access) != value { gaps.add(.attributes, because: nil) }
      } catch { try note(error, kind: .attributes, into: &gaps) }
    }
  }

  private func setMode(
    permissions: UInt32, target: borrowing Descriptor, into gaps: inout MetadataGaps
  ) throws(Errno) {
    do throws(Errno) { try change(of: target, permissions: permissions) } catch {
      try note(error, kind: .mode, into: &gaps)
      // FAT refuses setuid, setgid and the sticky bit.
      if permissions & 0o7000 != 0 { try? change(of: target, permissions: permissions & 0o777) }
    }
  }

  private func change(of target: borrowing Descriptor, permissions: UInt32) throws(Errno) {
    switch access {
    case .descriptor: try target.setPermissions(permissions)
    case .handle: try target.setPermissionsOfHandle(permissions)
    }
  }

  /// A successful call proves little if users are mapped, modes are invented or the time range is small.
  private func readBack(
    permissions: UInt32, target: borrowing Descriptor, into gaps: inout MetadataGaps
  ) throws(Errno) {
    var status = try target.status()
    if status.modified != metadata.modified {
      // A coarser clock gives no more on the second try. libfuse 2 ignores a call that sets one time alone.
      if !status.modified.isCoarser(than: metadata.modified) {
        do throws(Errno) { try target.setTimes(accessed: Clock.now(), modified: metadata.modified) } catch {
          try note(error, kind: .time, into: &gaps)
        }
        status = try target.status()
      }
      if status.modified != metadata.modified { gaps.add(.time, because: nil) }
    }
    var permissions = permissions
    if status.user != metadata.user || status.group != metadata.group {
      gaps.add(.owner, because: nil)
      permissions &= Self.ofAnotherOwner
      if !isSymbolicLink, status.permissions & ~Self.ofAnotherOwner != 0 {
        try setMode(permissions: permissions, target: target, into: &gaps)
        status = try target.status()
      }
    }
    if !isSymbolicLink, status.permissions != permissions { gaps.add(.mode, because: nil) }
    gaps.status = status
  }
}

extension Timestamp {
  /// True if this is `time` rounded by a file system: to whole seconds, or to two as on FAT.
  fileprivate func isCoarser(than time: Timestamp) -> Bool { nanoseconds == 0 && self <= time && time - self < 2 }
}

extension FileSystemStatus {
  /// True if the file system has room. A report of no space then concerns one directory, or one inode's attributes.
  var hasRoom: Bool { bytesAvailable > 1 << 20 && (inodes == 0 || inodesFree > 0) }
}

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
  func isRacy(since moment: Timestamp) -> Bool {
    let granularity = changed.nanoseconds == 0 && modified.nanoseconds == 0 ? 2.0 : 0.02
    return changed - moment > -granularity
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
}

/// How the inode that gets metadata was opened.
enum TargetHandle {
  /// For reading or writing: a regular file or a directory.
  case open
  /// With `O_PATH`: anything else.
  case handle(isSymbolicLink: Bool)
}

/// Gives an open directory the metadata that it should have, where it has others: where nothing differs, nothing
/// is written. Says what could not be given.
func correctMetadata(
  _ metadata: Metadata, _ attributes: AttributeBlock, of target: borrowing Descriptor
) throws(Errno) -> StorageFlags {
  let status = try target.status()
  if status.metadata == metadata, AttributeBlock(try target.extendedAttributes(.descriptor)) == attributes {
    return []
  }
  return try applyMetadata(metadata, attributes, to: target, .open, currently: status, mayHaveOthers: true)
}

/// Gives an inode its metadata, by its descriptor, and says what could not be given.
///
/// An inode that may have attributes already, its own or those of a default ACL above it, loses them where
/// they are not wanted (`mayHaveOthers`).
///
/// Order matters: `chown` clears setuid, setgid and capabilities; an ACL needs the mode's bits after it;
/// the time comes last, because everything before it counts as a change.
func applyMetadata(
  _ metadata: Metadata, _ attributes: AttributeBlock, to target: borrowing Descriptor,
  _ handle: TargetHandle, currently: FileStatus, mayHaveOthers: Bool = false
) throws(Errno) -> StorageFlags {
  var missing: StorageFlags = []
  let access: AttributeAccess
  let isSymbolicLink: Bool
  switch handle {
  case .open: (access, isSymbolicLink) = (.descriptor, false)
  case .handle(let link): (access, isSymbolicLink) = (.handle, link)
  }

  var permissions = UInt32(metadata.permissions)
  var changedOwner = false
  if currently.user != metadata.user || currently.group != metadata.group {
    do throws(Errno) {
      try target.setOwner(user: metadata.user, group: metadata.group)
      changedOwner = true
    } catch {
      guard error == .notPermitted || error == .invalid else { throw error }
      missing.insert(.ownerNotStored)
      // What a group member may set: the group alone.
      if (try? target.setOwner(user: currently.user, group: metadata.group)) != nil {
        changedOwner = true
      }
      // A program must not run as somebody it was never given to.
      permissions &= 0o1777
    }
  }

  let wantedAttributes: [(name: [UInt8], value: [UInt8])]
  do throws(CatalogError) { wantedAttributes = try attributes.decoded() } catch { throw .invalid }
  if mayHaveOthers {
    let wanted = Set(wantedAttributes.map(\.name))
    for present in try target.extendedAttributes(access) where !wanted.contains(present.name) {
      do throws(Errno) { try target.removeExtendedAttribute(present.name, access) } catch {
        missing.insert(.attributesNotStored)
      }
    }
  }
  for (name, value) in wantedAttributes {
    do throws(Errno) {
      try target.setExtendedAttribute(ExtendedAttribute(name: name, value: value), access)
    } catch {
      guard error != .inputOutput else { throw error }
      missing.insert(.attributesNotStored)
    }
  }

  if !isSymbolicLink,
    changedOwner || !attributes.isEmpty || currently.permissions != permissions
  {
    switch handle {
    case .open: try target.setPermissions(permissions)
    case .handle: try target.setPermissionsOfHandle(permissions)
    }
  }
  try target.setModificationTime(metadata.modified)
  return missing
}

public import Model
public import Posix

/// The received parts of pushed snapshots that are not built yet, each in `pending/NAME.push`.
///
/// Such a directory stays until the snapshot is published or given up, so that an interrupted push can continue.
public struct ReceivedParts {
  let repository: Repository
  private static let suffix = Array(".push".utf8)

  private static func directoryName(for name: SnapshotName) -> [UInt8] { name.bytes + suffix }

  /// The snapshot that a `.push` directory in `pending` belongs to.
  static func snapshot(of found: [UInt8]) -> SnapshotName? { SnapshotName(found, suffix: suffix) }

  /// Opens the directory for the received parts of a snapshot, and creates it if it is missing. The caller holds the
  /// lock.
  ///
  /// Only the receiving user may use the directory. Another user cannot read parts that root received. Root must not
  /// make a setuid program from a file that another user may still have open for writing.
  public func directory(for name: SnapshotName) throws(Failure) -> Directory {
    let pending = try repository.pending
    let own = Self.directoryName(for: name)
    do {
      if try pending.descriptor.statusIfPresent(of: own.span) == nil {
        try pending.descriptor.makeDirectory(own.span, mode: 0o700)
      } else if try isAnotherUsers(own, in: pending) {
        try giveUp(own, in: pending)
        try pending.descriptor.makeDirectory(own.span, mode: 0o700)
      }
      let directory = try pending.directory(own.span)
      try directory.descriptor.dropInheritedACLs()
      return directory
    } catch { throw .writing("receive a snapshot in", at: repository.path, because: error) }
  }

  /// True if this user cannot have made the directory. The test is valid on file systems that map users.
  private func isAnotherUsers(_ name: [UInt8], in pending: Directory) throws(Errno) -> Bool {
    let user = try pending.descriptor.status(of: name.span).user
    if user == CurrentProcess.effectiveUser { return false }
    let own = try Retirement.uniqueName()
    try pending.descriptor.makeDirectory(own.span, mode: 0o700)
    let ownUser = try pending.descriptor.status(of: own.span).user
    try pending.descriptor.removeDirectory(own.span)
    return user != ownUser
  }

  /// Opens the received parts of a snapshot. `nil` if this user cannot open them.
  public func existingDirectory(for name: SnapshotName) -> Directory? {
    let own = Self.directoryName(for: name)
    return try? repository.pending.directory(own.span)
  }

  /// Moves a directory to the trash. Another user's directory can only be renamed; root must delete it.
  private func giveUp(_ name: [UInt8], in pending: Directory) throws(Errno) {
    let unique = try Retirement.uniqueName()
    do { try repository.retirement.discard(name, of: pending) } catch {
      guard error.meansNoPermission else { throw error }
      try pending.descriptor.rename(name.span, to: pending.descriptor, as: unique.span)
    }
  }

  /// The snapshots that have received parts.
  public func snapshots() throws(Failure) -> [SnapshotName] {
    do { return try repository.pending.names().compactMap(Self.snapshot) } catch {
      throw .writing("look for parts of snapshots in", at: repository.path, because: error)
    }
  }

  /// Hands the received parts of one snapshot to another that has none. The caller holds the lock.
  public func move(from other: SnapshotName, to name: SnapshotName) throws(Failure) {
    let pending = try repository.pending
    let (old, new) = (Self.directoryName(for: other), Self.directoryName(for: name))
    do { try pending.descriptor.rename(old.span, to: pending.descriptor, as: new.span) } catch {
      throw .writing("receive a snapshot in", at: repository.path, because: error)
    }
  }

  /// Gives up the received parts of a snapshot.
  ///
  /// The caller holds the lock, and empties the trash after releasing it.
  public func discard(_ name: SnapshotName) throws(Failure) {
    let pending = try repository.pending
    do { try giveUp(Self.directoryName(for: name), in: pending) } catch {
      if error == .noSuchEntry { return }
      throw .writing("give up the received parts of a snapshot in", at: repository.path, because: error)
    }
  }
}

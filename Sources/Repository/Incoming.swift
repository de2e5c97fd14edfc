public import Catalog
public import Posix

// The received parts of a pushed snapshot that is not built yet, in `pending/NAME.push`. The directory stays until the
// snapshot is published or given up, so that an interrupted push can continue.
extension Repository {
  private static let incomingSuffix = Array(".push".utf8)

  private static func incomingName(_ name: SnapshotName) -> [UInt8] { name.bytes + incomingSuffix }

  /// The snapshot that a `.push` directory in `pending` belongs to.
  static func incomingSnapshot(_ found: [UInt8]) -> SnapshotName? {
    Array(found.suffix(incomingSuffix.count)) == incomingSuffix
      ? SnapshotName(found.dropLast(incomingSuffix.count)) : nil
  }

  /// Opens the directory for the received parts of a snapshot, and creates it if it is missing. The caller holds the
  /// lock.
  ///
  /// Only the receiving user may use the directory. Another user cannot read parts that root received. Root must not
  /// make a setuid program from a file that another user may still have open for writing.
  public func incoming(_ name: SnapshotName) throws(Failure) -> Directory {
    let pending = try directory(Self.pendingName)
    let own = Self.incomingName(name)
    do {
      if try pending.descriptor.statusIfPresent(of: own.span) == nil {
        try pending.descriptor.makeDirectory(own.span, mode: 0o700)
      } else if try isAnotherUsers(own, in: pending) {
        try giveUp(own, of: pending)
        try pending.descriptor.makeDirectory(own.span, mode: 0o700)
      }
      let directory = try pending.directory(own.span)
      try directory.descriptor.dropInheritedACLs()
      return directory
    } catch { throw .writing("receive a snapshot in", path, error) }
  }

  /// True if this user cannot have made the directory. The test is valid on file systems that map users.
  private func isAnotherUsers(_ name: [UInt8], in pending: Directory) throws(Errno) -> Bool {
    let user = try pending.descriptor.status(of: name.span).user
    if user == CurrentProcess.effectiveUser { return false }
    let own = try Self.uniqueName()
    try pending.descriptor.makeDirectory(own.span, mode: 0o700)
    let ownUser = try pending.descriptor.status(of: own.span).user
    try pending.descriptor.removeDirectory(own.span)
    return user != ownUser
  }

  /// Opens the received parts of a snapshot. `nil` if this user cannot open them.
  public func openIncoming(_ name: SnapshotName) -> Directory? {
    let own = Self.incomingName(name)
    return try? directory(Self.pendingName).directory(own.span)
  }

  /// Moves a directory to the trash. Another user's directory can only be renamed; root must delete it.
  private func giveUp(_ name: [UInt8], of pending: Directory) throws(Errno) {
    let unique = try Self.uniqueName()
    do { try discard(name, of: pending) } catch {
      guard error.meansNoPermission else { throw error }
      try pending.descriptor.rename(name.span, to: pending.descriptor, as: unique.span)
    }
  }

  /// The snapshots that have received parts.
  public func incomingSnapshots() throws(Failure) -> [SnapshotName] {
    var listing = DirectoryListing()
    do { try listing.read(try directory(Self.pendingName).descriptor) } catch {
      throw .writing("look for parts of snapshots in", path, error)
    }
    return listing.entries.compactMap { Self.incomingSnapshot(Array(listing.bytes[$0.range])) }
  }

  /// Hands the received parts of one snapshot to another that has none. The caller holds the lock.
  public func takeOverIncoming(_ other: SnapshotName, as name: SnapshotName) throws(Failure) {
    let pending = try directory(Self.pendingName)
    let (old, new) = (Self.incomingName(other), Self.incomingName(name))
    do { try pending.descriptor.rename(old.span, to: pending.descriptor, as: new.span) } catch {
      throw .writing("receive a snapshot in", path, error)
    }
  }

  /// True if the repository has a spare, an expired tree that can become the next snapshot.
  public func hasSpare() throws(Failure) -> Bool {
    var listing = DirectoryListing()
    do { try listing.read(try directory(Self.spareName).descriptor.reopenDirectory()) } catch {
      throw .writing("look for a spare in", path, error)
    }
    return !listing.entries.isEmpty
  }

  /// Gives up the received parts of a snapshot.
  ///
  /// The caller holds the lock, and empties the trash after releasing it.
  public func discardIncoming(_ name: SnapshotName) throws(Failure) {
    let pending = try directory(Self.pendingName)
    do { try giveUp(Self.incomingName(name), of: pending) } catch {
      if error == .noSuchEntry { return }
      throw .writing("give up what came of a snapshot in", path, error)
    }
  }
}

extension Repository {
  /// The boot ID (or host name), device and inode of the repository. Two paths lead to one repository if these are
  /// equal.
  public var machinePlace: [UInt8] {
    let machine = CurrentProcess.bootID.isEmpty ? CurrentProcess.hostName() : CurrentProcess.bootID
    return machine + Array(" \(identity.device) \(identity.inode)".utf8)
  }
}

// A repair collects the replacements for damaged entries in this directory.
extension Repository {
  private static let repairName = Array("repair".utf8)

  /// Makes an empty directory for a repair. The caller holds the lock.
  public func repairPlace() throws(Failure) -> Directory {
    try discardRepairPlace()
    let pending = try directory(Self.pendingName)
    do {
      try pending.descriptor.makeDirectory(Self.repairName.span, mode: 0o700)
      let place = try pending.directory(Self.repairName.span)
      try place.descriptor.dropInheritedACLs()
      return place
    } catch { throw .writing("repair a snapshot in", path, error) }
  }

  public func discardRepairPlace() throws(Failure) {
    let pending = try directory(Self.pendingName)
    do { try discard(Self.repairName, of: pending) } catch {
      if error == .noSuchEntry { return }
      throw .writing("repair a snapshot in", path, error)
    }
  }
}

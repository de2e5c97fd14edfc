public import Catalog
public import Posix

// What came of a snapshot that is pushed here, and is not built yet: `pending/NAME.push`, kept until it is
// published or given up, so that a push that was cut off goes on from there.
extension Repository {
  private static let incomingSuffix = Array(".push".utf8)

  private static func incomingName(_ name: SnapshotName) -> [UInt8] { name.bytes + incomingSuffix }

  /// The snapshot whose parts a directory in `pending` holds.
  static func incomingSnapshot(_ found: [UInt8]) -> SnapshotName? {
    Array(found.suffix(incomingSuffix.count)) == incomingSuffix
      ? SnapshotName(found.dropLast(incomingSuffix.count)) : nil
  }

  /// Opens, and makes where it is missing, the directory for what comes of a snapshot. The caller holds the lock.
  ///
  /// It belongs to the user who receives, and serves no other. One user cannot read what came for root; and root must not
  /// make a program with root's rights of a file that another user may still have open for writing.
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

  /// True for a directory that this user cannot have made, also where the file system maps users.
  private func isAnotherUsers(_ name: [UInt8], in pending: Directory) throws(Errno) -> Bool {
    let user = try pending.descriptor.status(of: name.span).user
    if user == Process.effectiveUser { return false }
    let own = try Self.uniqueName()
    try pending.descriptor.makeDirectory(own.span, mode: 0o700)
    let ownUser = try pending.descriptor.status(of: own.span).user
    try pending.descriptor.removeDirectory(own.span)
    return user != ownUser
  }

  /// Opens what came of a snapshot; `nil` where this user cannot.
  public func openIncoming(_ name: SnapshotName) -> Directory? {
    let own = Self.incomingName(name)
    return try? directory(Self.pendingName).directory(own.span)
  }

  /// Moves a directory to the trash. One of another user's can only get another name; it stays for root to delete.
  private func giveUp(_ name: [UInt8], of pending: Directory) throws(Errno) {
    let unique = try Self.uniqueName()
    do { try discard(name, of: pending) } catch {
      guard error.meansNoPermission else { throw error }
      try pending.descriptor.rename(name.span, to: pending.descriptor, as: unique.span)
    }
  }

  /// The snapshots of which something came.
  public func incomingSnapshots() throws(Failure) -> [SnapshotName] {
    var listing = DirectoryListing()
    do { try listing.read(try directory(Self.pendingName).descriptor) } catch {
      throw .writing("look for parts of snapshots in", path, error)
    }
    return listing.entries.compactMap { Self.incomingSnapshot(Array(listing.bytes[$0.range])) }
  }

  /// What came of one snapshot serves another, of which nothing came. The caller holds the lock.
  public func takeOverIncoming(_ other: SnapshotName, as name: SnapshotName) throws(Failure) {
    let pending = try directory(Self.pendingName)
    let (old, new) = (Self.incomingName(other), Self.incomingName(name))
    do { try pending.descriptor.rename(old.span, to: pending.descriptor, as: new.span) } catch {
      throw .writing("receive a snapshot in", path, error)
    }
  }

  /// True where an expired tree is kept to become the next snapshot.
  public func hasSpare() throws(Failure) -> Bool {
    var listing = DirectoryListing()
    do { try listing.read(try directory(Self.spareName).descriptor.reopenDirectory()) } catch {
      throw .writing("look for a spare in", path, error)
    }
    return !listing.entries.isEmpty
  }

  /// Gives up what came of a snapshot. The caller holds the lock, and empties the trash afterwards without it.
  public func discardIncoming(_ name: SnapshotName) throws(Failure) {
    let pending = try directory(Self.pendingName)
    do { try giveUp(Self.incomingName(name), of: pending) } catch {
      if error == .noSuchEntry { return }
      throw .writing("give up what came of a snapshot in", path, error)
    }
  }
}

extension Repository {
  /// Where it is on which machine, in the machine's present life: whether two paths lead to one repository.
  public var machinePlace: [UInt8] {
    let machine = Process.bootID.isEmpty ? Process.hostName() : Process.bootID
    return machine + Array(" \(identity.device) \(identity.inode)".utf8)
  }
}

// Where a repair gathers what takes the place of something damaged.
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

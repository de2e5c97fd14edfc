internal import Catalog
internal import Posix

/// What a repository's file system can hold.
public struct Capabilities: Sendable, Equatable {
  public var hardLinks = true
  public var symbolicLinks = true
  /// Attributes of the namespace `user`.
  public var userAttributes = true
  public var accessControlLists = true
  /// Two names may differ in case alone.
  public var distinguishesCase = true
  /// Time stamps are kept to the nanosecond.
  public var nanoseconds = true
  /// Files can share blocks (`FICLONE`).
  public var reflinks = true
  /// A directory's listing gives the inode numbers of its entries, and the names of one inode have one number.
  public var listsInodes = true
  /// True where an expired tree can be made into the next snapshot. Where names that differ in case alone are one, a
  /// name of the old tree may stand in the way of one of the new tree that comes before it.
  public var recycles: Bool { listsInodes && distinguishesCase }
  /// The most bytes a name may have.
  public var nameBytes: UInt64 = 255
  /// The most links an inode may have.
  public var linkLimit: UInt64 = .max

  /// What snapshots will lack, a sentence each; the catalog has it all, and a restore is exact.
  public var shortcomings: [String] {
    var list: [String] = []
    if !symbolicLinks { list.append("it holds no symbolic links") }
    if !userAttributes { list.append("it holds no user extended attributes") }
    if !accessControlLists { list.append("it holds no ACLs") }
    if !distinguishesCase { list.append("names that differ in case alone are one name to it") }
    if !nanoseconds { list.append("it keeps times to the second or coarser") }
    if nameBytes < 255 { list.append("names may have at most \(nameBytes) bytes") }
    return list
  }
}

extension Repository {
  static let probeName = Array("treering-probe".utf8)
  private static let knownName = Array("file-system".utf8)

  /// Tries out what the file system can hold, with files of its own in `pending`; the caller holds the lock.
  ///
  /// Throws `refused` where it has no hard links: every snapshot would be a whole copy.
  public func probe() throws(Failure) -> Capabilities {
    try Self.probe(try directory(Self.pendingName), path)
  }

  /// True where the file system has room, and takes one more file in another directory: for whoever was told that
  /// there is no space.
  public func takesAnotherFile() -> Bool {
    guard let system = try? root.descriptor.fileSystem(), system.bytesAvailable >= 1 << 20,
      system.inodes == 0 || system.inodesFree > 0, let trash = try? trash(),
      let unique = try? Process.randomBytes(16).map({ 97 + $0 % 26 })
    else { return false }
    let name = Self.probeName + unique
    guard (try? trash.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o600)) != nil else { return false }
    return (try? trash.descriptor.unlink(name.span)) != nil
  }

  static func probe(_ directory: Directory, _ path: [UInt8]) throws(Failure) -> Capabilities {
    do {
      do throws(Errno) { try removeProbe(of: directory.descriptor) } catch { guard error == .noSuchEntry else { throw error } }
      try directory.descriptor.makeDirectory(probeName.span, mode: 0o700)
      let found = try tryOut(try directory.directory(probeName.span))
      try removeProbe(of: directory.descriptor)
      guard found.hardLinks else {
        throw Failure(
          .refused,
          "the file system of \(displayName(path)) has no hard links, and a snapshot is made of them",
          hint: "put the repository on ext4, xfs, btrfs or another file system of Unix")
      }
      return found
    } catch let failure as Failure {
      throw failure
    } catch let error as Errno {
      throw .writing("try out the file system of", path, error)
    } catch { throw Failure(.failed, "cannot try out the file system: \(error)") }
  }

  /// What the file system cannot hold, if that was not said before; from now on it counts as said.
  public func unsaidShortcomings(_ capabilities: Capabilities) throws(Failure) -> [String] {
    let list = capabilities.shortcomings
    let text = Array(list.map { $0 + "\n" }.joined().utf8)
    do throws(Errno) {
      var known: [UInt8] = []
      do throws(Errno) {
        known = try control.descriptor.openToRead(Self.knownName.span).readToEnd(limit: 1 << 16)
      } catch { guard error == .noSuchEntry else { throw error } }
      if known == text { return [] }
      let file = try openFile(Self.knownName, in: control.descriptor, [.write, .truncate])
      try file.write(text)
      try file.close()
      return list
    } catch { throw .writing("note what is known of the file system of", path, error) }
  }

  private static func tryOut(_ directory: Directory) throws -> Capabilities {
    var found = Capabilities()
    func works(_ body: () throws -> Void) throws -> Bool {
      do { try body() } catch let error as Errno where error.endsRun { throw error } catch {
        return false
      }
      return true
    }
    let one = Array("name".utf8)
    let file = try directory.descriptor.open(one.span, [.readWrite, .create, .exclusive], mode: 0o600)
    found.hardLinks = try works {
      try directory.descriptor.link(one.span, to: directory.descriptor, as: Array("link".utf8).span)
    }
    try tryNames(in: directory, &found)
    found.symbolicLinks = try works {
      try directory.descriptor.makeSymbolicLink(Array("symbolic".utf8).span, to: one)
    }
    found.userAttributes = try works {
      try file.setExtendedAttribute(
        ExtendedAttribute(name: Array("user.treering".utf8), value: [1]))
    }
    // Version 2; the owner, the group, others and, to make it more than a mode, one user and the mask.
    let entries: [(tag: UInt8, id: UInt32)] = [
      (0x01, .max), (0x02, 0), (0x04, .max), (0x10, .max), (0x20, .max),
    ]
    var list: [UInt8] = [2, 0, 0, 0]
    for (tag, id) in entries {
      list += [tag, 0, tag == 0x01 ? 6 : 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: id >> ($0 * 8)) }
    }
    found.accessControlLists = try works {
      try file.setExtendedAttribute(
        ExtendedAttribute(name: Array("system.posix_acl_access".utf8), value: list))
    }
    found.distinguishesCase = try directory.descriptor.statusIfPresent(of: Array("NAME".utf8).span) == nil
    let time = Timestamp(seconds: 1_000_000_001, nanoseconds: 123_456_789)
    try file.setModificationTime(time)
    // libfuse 2 passes over a call that sets one time alone.
    if try file.status().modified != time { try file.setTimes(accessed: time, modified: time) }
    found.nanoseconds = try file.status().modified == time
    let copy = try directory.descriptor.open(Array("copy".utf8).span, [.write, .create, .exclusive], mode: 0o600)
    found.reflinks = try works { try copy.clone(file) }
    found.nameBytes = min(255, try directory.descriptor.fileSystem().nameBytes)
    found.linkLimit = (try? directory.descriptor.linkLimit()) ?? .max
    return found
  }

  /// What publication needs: names that move and never replace, and inode numbers, which recycling goes by.
  private static func tryNames(in directory: Directory, _ found: inout Capabilities) throws {
    let (file, link, old, new) = ("name", "link", "old", "new")
    func bytes(_ name: String) -> [UInt8] { Array(name.utf8) }
    try directory.descriptor.makeDirectory(bytes(old).span, mode: 0o700)
    let moved = bytes(new)
    try directory.descriptor.rename(bytes(old).span, to: directory.descriptor, as: moved.span)
    do throws(Errno) {
      try directory.descriptor.makeDirectory(bytes(old).span, mode: 0o700)
      try directory.descriptor.rename(bytes(old).span, to: directory.descriptor, as: moved.span)
      throw Errno.notSupported
    } catch { guard error == .exists || error == .notEmpty else { throw error } }
    guard found.hardLinks else { return }
    var listing = DirectoryListing()
    try listing.read(try directory.descriptor.reopenDirectory())
    let first = try directory.descriptor.status(of: bytes(file).span)
    let second = try directory.descriptor.status(of: bytes(link).span)
    found.listsInodes = first.inode == second.inode
      && [file, link].allSatisfy { listing.inode(of: bytes($0).span) == first.inode }
  }

  /// Removes the directory of the last probe.
  private static func removeProbe(of directory: borrowing Descriptor) throws(Errno) {
    let probe = try directory.openDirectory(probeName.span)
    var listing = DirectoryListing()
    try listing.read(probe)
    for entry in listing.entries {
      let name = listing.bytes.span.extracting(entry.range)
      if try probe.status(of: name).kind == .directory { try probe.removeDirectory(name) } else { try probe.unlink(name) }
    }
    try directory.removeDirectory(probeName.span)
  }
}

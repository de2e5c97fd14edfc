internal import Model
internal import Posix

/// The capabilities of a repository's file system.
public struct Capabilities: Sendable, Equatable {
  public var hardLinks = true
  public var symbolicLinks = true
  /// The file system stores extended attributes of the namespace `user`.
  public var userAttributes = true
  public var accessControlLists = true
  /// Two names may differ in case alone.
  public var distinguishesCase = true
  /// Timestamps have a resolution of one nanosecond.
  public var nanoseconds = true
  /// Files can share blocks (`FICLONE`).
  public var reflinks = true
  /// `getdents64` returns the true inode numbers, and hard links of one inode have equal numbers.
  public var listsInodes = true
  /// True if an expired tree can be recycled into the next snapshot.
  ///
  /// On a file system that ignores case, an old name may block a new name that sorts before it.
  public var recycles: Bool { listsInodes && distinguishesCase }
  /// The most bytes a name may have.
  public var nameBytes: UInt64 = 255
  /// The most links an inode may have.
  public var linkLimit: UInt64 = .max

  /// The capabilities of a file system that has everything.
  public init() {}

  /// The limitations of snapshots on this file system, one sentence each. The catalog is complete, and a restore is
  /// exact.
  public var limitations: [String] {
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

/// The tests of a repository's file system.
public struct FileSystemProbe {
  let repository: Repository
  static let name = Array("treering-probe".utf8)

  /// Tests the file system with files in `pending`. The caller holds the lock.
  ///
  /// Throws `refused` if the file system has no hard links, because every snapshot would be a full copy.
  public func run() throws(Failure) -> Capabilities { try Self.probe(in: try repository.pending, of: repository.path) }

  /// True if the file system has free space and accepts one more file in another directory.
  ///
  /// Callers use it after an `ENOSPC`.
  public func acceptsAnotherFile() -> Bool {
    guard let system = try? repository.root.descriptor.fileSystem(), system.bytesAvailable >= 1 << 20,
      system.inodes == 0 || system.inodesFree > 0, let trash = try? repository.trash,
      let unique = try? Retirement.uniqueName()
    else { return false }
    let name = Self.name + unique
    guard (try? trash.descriptor.open(name.span, [.write, .create, .exclusive], mode: 0o600)) != nil
    else { return false }
    return (try? trash.descriptor.unlink(name.span)) != nil
  }

  static func probe(in directory: Directory, of path: [UInt8]) throws(Failure) -> Capabilities {
    do {
      do throws(Errno) { try removeProbe(in: directory.descriptor) } catch {
        guard error == .noSuchEntry else { throw error }
      }
      try directory.descriptor.makeDirectory(name.span, mode: 0o700)
      let found = try tryOut(in: try directory.directory(name.span))
      try removeProbe(in: directory.descriptor)
      guard found.hardLinks else {
        throw Failure(
          .refused, "the file system of \(displayName(path)) has no hard links, and a snapshot is made of them",
          path: path,
          hint: "put the repository on ext4, xfs, btrfs or another file system of Unix")
      }
      return found
    } catch { throw .writing("try out the file system of", at: path, because: error) }
  }

  /// The limitations that have not been reported yet; the call records them as reported.
  public func newLimitations(of capabilities: Capabilities) throws(Failure) -> [String] {
    let list = capabilities.limitations
    let text = Array(list.map { $0 + "\n" }.joined().utf8)
    let file = repository.file(named: Array("file-system".utf8))
    do throws(Errno) {
      if try file.read(limit: 1 << 16) ?? [] == text { return [] }
      try file.replace(with: text)
      return list
    } catch { throw .writing("note what is known of the file system of", at: repository.path, because: error) }
  }

  private static func tryOut(in directory: Directory) throws -> Capabilities {
    var found = Capabilities()
    func works(body: () throws -> Void) throws -> Bool {
      do { try body() } catch let error as Errno where error.endsRun { throw error } catch { return false }
      return true
    }
    let one = Array("name".utf8)
    let file = try directory.descriptor.open(one.span, [.readWrite, .create, .exclusive], mode: 0o600)
    found.hardLinks = try works {
      try directory.descriptor.link(one.span, to: directory.descriptor, as: Array("link".utf8).span)
    }
    try tryNames(in: directory, into: &found)
    found.symbolicLinks = try works { try directory.descriptor.makeSymbolicLink(Array("symbolic".utf8).span, to: one) }
    found.userAttributes = try works {
      try file.setExtendedAttribute(ExtendedAttribute(name: Array("user.treering".utf8), value: [1]))
    }
    found.accessControlLists = try works {
      try file.setExtendedAttribute(
        ExtendedAttribute(name: Array("system.posix_acl_access".utf8), value: accessControlList))
    }
    found.distinguishesCase = try directory.descriptor.statusIfPresent(of: Array("NAME".utf8).span) == nil
    let time = Timestamp(seconds: 1_000_000_001, nanoseconds: 123_456_789)
    try file.setModificationTime(time)
    // libfuse 2 ignores a call that sets only one of the two times.
    if try file.status().modified != time { try file.setTimes(accessed: time, modified: time) }
    found.nanoseconds = try file.status().modified == time
    let copy = try directory.descriptor.open(Array("copy".utf8).span, [.write, .create, .exclusive], mode: 0o600)
    found.reflinks = try works { try copy.clone(file) }
    found.nameBytes = min(255, try directory.descriptor.fileSystem().nameBytes)
    found.linkLimit = (try? directory.descriptor.linkLimit()) ?? .max
    return found
  }

  /// An ACL of version 2: the owner, the group, others, one named user and the mask.
  ///
  /// The named user makes it more than a mode.
  private static var accessControlList: [UInt8] {
    let entries: [(tag: UInt8, id: UInt32)] = [(0x01, .max), (0x02, 0), (0x04, .max), (0x10, .max), (0x20, .max)]
    return entries.reduce(into: [2, 0, 0, 0]) { list, entry in
      list += [entry.tag, 0, entry.tag == 0x01 ? 6 : 0, 0]
      list += (0..<4).map { UInt8(truncatingIfNeeded: entry.id >> ($0 * 8)) }
    }
  }

  /// Tests the needs of publication and recycling: rename without replacement, and correct inode numbers.
  private static func tryNames(in directory: Directory, into found: inout Capabilities) throws {
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
    found.listsInodes =
      first.inode == second.inode && [file, link].allSatisfy { listing.inode(of: bytes($0).span) == first.inode }
  }

  /// Removes the directory that the last probe left.
  private static func removeProbe(in directory: borrowing Descriptor) throws(Errno) {
    let probe = try directory.openDirectory(Self.name.span)
    var listing = DirectoryListing()
    try listing.read(probe)
    for entry in listing.entries {
      let name = listing.bytes.span.extracting(entry.range)
      let isDirectory = try probe.status(of: name).kind == .directory
      if isDirectory { try probe.removeDirectory(name) } else { try probe.unlink(name) }
    }
    try directory.removeDirectory(Self.name.span)
  }
}

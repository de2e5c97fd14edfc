internal import Catalog
internal import Model
internal import Posix

/// Makes a symbolic link, FIFO, socket or device node of the repository, with its metadata.
///
/// Returns the inode, and flags for the values that the user may not set. A device node that the user may not make is
/// `notStored`, with no inode.
func makeSpecial(
  _ name: Span<UInt8>, in directory: borrowing Descriptor, kind: EntryKind, target: [UInt8],
  device: UInt64, metadata: Metadata, attributes: AttributeBlock
) throws(Errno) -> (inode: UInt64, missing: StorageFlags) {
  guard
    let made = try makeNode(
      name, in: directory, kind: kind, target: target, device: device, metadata: metadata, attributes: attributes)
  else { return (0, .notStored) }
  if let error = made.gaps.transient {
    try? directory.unlink(name)
    throw error
  }
  return (made.inode, made.gaps.flags)
}

/// Makes a node anywhere; `nil` if the file system or the user's rights do not allow such a node.
///
/// On an error, no new name stays, and no older name is removed. On `exists`, the name may belong to another entry:
/// the file system takes the two names for one.
func makeNode(
  _ name: Span<UInt8>, in directory: borrowing Descriptor, kind: EntryKind, target: [UInt8],
  device: UInt64, metadata: Metadata, attributes: AttributeBlock,
  mayHaveOthers: Bool = false
) throws(Errno) -> (inode: UInt64, gaps: MetadataGaps)? {
  if kind == .symbolicLink {
    try directory.makeSymbolicLink(name, to: target)
  } else {
    do throws(Errno) { try directory.makeNode(name, kind: kind, deviceNumber: device) } catch {
      guard error == .notPermitted || error == .notSupported else { throw error }
      return nil
    }
  }
  var isOwn = true
  do throws(Errno) {
    let made = try directory.open(name, .pathOnly)
    let status = try made.status()
    // Another user with write access to the directory could have put another inode there.
    isOwn = try directory.isOwn(status)
    if status.kind != kind || status.linkCount > 1 { isOwn = false }
    guard isOwn else { throw .staleHandle }
    let gaps = try setMetadata(
      metadata, attributes: attributes, to: made, by: .handle,
      currently: status, mayHaveOthers: mayHaveOthers)
    return (status.inode, gaps)
  } catch {
    if isOwn { try? directory.unlink(name) }
    throw error
  }
}

/// Makes temporary names beside the final names, for entries that get their final names in one step.
struct TemporaryNames {
  private var number: UInt64

  init() throws(Errno) { number = try CurrentProcess.randomNumber() }

  mutating func next() -> [UInt8] {
    number &+= 1
    var rest = number
    return Self.prefix
      + (0..<8).map { _ in
        defer { rest /= 26 }
        return 97 + UInt8(rest % 26)
      }
  }

  /// True for a name that `next` can return.
  static func contains(_ name: some Collection<UInt8>) -> Bool {
    name.count == prefix.count + 8 && name.starts(with: prefix)
      && name.dropFirst(prefix.count).allSatisfy { (97..<123).contains($0) }
  }

  private static let prefix = Array(".treering-".utf8)
}

extension Descriptor {
  /// True if an inode in this directory has the owner that this process's new inodes get.
  ///
  /// If the file system maps users (FAT, sshfs, NFS with root_squash), only a trial file shows that owner.
  borrowing func isOwn(_ status: FileStatus) throws(Errno) -> Bool {
    if status.user == CurrentProcess.effectiveUser { return true }
    return try withTrialFile { (trial) throws(Errno) in try trial.status().user } == status.user
  }

  /// True if a second name of an inode in this directory shows the inode number of the first.
  ///
  /// Some file systems (sshfs) number names.
  borrowing func numbersInodes() throws(Errno) -> Bool {
    var names = try TemporaryNames()
    let (one, two) = (names.next(), names.next())
    let number = try open(one.span, [.write, .create, .exclusive], mode: 0o600).status().inode
    defer { try? unlink(one.span) }
    try link(one.span, to: self, as: two.span)
    defer { try? unlink(two.span) }
    return try status(of: two.span).inode == number
  }

  /// Drops inherited ACLs on a file system that may know neither ACLs nor modes.
  borrowing func dropACLsWherePossible() throws(Errno) {
    do { try dropInheritedACLs() } catch { guard error.refusesMetadata else { throw error } }
  }

  /// Shows other processes that a file with a temporary name is in use.
  borrowing func holdTemporary() { try? lockExclusively() }

  /// Removes a file with a temporary name, unless it is in use.
  borrowing func discardTemporary(_ name: Span<UInt8>) {
    if (try? status(of: name))?.kind == .regular {
      do { try openToRead(name).lockExclusively() } catch { if error == .wouldBlock { return } }
    }
    try? unlink(name)
  }

  private borrowing func withTrialFile<R>(body: (borrowing Descriptor) throws(Errno) -> R) throws(Errno) -> R {
    var names = try TemporaryNames()
    let name = names.next()
    let file = try open(name.span, [.write, .create, .exclusive], mode: 0o600)
    defer { try? unlink(name.span) }
    return try body(file)
  }
}

internal import Catalog
internal import Posix
internal import Repository
internal import Synchronization

extension SnapshotWork {
  /// What an inode that is made now will lack of a time.
  func timeFlags(_ time: Timestamp) -> StorageFlags {
    capabilities.nanoseconds || time.nanoseconds == 0 ? [] : .timeNotStored
  }

  /// True where the name has the inode, or the link to it was made; false where the stored file is gone or can
  /// take no more links.
  func linked(
    _ from: borrowing Descriptor, _ name: Span<UInt8>, inode: UInt64, in node: SnapshotNode,
    as newName: Span<UInt8>
  ) throws -> Bool {
    if node.keeps(inode) { return true }
    try node.makeRoom()
    do throws(Errno) {
      try from.link(name, to: node.target!.descriptor, as: newName)
      return true
    } catch {
      if error.endsRun { throw Failure.writing("link in", node.sourcePath, error) }
      if error == .tooManyLinks { progress.linkLimits.count() }
      return false
    }
  }

  /// Links a stored file that has another inode, or another path, than the source's; returns its inode in
  /// the repository, or `nil` where it cannot serve.
  func link(
    _ stored: StoredFile, _ status: FileStatus, in node: SnapshotNode, as name: [UInt8]
  ) throws -> UInt64? {
    guard let directory = stored.directory, let inode = stored.inode else { return nil }
    if stored.isElsewhere || stored.row.hints.sourceInode != status.inode {
      let owner = SourceInode(device: status.device, inode: status.inode)
      guard claim(inode, for: owner) else { return nil }
    }
    let storedName = stored.name
    guard try linked(
      directory.descriptor, storedName.span, inode: inode, in: node, as: name.span)
    else { return nil }
    progress.linked.count()
    if stored.isElsewhere {
      progress.moved.count()
      if !node.isMoved && stored.tree === base.map({ trees[$0] }) { node.tally?.moved.count() }
    }
    return inode
  }

  /// True where the stored inode may be linked for this inode of the source.
  func claim(_ stored: UInt64, for inode: SourceInode) -> Bool {
    claims.withLock { claims in
      if let owner = claims[stored] { return owner == inode }
      claims[stored] = inode
      return true
    }
  }
}

extension StorageFlags {
  /// True where root may succeed with what an ordinary user could not store.
  func isWorthRetrying(asRoot isRoot: Bool) -> Bool {
    isRoot && isCatalogOnly && !contains(.refusedToRoot)
  }

  /// What could not be stored, with whether it was root who could not.
  func refused(toRoot isRoot: Bool) -> StorageFlags {
    isRoot && isCatalogOnly ? union(.refusedToRoot) : self
  }

  /// True where the stored inode alone would not restore the entry.
  var isCatalogOnly: Bool {
    !isDisjoint(with: [.notStored, .ownerNotStored, .attributesNotStored])
  }
}

extension FileSystemIdentity {
  /// File systems whose files the kernel makes up; the numbers are those of `linux/magic.h`.
  var isKernelView: Bool {
    let magics: Set<Int64> = [
      0x9fa0,  // proc
      0x6265_6572,  // sysfs
      0x1cd1,  // devpts
      0x6462_6720,  // debugfs
      0x7472_6163,  // tracefs
      0x7363_6673,  // securityfs
      0x0027_e0eb, 0x6367_7270,  // cgroup, cgroup2
      0xcafe_4a11,  // bpf
      0x6265_6570,  // configfs
      0x6165_676c,  // pstore
      0xde5e_81e4,  // efivarfs
      0x1980_0202,  // mqueue
      0x4249_4e4d,  // binfmt_misc
      0x6573_5543,  // fusectl
      0xf97c_ff8c,  // selinuxfs
      0x6e73_6673,  // nsfs
      0x6759_6969,  // rpc_pipefs
    ]
    return magics.contains(type)
  }
}

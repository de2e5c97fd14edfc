internal import Catalog
internal import Posix
internal import Repository
internal import Synchronization

extension SnapshotWork {
  /// Links a stored file that has another inode, or another path, than the source's file.
  ///
  /// Returns its inode in the repository; `nil` if the stored file cannot be used.
  func link(
    _ stored: StoredFile, for status: FileStatus, in node: SnapshotNode, as name: [UInt8]
  ) throws -> UInt64? {
    guard let directory = stored.directory, let inode = stored.inode else { return nil }
    // If listings do not show the names of one inode, the stored inode's other uses are unknown.
    if stored.isFoundByInode && !context.capabilities.listsInodes { return nil }
    if stored.isFoundByInode || stored.row.hints.sourceInode != status.inode {
      let owner = SourceInode(device: status.device, inode: status.inode)
      guard claim(inode, for: owner) else { return nil }
    }
    let storedName = stored.name
    guard
      let builder,
      try builder.linked(
        from: directory.descriptor, name: storedName.span, inode: inode, in: node, as: name.span)
    else { return nil }
    context.progress.linked.count()
    if stored.isFoundByInode { context.progress.moved.count() }
    return inode
  }

  /// True if the stored inode may be linked for this inode of the source.
  func claim(_ stored: UInt64, for inode: SourceInode) -> Bool {
    claims.withLock { claims in
      if let owner = claims[stored] { return owner == inode }
      claims[stored] = inode
      return true
    }
  }
}

extension FileSystemIdentity {
  /// True for a file system whose files the kernel invents; the numbers are from `linux/magic.h`.
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

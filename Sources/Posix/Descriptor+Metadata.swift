internal import CPosix
internal import Glibc
public import Model

// Metadata of the open inode itself. A `pathOnly` descriptor works for every kind of file, including symbolic links
// and devices.
extension Descriptor {
  /// Sets owner and group by number; clears setuid and setgid of files; `fchownat(2)`.
  public borrowing func setOwner(user: UInt32, group: UInt32) throws(Errno) {
    _ = try perform(.fchownat) { tr_fchownat(raw, "", user, group, tr_at_empty_path) }
  }

  /// Sets the twelve permission bits of an open file or directory; `fchmod(2)`.
  public borrowing func setPermissions(_ permissions: UInt32) throws(Errno) {
    _ = try perform(.fchmod) { tr_fchmod(raw, permissions) }
  }

  /// Sets the twelve permission bits of an inode opened with `pathOnly`, which `fchmod(2)` refuses.
  public borrowing func setPermissionsOfHandle(_ permissions: UInt32) throws(Errno) {
    _ = try perform(.fchmod) { tr_fchmod_handle(raw, permissions) }
  }

  /// Sets the modification time and keeps the access time; `utimensat(2)`.
  public borrowing func setModificationTime(_ time: Timestamp) throws(Errno) {
    let time = tr_time(seconds: time.seconds, nanoseconds: Int64(time.nanoseconds))
    _ = try perform(.utimensat) { tr_utimensat(raw, "", nil, time, tr_at_empty_path) }
  }

  /// Sets both times, for file systems that ignore a call that omits one (libfuse 2); `utimensat(2)`.
  public borrowing func setTimes(accessed: Timestamp, modified: Timestamp) throws(Errno) {
    var access = tr_time(seconds: accessed.seconds, nanoseconds: Int64(accessed.nanoseconds))
    let time = tr_time(seconds: modified.seconds, nanoseconds: Int64(modified.nanoseconds))
    _ = try perform(.utimensat) { tr_utimensat(raw, "", &access, time, tr_at_empty_path) }
  }
}

/// The way to the extended attributes of a descriptor's inode.
public enum AttributeAccess: Sendable {
  /// By `fgetxattr(2)` and related calls: files and directories open for reading or writing.
  case descriptor
  /// By `/proc/self/fd`: inodes opened with `pathOnly`.
  case handle
}

/// One extended attribute; ACLs are the ones named `system.posix_acl_*`.
public struct ExtendedAttribute: Sendable, Equatable {
  public var name, value: [UInt8]

  public init(name: [UInt8], value: [UInt8]) { (self.name, self.value) = (name, value) }

  /// True for an attribute that a kernel security module gives each new inode by itself. Users, and not even every
  /// root, cannot remove it: SELinux, Smack, and the hashes of IMA and EVM.
  public static func isKernelLabel(_ name: [UInt8]) -> Bool { kernelLabels.contains(name) }

  private static let kernelLabels = Set(["selinux", "SMACK64", "ima", "evm"].map { Array("security.\($0)".utf8) })
}

extension Descriptor {
  /// True if an ACL grants more than the mode; `getxattr(2)`.
  public borrowing func hasAccessACL() throws(Errno) -> Bool {
    do throws(Errno) {
      return try perform(.getxattr) { tr_getxattr(raw, nil, "system.posix_acl_access", nil, 0) } > 0
    } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
      return false
    }
  }

  /// All attributes that the caller may read and `/etc/xattr.conf` allows to be copied; `listxattr(2)`. They are
  /// sorted by the bytes of their names; empty if the file system has none.
  public borrowing func extendedAttributes(
    _ access: AttributeAccess = .descriptor
  ) throws(Errno) -> [ExtendedAttribute] {
    // The usual result is 0, and one call with a stack buffer finds that out.
    var names: [UInt8] = []
    do {
      let size = try withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer throws(Errno) in
        let size = try perform(.listxattr) {
          reach(raw, by: access) { tr_listxattr(raw, $0, buffer.baseAddress, 1024) }
        }
        names = [UInt8](UnsafeRawBufferPointer(start: buffer.baseAddress, count: size))
        return size
      }
      if size == 0 { return [] }
    } catch {
      if error == .notSupported { return [] }
      guard error == .outOfRange else { throw error }
      names = try grown { buffer throws(Errno) in
        try perform(.listxattr) { reach(raw, by: access) { tr_listxattr(raw, $0, buffer.baseAddress, buffer.count) } }
      }
    }
    var attributes: [ExtendedAttribute] = []
    for name in names.split(separator: 0) {
      let cName = [CChar](name.map { CChar(bitPattern: $0) }) + [0]
      guard tr_may_copy_xattr(cName) != 0 else { continue }
      // The attribute was removed after the listing, or the listing has it without a value (overlayfs, NFS).
      guard let value = try extendedAttribute(Array(name), by: access) else { continue }
      attributes.append(ExtendedAttribute(name: Array(name), value: value))
    }
    attributes.sort { $0.name.lexicographicallyPrecedes($1.name) }
    return attributes
  }

  /// The value of one attribute; `nil` if the inode does not have it; `getxattr(2)`.
  public borrowing func extendedAttribute(
    _ name: [UInt8], by access: AttributeAccess = .descriptor
  ) throws(Errno) -> [UInt8]? {
    let cName = name.map { CChar(bitPattern: $0) } + [0]
    do {
      return try grown { buffer throws(Errno) in
        try perform(.getxattr) {
          reach(raw, by: access) { tr_getxattr(raw, $0, cName, buffer.baseAddress, buffer.count) }
        }
      }
    } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
      return nil
    }
  }

  /// Sets one attribute; `setxattr(2)`.
  public borrowing func setExtendedAttribute(
    _ attribute: ExtendedAttribute, by access: AttributeAccess = .descriptor
  ) throws(Errno) {
    let cName = attribute.name.map { CChar(bitPattern: $0) } + [0]
    _ = try perform(.setxattr) {
      attribute.value.withUnsafeBytes { value in
        reach(raw, by: access) { tr_setxattr(raw, $0, cName, value.baseAddress, value.count) }
      }
    }
  }

  /// Removes one attribute; a missing one is no error; `removexattr(2)`.
  public borrowing func removeExtendedAttribute(
    _ name: [UInt8], by access: AttributeAccess = .descriptor
  ) throws(Errno) {
    let cName = name.map { CChar(bitPattern: $0) } + [0]
    do { _ = try perform(.removexattr) { reach(raw, by: access) { tr_removexattr(raw, $0, cName) } } } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
    }
  }
}

extension Descriptor {
  /// Gives this user access to a directory that it owns, even if the mode denies it: mode 0700.
  public borrowing func unlock(_ name: Span<UInt8>) throws(Errno) {
    try open(name, [.pathOnly, .directory]).setPermissionsOfHandle(0o700)
  }

  /// Opens a directory of this user for changes to its entries, even if the mode denies access.
  public borrowing func openUnlocked(_ name: Span<UInt8>) throws(Errno) -> Descriptor {
    do {
      let directory = try openDirectory(name)
      if try directory.status().permissions & 0o700 != 0o700 { try directory.setPermissions(0o700) }
      return directory
    } catch {
      guard error == .accessDenied else { throw error }
      try unlock(name)
      return try openDirectory(name)
    }
  }

  /// Makes a directory the caller's and removes its attributes, like a new one; mode and time stay.
  public borrowing func becomePlainDirectory() throws(Errno) {
    for attribute in try extendedAttributes() where !ExtendedAttribute.isKernelLabel(attribute.name) {
      try removeExtendedAttribute(attribute.name)
    }
    try takeOwnership()
  }

  /// Makes the caller the owner of an inode.
  public borrowing func takeOwnership() throws(Errno) {
    let status = try status()
    let (user, group) = (CurrentProcess.effectiveUser, CurrentProcess.effectiveGroup)
    if status.user != user || status.group != group { try setOwner(user: user, group: group) }
  }

  /// Removes a directory's ACLs, inherited from a default ACL above, so that no entry below inherits them. Leaves the
  /// directory to its owner alone.
  public borrowing func dropInheritedACLs() throws(Errno) {
    try removeExtendedAttribute(Array("system.posix_acl_default".utf8))
    try removeExtendedAttribute(Array("system.posix_acl_access".utf8))
    try setPermissions(0o700)
  }
}

/// Calls `body` with a path that names the descriptor's open file.
private func procPath(_ raw: CInt, body: (UnsafePointer<CChar>) -> Int) -> Int {
  let result = "/proc/self/fd/\(raw)".withCString(body)
  return result == -Int(ENOENT) ? -Int(Errno.procIsMissing.number) : result
}

private func reach(_ raw: CInt, by access: AttributeAccess, body: (UnsafePointer<CChar>?) -> Int) -> Int {
  switch access {
  case .descriptor: body(nil)
  case .handle: procPath(raw) { body($0) }
  }
}

/// Calls `body` with a buffer that grows from 256 bytes up to the kernel's limit of 64 KiB.
private func grown(body: (UnsafeMutableBufferPointer<CChar>) throws(Errno) -> Int) throws(Errno) -> [UInt8] {
  var capacity = 256
  while true {
    let buffer = UnsafeMutableBufferPointer<CChar>.allocate(capacity: capacity)
    defer { buffer.deallocate() }
    do {
      let count = try body(buffer)
      return [UInt8](UnsafeRawBufferPointer(start: buffer.baseAddress, count: count))
    } catch {
      guard error == .outOfRange, capacity < 1 << 20 else { throw error }
      capacity *= 4
    }
  }
}

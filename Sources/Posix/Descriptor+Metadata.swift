internal import CPosix
public import Catalog
internal import Glibc

// Metadata of the open inode itself. A descriptor opened with `pathOnly` works for every kind of file,
// symbolic links and devices included.
extension Descriptor {
  /// Sets owner and group by number; clears setuid and setgid of files; `fchownat(2)`.
  public borrowing func setOwner(user: UInt32, group: UInt32) throws(Errno) {
    let raw = self.raw
    _ = try perform(.fchownat) { tr_fchownat(raw, "", user, group, tr_at_empty_path) }
  }

  /// Sets the twelve permission bits of an open file or directory; `fchmod(2)`.
  public borrowing func setPermissions(_ permissions: UInt32) throws(Errno) {
    let raw = self.raw
    _ = try perform(.fchmod) { tr_fchmod(raw, permissions) }
  }

  /// Sets the twelve permission bits of an inode opened with `pathOnly`, which `fchmod(2)` refuses.
  public borrowing func setPermissionsOfHandle(_ permissions: UInt32) throws(Errno) {
    let raw = self.raw
    _ = try perform(.fchmod) { tr_fchmod_handle(raw, permissions) }
  }

  /// Sets the modification time and leaves the access time; `utimensat(2)`.
  public borrowing func setModificationTime(_ time: Timestamp) throws(Errno) {
    let raw = self.raw
    let time = tr_time(seconds: time.seconds, nanoseconds: Int64(time.nanoseconds))
    _ = try perform(.utimensat) { tr_utimensat(raw, "", nil, time, tr_at_empty_path) }
  }

  /// Sets both times, for file systems that pass over a call that leaves one (libfuse 2); `utimensat(2)`.
  public borrowing func setTimes(accessed: Timestamp, modified: Timestamp) throws(Errno) {
    let raw = self.raw
    var access = tr_time(seconds: accessed.seconds, nanoseconds: Int64(accessed.nanoseconds))
    let time = tr_time(seconds: modified.seconds, nanoseconds: Int64(modified.nanoseconds))
    _ = try perform(.utimensat) { tr_utimensat(raw, "", &access, time, tr_at_empty_path) }
  }
}

/// How the inode behind a descriptor is reached for its extended attributes.
public enum AttributeAccess: Sendable {
  /// `fgetxattr(2)` and its kin: files and directories that are open for reading or writing.
  case descriptor
  /// Through `/proc/self/fd`: inodes opened with `pathOnly`.
  case handle
}

/// One extended attribute; ACLs are the ones named `system.posix_acl_*`.
public struct ExtendedAttribute: Sendable, Equatable {
  public var name: [UInt8]
  public var value: [UInt8]

  public init(name: [UInt8], value: [UInt8]) {
    self.name = name
    self.value = value
  }

  /// True for what a security module of the kernel gives each new inode by itself, and lets nobody, or not every root,
  /// take away: SELinux, Smack, and the hashes of IMA and EVM.
  public static func isKernelLabel(_ name: [UInt8]) -> Bool { kernelLabels.contains(name) }

  private static let kernelLabels = Set(["selinux", "SMACK64", "ima", "evm"].map { Array("security.\($0)".utf8) })
}

extension Descriptor {
  /// True where an ACL gives more than the mode says; `getxattr(2)`.
  public borrowing func hasAccessACL() throws(Errno) -> Bool {
    let raw = self.raw
    do throws(Errno) {
      return try perform(.getxattr) { tr_getxattr(raw, nil, "system.posix_acl_access", nil, 0) } > 0
    } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
      return false
    }
  }

  /// Every attribute that the caller may read and the administrator's `/etc/xattr.conf` lets be copied,
  /// sorted by the bytes of their names; empty where the file system has none; `listxattr(2)`.
  public borrowing func extendedAttributes(
    _ access: AttributeAccess = .descriptor
  ) throws(Errno) -> [ExtendedAttribute] {
    let raw = self.raw
    // The usual answer is 0, and one call on the stack finds that out.
    var names: [UInt8] = []
    do {
      let size = try withUnsafeTemporaryAllocationOf(1024) { buffer throws(Errno) in
        let size = try perform(.listxattr) {
          reach(raw, access) { tr_listxattr(raw, $0, buffer.baseAddress, 1024) }
        }
        names = [UInt8](UnsafeRawBufferPointer(start: buffer.baseAddress, count: size))
        return size
      }
      if size == 0 { return [] }
    } catch {
      if error == .notSupported { return [] }
      guard error == .outOfRange else { throw error }
      names = try grown { buffer throws(Errno) in
        try perform(.listxattr) {
          reach(raw, access) { tr_listxattr(raw, $0, buffer.baseAddress, buffer.count) }
        }
      }
    }
    var attributes: [ExtendedAttribute] = []
    for name in names.split(separator: 0) {
      let cName = [CChar](name.map { CChar(bitPattern: $0) }) + [0]
      guard tr_may_copy_xattr(cName) != 0 else { continue }
      // Removed since it was listed, or listed although it has no value (overlayfs, NFS).
      guard let value = try extendedAttribute(Array(name), access) else { continue }
      attributes.append(ExtendedAttribute(name: Array(name), value: value))
    }
    attributes.sort { $0.name.lexicographicallyPrecedes($1.name) }
    return attributes
  }

  /// The value of one attribute; `nil` where the inode does not have it; `getxattr(2)`.
  public borrowing func extendedAttribute(
    _ name: [UInt8], _ access: AttributeAccess = .descriptor
  ) throws(Errno) -> [UInt8]? {
    let raw = self.raw
    let cName = name.map { CChar(bitPattern: $0) } + [0]
    do {
      return try grown { buffer throws(Errno) in
        try perform(.getxattr) {
          reach(raw, access) { tr_getxattr(raw, $0, cName, buffer.baseAddress, buffer.count) }
        }
      }
    } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
      return nil
    }
  }

  /// Sets one attribute; `setxattr(2)`.
  public borrowing func setExtendedAttribute(
    _ attribute: ExtendedAttribute, _ access: AttributeAccess = .descriptor
  ) throws(Errno) {
    let raw = self.raw
    let cName = attribute.name.map { CChar(bitPattern: $0) } + [0]
    _ = try perform(.setxattr) {
      attribute.value.withUnsafeBytes { value in
        reach(raw, access) { tr_setxattr(raw, $0, cName, value.baseAddress, value.count) }
      }
    }
  }

  /// Removes one attribute; one that is not there is no error; `removexattr(2)`.
  public borrowing func removeExtendedAttribute(
    _ name: [UInt8], _ access: AttributeAccess = .descriptor
  ) throws(Errno) {
    let raw = self.raw
    let cName = name.map { CChar(bitPattern: $0) } + [0]
    do {
      _ = try perform(.removexattr) { reach(raw, access) { tr_removexattr(raw, $0, cName) } }
    } catch {
      guard error == .noAttribute || error == .notSupported else { throw error }
    }
  }
}

extension Descriptor {
  /// Gives a directory in this one to its owner, this user, who may have been shut out of it: mode 0700.
  public borrowing func unlock(_ name: Span<UInt8>) throws(Errno) {
    try open(name, [.pathOnly, .directory]).setPermissionsOfHandle(0o700)
  }

  /// Opens a directory in this one, which its owner, this user, may have been shut out of, to change what is in it.
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

  /// Makes a directory one of the caller's without attributes, as a new one is; the mode and the time stay.
  public borrowing func becomePlainDirectory() throws(Errno) {
    for attribute in try extendedAttributes() where !ExtendedAttribute.isKernelLabel(attribute.name) {
      try removeExtendedAttribute(attribute.name)
    }
    try takeOwnership()
  }

  /// Makes an inode the caller's.
  public borrowing func takeOwnership() throws(Errno) {
    let status = try status()
    let (user, group) = (Process.effectiveUser, Process.effectiveGroup)
    if status.user != user || status.group != group { try setOwner(user: user, group: group) }
  }

  /// Takes from a directory its ACLs, as a default ACL above it gave them, so that nothing below inherits any, and
  /// leaves it to its owner alone.
  public borrowing func dropInheritedACLs() throws(Errno) {
    try removeExtendedAttribute(Array("system.posix_acl_default".utf8))
    try removeExtendedAttribute(Array("system.posix_acl_access".utf8))
    try setPermissions(0o700)
  }
}

/// Calls `body` with a path that names what the descriptor has open.
private func procPath(_ raw: CInt, _ body: (UnsafePointer<CChar>) -> Int) -> Int {
  let result = "/proc/self/fd/\(raw)".withCString(body)
  return result == -Int(ENOENT) ? -Int(Errno.procIsMissing.number) : result
}

private func reach(
  _ raw: CInt, _ access: AttributeAccess, _ body: (UnsafePointer<CChar>?) -> Int
) -> Int {
  switch access {
  case .descriptor: body(nil)
  case .handle: procPath(raw) { body($0) }
  }
}

private func withUnsafeTemporaryAllocationOf(
  _ capacity: Int, _ body: (UnsafeMutableBufferPointer<CChar>) throws(Errno) -> Int
) throws(Errno) -> Int {
  let result: Result<Int, Errno> = withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) {
    buffer in
    do throws(Errno) { return .success(try body(buffer)) } catch { return .failure(error) }
  }
  return try result.get()
}

/// Calls `body` with a buffer that grows from 256 bytes until the kernel's limit of 64 KiB is enough.
private func grown(
  _ body: (UnsafeMutableBufferPointer<CChar>) throws(Errno) -> Int
) throws(Errno) -> [UInt8] {
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

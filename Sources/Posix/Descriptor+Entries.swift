internal import CPosix
internal import Glibc
public import Model

// Entries of an open directory. No call here follows a symbolic link.
extension Descriptor {
  /// The directory for large temporary files. That in /tmp is often in memory.
  public static var temporaryDirectory: [UInt8] { CurrentProcess.environment("TMPDIR") ?? Array("/var/tmp".utf8) }

  /// An empty temporary file that has no name, and so goes with its descriptor.
  public static func temporaryFile() throws(Errno) -> Descriptor {
    let directory = try open(path: temporaryDirectory, [.read, .directory])
    let name = Array("treering-\(try CurrentProcess.randomNumber())".utf8)
    let file = try directory.open(name.span, [.readWrite, .create, .exclusive], mode: 0o600)
    try directory.unlink(name.span)
    return file
  }

  /// Makes `newName` in `directory` another name of the inode `name` of this directory; `linkat(2)`.
  public borrowing func link(
    _ name: Span<UInt8>, to directory: borrowing Descriptor, as newName: Span<UInt8>
  ) throws(Errno) {
    _ = try perform(.linkat) {
      withComponent(name) { old in withComponent(newName) { new in tr_linkat(raw, old, directory.raw, new) } }
    }
  }

  /// Removes the name of an entry that is not a directory; `unlinkat(2)`.
  public borrowing func unlink(_ name: Span<UInt8>) throws(Errno) {
    _ = try perform(.unlinkat) { withComponent(name) { tr_unlinkat(raw, $0, 0) } }
  }

  /// Removes an empty directory; `unlinkat(2)` with `AT_REMOVEDIR`.
  public borrowing func removeDirectory(_ name: Span<UInt8>) throws(Errno) {
    _ = try perform(.unlinkat) { withComponent(name) { tr_unlinkat(raw, $0, AT_REMOVEDIR) } }
  }

  /// Makes a directory; `mkdirat(2)`.
  public borrowing func makeDirectory(_ name: Span<UInt8>, mode: UInt32) throws(Errno) {
    _ = try perform(.mkdirat) { withComponent(name) { tr_mkdirat(raw, $0, mode) } }
  }

  /// Makes a FIFO, socket or device node that only the owner may use yet; `mknodat(2)`.
  ///
  /// `deviceNumber` is as in `FileStatus`.
  public borrowing func makeNode(_ name: Span<UInt8>, kind: EntryKind, deviceNumber: UInt64) throws(Errno) {
    let type =
      switch kind {
      case .fifo: S_IFIFO
      case .socket: S_IFSOCK
      case .characterDevice: S_IFCHR
      case .blockDevice: S_IFBLK
      default: throw .invalid
      }
    _ = try perform(.mknodat) {
      withComponent(name) {
        tr_mknodat(
          raw, $0, UInt32(type) | 0o600, UInt32(truncatingIfNeeded: deviceNumber >> 32),
          UInt32(truncatingIfNeeded: deviceNumber))
      }
    }
  }

  /// Makes a symbolic link; `symlinkat(2)`.
  public borrowing func makeSymbolicLink(_ name: Span<UInt8>, to target: [UInt8]) throws(Errno) {
    _ = try perform(.symlinkat) {
      withCString(target) { target in withComponent(name) { tr_symlinkat(target, raw, $0) } }
    }
  }

  /// The target of a symbolic link, byte for byte; `readlinkat(2)`.
  public borrowing func readSymbolicLink(_ name: Span<UInt8>) throws(Errno) -> [UInt8] {
    let capacity = Int(PATH_MAX)
    return try [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count throws(Errno) in
      let start = buffer.baseAddress
      count = try perform(.readlinkat) { withComponent(name) { tr_readlinkat(raw, $0, start, capacity) } }
    }
  }

  /// Renames an entry; fails on an existing `newName` unless `replacing` (`RENAME_NOREPLACE`); `renameat2(2)`.
  ///
  /// NFS and many FUSE file systems do not know the flag. A file then gets its new name by `linkat(2)`, which never
  /// replaces, and loses the old one. A directory is renamed after a check for the new name, and so is a file that
  /// cannot be linked. The caller must exclude other writers of the directory meanwhile, for example by the
  /// repository's lock.
  public borrowing func rename(
    _ name: Span<UInt8>, to directory: borrowing Descriptor, as newName: Span<UInt8>,
    replacing: Bool = false
  ) throws(Errno) {
    do { try rename(name, to: directory, as: newName, flags: replacing ? 0 : UInt32(tr_rename_noreplace)) } catch {
      guard !replacing, error == .invalid || error == .notImplemented || error == .notSupported else { throw error }
      try renameWithoutFlag(name, to: directory, as: newName)
    }
  }

  /// Exchanges two entries of this directory in one step (`RENAME_EXCHANGE`); `renameat2(2)`.
  public borrowing func exchange(_ name: Span<UInt8>, with other: Span<UInt8>) throws(Errno) {
    try exchange(name, with: other, in: self)
  }

  /// Exchanges an entry of this directory with one of another directory, in one step.
  public borrowing func exchange(
    _ name: Span<UInt8>, with other: Span<UInt8>, in directory: borrowing Descriptor
  ) throws(Errno) {
    try rename(name, to: directory, as: other, flags: UInt32(tr_rename_exchange))
  }

  private borrowing func rename(
    _ name: Span<UInt8>, to directory: borrowing Descriptor, as newName: Span<UInt8>, flags: UInt32
  ) throws(Errno) {
    _ = try perform(.renameat2) {
      withComponent(name) { old in withComponent(newName) { new in tr_renameat2(raw, old, directory.raw, new, flags) } }
    }
  }

  private borrowing func renameWithoutFlag(
    _ name: Span<UInt8>, to directory: borrowing Descriptor, as newName: Span<UInt8>
  ) throws(Errno) {
    if try status(of: name).kind != .directory {
      do {
        try link(name, to: directory, as: newName)
        return try unlink(name)
      } catch {
        let cannotLink: [Errno] = [.notPermitted, .notSupported, .notImplemented, .invalid, .tooManyLinks]
        guard cannotLink.contains(error) else { throw error }
      }
    }
    if try directory.statusIfPresent(of: newName) != nil { throw .exists }
    try rename(name, to: directory, as: newName, flags: 0)
  }
}

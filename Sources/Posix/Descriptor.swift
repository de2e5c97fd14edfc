internal import CPosix
internal import Glibc

/// An open file or directory, owned by exactly one variable and closed at the end of its life.
///
/// Close a written file with `close()`, which reports write errors of the kernel.
public struct Descriptor: ~Copyable, Sendable {
  let raw: CInt

  init(raw: CInt) { self.raw = raw }

  deinit { _ = tr_close(raw) }

  /// Closes the descriptor and reports an error that the kernel delayed until now; `close(2)`.
  public consuming func close() throws(Errno) {
    let raw = self.raw
    discard self
    _ = try perform(.close) { tr_close(raw) }
  }
}

/// The mode of opening a file or directory; `O_CLOEXEC` always applies.
public struct OpenFlags: OptionSet, Sendable {
  public let rawValue: CInt
  public init(rawValue: CInt) { self.rawValue = rawValue }

  public static var read: OpenFlags { OpenFlags(rawValue: O_RDONLY) }
  public static var write: OpenFlags { OpenFlags(rawValue: O_WRONLY) }
  public static var readWrite: OpenFlags { OpenFlags(rawValue: O_RDWR) }
  public static var create: OpenFlags { OpenFlags(rawValue: O_CREAT) }
  public static var exclusive: OpenFlags { OpenFlags(rawValue: O_EXCL) }
  public static var append: OpenFlags { OpenFlags(rawValue: O_APPEND) }
  public static var truncate: OpenFlags { OpenFlags(rawValue: O_TRUNC) }
  public static var noFollow: OpenFlags { OpenFlags(rawValue: O_NOFOLLOW) }
  public static var nonBlocking: OpenFlags { OpenFlags(rawValue: O_NONBLOCK) }
  public static var directory: OpenFlags { OpenFlags(rawValue: O_DIRECTORY) }
  public static var noAccessTime: OpenFlags { OpenFlags(rawValue: tr_o_noatime) }
  /// A handle on the inode, without read access (`O_PATH`).
  public static var pathOnly: OpenFlags { OpenFlags(rawValue: tr_o_path) }
}

extension Descriptor {
  /// The descriptor that a call of `openat(2)` returns.
  @inline(__always)
  private static func opened(_ call: () -> Int) throws(Errno) -> Descriptor {
    Descriptor(raw: CInt(try perform(.openat, body: call)))
  }
}

// Paths from the operator: only these calls follow symbolic links.
extension Descriptor {
  /// Opens a path named by the operator, following symbolic links; `open(2)`.
  public static func open(path: [UInt8], _ flags: OpenFlags, mode: UInt32 = 0o600) throws(Errno) -> Descriptor {
    try opened { withCString(path) { tr_openat(tr_at_fdcwd, $0, flags.rawValue, mode) } }
  }

  /// Opens the operator's file for reading, without waiting for the writer of a FIFO.
  public static func openNamed(_ path: [UInt8]) throws(Errno) -> Descriptor {
    try open(path: path, [.read, .nonBlocking])
  }

  /// Opens one component below this directory, following a symbolic link: only for the operator's paths.
  public borrowing func openFollowing(_ name: Span<UInt8>, _ flags: OpenFlags) throws(Errno) -> Descriptor {
    try Self.opened { withComponent(name) { tr_openat(raw, $0, flags.rawValue, 0) } }
  }
}

extension Descriptor {
  /// Opens one component below this directory, never following a symbolic link; `openat(2)`.
  public borrowing func open(_ name: Span<UInt8>, _ flags: OpenFlags, mode: UInt32 = 0) throws(Errno) -> Descriptor {
    let flags = flags.union(.noFollow)
    return try Self.opened { withComponent(name) { tr_openat(raw, $0, flags.rawValue, mode) } }
  }

  /// Opens for reading, without waiting for the writer of a FIFO. The access time stays if the caller may request
  /// that (`O_NOATIME`: the owner and root).
  ///
  /// Another process may hold a lease on the file, as Samba and the NFS server do. The call then waits until that
  /// process has released it. It throws `wouldBlock` after `leaseSeconds`, or if a signal asked this process to end;
  /// `fcntl(2)` `F_SETLEASE`.
  public borrowing func openToRead(_ name: Span<UInt8>, _ extra: OpenFlags = []) throws(Errno) -> Descriptor {
    let flags: OpenFlags = [.read, .nonBlocking, extra]
    var waitedMilliseconds = 0
    while true {
      do throws(Errno) {
        do throws(Errno) { return try open(name, flags.union(.noAccessTime)) } catch {
          guard error == .notPermitted else { throw error }
          return try open(name, flags)
        }
      } catch {
        guard error == .wouldBlock, waitedMilliseconds < Self.leaseSeconds * 1000,
          CurrentProcess.rememberedSignal == nil
        else { throw error }
        let pauseMilliseconds = min(20 + waitedMilliseconds / 8, 500)
        CurrentProcess.sleep(milliseconds: pauseMilliseconds)
        waitedMilliseconds += pauseMilliseconds
      }
    }
  }

  /// The kernel's time limit for the release of a lease, plus 2 seconds. The limit is in
  /// `/proc/sys/fs/lease-break-time`, see proc(5).
  private static let leaseSeconds: Int = {
    let text = try? open(path: Array("/proc/sys/fs/lease-break-time".utf8), .read).readToEnd(limit: 64)
    let seconds = text.flatMap { Int(String(decoding: $0.prefix { $0 != 10 }, as: UTF8.self)) } ?? 45
    return min(max(seconds, 1), 300) + 2
  }()

  /// Opens a directory below this one for reading.
  public borrowing func openDirectory(_ name: Span<UInt8>) throws(Errno) -> Descriptor {
    try openToRead(name, .directory)
  }

  /// A second descriptor of the same open file; `fcntl(2)` `F_DUPFD_CLOEXEC`.
  public borrowing func duplicate() throws(Errno) -> Descriptor {
    Descriptor(raw: CInt(try perform(.fcntl) { tr_duplicate(raw) }))
  }

  /// A second descriptor of the same directory, with its own position; needs search permission.
  public borrowing func reopenDirectory() throws(Errno) -> Descriptor {
    try Self.opened { tr_openat(raw, ".", O_RDONLY | O_DIRECTORY, 0) }
  }

  /// A second, `pathOnly` descriptor of the same directory; needs search permission.
  public borrowing func reopenPath() throws(Errno) -> Descriptor {
    try Self.opened { tr_openat(raw, ".", OpenFlags([.pathOnly, .directory]).rawValue, 0) }
  }

  /// The parent directory, independent of the path to this one; the root is its own parent.
  public borrowing func parentDirectory() throws(Errno) -> Descriptor {
    try Self.opened { tr_openat(raw, "..", OpenFlags([.pathOnly, .directory]).rawValue, 0) }
  }

  /// True if `isMeant` is true of this directory, or of one above it.
  public borrowing func isAtOrBelow(where isMeant: (FileStatus) -> Bool) throws(Errno) -> Bool {
    var status = try status()
    var above = try parentDirectory()
    while true {
      if isMeant(status) { return true }
      let next = try above.status()
      if next.isSameInode(as: status) { return false }
      status = next
      above = try above.parentDirectory()
    }
  }

  /// The status of the open inode itself; `statx(2)` with `AT_EMPTY_PATH`.
  public borrowing func status() throws(Errno) -> FileStatus {
    var status = tr_status()
    _ = try perform(.statx) { tr_statx(raw, "", tr_at_empty_path, &status) }
    return FileStatus(status)
  }

  /// The status of an entry of this directory; for a symbolic link, of the link itself; `statx(2)`.
  public borrowing func status(of name: Span<UInt8>) throws(Errno) -> FileStatus {
    var status = tr_status()
    _ = try perform(.statx) { withComponent(name) { tr_statx(raw, $0, AT_SYMLINK_NOFOLLOW, &status) } }
    return FileStatus(status)
  }

  /// The status of an entry of this directory; `nil` if there is no such entry. An inaccessible entry is an error and
  /// not absent.
  public borrowing func statusIfPresent(of name: Span<UInt8>) throws(Errno) -> FileStatus? {
    do { return try status(of: name) } catch {
      if error == .noSuchEntry { return nil }
      throw error
    }
  }

  /// The type and the free space of the inode's file system; `fstatfs(2)`.
  public borrowing func fileSystem() throws(Errno) -> FileSystemStatus {
    var status = tr_file_system()
    _ = try perform(.fstatfs) { tr_fstatfs(raw, &status) }
    return FileSystemStatus(status)
  }

  /// Makes the file's data and metadata durable; `fsync(2)`.
  public borrowing func synchronize() throws(Errno) { _ = try perform(.fsync) { tr_fsync(raw) } }

  /// Makes the inode's whole file system durable; `syncfs(2)`.
  public borrowing func synchronizeFileSystem() throws(Errno) { _ = try perform(.syncfs) { tr_syncfs(raw) } }

  /// Takes the exclusive advisory lock of the file without waiting; throws `wouldBlock` if another process holds it.
  /// The kernel releases it when the process ends; `flock(2)`.
  public borrowing func lockExclusively() throws(Errno) { _ = try perform(.flock) { tr_flock(raw, LOCK_EX | LOCK_NB) } }

  /// Takes the advisory lock that several processes may hold at once, or throws `wouldBlock`; `flock(2)`.
  public borrowing func lockShared() throws(Errno) { _ = try perform(.flock) { tr_flock(raw, LOCK_SH | LOCK_NB) } }
}

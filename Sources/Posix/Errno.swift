internal import Glibc

/// The kernel's reason for the failure of a call; the corresponding C type is `errno`.
public struct Errno: Error, Equatable, Hashable, Sendable {
  /// The positive number of `errno(3)`.
  public let number: Int32

  public init(_ number: Int32) { self.number = number }

  public static var notPermitted: Errno { Errno(EPERM) }
  public static var noSuchEntry: Errno { Errno(ENOENT) }
  public static var interrupted: Errno { Errno(EINTR) }
  public static var inputOutput: Errno { Errno(EIO) }
  public static var wouldBlock: Errno { Errno(EWOULDBLOCK) }
  public static var accessDenied: Errno { Errno(EACCES) }
  public static var busy: Errno { Errno(EBUSY) }
  public static var exists: Errno { Errno(EEXIST) }
  public static var crossDevice: Errno { Errno(EXDEV) }
  public static var notADirectory: Errno { Errno(ENOTDIR) }
  public static var isADirectory: Errno { Errno(EISDIR) }
  public static var invalid: Errno { Errno(EINVAL) }
  public static var tooManyOpenFiles: Errno { Errno(EMFILE) }
  public static var noSpace: Errno { Errno(ENOSPC) }
  public static var fileTooLarge: Errno { Errno(EFBIG) }
  public static var readOnlyFileSystem: Errno { Errno(EROFS) }
  public static var tooManyLinks: Errno { Errno(EMLINK) }
  public static var outOfRange: Errno { Errno(ERANGE) }
  public static var nameTooLong: Errno { Errno(ENAMETOOLONG) }
  public static var notEmpty: Errno { Errno(ENOTEMPTY) }
  public static var symbolicLoop: Errno { Errno(ELOOP) }
  public static var noAttribute: Errno { Errno(ENODATA) }
  public static var notSupported: Errno { Errno(EOPNOTSUPP) }
  public static var notImplemented: Errno { Errno(ENOSYS) }
  public static var noDevice: Errno { Errno(ENXIO) }
  public static var staleHandle: Errno { Errno(ESTALE) }
  public static var timedOut: Errno { Errno(ETIMEDOUT) }
  public static var overQuota: Errno { Errno(EDQUOT) }
  public static var illegalSequence: Errno { Errno(EILSEQ) }
  public static var brokenPipe: Errno { Errno(EPIPE) }
  public static var outOfMemory: Errno { Errno(ENOMEM) }
  public static var fileTableFull: Errno { Errno(ENFILE) }
  public static var valueTooLarge: Errno { Errno(EOVERFLOW) }
  public static var listTooLong: Errno { Errno(E2BIG) }

  /// A needed file can be reached only through proc(5), which is not mounted. Kernel numbers are below 4096.
  public static var procIsMissing: Errno { Errno(4096) }
}

extension Errno: CustomStringConvertible {
  /// The sentence of `strerror(3)`, such as "No such file or directory".
  public var description: String { self == .procIsMissing ? "/proc is not mounted" : String(cString: strerror(number)) }
}

extension Errno {
  /// True if the medium has no space left for data, inodes or this user.
  public var meansNoRoom: Bool { self == .noSpace || self == .overQuota }

  /// True if this process or the system lacks descriptors or memory; the entry itself is not at fault.
  public var isShortage: Bool { self == .tooManyOpenFiles || self == .fileTableFull || self == .outOfMemory }

  /// True if the next write would fail likewise. Causes are no space, a failing disk, a file system that has become
  /// read-only, no descriptors or no memory.
  public var endsRun: Bool { meansNoRoom || isShortage || self == .inputOutput || self == .readOnlyFileSystem }

  /// True if the file system or the user's rights forbid a value of an inode. A retry would fail likewise.
  public var refusesMetadata: Bool {
    [
      .notPermitted, .accessDenied, .invalid, .notSupported, .notImplemented, .listTooLong, .outOfRange, .nameTooLong,
      .valueTooLarge,
    ].contains(self)
  }

  /// True if the file system will always refuse such an entry. It cannot hold the name, or confuses it with another
  /// one. It lacks the kind, or the user may not make it. Any other refusal may be temporary.
  public var isLastingRefusal: Bool {
    let lasting: [Errno] = [.exists, .nameTooLong, .invalid, .notSupported, .illegalSequence, .notPermitted]
    return lasting.contains(self)
  }

  /// True if there is no such entry. Any other error says nothing about its existence.
  public var meansAbsence: Bool { self == .noSuchEntry || self == .notADirectory }

  /// True if the caller lacks permission.
  public var meansNoPermission: Bool { self == .accessDenied || self == .notPermitted }

  /// True if an entry could not be examined for a reason unrelated to it. Examples are lack of permission,
  /// descriptors or memory, and a stale handle of a network file system.
  public var leavesDataUnknown: Bool {
    meansNoPermission || isShortage || self == .staleHandle || self == .procIsMissing
  }
}

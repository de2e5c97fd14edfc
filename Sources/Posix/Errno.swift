internal import Glibc

/// The reason the kernel gave for refusing a call; the corresponding C type is `errno`.
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
  public static var overQuota: Errno { Errno(EDQUOT) }
  public static var illegalSequence: Errno { Errno(EILSEQ) }
  public static var brokenPipe: Errno { Errno(EPIPE) }
  public static var outOfMemory: Errno { Errno(ENOMEM) }
  public static var fileTableFull: Errno { Errno(ENFILE) }
  public static var valueTooLarge: Errno { Errno(EOVERFLOW) }
  public static var listTooLong: Errno { Errno(E2BIG) }

  /// Not the kernel's, whose numbers are below 4096: something can be reached only through proc(5), which is not mounted.
  public static var procIsMissing: Errno { Errno(4096) }
}

extension Errno: CustomStringConvertible {
  /// The sentence of `strerror(3)`, such as "No such file or directory".
  public var description: String {
    self == .procIsMissing ? "/proc is not mounted" : String(cString: strerror(number))
  }
}

extension Errno {
  /// True where the medium has no room left for data, inodes or this user.
  public var meansNoRoom: Bool { self == .noSpace || self == .overQuota }

  /// True where this process, or the system, has no descriptor or no memory left: no fault of the entry that met it.
  public var isShortage: Bool {
    self == .tooManyOpenFiles || self == .fileTableFull || self == .outOfMemory
  }

  /// True where writing the next entry would fail like this one: no room, a failing disk, a file system
  /// that has become read-only, no descriptors or memory.
  public var endsRun: Bool {
    meansNoRoom || isShortage || self == .inputOutput || self == .readOnlyFileSystem
  }

  /// True where the file system, or the user's rights, do not allow a value of an inode: the next try would fail
  /// like this one.
  public var refusesMetadata: Bool {
    [
      .notPermitted, .accessDenied, .invalid, .notSupported, .notImplemented, .listTooLong, .outOfRange, .nameTooLong,
      .valueTooLarge,
    ].contains(self)
  }

  /// True where the file system refuses such an entry now and always: a name that it cannot hold, or that it takes for
  /// another's, a kind that it does not have, or that the user may not make. Every other refusal may pass.
  public var isLastingRefusal: Bool {
    let lasting: [Errno] = [.exists, .nameTooLong, .invalid, .notSupported, .illegalSequence, .notPermitted]
    return lasting.contains(self)
  }

  /// True where the caller may not do it.
  public var meansNoPermission: Bool { self == .accessDenied || self == .notPermitted }

  /// True where an entry could not be looked at for a reason that says nothing about the entry: no permission, no
  /// descriptor or memory, a network file system that lost its handle.
  public var leavesDataUnknown: Bool { meansNoPermission || isShortage || self == .staleHandle || self == .procIsMissing }
}

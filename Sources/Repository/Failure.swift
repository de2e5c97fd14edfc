internal import Model
public import Posix

/// The error that ends a command: one sentence for the operator, and a kind for the exit status.
///
/// All code below the commands throws this type if the run must end.
public struct Failure: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// The arguments or the configuration are wrong; nothing was done.
    case usage
    /// The run published nothing.
    case failed
    case refused
    case locked
    case damaged
    case noSpace
    /// The remote could not be reached, or replication failed.
    case remote
    case interrupted(signal: Int32)
  }

  public var kind: Kind
  /// The failed operation, its path and the reason.
  public var message: String
  /// The path that the message names, if it is about one.
  public var path: [UInt8]?
  /// The suggested remedy.
  public var hint: String?
  /// The space that should be free, as far as it is known; only for `noSpace`.
  public var neededBytes: UInt64 = 0
  /// True if nothing may expire to make room: a guard suspects a disaster, or cannot tell. Only for `noSpace`.
  public var isSuspect = false
  /// The `errno` of the failed call, if a call failed.
  public var cause: Errno?

  public init(_ kind: Kind, _ message: String, path: [UInt8]? = nil, hint: String? = nil, neededBytes: UInt64 = 0) {
    self.kind = kind
    self.message = message
    self.path = path
    self.hint = hint
    self.neededBytes = neededBytes
  }

  /// The error as a failure; `kind` is for an error of another type.
  public init(wrapping error: any Error, as kind: Kind = .failed) {
    self = error as? Failure ?? Failure(kind, "\(error)")
  }

  public var description: String { hint.map { "\(message); \($0)" } ?? message }

  /// The failure of a snapshot that needs more than `system`, the file system of `path`, has.
  public static func lack(ofBytes bytes: UInt64, inodes: UInt64, at path: [UInt8], in system: FileSystemStatus) -> Self
  {
    Failure(
      .noSpace,
      "the snapshot needs about \(byteText(bytes)) and \(inodes) inodes, and \(displayName(path)) has "
        + "\(byteText(system.bytesAvailable)) and \(system.inodesFree) inodes free", path: path, neededBytes: bytes)
  }

  /// Wraps an error of the work on the repository: `noSpace` if the disk is full, else `failed`. A `Failure` is returned
  /// unchanged.
  public static func writing(_ what: String, at path: [UInt8], because error: any Error) -> Failure {
    if let failure = error as? Failure { return failure }
    var failure = Failure(.failed, "cannot \(what) \(displayName(path)): \(error)", path: path)
    guard let error = error as? Errno else { return failure }
    failure.cause = error
    if error.meansNoRoom {
      failure.kind = .noSpace
      failure.hint = "free some space or inodes on the repository's file system"
      return failure
    }
    failure.hint =
      switch error {
      case .readOnlyFileSystem: "the file system is mounted read-only"
      case .accessDenied, .notPermitted:
        CurrentProcess.effectiveUser == 0
          ? "even root may not: see lsattr(1), and whether the file system squashes root"
          : "run as the owner of the directory, or as root"
      case .inputOutput: "the disk may be failing; see the kernel's log"
      case .tooManyOpenFiles: "raise the limit of open files (ulimit -n)"
      default: nil
      }
    return failure
  }
}

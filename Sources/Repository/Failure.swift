internal import Catalog
public import Posix

/// Why a command could not do what it was asked: one sentence for a person, and a kind for the exit
/// status. Everything below the commands that ends a run throws one of these.
public struct Failure: Error, Sendable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    /// The arguments or the configuration are wrong; nothing was done.
    case usage
    /// Nothing was published.
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
  /// What failed, on which path, and why.
  public var message: String
  /// What to do about it.
  public var hint: String?
  /// Of `noSpace`: what should be free, as far as that is known.
  public var neededBytes: UInt64 = 0
  /// The error of the call that failed, if it was one.
  public var cause: Errno?

  public init(_ kind: Kind, _ message: String, hint: String? = nil, neededBytes: UInt64 = 0) {
    self.kind = kind
    self.message = message
    self.hint = hint
    self.neededBytes = neededBytes
  }

  public var description: String { hint.map { "\(message); \($0)" } ?? message }

  /// The same for whatever was thrown; a failure stays what it is.
  public static func writing(_ what: String, _ path: [UInt8], _ error: any Error) -> Failure {
    if let failure = error as? Failure { return failure }
    if let error = error as? Errno { return writing(what, path, error) }
    return Failure(.failed, "cannot \(what) \(displayName(path)): \(error)")
  }

  /// A call that the repository's side refused: without room it is `noSpace`, else `failed`.
  public static func writing(_ what: String, _ path: [UInt8], _ error: Errno) -> Failure {
    var failure = Failure(error.meansNoRoom ? .noSpace : .failed, "cannot \(what) \(displayName(path)): \(error)")
    failure.cause = error
    if error.meansNoRoom {
      failure.hint = "free some space or inodes on the repository's file system"
      return failure
    }
    failure.hint =
      switch error {
      case .readOnlyFileSystem: "the file system is mounted read-only"
      case .accessDenied, .notPermitted:
        Process.effectiveUser == 0
          ? "even root may not: see lsattr(1), and whether the file system squashes root"
          : "run as the owner of the directory, or as root"
      case .inputOutput: "the disk may be failing; see the kernel's log"
      case .tooManyOpenFiles: "raise the limit of open files (ulimit -n)"
      default: nil
      }
    return failure
  }
}

public import Catalog
public import Engine
public import Repository
public import Synchronization

/// What a push has done so far; read by a progress line.
public final class PushProgress: Sendable {
  /// Entries that differ from the base: directories, and files whose content is sent.
  public let changed = Atomic<UInt64>(0)
  /// Bytes of files that have been read.
  public let bytesRead = Atomic<UInt64>(0)
  /// Of the files' bytes, how many have been dealt with, and how many there are.
  public let bytesDone = Atomic<UInt64>(0)
  public let bytesExpected = Atomic<UInt64>(0)
  /// True from when all has been sent.
  public let isBuilding = Atomic<Bool>(false)

  public init() {}
}

/// What a push did.
public struct PushResult: Sendable {
  public var snapshot: Snapshot
  /// What both ends had.
  public var base: SnapshotName?
  /// False where the remote had the snapshot already.
  public var isNew: Bool
  public var bytesSent: UInt64
  public var bytesReceived: UInt64
  /// Directories that differ, and files whose content was sent.
  public var entriesChanged: UInt64
  /// What the remote linked and made anew.
  public var filesLinked: UInt64
  public var filesCopied: UInt64
  public var elapsedSeconds: Double
}

/// Sends a snapshot to a remote, which has it under the same name afterwards. Throws a `Failure`; what was sent is
/// kept there, and the next push of the same snapshot goes on from it.
public func push(
  _ snapshot: Snapshot, of repository: Repository, over connection: Connection, isDryRun: Bool, progress: PushProgress,
  monitor: any Monitor
) throws -> PushResult {
  do throws(Failure) {
    return try connection.explained {
      try PushRun(snapshot, repository, connection, progress, monitor).run(isDryRun: isDryRun)
    }
  } catch {
    guard case .interrupted = error.kind, !isDryRun else { throw error }
    throw Failure(error.kind, error.message, hint: "what was sent is kept; push again")
  }
}

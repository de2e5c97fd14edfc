public import Engine
public import Model
public import Repository
public import Synchronization

/// Counters of a running push, for a progress line.
public final class PushProgress: Sendable {
  /// Entries that differ from the base: directories, and files whose content is sent.
  public let changed = Atomic<UInt64>(0)
  /// Bytes of files that have been read.
  public let bytesRead = Atomic<UInt64>(0)
  /// Bytes of the files to send that have been dealt with, out of `bytesExpected`.
  public let bytesDone = Atomic<UInt64>(0)
  /// Bytes of all files to send.
  public let bytesExpected = Atomic<UInt64>(0)
  /// True once all data has been sent.
  public let isBuilding = Atomic<Bool>(false)

  public init() {}
}

/// The result of a push.
public struct PushResult: Sendable {
  public var snapshot: Snapshot
  /// The snapshot that both client and server had; `nil` if there was none.
  public var base: SnapshotName?
  /// False if the remote had the snapshot already.
  public var isNew: Bool
  public var bytesSent, bytesReceived: UInt64
  /// Directories that differ, and files whose content was sent.
  public var entriesChanged: UInt64
  /// Files that the remote linked to a stored inode.
  public var filesLinked: UInt64
  /// Files that the remote stored as new inodes.
  public var filesCopied: UInt64
  public var elapsedSeconds: Double
}

/// Sends a snapshot whose catalog is in a cache, and whose files are those of the sources.
public func push(
  _ snapshot: Snapshot, of cache: Repository, files: SourceFiles, over connection: Connection, progress: PushProgress,
  monitor: any Monitor
) throws(Failure) -> SourcePush<PushResult> {
  try connection.annotatingErrors {
    do {
      return .done(
        try PushClient(
          snapshot, of: cache, files: files, over: connection, progress: progress, monitor: monitor
        ).run(isDryRun: false))
    } catch let changed as ChangedFiles { return .filesChanged(changed.paths) }
  }
}

/// Sends a snapshot to a remote, which publishes it under the same name.
///
/// Throws a `Failure`. The remote then keeps the data sent, and the next push of the same snapshot continues from it.
public func push(
  _ snapshot: Snapshot, of repository: Repository, over connection: Connection, isDryRun: Bool, progress: PushProgress,
  monitor: any Monitor
) throws -> PushResult {
  do throws(Failure) {
    return try connection.annotatingErrors {
      try PushClient(snapshot, of: repository, over: connection, progress: progress, monitor: monitor)
        .run(isDryRun: isDryRun)
    }
  } catch {
    guard case .interrupted = error.kind, !isDryRun else { throw error }
    throw Failure(error.kind, error.message, hint: "what was sent is kept; push again")
  }
}

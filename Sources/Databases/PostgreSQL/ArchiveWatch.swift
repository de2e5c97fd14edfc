internal import Model
internal import Posix
internal import Synchronization

/// The end of a base backup, at which the server waits until its log is archived.
struct ArchiveWait {
  static let limitSeconds: Int64 = 300

  private var archived, since: Int64?

  /// True if the backup has waited so long, and nothing was archived. `archived` is the server's count.
  mutating func isStuck(waiting: Bool, archived count: Int64, at seconds: Int64) -> Bool {
    guard waiting else {
      since = nil
      return false
    }
    if since == nil || count != archived { (since, archived) = (seconds, count) }
    return seconds - since! >= Self.limitSeconds
  }
}

/// Asks a server, beside a base backup, whether it still archives its log.
///
/// An archive command that is missing or killed ends PostgreSQL's archiver, which counts that as no failure.
final class ArchiveWatch {
  /// Set if the backup is to end.
  let stop = StopFlag()
  private let done = StopFlag()
  private var thread: BackgroundThread?

  init(of server: PostgreSQLServer) {
    let (stop, done) = (stop, done)
    thread = try? BackgroundThread {
      var wait = ArchiveWait()
      while !done.isSet {
        // A server that cannot be asked now is asked again.
        if let state = try? server.archiveState(),
          wait.isStuck(waiting: state.waiting, archived: state.archived, at: Clock.monotonic().seconds)
        {
          stop.set()
          return
        }
        for _ in 0..<100 where !done.isSet { CurrentProcess.sleep(milliseconds: 100) }
      }
    }
  }

  /// Ends the watch. True if it has ended the backup.
  func end() -> Bool {
    done.set()
    thread?.join()
    return stop.isSet
  }
}

extension PostgreSQLServer {
  /// Whether a base backup waits for the archive, and the number of logs that were archived.
  fileprivate func archiveState() throws(DumpFailure) -> (waiting: Bool, archived: Int64) {
    let query = """
      SELECT (SELECT count(*) FROM pg_stat_progress_basebackup WHERE phase LIKE 'waiting for wal archiving%'),
      archived_count FROM pg_stat_archiver
      """
    let numbers = try rows(query, fields: 2, in: firstDatabase).flatMap { $0 }
      .compactMap { Int64(String(decoding: $0, as: UTF8.self)) }
    return (numbers.first ?? 0 > 0, numbers.last ?? 0)
  }
}

internal import Posix
internal import Synchronization

/// Flushes a large file to disk while more of it arrives. The final sync is then shorter.
///
/// It calls fsync(2) for the file, not syncfs(2). The kernel reports lost data once for a file system, and the
/// publication must get that report.
///
/// Only one thread at a time may use it.
final class BackgroundFsync {
  private static let flushedBytes: UInt64 = 128 << 20

  private final class State: Sendable {
    let isFlushing = Atomic(false)
    let failure = Mutex<Errno?>(nil)
  }

  private let state = State()
  private var waitingBytes: UInt64 = 0
  private var thread: BackgroundThread?
  private var hasFinished = false

  /// Begins another file.
  func begin() { waitingBytes = 0 }

  /// Counts `byteCount` more bytes written to the file, and flushes it from time to time.
  func count(byteCount: UInt64, writtenTo file: borrowing Descriptor) {
    waitingBytes &+= byteCount
    guard !hasFinished, waitingBytes >= Self.flushedBytes, !state.isFlushing.load(ordering: .acquiring),
      let file = try? file.duplicate()
    else { return }
    waitingBytes = 0
    thread?.join()
    state.isFlushing.store(true, ordering: .relaxed)
    thread = try? BackgroundThread { [state] in
      do throws(Errno) { try file.synchronize() } catch {
        state.failure.withLock { $0 = $0 ?? error }
      }
      state.isFlushing.store(false, ordering: .releasing)
    }
    if thread == nil { state.isFlushing.store(false, ordering: .relaxed) }
  }

  /// True if a flush has already reported that the disk lost data.
  var hasFailed: Bool { state.failure.withLock { $0 != nil } }

  /// Waits for the current flush; no other begins. Throws the first error of any flush.
  func finish() throws(Errno) {
    hasFinished = true
    thread?.join()
    thread = nil
    if let failure = state.failure.withLock({ $0 }) { throw failure }
  }
}

internal import Posix

/// Flushes a large file to disk while more of it arrives. The final sync is then shorter.
///
/// It calls fsync(2) for the file, not syncfs(2). The kernel reports lost data once for a file system, and the
/// publication must get that report.
///
/// Only one thread at a time may use it.
final class WriteBack {
  private static let flushedBytes: UInt64 = 128 << 20

  private final class State: @unchecked Sendable {
    let gate = Gate()
    var isFlushing = false
    var failure: Errno?
  }

  private let state = State()
  private var waitingBytes: UInt64 = 0
  private var thread: BackgroundThread?

  /// Begins another file.
  func begin() { waitingBytes = 0 }

  /// Counts `byteCount` more bytes written to the file, and flushes it from time to time.
  func wrote(_ byteCount: UInt64, to file: borrowing Descriptor) {
    waitingBytes &+= byteCount
    guard waitingBytes >= Self.flushedBytes, state.gate.locked({ !state.isFlushing }), let file = try? file.duplicate()
    else { return }
    waitingBytes = 0
    thread?.join()
    state.isFlushing = true
    thread = try? BackgroundThread { [state] in
      var failure: Errno?
      do throws(Errno) { try file.synchronize() } catch { failure = error }
      state.gate.locked {
        state.failure = state.failure ?? failure
        state.isFlushing = false
      }
    }
    if thread == nil { state.isFlushing = false }
  }

  /// True if a flush has already reported that the disk lost data.
  var hasFailed: Bool { state.gate.locked { state.failure != nil } }

  /// Waits for the current flush. Throws the first error of any flush.
  func finish() throws(Errno) {
    thread?.join()
    thread = nil
    if let failure = state.failure { throw failure }
  }
}

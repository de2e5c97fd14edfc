internal import Posix

/// Has the disk take what comes into a large file, while more comes, so that who waits for all of it at the end
/// waits for less.
///
/// By fsync(2) of the file, and not by syncfs(2): that the disk lost something is told once for a file system, and
/// whoever publishes must be the one who hears it.
///
/// Belongs to one thread at a time.
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

  /// Another file begins.
  func begin() { waitingBytes = 0 }

  /// So much more was written to the file.
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

  /// True where it is known already that the disk lost something.
  var hasFailed: Bool { state.gate.locked { state.failure != nil } }

  /// Waits for what is being flushed. Throws what the disk could not do.
  func finish() throws(Errno) {
    thread?.join()
    thread = nil
    if let failure = state.failure { throw failure }
  }
}

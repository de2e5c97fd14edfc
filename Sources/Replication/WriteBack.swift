internal import Posix

/// Has the disk flush what comes, while more comes, so that who waits for all of it at the end waits for less.
///
/// Belongs to one thread at a time.
final class WriteBack: @unchecked Sendable {
  private static let flushedBytes: UInt64 = 128 << 20

  /// Opened for this: what the disk could not write is told once to each who has it open.
  private let file: Descriptor
  private var waitingBytes: UInt64 = 0
  private let gate = Gate()
  private var isFlushing = false
  private var thread: BackgroundThread?

  init(_ file: consuming Descriptor) { self.file = file }

  /// So much was written.
  func wrote(_ byteCount: UInt64) {
    waitingBytes &+= byteCount
    guard waitingBytes >= Self.flushedBytes, gate.locked({ !isFlushing }) else { return }
    waitingBytes = 0
    stop()
    isFlushing = true
    thread = BackgroundThread { [self] in
      // Whoever waits for all of it hears of errors.
      try? file.synchronizeFileSystem()
      gate.locked { isFlushing = false }
    }
  }

  /// Waits for what is being flushed.
  func stop() {
    thread?.join()
    thread = nil
  }
}

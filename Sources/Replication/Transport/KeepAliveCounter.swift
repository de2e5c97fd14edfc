internal import Engine
internal import Synchronization

/// The progress number in the server's keep-alives; it grows while a push makes progress.
final class KeepAliveCounter: Sendable {
  private let progress: Progress
  private let synchronizingSeconds = Atomic<UInt64>(0)
  /// The longest wait for a disk sync, in seconds. The kernel does not report the progress of a sync.
  private static let limitSeconds: UInt64 = 3600

  init(of progress: Progress) { self.progress = progress }

  /// Returns the current number; called once a second.
  func value() -> UInt64 {
    if progress.isSynchronizing.load(ordering: .relaxed), synchronizingSeconds.value < Self.limitSeconds {
      synchronizingSeconds.add(1, ordering: .relaxed)
    }
    return progress.entries.value &+ progress.bytesRead.value &+ progress.bytesCopied.value
      &+ synchronizingSeconds.value
  }
}

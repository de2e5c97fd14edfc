internal import Engine
internal import Synchronization

/// The number by which the other end sees that a push gets on.
final class Pulse: Sendable {
  private let progress: Progress
  private let seconds = Atomic<UInt64>(0)
  /// How long the disk may be waited for, in seconds: the system does not say whether that gets on.
  private static let limit: UInt64 = 3600

  init(_ progress: Progress) { self.progress = progress }

  /// The number; called once a second.
  func beat() -> UInt64 {
    if progress.isSynchronizing.load(ordering: .relaxed), seconds.value < Self.limit {
      seconds.add(1, ordering: .relaxed)
    }
    return progress.entries.value &+ progress.bytesRead.value &+ progress.bytesCopied.value &+ seconds.value
  }
}

import Foundation
import TestSupport
import Testing

/// Runs tests on many threads, because most of their time is spent waiting for programs and the disk.
///
/// Swift's own pool has a thread for each processor, and a test that waits keeps its thread.
struct Waiting: TestTrait, SuiteTrait, TestScoping {
  /// True for a long suite whose tests run one after the other: each of them would wait for all others.
  let isFirst: Bool
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let threads = isFirst ? WaitingThreads.first : WaitingThreads.others
    try await withTaskExecutorPreference(threads) { try await function() }
  }
}

extension Trait where Self == Waiting {
  static var waits: Waiting { Waiting(isFirst: false) }
  static var waitsFirst: Waiting { Waiting(isFirst: true) }
}

/// Three threads for each processor, or `TREERING_TEST_THREADS`, which run the jobs in the order of their arrival, but
/// those of `first` before those of `others`.
private final class WaitingThreads: TaskExecutor {
  static let first = WaitingThreads()
  static let others = WaitingThreads()

  private static let state = NSCondition()
  nonisolated(unsafe) private static var isStarted = false
  nonisolated(unsafe) private var jobs: [UnownedJob] = []

  private static func start() {
    let count = environmentVariable("TREERING_TEST_THREADS").flatMap { Int($0) }
    for _ in 0..<max(1, count ?? 3 * ProcessInfo.processInfo.activeProcessorCount) {
      let thread = Thread { while true { runNext() } }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    Self.state.withLock {
      if !Self.isStarted { Self.start() }
      Self.isStarted = true
      jobs.append(job)
      Self.state.signal()
    }
  }

  private static func runNext() {
    let (executor, job) = state.withLock {
      while first.jobs.isEmpty, others.jobs.isEmpty { state.wait() }
      let executor = first.jobs.isEmpty ? others : first
      return (executor, executor.jobs.removeFirst())
    }
    job.runSynchronously(on: executor.asUnownedTaskExecutor())
  }
}

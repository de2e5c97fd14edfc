import Foundation
import TestSupport
import Testing

/// Runs tests on many threads, because most of their time is spent waiting for programs and the disk.
///
/// Swift's own pool has a thread for each processor, and a test that waits keeps its thread.
struct Waiting: TestTrait, SuiteTrait, TestScoping {
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await withTaskExecutorPreference(WaitingThreads.shared) { try await function() }
  }
}

extension Trait where Self == Waiting {
  static var waits: Waiting { Waiting() }
}

/// Three threads for each processor, or `TREERING_TEST_THREADS`, which run the jobs in the order of their arrival.
private final class WaitingThreads: TaskExecutor {
  static let shared = WaitingThreads()

  private let state = NSCondition()
  nonisolated(unsafe) private var jobs: [UnownedJob] = []

  private init() {
    let count = environmentVariable("TREERING_TEST_THREADS").flatMap { Int($0) }
    for _ in 0..<max(1, count ?? 3 * ProcessInfo.processInfo.activeProcessorCount) {
      let thread = Thread { [unowned self] in while true { next().runSynchronously(on: asUnownedTaskExecutor()) } }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.withLock {
      jobs.append(job)
      state.signal()
    }
  }

  private func next() -> UnownedJob {
    state.withLock {
      while jobs.isEmpty { state.wait() }
      return jobs.removeFirst()
    }
  }
}

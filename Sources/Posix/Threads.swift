internal import Glibc
internal import Synchronization

/// A mutex with a condition variable; `pthread_mutex_lock(3)`, `pthread_cond_wait(3)`.
public final class Gate: @unchecked Sendable {
  // Both live on the heap because pthread objects must not move.
  private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
  private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

  public init() {
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    mutex.deallocate()
    condition.deallocate()
  }

  /// Runs `body` with the mutex locked.
  public func locked<R>(body: () throws -> R) rethrows -> R {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body()
  }

  /// Releases the lock and waits for a call of `wakeAll`; only inside `locked`.
  public func wait() { pthread_cond_wait(condition, mutex) }

  /// Wakes all waiting threads.
  public func wakeAll() { pthread_cond_broadcast(condition) }
}

/// Runs `body` on `count` threads and returns when all have returned.
///
/// Blocking system calls belong here and not on Swift's cooperative pool, whose width is fixed.
public func runThreads(_ count: Int, body: @escaping @Sendable (Int) -> Void) {
  // Fewer threads can do the same work.
  let threads = (1..<max(count, 1)).compactMap { index in try? BackgroundThread { body(index) } }
  body(0)
  for thread in threads { thread.join() }
}

/// A thread that calls a function periodically, for a progress line; `stop` ends it and waits.
public final class Ticker: Sendable {
  private let stopped = Atomic<Bool>(false)
  private let thread = Mutex<BackgroundThread?>(nil)

  /// Calls `body` every `intervalMilliseconds` until `stop`.
  public init(intervalMilliseconds: Int, running body: @escaping @Sendable () -> Void) {
    let running = try? BackgroundThread { [self] in
      while true {
        var left = intervalMilliseconds
        while left > 0 {
          if stopped.load(ordering: .relaxed) { return }
          usleep(20_000)
          left -= 20
        }
        body()
      }
    }
    thread.withLock { $0 = running }
  }

  public func stop() {
    stopped.store(true, ordering: .relaxed)
    thread.withLock {
      $0?.join()
      $0 = nil
    }
  }
}

/// The number of processors that are online.
public func processorCount() -> Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

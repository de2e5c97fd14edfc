internal import Glibc
public import Model
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
  let others = ThreadGroup()
  // Fewer threads can do the same work.
  for index in 1..<max(count, 1) where !others.start(body: { body(index) }) { break }
  body(0)
  others.join()
}

/// Threads that one caller waits for. A thread of the group may start others.
public final class ThreadGroup: Sendable {
  private let threads = Mutex<[BackgroundThread]>([])

  public init() {}

  /// Returns false if no thread can be created.
  public func start(body: @escaping @Sendable () -> Void) -> Bool {
    threads.withLock { threads in
      guard let thread = try? BackgroundThread(running: body) else { return false }
      threads.append(thread)
      return true
    }
  }

  /// Waits until all threads have ended.
  public func join() { while let thread = threads.withLock({ $0.popLast() }) { thread.join() } }
}

/// The time that the calling thread waits in system calls: for the disk, another host or a lock.
///
/// It rests on `/proc/thread-self/schedstat`, see proc(5) and the kernel's documentation of scheduler statistics.
public struct ThreadWaits: ~Copyable {
  /// The shortest time between two looks, in nanoseconds; it is about the time of a seek.
  private static let shortest: Int64 = 5_000_000

  private struct Times {
    var clock: Int64 = 0
    /// The nanoseconds on a processor, and those in which the thread waited for one.
    var running: Int64 = 0
    var delayed: Int64 = 0
  }

  private let statistics: Descriptor
  private var last = Times()

  /// `nil` if the kernel does not tell.
  public init?() {
    guard let file = try? Descriptor.open(path: Array("/proc/thread-self/schedstat".utf8), .read) else { return nil }
    statistics = file
    restart()
  }

  /// Forgets the time before this call.
  public mutating func restart() { if let times = read() { last = times } }

  /// The share of the time since the last look, without the waits for a processor; `nil` if that is too short.
  public mutating func look() -> Double? {
    let elapsed = Self.nanoseconds(Clock.monotonic()) - last.clock
    guard elapsed >= Self.shortest, let times = read() else { return nil }
    let delayed = times.delayed - last.delayed
    let waited = elapsed - delayed - (times.running - last.running)
    last = times
    return Double(waited) / Double(elapsed)
  }

  private static func nanoseconds(_ time: Timestamp) -> Int64 { time.seconds * 1_000_000_000 + Int64(time.nanoseconds) }

  private func read() -> Times? {
    guard let bytes = try? statistics.read(at: 0, count: 128) else { return nil }
    let numbers = bytes.split(separator: UInt8(ascii: " "))
    guard numbers.count > 1, let delayed = Int64(String(decoding: numbers[1], as: UTF8.self)) else { return nil }
    // The first number there is late by up to a tick of the scheduler.
    return Times(
      clock: Self.nanoseconds(Clock.monotonic()), running: Self.nanoseconds(Clock.thread()), delayed: delayed)
  }
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

extension ThreadCount {
  /// One for each processor, and more while they wait for the disk.
  public static var automatic: ThreadCount {
    ThreadCount(first: min(8, processorCount()), most: min(32, 4 * processorCount()))
  }

  /// The number that the user chose, or the automatic one.
  public init(chosen count: Int?) { self = count.map { ThreadCount($0) } ?? .automatic }
}

internal import Glibc

/// A thread that does one task beside the main work; `pthread_create(3)`.
public final class BackgroundThread: @unchecked Sendable {
  private var thread = pthread_t()
  private var isRunning = false
  private let body: @Sendable () -> Void

  /// Throws if no thread can be created.
  public init(running body: @escaping @Sendable () -> Void) throws(Errno) {
    self.body = body
    let result = pthread_create(
      &thread, nil,
      { argument in
        Unmanaged<BackgroundThread>.fromOpaque(argument!).takeRetainedValue().body()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    guard result == 0 else {
      Unmanaged.passUnretained(self).release()
      throw Errno(result)
    }
    isRunning = true
  }

  /// A thread that no caller has joined is detached and ends by itself.
  deinit { if isRunning { pthread_detach(thread) } }

  /// Waits for the thread's end; only the first call does so.
  public func join() {
    if isRunning { pthread_join(thread, nil) }
    isRunning = false
  }
}

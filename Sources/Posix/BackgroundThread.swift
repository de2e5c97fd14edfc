internal import Glibc

/// A thread that does one thing beside the work; `pthread_create(3)`.
public final class BackgroundThread: @unchecked Sendable {
  private var thread = pthread_t()
  private var isRunning = false
  private let body: @Sendable () -> Void

  /// Throws where no more threads can be had.
  public init(_ body: @escaping @Sendable () -> Void) throws(Errno) {
    self.body = body
    let result = pthread_create(&thread, nil, { argument in
      Unmanaged<BackgroundThread>.fromOpaque(argument!).takeRetainedValue().body()
      return nil
    }, Unmanaged.passRetained(self).toOpaque())
    guard result == 0 else {
      Unmanaged.passUnretained(self).release()
      throw Errno(result)
    }
    isRunning = true
  }

  /// One that nobody waits for ends by itself.
  deinit {
    if isRunning { pthread_detach(thread) }
  }

  /// Waits for its end; once.
  public func join() {
    if isRunning { pthread_join(thread, nil) }
    isRunning = false
  }
}

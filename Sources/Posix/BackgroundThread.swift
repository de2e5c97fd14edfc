internal import Glibc

/// A thread that does one thing beside the work; `pthread_create(3)`.
public final class BackgroundThread: @unchecked Sendable {
  private var thread = pthread_t()
  private var isRunning = false
  private let body: @Sendable () -> Void

  public init(_ body: @escaping @Sendable () -> Void) {
    self.body = body
    let result = pthread_create(&thread, nil, { argument in
      Unmanaged<BackgroundThread>.fromOpaque(argument!).takeRetainedValue().body()
      return nil
    }, Unmanaged.passRetained(self).toOpaque())
    isRunning = result == 0
    // Without a thread of its own it has to be done here.
    if !isRunning {
      Unmanaged.passUnretained(self).release()
      body()
    }
  }

  /// Waits for its end; once.
  public func join() {
    if isRunning { pthread_join(thread, nil) }
    isRunning = false
  }
}

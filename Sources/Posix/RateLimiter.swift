internal import Synchronization

/// Token-bucket rate limiter. The bucket holds the bytes of a quarter of a second.
public struct RateLimiter: Sendable {
  private let bytesPerSecond: Double
  private var tokens: Double = 0
  private var lastFilled = Clock.monotonic()

  public init(bytesPerSecond: UInt64) { self.bytesPerSecond = Double(bytesPerSecond) }

  /// The number of bytes that may be moved now.
  public mutating func availableTokens() -> Int {
    let now = Clock.monotonic()
    tokens = min(tokens + (now - lastFilled) * bytesPerSecond, max(bytesPerSecond / 4, 1))
    lastFilled = now
    return max(Int(tokens), 0)
  }

  /// The number of bytes that may be moved now. Waits until there is at least one.
  public mutating func waitForTokens() -> Int {
    while true {
      let count = availableTokens()
      if count > 0 { return count }
      CurrentProcess.sleep(milliseconds: 10)
    }
  }

  public mutating func consume(byteCount count: Int) { tokens -= Double(count) }
}

/// A rate limiter of several threads.
public final class SharedRateLimiter: Sendable {
  private let limiter: Mutex<RateLimiter>

  public init(bytesPerSecond: UInt64) { limiter = Mutex(RateLimiter(bytesPerSecond: bytesPerSecond)) }

  /// The number of bytes, at most `count`, that the caller may and must move now. Waits until there is at least one.
  public func take(upTo count: Int) -> Int {
    limiter.withLock { limiter in
      let taken = min(count, limiter.waitForTokens())
      limiter.consume(byteCount: taken)
      return taken
    }
  }

  /// Waits until that many bytes may have been moved, or a signal came.
  public func pace(byteCount: Int) {
    var left = byteCount
    while left > 0, CurrentProcess.rememberedSignal == nil { left -= take(upTo: left) }
  }
}

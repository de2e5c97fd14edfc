internal import Posix

/// Token-bucket rate limiter. The bucket holds the bytes of a quarter of a second.
struct RateLimiter: Sendable {
  private let bytesPerSecond: Double
  private var tokens: Double = 0
  private var lastFilled = Clock.monotonic()

  init(bytesPerSecond: UInt64) { self.bytesPerSecond = Double(bytesPerSecond) }

  /// The number of bytes that may be written now. Waits until there is at least one.
  mutating func waitForTokens() -> Int {
    while true {
      let now = Clock.monotonic()
      tokens = min(tokens + (now - lastFilled) * bytesPerSecond, max(bytesPerSecond / 4, 1))
      lastFilled = now
      if tokens >= 1 { return Int(tokens) }
      CurrentProcess.sleep(milliseconds: 10)
    }
  }

  mutating func consume(_ count: Int) { tokens -= Double(count) }
}

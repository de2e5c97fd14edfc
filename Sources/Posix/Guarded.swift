/// A value that several threads share, and may wait for.
public final class Guarded<Value>: @unchecked Sendable {
  private let gate = Gate()
  private var value: Value

  public init(_ value: Value) { self.value = value }

  /// Waits until `isReady`, and runs `body` with the value locked.
  public func locked<R>(when isReady: (Value) -> Bool = { _ in true }, body: (inout Value) throws -> R) rethrows -> R {
    try gate.locked {
      while !isReady(value) { gate.wait() }
      return try body(&value)
    }
  }

  /// Changes the value, and wakes all threads that wait for it.
  public func change(body: (inout Value) throws -> Void) rethrows {
    try gate.locked {
      try body(&value)
      gate.wakeAll()
    }
  }
}

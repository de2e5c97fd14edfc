/// A point in time to the nanosecond, counted from 1970-01-01T00:00:00Z.
@frozen
public struct Timestamp: Hashable, Sendable, Comparable {
  public var seconds: Int64
  /// 0...999,999,999
  public var nanoseconds: UInt32

  @inlinable
  public init(seconds: Int64, nanoseconds: UInt32) { (self.seconds, self.nanoseconds) = (seconds, nanoseconds) }

  @inlinable
  public static func < (a: Timestamp, b: Timestamp) -> Bool { (a.seconds, a.nanoseconds) < (b.seconds, b.nanoseconds) }
}

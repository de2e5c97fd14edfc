/// The name of a snapshot: a UTC time to the second.
public struct SnapshotName: Hashable, Sendable, CustomStringConvertible {
  public let description: String

  public init(seconds: Int64) { description = CalendarTime(seconds: seconds).snapshotName }

  /// Parses a name as found in a directory; `nil` for any other form.
  public init?(_ bytes: some Collection<UInt8>) {
    let form = "dddd-dd-ddTdd-dd-ddZ".utf8
    guard bytes.count == form.count else { return nil }
    for (byte, expected) in zip(bytes, form) {
      let digit = (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      guard expected == UInt8(ascii: "d") ? digit : byte == expected else { return nil }
    }
    description = String(decoding: Array(bytes), as: UTF8.self)
  }

  /// The time of the name, in seconds since 1970-01-01T00:00:00Z; the inverse of `init(seconds:)`.
  public var seconds: Int64 {
    let digits = description.utf8.map { Int($0) - 48 }
    func number(_ range: Range<Int>) -> Int { digits[range].reduce(0) { $0 * 10 + $1 } }
    return CalendarTime(
      year: number(0..<4), month: number(5..<7), day: number(8..<10), hour: number(11..<13), minute: number(14..<16),
      second: number(17..<19)
    ).sinceEpoch
  }

  public var bytes: [UInt8] { Array(description.utf8) }
  public var catalogName: [UInt8] { bytes + Array(".catalog".utf8) }
}

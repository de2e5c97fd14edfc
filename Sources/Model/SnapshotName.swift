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
    // Years begin in March, so that the leap day is the last.
    let month = number(5..<7)
    let year = number(0..<4) - (month <= 2 ? 1 : 0)
    let era = (year >= 0 ? year : year - 399) / 400
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + number(8..<10) - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * 146_097 + dayOfEra - 719_468
    return Int64(days * 86400 + number(11..<13) * 3600 + number(14..<16) * 60 + number(17..<19))
  }

  public var bytes: [UInt8] { Array(description.utf8) }
  public var catalogName: [UInt8] { bytes + Array(".catalog".utf8) }
}

/// A UTC date and time of the proleptic Gregorian calendar.
public struct CalendarTime: Sendable, Equatable {
  public var year, month, day, hour, minute, second: Int

  /// The years 0 to 9999, in seconds since 1970-01-01T00:00:00Z.
  public static let seconds: ClosedRange<Int64> = -62_167_219_200...253_402_300_799

  /// Converts seconds since 1970-01-01T00:00:00Z. RFC 3339 can write only the years 0 to 9999; a time outside them
  /// becomes their first or last second.
  ///
  /// Days become a civil date with years that begin in March, so that the leap day is the last. The method is E. G.
  /// Richards', as in the Explanatory Supplement to the Astronomical Almanac.
  public init(seconds: Int64) {
    let seconds = min(max(seconds, Self.seconds.lowerBound), Self.seconds.upperBound)
    let days = Int(seconds >= 0 ? seconds / 86400 : (seconds - 86399) / 86400)
    let rest = Int(seconds) - days * 86400
    let shifted = days + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * dayOfYear + 2) / 153
    day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
    month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    hour = rest / 3600
    minute = rest / 60 % 60
    second = rest % 60
  }

  public init(year: Int, month: Int, day: Int, hour: Int, minute: Int, second: Int) {
    (self.year, self.month, self.day) = (year, month, day)
    (self.hour, self.minute, self.second) = (hour, minute, second)
  }

  /// Seconds since 1970-01-01T00:00:00Z; the inverse of `init(seconds:)`.
  public var sinceEpoch: Int64 {
    let year = self.year - (month <= 2 ? 1 : 0)
    let era = (year >= 0 ? year : year - 399) / 400
    let yearOfEra = year - era * 400
    let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    let days = era * 146_097 + dayOfEra - 719_468
    return Int64(days * 86400 + hour * 3600 + minute * 60 + second)
  }

  /// The time as RFC 3339 writes it: `2026-11-22T23:00:00Z`.
  public var rfc3339: String { text(between: ":") }

  /// The time as a snapshot's name, without the colons that some file systems refuse: `2026-11-22T23-00-00Z`.
  public var snapshotName: String { text(between: "-") }

  private func text(between separator: String) -> String {
    func padded(_ number: Int, width: Int = 2) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
    return "\(padded(year, width: 4))-\(padded(month))-\(padded(day))T\(padded(hour))\(separator)"
      + "\(padded(minute))\(separator)\(padded(second))Z"
  }
}

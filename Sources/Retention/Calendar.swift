public import Model

/// An instant in the operator's time zone.
public struct LocalTime: Hashable, Sendable {
  public var year: Int
  /// 1...12
  public var month: Int
  /// 1...31
  public var day: Int
  /// 0...23
  public var hour: Int
  /// The zone's offset from UTC. It distinguishes the two passes of the hour that is repeated when daylight saving
  /// ends.
  public var offsetSeconds: Int

  public init(year: Int, month: Int, day: Int, hour: Int, offsetSeconds: Int) {
    self.year = year
    self.month = month
    self.day = day
    self.hour = hour
    self.offsetSeconds = offsetSeconds
  }

  /// Converts the fields of `localtime(3)` (year, month, day, hour, minute, second) for the instant `seconds`.
  public init(fields: [Int], of seconds: Int64) {
    self.init(year: fields[0], month: fields[1], day: fields[2], hour: fields[3], offsetSeconds: 0)
    offsetSeconds = dayNumber * 86_400 + hour * 3600 + fields[4] * 60 + min(fields[5], 59) - Int(seconds)
    // A leap second counts as the preceding second.
    offsetSeconds += fields[5] > 59 ? 1 : 0
  }

  /// Days since 1970-01-01 of the civil calendar.
  var dayNumber: Int {
    // Shifted years begin in March, so that the leap day is the last day of its year.
    let shifted = month > 2 ? year : year - 1
    let yearDay = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + yearDay - 719_468
  }

  /// The number of the ISO 8601 week, which begins on Monday, counted continuously across years.
  var weekNumber: Int {
    // 1970-01-01 was a Thursday.
    let days = dayNumber + 3
    return days >= 0 ? days / 7 : (days - 6) / 7
  }
}

extension SnapshotSet {
  /// True if two instants are in the same period.
  public func isSamePeriod(_ a: LocalTime, as b: LocalTime) -> Bool { key(of: a) == key(of: b) }

  /// The key of a period of local time. It is equal for two instants in the same period.
  func key(of time: LocalTime) -> [Int] {
    switch self {
    case .hourly: [time.dayNumber, time.hour, time.offsetSeconds]
    case .daily: [time.dayNumber]
    case .weekly: [time.weekNumber]
    case .monthly: [time.year, time.month]
    case .yearly: [time.year]
    }
  }
}

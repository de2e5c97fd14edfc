import Settings
import Testing

@testable import Commands

/// The decision whether a run starts a drill, and the time that a database tells.
@Suite struct DueDrillTests {
  private static let day: Int64 = 86_400
  /// A Sunday at midnight.
  private static let sunday: Int64 = 1_763_856_000

  private func drill(at hour: DrillConfiguration.QuietHour?) -> DrillConfiguration {
    var drill = DrillConfiguration()
    (drill.everySeconds, drill.quietHour) = (30 * Self.day, hour)
    return drill
  }

  @Test("a drill is due in its quiet hour, and at any hour once it is overdue by a week")
  func due() {
    let sundays = drill(at: .init(weekday: 0, minutes: 4 * 60))
    let nights = drill(at: .init(weekday: nil, minutes: 23 * 60 + 30))
    let four: Int64 = 4 * 3600
    let cases: [(DrillConfiguration, age: Int64, now: Int64, hasRun: Bool, Bool)] = [
      (sundays, 30 * Self.day, four, true, true),
      (sundays, 30 * Self.day, four + 3599, true, true),
      (sundays, 30 * Self.day, four + 3600, true, false),
      (sundays, 30 * Self.day, four - 1, true, false),
      (sundays, 30 * Self.day, four + Self.day, true, false),
      // The run of the last time began some minutes later.
      (sundays, 30 * Self.day - 600, four, true, true),
      (sundays, 29 * Self.day, four, true, false),
      (sundays, 37 * Self.day - 1, 12 * 3600, true, false),
      (sundays, 37 * Self.day, 12 * 3600, true, true),
      // The first one waits for its hour, too.
      (sundays, 1, four, false, true),
      (sundays, 1, 0, false, false),
      (sundays, 37 * Self.day, 0, false, true),
      // An hour over midnight.
      (nights, 30 * Self.day, 23 * 3600 + 1800, true, true),
      (nights, 30 * Self.day, Self.day + 1799, true, true),
      (nights, 30 * Self.day, Self.day + 1800, true, false),
      (drill(at: nil), 30 * Self.day, 7, true, true),
      (drill(at: nil), 30 * Self.day - 1, 7, true, false),
      (drill(at: nil), 1, 7, false, true),
      (DrillConfiguration(), 1000 * Self.day, four, true, false),
    ]
    for (drill, age, seconds, hasRun, expected) in cases {
      let now = Self.sunday + seconds
      let isDue = drill.isDue(after: now - age, hasRun: hasRun, at: now, localSeconds: now)
      #expect(isDue == expected, "\(age) \(seconds) \(hasRun)")
    }
  }

  @Test(
    "a database tells the time of its newest data",
    arguments: [
      ("1764000000", 1_764_000_000), ("1764000000.25", 1_764_000_000),
      ("2025-11-24 16:00:00+00", 1_764_000_000), ("2025-11-24 16:00:00.123456+00", 1_764_000_000),
      ("2025-11-24 17:30:00+01:30", 1_764_000_000), ("2025-11-24 11:00:00-0500", 1_764_000_000),
      ("2025-11-24T16:00:00Z", 1_764_000_000), ("2025-11-24 16:00:00 UTC", 1_764_000_000),
      ("", nil), ("NULL", nil), ("soon", nil), ("2025-11-24 16:00:00 +x", nil),
    ] as [(String, Int64?)])
  func time(_ text: String, _ expected: Int64?) { #expect(dataTime(of: text) == expected) }
}

public import Model
public import Posix

/// Times as people write them, in the time zone of the process.
public enum Moment {
  /// Parses `now`, `today`, `yesterday`, `yesterday 20:00`, an age such as `3d`, `20:00`, `2026-11-21`,
  /// `2026-11-21 20:00`, or a time with `T` and with `Z` for UTC. The result is in seconds since 1970-01-01T00:00:00Z; `nil` for other text.
  ///
  /// A day or minute means its first second, or its last one if `atEnd` is true.
  public static func seconds(of text: String, atEnd: Bool = false, now: Int64 = Clock.now().seconds) -> Int64? {
    let today = Array(Clock.localFields(of: now).prefix(3))
    func day(_ date: [Int]) -> Int64 { Clock.seconds(ofLocal: date + (atEnd ? [23, 59, 59] : [0, 0, 0])) }
    func clock(of text: Substring) -> [Int]? { Self.clock(of: text, lastSecond: atEnd ? 59 : 0) }
    if text == "now" { return now }
    let words = text.split(separator: " ", maxSplits: 1)
    if let first = words.first, let distance = ["today": 0, "yesterday": 1][first] {
      let date = [today[0], today[1], today[2] - distance]
      return words.count == 1 ? day(date) : clock(of: words[1]).map { Clock.seconds(ofLocal: date + $0) }
    }
    if let age = age(of: text) { return now - age }
    if let clock = clock(of: text[...]) { return Clock.seconds(ofLocal: today + clock) }
    guard let date = date(of: text.prefix(10)) else { return nil }
    let rest = text.dropFirst(10)
    if rest.isEmpty { return day(date) }
    guard rest.first == " " || rest.first == "T" else { return nil }
    let isUTC = rest.last == "Z"
    guard let clock = clock(of: rest.dropFirst().dropLast(isUTC ? 1 : 0)) else { return nil }
    if !isUTC { return Clock.seconds(ofLocal: date + clock) }
    let time = clock.map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: "-")
    return SnapshotName("\(text.prefix(10))T\(time)Z".utf8)?.seconds
  }

  /// The time that a reference to a snapshot means, if it is one, and the usual distance of a snapshot from it.
  ///
  /// The distance is a day for a day, or an age in days or weeks, and else an hour. A date without a time is no time.
  public static func timeWithUsualDistance(_ text: String) -> (seconds: Int64, usual: Int64)? {
    guard !isDay(text), let seconds = seconds(of: text, atEnd: true) else { return nil }
    let isDays = ["today", "yesterday"].contains(text) || text.hasSuffix("d") || text.hasSuffix("w")
    return (seconds, isDays && text != "now" ? 86_400 : 3600)
  }

  /// True for a date without a time, such as `2026-11-21`.
  static func isDay(_ text: String) -> Bool { text.count == 10 && date(of: text[...]) != nil }

  /// The date of a time in the zone of the process, such as `2026-11-21`.
  static func localDay(of seconds: Int64) -> String {
    Clock.localFields(of: seconds).prefix(3).map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: "-")
  }

  /// The seconds of an age such as `90s`, `15m`, `2h`, `14d` or `4w`.
  private static func age(of text: String) -> Int64? {
    let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    guard let unit = text.last.flatMap({ units[$0] }), text.count < 10, let number = number(of: text.dropLast())
    else { return nil }
    return Int64(number) * unit
  }

  /// Year, month and day of `2026-11-21`.
  private static func date(of text: Substring) -> [Int]? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { number(of: $0) }
    guard parts.map(\.count) == [4, 2, 2], numbers.count == 3, (1...12).contains(numbers[1]),
      (1...31).contains(numbers[2])
    else { return nil }
    // The 31st of a shorter month would be a day of the next one.
    return Clock.localFields(of: Clock.seconds(ofLocal: numbers + [12, 0, 0])).starts(with: numbers) ? numbers : nil
  }

  /// Hour, minute and second of `20:00` or `20:00:30`.
  private static func clock(of text: Substring, lastSecond: Int) -> [Int]? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { number(of: $0) } + (parts.count == 2 ? [lastSecond] : [])
    guard numbers.count == 3, parts.allSatisfy({ $0.count == 2 }), numbers[0] < 24, numbers[1] < 60, numbers[2] < 60
    else { return nil }
    return numbers
  }

  private static func number(of digits: Substring) -> Int? {
    digits.allSatisfy { $0.isASCII && $0.isNumber } ? Int(digits) : nil
  }
}

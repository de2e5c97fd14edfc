public import Model

/// Parses quantities from the configuration and the command line.
public enum Quantity {
  /// A hundred years. A longer duration is a mistake, and could overflow.
  private static let longestSeconds: Int64 = 100 * 366 * 86_400

  /// The seconds of a duration such as `90s`, `15m`, `2h`, `14d` or `4w`, from 1 on; `nil` for other text.
  public static func seconds(of text: String) -> Int64? {
    let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
    guard let unit = text.last.flatMap({ units[$0] }), let number = number(of: text.dropLast()) else { return nil }
    let (product, overflow) = number.multipliedReportingOverflow(by: unit)
    return overflow || !(1...longestSeconds).contains(product) ? nil : product
  }

  /// The bytes of a size such as `100M`. The number may have K, M, G or T, followed by B, iB or nothing, in powers of
  /// 1024.
  public static func bytes(of text: String) -> UInt64? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count).uppercased()
    let shifts: [String: UInt64] = ["": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40]
    guard let number = UInt64(digits), let shift = shifts[String(unit.prefix(1))],
      ["", "B", "IB"].contains(String(unit.dropFirst())) && unit != "BB" && unit != "BIB",
      !number.multipliedReportingOverflow(by: 1 << shift).overflow
    else { return nil }
    return number << shift
  }

  /// A percentage of the file system such as `5%`, or a size such as `20G`. `nil` for a number without a unit, whose
  /// meaning is unclear.
  public static func minimumFree(_ text: String) -> MinimumFree? {
    if text.hasSuffix("%") { return share(of: text).map { .share($0) } }
    return text.last?.isNumber == true ? nil : bytes(of: text).map { .bytes($0) }
  }

  /// The bytes per second of a rate: a size for `bytes`, with or without `/s` after it; at least 1.
  public static func bytesPerSecond(of text: String) -> UInt64? {
    bytes(of: text.hasSuffix("/s") ? String(text.dropLast(2)) : text).flatMap { $0 > 0 ? $0 : nil }
  }

  /// The share from 0 to 1 of a percentage such as `50%` or `50`.
  public static func share(of text: String) -> Double? {
    let number = text.hasSuffix("%") ? text.dropLast() : text[...]
    guard let value = Double(number), (0...100).contains(value) else { return nil }
    return value / 100
  }

  private static func number(of digits: Substring) -> Int64? {
    guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
    return Int64(digits)
  }
}

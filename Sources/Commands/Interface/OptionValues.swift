internal import ArgumentParser
internal import Model
internal import Repository
internal import Settings

/// Parses an option's value with `parse`; a wrong one is refused with `complaint`.
func parsed<Value>(
  by parse: @escaping @Sendable (String) -> Value?, or complaint: String
) -> @Sendable (String) throws -> Value {
  { text in
    guard let value = parse(text) else { throw ValidationError(complaint) }
    return value
  }
}

/// Parses a share such as `50%` or `50`.
func percentage(for option: String) -> @Sendable (String) throws -> Double {
  parsed(by: Quantity.share, or: "\(option) takes a percentage from 0% to 100%")
}

/// Parses the value of an option that accepts only certain words.
func oneOf<Value: RawRepresentable & CaseIterable & Sendable>(
  for option: String
) -> @Sendable (String) throws -> Value where Value.RawValue == String {
  let words = Value.allCases.map(\.rawValue)
  let list = words.dropLast().joined(separator: ", ") + " or " + words.last!
  return parsed(by: { Value(rawValue: $0) }, or: "\(option) takes \(list)")
}

/// The value of `--keep`.
struct SetAndCount: Sendable {
  let set: SnapshotSet
  let count: Int
}

@Sendable func setAndCount(_ text: String) throws -> SetAndCount {
  let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
  guard parts.count == 2, let set = SnapshotSet(rawValue: String(parts[0])), let count = Int(parts[1]),
    count >= 0
  else {
    throw ValidationError(
      "--keep takes a set and a number, such as hourly=24; the sets are "
        + SnapshotSet.allCases.map(\.rawValue).joined(separator: ", "))
  }
  return SetAndCount(set: set, count: count)
}

/// Parses a duration such as `14d`: a number with s, m, h, d or w.
func seconds(for option: String) -> @Sendable (String) throws -> Int64 {
  parsed(by: Quantity.seconds, or: "\(option) takes a number with a unit, such as 90s, 2h, 14d or 4w")
}

/// Parses a time such as `3d`, `yesterday` or `2026-11-21 20:00`.
func moment(for option: String) -> @Sendable (String) throws -> Int64 {
  parsed(
    by: { Moment.seconds(of: $0) },
    or: "\(option) takes a time such as 3d, yesterday, 2026-11-21 or \"2026-11-21 20:00\"")
}

func freeSpace(for option: String) -> @Sendable (String) throws -> MinimumFree {
  parsed(by: Quantity.minimumFree, or: "\(option) takes a percentage such as 5%, or a size such as 20G")
}

/// Formats a byte count in the largest binary unit that leaves a number of at least 1.
public func byteText(_ bytes: UInt64) -> String {
  let units = ["KiB", "MiB", "GiB", "TiB", "PiB"]
  if bytes < 1024 { return "\(bytes) B" }
  var value = Double(bytes) / 1024
  var unit = 0
  while value >= 1024 && unit < units.count - 1 {
    value /= 1024
    unit += 1
  }
  return "\(fixed(value, digits: value < 10 ? 1 : 0)) \(units[unit])"
}

/// Formats a number with `digits` digits after the point.
public func fixed(_ value: Double, digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let rounded = UInt64((min(max(0, value), 1e15) * scale).rounded())
  if digits == 0 { return String(rounded) }
  let fraction = String(rounded % UInt64(scale))
  return "\(rounded / UInt64(scale))."
    + String(repeating: "0", count: digits - fraction.count) + fraction
}

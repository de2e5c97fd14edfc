internal import Model
internal import Posix

/// A number with a comma after every three digits.
func grouped(_ number: UInt64) -> String {
  let digits = Array(String(number).utf8)
  var text: [UInt8] = []
  for (index, digit) in digits.enumerated() {
    if index > 0 && (digits.count - index) % 3 == 0 { text.append(UInt8(ascii: ",")) }
    text.append(digit)
  }
  return String(decoding: text, as: UTF8.self)
}

func durationText(_ seconds: Double) -> String {
  if seconds < 10 { return "\(fixed(seconds, digits: seconds < 1 ? 2 : 1)) s" }
  let whole = Int(min(seconds, 1e15).rounded())
  if whole < 60 { return "\(whole) s" }
  if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
  if whole < 86_400 { return "\(whole / 3600) h \(whole / 60 % 60) min" }
  return "\(whole / 86_400) d \(whole / 3600 % 24) h"
}

/// A count with its noun. Without `plural`, the plural is regular, as in "files" and "entries".
func counted(_ count: some BinaryInteger, _ noun: String, plural: String? = nil) -> String {
  let regular = noun.last == "y" && noun != "day" ? noun.dropLast() + "ies" : noun + "s"
  return "\(grouped(UInt64(count))) \(count == 1 ? noun : plural ?? regular)"
}

extension Timestamp {
  var rfc3339: String { CalendarTime(seconds: seconds).rfc3339 }

  /// The time in the zone of the process, for people.
  var localText: String {
    let fields = Clock.localFields(of: seconds)
    func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(fields[0])-\(padded(fields[1]))-\(padded(fields[2])) \(padded(fields[3])):\(padded(fields[4]))"
  }
}

/// Aligns cells in columns. Cells of `rightAligned` columns are aligned on the right.
func table(_ rows: [[String]], rightAligned: Set<Int> = []) -> [String] {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in
    rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
  }
  return rows.map { row in
    var line = ""
    for (column, cell) in row.enumerated() {
      let padding = String(repeating: " ", count: widths[column] - cell.count)
      if column > 0 { line += "  " }
      line += rightAligned.contains(column) ? padding + cell : cell + padding
    }
    while line.last == " " { line.removeLast() }
    return line
  }
}

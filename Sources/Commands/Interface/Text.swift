internal import Model
internal import Posix
internal import Settings

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

  /// The same, with the seconds.
  var localTextWithSeconds: String {
    let second = Clock.localFields(of: seconds)[5]
    return "\(localText):\(second < 10 ? "0" : "")\(second)"
  }
}

/// Aligns cells in columns. Cells of `rightAligned` columns are aligned on the right.
///
/// If the lines are wider than the terminal, the widest columns of words become narrower, and their cells take several
/// lines. If that is not enough, the `expendable` columns are left out, in this order, and then long words are divided.
/// Nothing is cut.
func table(
  _ rows: [[String]], rightAligned: Set<Int> = [], expendable: [Int] = [],
  width: Int? = CurrentProcess.terminalWidth(of: .output)
) -> [String] {
  let columns = rows.map(\.count).max() ?? 0
  var widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
  if let width {
    narrow(&widths, of: rows, to: width, without: rightAligned, dividesWords: false)
    if let column = expendable.first, excess(of: widths, over: width) > 0 {
      func place(_ other: Int) -> Int { other > column ? other - 1 : other }
      let rest = rows.map { row in row.indices.filter { $0 != column }.map { row[$0] } }
      return table(
        rest, rightAligned: Set(rightAligned.filter { $0 != column }.map(place)),
        expendable: expendable.dropFirst().map(place), width: width)
    }
    narrow(&widths, of: rows, to: width, without: rightAligned, dividesWords: true)
  }
  return rows.flatMap { row in
    let cells = zip(row, widths).map { wrapped($0, width: $1) }
    return (0..<(cells.map(\.count).max() ?? 1)).map { number in
      var line = ""
      for (column, lines) in cells.enumerated() {
        let cell = number < lines.count ? lines[number] : ""
        let padding = String(repeating: " ", count: max(0, widths[column] - cell.count))
        if column > 0 { line += "  " }
        line += rightAligned.contains(column) ? padding + cell : cell + padding
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }
}

/// The number of characters of a line, with two blanks between columns, that are too many.
private func excess(of widths: [Int], over width: Int) -> Int { widths.reduce(-2) { $0 + $1 + 2 } - width }

/// Narrows the widest columns until the lines fit or nothing more can be done.
///
/// None becomes narrower than its longest word, or, if `dividesWords` is true, than ten characters. A time is one word.
/// Amounts, which are right-aligned, are not divided.
private func narrow(
  _ widths: inout [Int], of rows: [[String]], to width: Int, without rightAligned: Set<Int>, dividesWords: Bool
) {
  let least = widths.indices.map { column in
    let words = rows.flatMap { column < $0.count ? wordLengths(of: $0[column]) : [] }.max() ?? 0
    return dividesWords ? min(words, 10) : words
  }
  while true {
    let excess = excess(of: widths, over: width)
    guard excess > 0,
      let widest = widths.indices.filter({ widths[$0] > least[$0] && !rightAligned.contains($0) })
        .max(by: { widths[$0] < widths[$1] })
    else { return }
    widths[widest] = max(least[widest], widths[widest] - excess)
  }
}

private func wordLengths(of cell: String) -> [Int] {
  let timeLength = 16
  if cell.count <= timeLength, cell.first?.isNumber == true { return [cell.count] }
  return cell.split(separator: " ").map(\.count)
}

/// The lines of a cell, divided at spaces, and within a word that is longer than a line.
private func wrapped(_ cell: String, width: Int) -> [String] {
  guard cell.count > width else { return [cell] }
  var lines: [String] = []
  for word in cell.split(separator: " ") {
    if let last = lines.last, last.count + 1 + word.count <= width {
      lines[lines.count - 1] += " " + word
    } else {
      var rest = word
      repeat {
        lines.append(String(rest.prefix(width)))
        rest = rest.dropFirst(width)
      } while !rest.isEmpty
    }
  }
  return lines
}

/// A text with some of its characters replaced. A combining mark hides no character from this, as it would in a
/// comparison of `Character`s.
func escaped(_ text: String, by replacement: (Unicode.Scalar) -> String?) -> String {
  text.unicodeScalars.reduce(into: "") { $0 += replacement($1) ?? String($1) }
}

/// A word of a command line for a shell, safe to show.
func shellWord(_ bytes: [UInt8]) -> String { shellQuoted(displayName(bytes)) }

func shellQuoted(_ text: String) -> String {
  let isPlain = !text.isEmpty && text.utf8.allSatisfy { isAlphanumeric($0) || "-_./:=,@%+".utf8.contains($0) }
  return isPlain
    ? text : "'" + escaped(text) { $0 == "'" ? "'\\''" : nil } + "'"
}

/// Breaks a text at blanks, for 80 columns.
func wrapped(_ text: String, first: String, next: String) -> [String] {
  var lines: [String] = []
  var line = first
  var isEmpty = true
  for word in text.split(separator: " ") {
    if !isEmpty, line.count + 1 + word.count > 80 {
      lines.append(line)
      line = next
      isEmpty = true
    }
    line += isEmpty ? String(word) : " \(word)"
    isEmpty = false
  }
  return lines + [line]
}

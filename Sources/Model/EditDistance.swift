/// The number of edits between two words: insertions, removals and replacements of one character, and exchanges of two
/// neighbours (optimal string alignment).
public func distance(from word: String, to other: String) -> Int {
  let (a, b) = (Array(word.lowercased()), Array(other))
  var rows = [Array(0...b.count)]
  for i in a.indices {
    var row = [i + 1]
    for j in b.indices {
      var edits = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { edits = min(edits, rows[i - 1][j - 1] + 1) }
      row.append(edits)
    }
    rows.append(row)
  }
  return rows[a.count][b.count]
}

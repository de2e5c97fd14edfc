import Foundation

/// One line of the table.
struct Row: Encodable {
  enum Measure: String, Encodable {
    /// rsync's time divided by treering's; more is better.
    case ratio
    /// Less is better.
    case milliseconds, mebibytes, kibibytes, growth, calls
  }
  var job: String
  var treering: Double?
  var peer: Double?
  var measure: Measure
  var value: Double
  var must: Double
  var aim: Double
  /// The results of all runs, in order.
  var treeringRuns: [Double] = []
  var peerRuns: [Double] = []
  var note: String?

  private func reaches(_ limit: Double) -> Bool { measure == .ratio ? value >= limit : value <= limit }
  var verdict: String { reaches(aim) ? "aim" : reaches(must) ? "must" : "MISSED" }

  private var unit: String {
    switch measure {
    case .ratio, .growth: "x"
    case .milliseconds: " ms"
    case .mebibytes: " MiB"
    case .kibibytes: " KiB"
    case .calls: " calls"
    }
  }

  var cells: [String] {
    func seconds(_ value: Double?) -> String { value.map { String(format: "%.3f", $0) } ?? "-" }
    func limit(_ value: Double) -> String { String(format: "%g", value) + unit }
    return [
      job, seconds(treering), seconds(peer), String(format: "%.2f", value) + unit, limit(must),
      limit(aim), verdict,
    ]
  }
}

struct Report: Encodable {
  var machine: [String: String]
  var quick: Bool
  var runs: Int
  var rows: [Row]

  func json() throws -> String {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }

  func text() -> String {
    var lines = machine.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
    lines.append("medians of \(runs) runs each, in turn, warm cache\(quick ? "; quick: a tenth of the files" : "")")
    lines.append("")
    let head = ["job", "treering s", "peer s", "ratio", "must", "aim", "reached"]
    let table = [head] + rows.map(\.cells)
    let widths = head.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
    for (index, row) in table.enumerated() {
      lines.append(
        row.enumerated().map { column, cell in
          let padding = String(repeating: " ", count: widths[column] - cell.count)
          return column == 0 ? cell + padding : padding + cell
        }.joined(separator: " | "))
      if index == 0 { lines.append(widths.map { String(repeating: "-", count: $0) }.joined(separator: "-|-")) }
    }
    for row in rows { if let note = row.note { lines.append("\(row.job): \(note)") } }
    return lines.joined(separator: "\n")
  }
}

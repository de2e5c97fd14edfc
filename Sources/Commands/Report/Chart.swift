internal import Model

/// A chart as SVG: axes, lines and words, and no more. The text beside it has the same figures.
struct Chart {
  struct Series {
    let name: String
    /// Seconds since 1970, and a value from 0 on.
    var points: [(time: Int64, value: Double)]
  }

  /// The four classes of lines in `HTMLPage`.
  static let mostSeries = 4

  /// Unique on the page.
  let id: String
  let title: String
  /// The figures in words, for those who do not see the picture.
  let description: String
  let begin, end: Int64

  // The picture's size in its own units, and the area of the lines in it.
  private static let (width, height) = (440.0, 200.0)
  private static let (left, right, top, bottom) = (76.0, 432.0, 10.0, 170.0)

  private func x(at time: Int64) -> Double {
    let share = end > begin ? Double(time - begin) / Double(end - begin) : 0
    return Self.left + min(max(share, 0), 1) * (Self.right - Self.left)
  }

  /// Lines of values, at most `mostSeries`. `label` writes a value.
  func lines(_ series: [Series], label: (Double) -> String) -> String {
    let most = max(series.flatMap(\.points).map(\.value).max() ?? 0, 1)
    func y(_ value: Double) -> Double { Self.bottom - min(max(value / most, 0), 1) * (Self.bottom - Self.top) }
    var parts = axis(labels: [0, most / 2, most].map { (y($0), label($0)) })
    for (index, one) in series.enumerated() {
      var points = one.points.map { (x(at: $0.time), y($0.value)) }
      // A single point has no line.
      if let only = points.first, points.count == 1 { points = [(only.0 - 3, only.1), (only.0 + 3, only.1)] }
      parts.append(Self.polyline(points, style: "l\(index)"))
    }
    return figure(parts, legend: series.count > 1 ? series.map(\.name) : [])
  }

  func marks(_ rows: [(name: String, times: [Int64])]) -> String {
    let step = (Self.bottom - Self.top) / Double(max(rows.count, 1))
    let centres = rows.indices.map { Self.top + (Double($0) + 0.5) * step }
    var parts = axis(labels: zip(centres, rows).map { ($0, $1.name) })
    for (centre, row) in zip(centres, rows) {
      parts += row.times.map { time in
        Self.polyline([(x(at: time), centre - 6), (x(at: time), centre + 6)], style: "l0")
      }
    }
    return figure(parts, legend: [])
  }

  private func axis(labels: [(y: Double, text: String)]) -> [String] {
    var parts = labels.map { label in
      Self.polyline([(Self.left, label.y), (Self.right, label.y)], style: "axis")
        + Self.text(label.text, x: Self.left - 6, y: label.y + 4, anchor: "end")
    }
    parts.append(Self.text(dayText(begin), x: Self.left, y: Self.bottom + 20, anchor: "start"))
    parts.append(Self.text(dayText(end), x: Self.right, y: Self.bottom + 20, anchor: "end"))
    return parts
  }

  private func figure(_ parts: [String], legend: [String]) -> String {
    let samples = legend.enumerated().map { index, name in
      "<li><svg viewBox=\"0 0 32 10\" aria-hidden=\"true\">\(Self.polyline([(0, 5), (32, 5)], style: "l\(index)"))</svg>"
        + "\(htmlText(name))</li>"
    }
    return """
      <figure>
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" role="img" aria-labelledby="\(id)-title \(id)-text">
      <title id="\(id)-title">\(htmlText(title))</title>
      <desc id="\(id)-text">\(htmlText(description))</desc>
      \(parts.joined(separator: "\n"))
      </svg>
      \(samples.isEmpty ? "" : "<ul class=\"legend\">\(samples.joined())</ul>\n")<figcaption>\(htmlText(title))</figcaption>
      </figure>
      """
  }

  private static func polyline(_ points: [(Double, Double)], style: String) -> String {
    let text = points.map { "\(fixed($0.0, digits: 1)),\(fixed($0.1, digits: 1))" }.joined(separator: " ")
    return "<polyline class=\"\(style)\" points=\"\(text)\"/>"
  }

  private static func text(_ text: String, x: Double, y: Double, anchor: String) -> String {
    "<text x=\"\(fixed(x, digits: 1))\" y=\"\(fixed(y, digits: 1))\" text-anchor=\"\(anchor)\">\(htmlText(text))</text>"
  }
}

/// A text with the characters escaped that HTML would take for its own.
func htmlText(_ text: String) -> String {
  escaped(text) { character in
    switch character {
    case "&": "&amp;"
    case "<": "&lt;"
    case ">": "&gt;"
    case "\"": "&quot;"
    case "'": "&#39;"
    default: nil
    }
  }
}

/// One self-contained page: no script, and nothing that is fetched. It is for light and dark screens, and for paper.
struct HTMLPage {
  private let title: String
  private var body = ""

  init(title: String) { self.title = title }

  mutating func add(raw element: String) { body += element + "\n" }

  mutating func add(_ tag: String, _ text: String, attributes: String = "") {
    add(raw: "<\(tag)\(attributes)>\(htmlText(text))</\(tag)>")
  }

  mutating func add(list items: [String], isNumbered: Bool = false) {
    let tag = isNumbered ? "ol" : "ul"
    add(raw: "<\(tag)>" + items.map { "<li>\(htmlText($0))</li>" }.joined() + "</\(tag)>")
  }

  /// The first row has the titles. Columns of `numbers` are aligned on the right.
  mutating func add(table rows: [[String]], numbers: Set<Int> = []) {
    guard let head = rows.first else { return }
    func row(_ cells: [String], open: (Int) -> String, close: String) -> String {
      "<tr>" + cells.enumerated().map { open($0) + htmlText($1) + close }.joined() + "</tr>"
    }
    func style(_ column: Int) -> String { numbers.contains(column) ? " class=\"number\"" : "" }
    let titles = row(head, open: { "<th scope=\"col\"\(style($0))>" }, close: "</th>")
    let cells = rows.dropFirst().map { row($0, open: { "<td\(style($0))>" }, close: "</td>") }
    // A wide table scrolls by itself, also with the keys.
    add(
      raw:
        "<div class=\"table\" role=\"region\" tabindex=\"0\" aria-label=\"\(htmlText(head.joined(separator: ", ")))\">"
        + "<table><thead>\(titles)</thead><tbody>\n\(cells.joined(separator: "\n"))\n</tbody></table></div>")
  }

  var text: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>\(htmlText(title))</title>
    <style>
    \(Self.style)
    </style>
    </head>
    <body>
    <main>
    <h1>\(htmlText(title))</h1>
    \(body)</main>
    </body>
    </html>

    """
  }

  /// The colours have a contrast of at least 4.5 to their background, those of lines at least 3 (WCAG 2.1).
  private static let style = """
    :root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --line: #d0d7de; --back: #ffffff;
      --block: #f3f5f7; --bad: #b42318; --l0: #0b61c4; --l1: #a83a00; --l2: #1a7f37; --l3: #7b3fb5; }
    @media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #a2adb8; --line: #3d444d; --back: #12161b;
      --block: #1d232b; --bad: #ff8f85; --l0: #6cb0ff; --l1: #ffab70; --l2: #6fdd8b; --l3: #d2a8ff; } }
    body { margin: 0; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
    main { max-width: 60rem; margin: 0 auto; padding: 1rem; }
    h1, h2, h3, h4 { line-height: 1.25; margin: 1.6em 0 .5em; overflow-wrap: anywhere; }
    h1 { margin-top: .5em; }
    h2 { border-top: 1px solid var(--line); padding-top: .8em; }
    p, li { overflow-wrap: anywhere; }
    pre { background: var(--block); border: 1px solid var(--line); border-radius: .3rem; padding: .7rem;
      white-space: pre-wrap; overflow-wrap: anywhere; }
    code { font: .9em ui-monospace, monospace; }
    .table { overflow-x: auto; margin: 1rem 0; }
    table { border-collapse: collapse; font-size: .95em; }
    th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); }
    td { min-width: 6rem; }
    .number { min-width: 0; text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
    .mark strong, .bad { color: var(--bad); }
    .address svg { display: block; width: 8rem; height: 8rem; background: #fff; margin-top: .5rem; }
    figure { margin: 1rem 0; max-width: 40rem; }
    figcaption { color: var(--soft); }
    figure svg { width: 100%; height: auto; }
    figure text { fill: var(--text); font: 11px system-ui, sans-serif; }
    polyline { fill: none; stroke-width: 1.8; vector-effect: non-scaling-stroke; }
    .axis { stroke: var(--line); }
    .l0 { stroke: var(--l0); } .l1 { stroke: var(--l1); stroke-dasharray: 7 3; }
    .l2 { stroke: var(--l2); stroke-dasharray: 2 3; } .l3 { stroke: var(--l3); stroke-dasharray: 9 3 2 3; }
    .legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
    .legend svg { width: 2rem; height: .7rem; margin-right: .4rem; }
    @media print { :root { --text: #000; --soft: #333; --line: #999; --back: #fff; --block: #fff; --bad: #000;
      --l0: #000; --l1: #444; --l2: #000; --l3: #555; }
      body { font-size: 10.5pt; } main { max-width: none; padding: 0; } h2.page { break-before: page; border: 0; }
      h1, h2, h3, h4 { break-after: avoid; } pre, figure, tr { break-inside: avoid; } .table { overflow: visible; } }
    """
}

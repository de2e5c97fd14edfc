internal import Catalog
internal import Model

/// A document for people: sections of blocks. Two renderers write it.
struct PlanDocument: Equatable {
  /// A word that tells the reader to take care.
  enum Mark: String, Encodable {
    case outdated = "OUTDATED"
    case notMeasured = "NOT MEASURED"
    case notStated = "NOT STATED"
    case failed = "FAILED"
  }

  enum Content: Equatable {
    case text(String)
    case list([String])
    case steps([String])
    /// The first row has the titles.
    case table([[String]])
    /// Lines for sh(1).
    case commands([String])
    case address(String)
    case mark(Mark, String)
  }

  struct Block: Equatable {
    let content: Content
    /// True for a value that changes with the time and not with the instructions.
    let isMeasured: Bool
  }

  struct Section: Equatable {
    /// 1 for a chapter.
    let level: Int
    let title: String
    let beginsPage: Bool
    var blocks: [Block] = []
  }

  let title: String
  /// The sentence with the date.
  let written: String
  private(set) var sections: [Section] = []

  init(title: String, written: String) { (self.title, self.written) = (title, written) }

  mutating func begin(_ title: String, level: Int = 1, onNewPage: Bool = false) {
    sections.append(Section(level: level, title: title, beginsPage: onNewPage))
  }

  mutating func add(_ content: Content, isMeasured: Bool = false) {
    if sections.isEmpty { begin(title) }
    sections[sections.count - 1].blocks.append(Block(content: content, isMeasured: isMeasured))
  }

  /// The SHA-256 of the instructions: all but the date and the measured values.
  var digest: String {
    var rest = PlanDocument(title: title, written: "")
    rest.sections = sections.map { section in
      var section = section
      section.blocks.removeAll(where: \.isMeasured)
      return section
    }
    return SHA256().digest(of: Array(rest.markdown.utf8)).description
  }
}

// MARK: Markdown

extension PlanDocument {
  /// The line that begins the sentence with the date.
  static let datePrefix = "Written "

  var markdown: String {
    var paragraphs = ["# \(Self.plain(title))", written]
    for section in sections {
      paragraphs.append(String(repeating: "#", count: section.level + 1) + " " + Self.plain(section.title))
      paragraphs += section.blocks.map { Self.markdown(of: $0.content) }
    }
    return paragraphs.filter { !$0.isEmpty }.joined(separator: "\n\n") + "\n"
  }

  private static func markdown(of content: Content) -> String {
    switch content {
    case .text(let text): return plain(text)
    case .list(let items): return items.map { "- \(plain($0))" }.joined(separator: "\n")
    case .steps(let items):
      return items.enumerated().map { "\($0 + 1). \(plain($1))" }.joined(separator: "\n")
    case .table(let rows):
      var lines = rows.map { "| " + $0.map(cell).joined(separator: " | ") + " |" }
      lines.insert("|" + String(repeating: " --- |", count: rows.first?.count ?? 0), at: min(1, lines.count))
      return lines.joined(separator: "\n")
    case .commands(let lines):
      // Longer than any that the lines have.
      let runs = lines.flatMap { $0.utf8.split { $0 != UInt8(ascii: "`") }.map(\.count) }
      let fence = String(repeating: "`", count: max(3, (runs.max() ?? 0) + 1))
      return ([fence + "sh"] + lines + [fence]).joined(separator: "\n")
    case .address(let address): return address.unicodeScalars.contains("`") ? plain(address) : "`\(address)`"
    case .mark(let mark, let text): return "**\(mark.rawValue)**: \(plain(text))"
    }
  }

  /// A text without the characters that Markdown would take for its own.
  private static func plain(_ text: String) -> String {
    escaped(text) { "\\*`<".unicodeScalars.contains($0) ? "\\\($0)" : nil }
  }

  private static func cell(_ text: String) -> String { escaped(plain(text)) { $0 == "|" ? "\\|" : nil } }
}

// MARK: HTML

extension PlanDocument {
  /// A page for the screen and for paper. `picture` returns the picture of an address, as an element of HTML.
  func html(picture: (_ address: String) -> String? = { _ in nil }) -> String {
    var page = HTMLPage(title: title)
    page.add("p", written)
    for section in sections {
      page.add("h\(section.level + 1)", section.title, attributes: section.beginsPage ? " class=\"page\"" : "")
      for block in section.blocks { Self.add(block.content, to: &page, picture: picture) }
    }
    return page.text
  }

  private static func add(_ content: Content, to page: inout HTMLPage, picture: (_ address: String) -> String?) {
    switch content {
    case .text(let text): page.add("p", text)
    case .list(let items): page.add(list: items)
    case .steps(let items): page.add(list: items, isNumbered: true)
    case .table(let rows): page.add(table: rows)
    case .commands(let lines): page.add(raw: "<pre><code>\(htmlText(lines.joined(separator: "\n")))</code></pre>")
    case .address(let address):
      page.add(raw: "<p class=\"address\"><code>\(htmlText(address))</code>\(picture(address) ?? "")</p>")
    case .mark(let mark, let text):
      page.add(raw: "<p class=\"mark\"><strong>\(mark.rawValue)</strong>: \(htmlText(text))</p>")
    }
  }
}

// MARK: JSON

extension PlanDocument.Block: Encodable {
  func encode(to encoder: any Encoder) throws {
    func put(
      _ kind: String, text: String? = nil, items: [String]? = nil, rows: [[String]]? = nil,
      mark: PlanDocument.Mark? = nil
    ) throws {
      try encoder.encode([
        "kind": kind, "text": text, "items": items, "rows": rows, "mark": mark, "measured": isMeasured,
      ])
    }
    switch content {
    case .text(let text): try put("text", text: text)
    case .list(let items): try put("list", items: items)
    case .steps(let items): try put("steps", items: items)
    case .commands(let lines): try put("commands", items: lines)
    case .address(let address): try put("address", text: address)
    case .table(let rows): try put("table", rows: rows)
    case .mark(let mark, let text): try put("mark", text: text, mark: mark)
    }
  }
}

extension PlanDocument.Section: Encodable {
  func encode(to encoder: any Encoder) throws {
    try encoder.encode(["level": level, "title": title, "blocks": blocks])
  }
}

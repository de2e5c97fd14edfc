import Foundation
import TestSupport

/// The mdoc source of a manual page, by section.
struct ManualPage {
  /// The lines below `.Sh TITLE`, in order of the sections.
  private let sections: [(title: String, lines: [String])]

  init(_ file: String) throws {
    let url = Tools.package.appending(path: "man/\(file)")
    let text = try String(contentsOf: url, encoding: .utf8)
    var sections: [(title: String, lines: [String])] = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
      if line.hasPrefix(".Sh ") {
        sections.append((String(line.dropFirst(4)), []))
      } else if !sections.isEmpty {
        sections[sections.count - 1].lines.append(line)
      }
    }
    self.sections = sections
  }

  var titles: [String] { sections.map(\.title) }

  func section(_ title: String) throws -> [String] {
    guard let found = sections.first(where: { $0.title == title }) else {
      throw TestSupportError("the page has no section \(title)")
    }
    return found.lines
  }

  /// The items of the outermost lists: what follows `.It`, and the lines up to the next.
  static func items(_ lines: [String]) -> [(head: String, body: [String])] {
    var depth = 0
    var result: [(head: String, body: [String])] = []
    for line in lines {
      if line.hasPrefix(".Bl ") { depth += 1 }
      if line == ".El" { depth -= 1 }
      if depth == 1 && line.hasPrefix(".It ") {
        result.append((String(line.dropFirst(4)), []))
      } else if depth > 0 && !result.isEmpty {
        result[result.count - 1].body.append(line)
      }
    }
    return result
  }

  /// Options as `help` spells them: `.It Fl r , Fl -repository Ar dir` is `-r, --repository <dir>`.
  static func options(_ lines: [String]) -> Set<String> {
    Set(
      items(lines).filter { $0.head.hasPrefix("Fl ") }.map { item in
        var spelling = ""
        var words = item.head.split(separator: " ").map(String.init)[...]
        while let word = words.popFirst() {
          switch word {
          case "Fl": spelling += "-" + (words.popFirst() ?? "")
          case "Ar": spelling += " <\(words.popFirst() ?? "")>"
          case ",": spelling += ", "
          default: spelling += " \(word)?"
          }
        }
        return spelling
      })
  }
}

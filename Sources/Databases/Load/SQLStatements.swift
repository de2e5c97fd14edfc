/// Divides the SQL text of pg_dump(1) and pg_dumpall(1) into statements.
///
/// A value may have a text that looks like a statement, on a line of its own. So quotes are followed, in the forms that
/// PostgreSQL's programs write: `'…'`, `E'…'` and `"…"`. Comments, and commands of psql such as `\connect`, are left out.
struct SQLStatements {
  /// The statements, without the semicolon.
  private(set) var texts: [[UInt8]] = []

  init(_ text: [UInt8]) {
    var (index, statement) = (0, [UInt8]())
    while index < text.count {
      let byte = text[index]
      switch byte {
      case UInt8(ascii: "'"), UInt8(ascii: "\""):
        let hasEscapes = byte == UInt8(ascii: "'") && Self.endsWithEscapeMark(statement)
        let end = Self.endOfQuoted(in: text, from: index, hasEscapes: hasEscapes)
        statement += text[index..<end]
        index = end
      case UInt8(ascii: "-") where text[index...].starts(with: "--".utf8), UInt8(ascii: "\\") where statement.isEmpty:
        index = text[index...].firstIndex(of: 10) ?? text.count
      case UInt8(ascii: ";"):
        texts.append(statement)
        statement = []
        index += 1
      default:
        if !statement.isEmpty || !" \n\t".utf8.contains(byte) { statement.append(byte) }
        index += 1
      }
    }
  }

  /// True for the letter `E` that is no part of a word.
  private static func endsWithEscapeMark(_ text: [UInt8]) -> Bool {
    guard text.last == UInt8(ascii: "E"), let before = text.dropLast().last else { return text.last == 69 }
    return " (,=".utf8.contains(before)
  }

  /// The place after the closing quote. A doubled quote stands for itself.
  private static func endOfQuoted(in text: [UInt8], from start: Int, hasEscapes: Bool) -> Int {
    let quote = text[start]
    var index = start + 1
    while index < text.count {
      if hasEscapes, text[index] == UInt8(ascii: "\\") {
        index += 2
      } else if text[index] != quote {
        index += 1
      } else if index + 1 < text.count, text[index + 1] == quote {
        index += 2
      } else {
        return index + 1
      }
    }
    return text.count
  }

  /// The name after some words at the beginning of a statement, and the rest of it.
  static func name(in statement: [UInt8], after words: String) -> (name: [UInt8], rest: ArraySlice<UInt8>)? {
    guard statement.starts(with: words.utf8) else { return nil }
    let start = words.utf8.count
    guard start < statement.count, statement[start] == UInt8(ascii: "\"") else {
      let name = statement[start...].prefix { $0 != 32 && $0 != 10 }
      return (Array(name), statement[name.endIndex...])
    }
    let end = endOfQuoted(in: statement, from: start, hasEscapes: false)
    var name: [UInt8] = []
    var rest = statement[(start + 1)..<max(start + 1, end - 1)]
    while let byte = rest.popFirst() {
      name.append(byte)
      if byte == UInt8(ascii: "\"") { _ = rest.popFirst() }
    }
    return (name, statement[end...])
  }
}

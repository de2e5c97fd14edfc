/// A token of a PHP text. No PHP is run: this is the form of the language alone.
enum PHPToken: Equatable {
  /// A name, a keyword or a number, such as `define`, `const`, `__DIR__` or `3306`.
  case word(String)
  /// A variable, without its `$`.
  case variable(String)
  /// A text whose bytes the file alone gives.
  case string([UInt8])
  /// A text with variables in it.
  case template
  /// Any other byte: an operator, a bracket, a separator.
  case sign(UInt8)

  static func sign(_ character: Character) -> PHPToken { .sign(character.asciiValue ?? 0) }

  /// True for a word, in whatever case.
  func isWord(_ word: String) -> Bool {
    guard case .word(let found) = self else { return false }
    return found.lowercased() == word
  }
}

/// Cuts a PHP text into tokens; <https://www.php.net/manual/en/language.basic-syntax.php>.
struct PHPTokens {
  private let text: [UInt8]
  private var place = 0
  private var line = 1
  private(set) var all: [(token: PHPToken, line: Int)] = []

  /// The tokens of a file, without comments and without the text outside `<?php`.
  static func all(in text: [UInt8]) -> [(token: PHPToken, line: Int)] {
    var tokens = PHPTokens(text: text)
    tokens.readAll()
    return tokens.all
  }

  private init(text: [UInt8]) { self.text = text }

  private func starts(with word: String, at offset: Int = 0) -> Bool {
    text[min(place + offset, text.count)...].starts(with: word.utf8)
  }

  private func byte(_ offset: Int = 0) -> UInt8? { place + offset < text.count ? text[place + offset] : nil }

  private mutating func advance(_ count: Int = 1) {
    let end = min(place + count, text.count)
    while place < end {
      if text[place] == 10 { line += 1 }
      place += 1
    }
  }

  private mutating func skip(to end: String) { while place < text.count, !starts(with: end) { advance() } }

  private mutating func readAll() {
    while place < text.count {
      skip(to: "<?")
      advance(2)
      if starts(with: "php") { advance(3) } else if byte() == UInt8(ascii: "=") { advance() }
      while place < text.count, !starts(with: "?>") { readToken() }
      // The end of PHP ends a statement.
      if place < text.count { add(.sign(";"), from: line) }
      advance(2)
    }
  }

  private mutating func add(_ token: PHPToken, from line: Int) { all.append((token, line)) }

  private mutating func readToken() {
    let first = text[place]
    let start = line
    if first <= 0x20 { return advance() }
    if starts(with: "//") || first == UInt8(ascii: "#") {
      while place < text.count, text[place] != 10, text[place] != 13, !starts(with: "?>") { advance() }
    } else if starts(with: "/*") {
      advance(2)
      skip(to: "*/")
      advance(2)
    } else if first == UInt8(ascii: "'") {
      add(.string(singleQuoted()), from: start)
    } else if first == UInt8(ascii: "\"") {
      advance()
      add(doubleQuoted(until: first), from: start)
    } else if first == UInt8(ascii: "`") {
      advance()
      _ = doubleQuoted(until: first)
      add(.template, from: start)
    } else if starts(with: "<<<"), let token = document() {
      add(token, from: start)
    } else if first == UInt8(ascii: "$"), byte(1).map(isLetter) == true {
      advance()
      add(.variable(word()), from: start)
    } else if isLetter(first) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first) {
      add(.word(word()), from: start)
    } else {
      advance()
      add(.sign(first), from: start)
    }
  }

  private func isLetter(_ byte: UInt8) -> Bool {
    let small = byte | 0x20
    return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(small) || byte == UInt8(ascii: "_") || byte >= 0x80
  }

  private mutating func word() -> String {
    let start = place
    while let next = byte(), isLetter(next) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(next) { advance() }
    return String(decoding: text[start..<place], as: UTF8.self)
  }

  // MARK: Texts

  private mutating func singleQuoted() -> [UInt8] {
    var content: [UInt8] = []
    advance()
    while let next = byte(), next != UInt8(ascii: "'") {
      let isEscape = next == UInt8(ascii: "\\") && (byte(1) == next || byte(1) == UInt8(ascii: "'"))
      if isEscape { advance() }
      content.append(text[place])
      advance()
    }
    advance()
    return content
  }

  /// A text with escapes, to its closing quote. `$` before a name, and `{$`, put a variable into it.
  private mutating func doubleQuoted(until quote: UInt8?) -> PHPToken {
    var content: [UInt8] = []
    var hasVariables = false
    while let next = byte(), next != quote {
      if next == UInt8(ascii: "\\") {
        content += escape()
        continue
      }
      let after = byte(1)
      if next == UInt8(ascii: "$"), after.map(isLetter) == true || after == UInt8(ascii: "{") { hasVariables = true }
      if next == UInt8(ascii: "{"), after == UInt8(ascii: "$") { hasVariables = true }
      content.append(next)
      advance()
    }
    if quote != nil { advance() }
    return hasVariables ? .template : .string(content)
  }

  private static let plainEscapes: [UInt8: UInt8] = [
    UInt8(ascii: "n"): 10, UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9, UInt8(ascii: "v"): 11, UInt8(ascii: "e"): 27,
    UInt8(ascii: "f"): 12, UInt8(ascii: "\\"): 92, UInt8(ascii: "$"): 36, UInt8(ascii: "\""): 34,
  ]

  /// The bytes of an escape at the present place; an unknown one stands for itself.
  private mutating func escape() -> [UInt8] {
    advance()
    guard let next = byte() else { return [UInt8(ascii: "\\")] }
    if let plain = Self.plainEscapes[next] {
      advance()
      return [plain]
    }
    if next == UInt8(ascii: "x"), let value = number(after: 1, radix: 16, atMost: 2) { return [UInt8(value)] }
    if next == UInt8(ascii: "u"), byte(1) == UInt8(ascii: "{") {
      let start = place
      if let value = number(after: 2, radix: 16, atMost: 6), byte() == UInt8(ascii: "}"),
        let scalar = Unicode.Scalar(UInt32(value))
      {
        advance()
        return Array(String(Character(scalar)).utf8)
      }
      place = start
    }
    if let value = number(after: 0, radix: 8, atMost: 3) { return [UInt8(truncatingIfNeeded: value)] }
    return [UInt8(ascii: "\\")]
  }

  /// The number behind some bytes, which are passed if there is one.
  private mutating func number(after skipped: Int, radix: Int, atMost digits: Int) -> Int? {
    let found = text[min(place + skipped, text.count)...].prefix(digits).prefix {
      Int(String(UnicodeScalar($0)), radix: radix) != nil
    }
    guard let value = Int(String(decoding: found, as: UTF8.self), radix: radix) else { return nil }
    advance(skipped + found.count)
    return value
  }

  /// A heredoc or nowdoc; `nil` if these are shift operators.
  private mutating func document() -> PHPToken? {
    let start = (place, line)
    advance(3)
    while byte() == 32 || byte() == 9 { advance() }
    let quote = byte().flatMap { [UInt8(ascii: "'"), UInt8(ascii: "\"")].contains($0) ? $0 : nil }
    if quote != nil { advance() }
    let name = word()
    if quote != nil { advance() }
    if byte() == 13 { advance() }
    guard !name.isEmpty, byte() == 10 else {
      (place, line) = start
      return nil
    }
    advance()
    // The closing name stands first in its line, after blanks, which are then taken from all lines.
    var lines: [ArraySlice<UInt8>] = []
    while place < text.count {
      let found = text[place...].prefix { $0 != 10 }
      let blanks = found.prefix { $0 == 32 || $0 == 9 }.count
      let rest = found.dropFirst(blanks)
      if rest.starts(with: name.utf8), rest.dropFirst(name.utf8.count).first.map(isLetter) != true {
        advance(blanks + name.utf8.count)
        let content = Array(lines.map { $0.dropFirst(blanks) }.joined(separator: [10]))
        if quote == UInt8(ascii: "'") { return .string(content) }
        var inner = PHPTokens(text: content)
        return inner.doubleQuoted(until: nil)
      }
      lines.append(found)
      advance(found.count + 1)
    }
    return .template
  }
}

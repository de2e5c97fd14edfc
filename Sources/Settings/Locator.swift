internal import Model
internal import TOMLKit

/// Finds keys and values in a TOML text, by their paths; an array's items have numbers as names. For a text that is
/// not TOML, only `fault` is valid.
struct Locator {
  struct Place: Comparable {
    var line, column: Int
    static let start = Place(line: 1, column: 1)
    static func < (a: Place, b: Place) -> Bool { (a.line, a.column) < (b.line, b.column) }
  }

  private(set) var keys: [[String]: Place] = [:]
  private(set) var values: [[String]: Place] = [:]
  /// The first fault that the TOML parser must not see. The parser ends the process at two faults, which it takes for
  /// impossible. They are a table's bracket without a name, and a value that begins with an end delimiter. The parser
  /// is very slow for keys of many parts, and its strings end at a NUL.
  private(set) var fault: (place: Place, message: String)?
  /// The limit for the nesting of arrays and tables, and for the parts of a key. The parser has no limit and would
  /// overflow the stack.
  private static let deepest = 64
  private let bytes: [UInt8]
  private var depth = 0
  private var position = 0
  private var line = 1
  private var lineStart = 0

  /// Parses an untrusted text; throws its first fault, with its place.
  static func parse(_ text: String) throws(SettingsError) -> (table: TOMLTable, locator: Locator) {
    let locator = Locator(text)
    if let (place, message) = locator.fault {
      throw SettingsError(line: place.line, column: place.column, message: message)
    }
    do { return (try TOMLTable(string: text), locator) } catch let error as TOMLParseError {
      // The most common mistake of users who do not know TOML.
      let hint =
        error.description.contains("redefine existing table") ? "; write each of several tables as [[name]]" : ""
      throw SettingsError(
        line: error.source.begin.line, column: error.source.begin.column, message: error.description + hint)
    } catch { throw SettingsError(message: "\(error)") }
  }

  init(_ text: String) {
    bytes = Array(text.utf8)
    var table: [String] = []
    var counts: [[String]: Int] = [:]
    while true {
      skip { Self.blanks.contains($0) || $0 == Self.newline || $0 == UInt8(ascii: ",") }
      guard let byte = current else { return }
      if byte == UInt8(ascii: "#") {
        skip { $0 != Self.newline }
      } else if byte == UInt8(ascii: "[") {
        let place = here
        let isArray = position + 1 < bytes.count && bytes[position + 1] == byte
        for _ in 0..<(isArray ? 2 : 1) { advance() }
        skip { Self.blanks.contains($0) }
        guard let next = current, isAlphanumeric(next) || "-_\"']".utf8.contains(next) else {
          fault = (place, "a name in brackets should follow, such as [retention]")
          return
        }
        table = []
        let names = key()
        for (index, name) in names.enumerated() {
          table.append(name)
          // A name of an array means its last item, or a new one at the end of a header [[name]].
          let isNew = isArray && index == names.count - 1
          guard isNew || counts[table] != nil else { continue }
          let number = counts[table, default: 0]
          if isNew { counts[table] = number + 1 }
          table.append("\(isNew ? number : number - 1)")
        }
        note(table, place: place)
        skip { $0 != Self.newline }
      } else if !statement(below: table) {
        return
      }
    }
  }

  private static let newline = UInt8(ascii: "\n")
  private static let blanks: Set<UInt8> = [0x20, 0x09, 0x0d]

  private var current: UInt8? { position < bytes.count ? bytes[position] : nil }
  private var here: Place { Place(line: line, column: position - lineStart + 1) }

  private mutating func note(_ path: [String], place: Place) {
    if keys[path] == nil { keys[path] = place }
    if values[path] == nil { values[path] = place }
  }

  private mutating func advance() {
    if current == Self.newline {
      line += 1
      lineStart = position + 1
    }
    position += 1
  }

  private mutating func skip(while isSkipped: (UInt8) -> Bool) {
    while let byte = current, isSkipped(byte) { advance() }
  }

  /// Reads a key, an equals sign and a value; false if the text has another form.
  private mutating func statement(below table: [String]) -> Bool {
    let place = here
    let path = table + key()
    guard current == UInt8(ascii: "=") else { return false }
    advance()
    skip { Self.blanks.contains($0) }
    for count in table.count + 1..<path.count + 1 where keys[Array(path[..<count])] == nil {
      keys[Array(path[..<count])] = place
    }
    value(at: path)
    return true
  }

  /// Reads a dotted key up to its end.
  private mutating func key() -> [String] {
    var parts: [String] = []
    while true {
      skip { Self.blanks.contains($0) }
      guard let byte = current else { return parts }
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
        let start = position
        string()
        parts.append(String(decoding: bytes[start + 1..<max(start + 1, position - 1)], as: UTF8.self))
      } else {
        let start = position
        skip { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || isAlphanumeric($0) }
        if position == start { return parts }
        parts.append(String(decoding: bytes[start..<position], as: UTF8.self))
      }
      skip { Self.blanks.contains($0) }
      guard current == UInt8(ascii: ".") else { return parts }
      advance()
      if parts.count == Self.deepest {
        fault = fault ?? (here, "a key has more than \(Self.deepest) parts")
        position = bytes.count
        return parts
      }
    }
  }

  private mutating func value(at path: [String]) {
    if values[path] == nil { values[path] = here }
    if keys[path] == nil { keys[path] = here }
    if fault == nil, let byte = current, ",]}#".utf8.contains(byte) { fault = (here, "a value is missing here") }
    depth += 1
    defer { depth -= 1 }
    if depth > Self.deepest {
      fault = fault ?? (here, "arrays or tables lie more than \(Self.deepest) deep in each other")
      position = bytes.count
      return
    }
    switch current {
    case UInt8(ascii: "\""), UInt8(ascii: "'"): string()
    case UInt8(ascii: "["):
      advance()
      var number = 0
      while space(), let byte = current, byte != UInt8(ascii: "]") {
        if byte == UInt8(ascii: ",") {
          advance()
        } else {
          let before = position
          value(at: path + ["\(number)"])
          number += 1
          if position == before { return }
        }
      }
      advance()
    case UInt8(ascii: "{"):
      advance()
      while space(), let byte = current, byte != UInt8(ascii: "}") {
        if byte == UInt8(ascii: ",") { advance() } else if !statement(below: path) { return }
      }
      advance()
    default: skip { !Self.blanks.contains($0) && $0 != Self.newline && !",]}#".utf8.contains($0) }
    }
  }

  /// Skips blanks, newlines and comments.
  private mutating func space() -> Bool {
    while true {
      skip { Self.blanks.contains($0) || $0 == Self.newline }
      guard current == UInt8(ascii: "#") else { return true }
      skip { $0 != Self.newline }
    }
  }

  /// Skips a string of any of the four kinds.
  private mutating func string() {
    guard let quote = current else { return }
    let isLong = bytes[position...].starts(with: [quote, quote, quote])
    for _ in 0..<(isLong ? 3 : 1) { advance() }
    while let byte = current {
      if byte == UInt8(ascii: "\\") && quote == UInt8(ascii: "\"") {
        let escape = bytes[(position + 1)...]
        if escape.starts(with: "u0000".utf8) || escape.starts(with: "U00000000".utf8) {
          fault = fault ?? (here, "a string cannot have a NUL")
        }
        advance()
        if current != nil { advance() }
      } else if byte == quote && (!isLong || bytes[position...].starts(with: [quote, quote, quote])) {
        for _ in 0..<(isLong ? 3 : 1) where current != nil { advance() }
        return
      } else {
        advance()
      }
    }
  }
}

/// True for white space as defined by Perl.
package func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || (9...13).contains(byte) }

internal import Model

/// The constants and variables that a PHP configuration file surely sets, with values that the file alone gives.
struct PHPConstants {
  /// A value, or the reason that it is unknown.
  enum Value: Equatable {
    case known([UInt8])
    /// The line of a value that only running PHP could tell: a function's, the environment's, or a condition's.
    case computed(line: Int)
  }

  /// By name; `$table_prefix` has its `$`.
  private(set) var values: [String: Value] = [:]
  /// The line of the first inclusion of another file before the last that was looked at.
  private(set) var inclusionLine: Int?

  private let tokens: [(token: PHPToken, line: Int)]
  private var place = 0
  private let names: Set<String>
  private let directory: [UInt8]
  private let given: [String: [UInt8]]

  /// Reads a text. `directory` is the file's, for `__DIR__`; `given` has the constants that are known without it.
  init(in text: [UInt8], names: Set<String>, directory: [UInt8], given: [String: [UInt8]]) {
    tokens = PHPTokens.all(in: text)
    (self.names, self.directory, self.given) = (names, directory, given)
    read()
  }

  private func token(_ offset: Int = 0) -> PHPToken? {
    place + offset < tokens.count ? tokens[place + offset].token : nil
  }

  private func isSign(_ sign: Character, at offset: Int = 0) -> Bool { token(offset) == .sign(sign) }

  // MARK: Statements

  /// A block or a condition around a statement.
  private enum Surroundings: Equatable {
    case none
    /// `if (!defined('NAME'))`: its definition counts, unless an earlier one does.
    case unlessDefined(String)
    case condition
  }

  private mutating func read() {
    var blocks: [Surroundings] = []
    // The condition of the next statement, which has no braces.
    var next = Surroundings.none
    while place < tokens.count {
      let around =
        blocks.contains(.condition) || blocks.count > 1 ? .condition : next != .none ? next : blocks.last ?? .none
      if isSign("{") {
        // A block without a condition is that of a function's body, in an expression.
        blocks.append(next == .none ? .condition : next)
        next = .none
        place += 1
      } else if isSign("}") || isEndOfBlock {
        _ = blocks.popLast()
        place += 1
        next = .none
      } else if isSign(";") {
        place += 1
        next = .none
      } else if let condition = readCondition() {
        next = around == .none ? condition : .condition
        if isSign(":") {
          blocks.append(next)
          next = .none
          place += 1
        }
      } else {
        if !readStatement(in: around) { return }
      }
    }
  }

  private var isEndOfBlock: Bool {
    ["endif", "endwhile", "endfor", "endforeach", "endswitch"].contains { token()?.isWord($0) == true }
  }

  private static let bodies = ["function", "class", "abstract", "final", "interface", "trait", "enum"]
  private static let conditions = [
    "if", "elseif", "else", "while", "for", "foreach", "switch", "do", "try", "catch", "finally",
  ]

  /// Passes the beginning of a statement that may be run or not: its word and its parentheses.
  private mutating func readCondition() -> Surroundings? {
    guard let first = token() else { return nil }
    if Self.bodies.contains(where: first.isWord) {
      passStatement()
      return .condition
    }
    guard Self.conditions.contains(where: first.isWord) else { return nil }
    let isIf = first.isWord("if")
    place += 1
    if first.isWord("else"), token()?.isWord("if") == true { place += 1 }
    guard isSign("(") else { return .condition }
    let start = place
    passBrackets()
    if isIf, place - start == 7, tokens[start + 1].token == .sign("!"), tokens[start + 2].token.isWord("defined"),
      tokens[start + 3].token == .sign("("), case .string(let name) = tokens[start + 4].token
    {
      return .unlessDefined(String(decoding: name, as: UTF8.self))
    }
    return .condition
  }

  /// Passes brackets with all in them.
  private mutating func passBrackets() {
    var depth = 0
    while let token = token() {
      if token == .sign("(") { depth += 1 }
      if token == .sign(")") { depth -= 1 }
      place += 1
      if depth == 0 { return }
    }
  }

  /// Reads a statement up to its end; false if nothing after it matters.
  private mutating func readStatement(in around: Surroundings) -> Bool {
    let start = place
    if isSign("\\") { place += 1 }
    if token()?.isWord("define") == true, isSign("(", at: 1), case .string(let name)? = token(2), isSign(",", at: 3) {
      place += 4
      define(String(decoding: name, as: UTF8.self), as: value(), in: around)
    } else if token()?.isWord("const") == true, case .word(let name)? = token(1), isSign("=", at: 2) {
      place += 3
      // Elsewhere it is the constant of a class.
      if around == .none { define(name, as: value(), in: around) } else { _ = value() }
      while isSign(","), around == .none, case .word(let name)? = token(1), isSign("=", at: 2) {
        place += 3
        define(name, as: value(), in: around)
      }
    } else if case .variable(let name)? = token(), isSign("=", at: 1), !isSign("=", at: 2) {
      place += 2
      let found = value()
      if names.contains("$" + name) { values["$" + name] = around == .none ? found : .computed(line: line(of: start)) }
    } else if ["include", "include_once", "require", "require_once"].contains(where: { token()?.isWord($0) == true }) {
      let line = line(of: start)
      place += 1
      let isLast = passStatement().contains { token in
        if case .string(let path) = token { return path.suffix(15).elementsEqual("wp-settings.php".utf8) }
        return false
      }
      if isLast { return around != .none }
      inclusionLine = inclusionLine ?? line
      return true
    }
    noteOthers(in: passStatement(from: start), line: line(of: start))
    return true
  }

  private func line(of index: Int) -> Int { tokens[index].line }

  /// Passes everything to the end of the statement, and returns it from `start` on.
  @discardableResult
  private mutating func passStatement(from start: Int? = nil) -> [PHPToken] {
    let start = start ?? place
    while let token = token(), token != .sign(";"), token != .sign("{"), token != .sign("}") { place += 1 }
    return tokens[start..<place].map(\.token)
  }

  /// A statement of another form may set one of the names: by a function or a class of its own.
  private mutating func noteOthers(in statement: [PHPToken], line: Int) {
    if case .variable(let name)? = statement.first, statement.dropFirst().first != .sign("="),
      names.contains("$" + name)
    {
      values["$" + name] = .computed(line: line)
    }
    for (index, token) in statement.enumerated() where index > 0 {
      if case .string(let bytes) = token, index > 1, statement[index - 1] == .sign("("),
        statement[index - 2].isWord("define")
      {
        let name = String(decoding: bytes, as: UTF8.self)
        if names.contains(name), values[name] == nil { values[name] = .computed(line: line) }
      }
      if case .variable(let name) = token, names.contains("$" + name), values["$" + name] == nil {
        values["$" + name] = .computed(line: line)
      }
    }
  }

  /// The first definition of a constant counts.
  private mutating func define(_ name: String, as value: Value, in around: Surroundings) {
    guard values[name] == nil else { return }
    switch around {
    case .none: values[name] = value
    case .unlessDefined(name) where inclusionLine == nil: values[name] = value
    default: values[name] = .computed(line: line(of: min(place, tokens.count - 1)))
    }
  }

  // MARK: Values

  /// Reads an expression up to the sign that ends it.
  private mutating func value() -> Value {
    let line = line(of: min(place, tokens.count - 1))
    var text: [UInt8] = []
    var isKnown = true
    while true {
      if let term = term() { text += term } else { isKnown = false }
      if isSign("."), isKnown {
        place += 1
        continue
      }
      break
    }
    // A third argument of `define` changes no value.
    let isEnd = isSign(")") || isSign(";") || isSign(",") || token() == nil
    if isKnown, isEnd { return .known(text) }
    passExpression()
    return .computed(line: line)
  }

  private mutating func passExpression() {
    while let token = token(), ![.sign(";"), .sign(","), .sign(")"), .sign("{")].contains(token) {
      if token == .sign("(") { passBrackets() } else { place += 1 }
    }
  }

  /// One part of a text; `nil` if the file alone does not give it.
  private mutating func term(depth: Int = 0) -> [UInt8]? {
    guard let first = token(), depth < 8 else { return nil }
    switch first {
    case .string(let text):
      place += 1
      return text
    case .word(let word):
      place += 1
      if word.lowercased() == "dirname", isSign("(") { return directoryTerm(depth: depth) }
      if isSign("(") || isSign(":") || isSign("\\") { return nil }
      switch word.lowercased() {
      case "__dir__": return directory
      case "__file__": return directory + Array("/file".utf8)
      case "null", "false": return []
      case "true": return [UInt8(ascii: "1")]
      default: break
      }
      if word.first?.isNumber == true { return word.allSatisfy(\.isNumber) ? Array(word.utf8) : nil }
      if case .known(let value)? = values[word] { return value }
      return given[word]
    default: return nil
    }
  }

  private mutating func directoryTerm(depth: Int) -> [UInt8]? {
    place += 1
    guard let path = term(depth: depth + 1), isSign(")") else { return nil }
    place += 1
    return path.first == slash && path.count > 1 ? parent(of: path) : nil
  }
}

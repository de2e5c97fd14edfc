/// A simple command of a shell script, as its text has it. Nothing is run or expanded.
struct ShellCommand: Equatable {
  var words: [ShellWord]
  /// From 1.
  var line: Int

  /// The name of the program, without its directory.
  var program: String { words.first.map { $0.text.split(separator: "/").last.map(String.init) ?? $0.text } ?? "" }
}

struct ShellWord: Equatable {
  var text: String
  /// False if the shell would replace a part of it: a variable, a command, a pattern.
  var isLiteral = true
}

/// The simple commands of a script in the language of sh(1), in their order.
func shellCommands(in script: String, line first: Int = 1) -> [ShellCommand] {
  var reader = ShellReader(text: Array(script.unicodeScalars), line: first)
  return reader.commands()
}

private struct ShellReader {
  let text: [Unicode.Scalar]
  var line: Int
  private var place = 0
  private var all: [ShellCommand] = []
  private var words: [ShellWord] = []
  private var word: ShellWord?
  private var start = 1

  init(text: [Unicode.Scalar], line: Int) { (self.text, self.line) = (text, line) }

  private var next: Unicode.Scalar? { place < text.count ? text[place] : nil }

  private mutating func advance() {
    if next == "\n" { line += 1 }
    place += 1
  }

  private mutating func add(_ scalar: Unicode.Scalar, isLiteral: Bool = true) {
    var found = word ?? ShellWord(text: "")
    found.text.unicodeScalars.append(scalar)
    if !isLiteral { found.isLiteral = false }
    word = found
  }

  private mutating func endWord() {
    guard let found = word else { return }
    if words.isEmpty { start = line }
    words.append(found)
    word = nil
  }

  private mutating func endCommand() {
    endWord()
    if !words.isEmpty { all.append(ShellCommand(words: words, line: start)) }
    words = []
  }

  mutating func commands() -> [ShellCommand] {
    while let scalar = next {
      switch scalar {
      case "\n", ";", "|", "&", "(", ")":
        // `2>&1` and `&>` are parts of a word, as far as these readers are concerned.
        if scalar == "&", word?.text.last == ">" { add(scalar) } else { endCommand() }
        advance()
      case " ", "\t", "\r":
        endWord()
        advance()
      case "#" where word == nil:
        while let rest = next, rest != "\n" {
          _ = rest
          advance()
        }
      case "\\":
        advance()
        if let escaped = next, escaped != "\n" { add(escaped) }
        advance()
      case "'":
        readQuoted(by: "'")
      case "\"":
        readQuoted(by: "\"")
      case "$", "`", "*", "?", "[", "{", "~":
        add(scalar, isLiteral: false)
        advance()
      default:
        add(scalar)
        advance()
      }
    }
    endCommand()
    return all
  }

  private mutating func readQuoted(by quote: Unicode.Scalar) {
    advance()
    word = word ?? ShellWord(text: "")
    while let scalar = next, scalar != quote {
      if scalar == "\\", quote == "\"" {
        advance()
        if let escaped = next {
          if !"\\\"$`\n".unicodeScalars.contains(escaped) { add("\\") }
          if escaped != "\n" { add(escaped) }
        }
      } else {
        add(scalar, isLiteral: quote == "'" || scalar != "$" && scalar != "`")
      }
      advance()
    }
    advance()
  }
}

internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

/// A shell's question for the words that may stand at the cursor.
struct CompletionRequest {
  /// The word at the cursor, without quotes.
  let current: [UInt8]
  /// The arguments before it that belong to no option.
  let arguments: [[UInt8]]
  /// The options for the repository and the configuration, wherever they stand.
  let common: CommonOptions

  /// `words` are those of the shell, the program's name first. `nil` if they cannot be understood.
  init?(words: [String], index: Int) {
    // The shell fish removes the quotes itself up to version 3.
    let isPlain = CompletionShell.requesting == .fish && CompletionShell.requestingVersion?.first ?? "3" <= "3"
    let all = words.map { isPlain ? argumentBytes($0) : unquoted(argumentBytes($0)) }
    guard all.indices.contains(index), index >= 2, let command = Self.command(named: all[1]) else { return nil }
    // Its script quotes an empty word.
    current = isPlain && words[index] == "''" ? [] : all[index]
    let line = OptionScan(of: all, without: index, ofOptionsWithValue: Self.optionsWithValue(of: command))
    arguments = line.arguments
    guard let options = try? CommonOptions.parse(line.commonOptions) else { return nil }
    common = options
  }

  private static func command(named name: [UInt8]) -> (any ParsableCommand.Type)? {
    RootCommand.configuration.subcommands.first { ($0.configuration.commandName ?? "").utf8.elementsEqual(name) }
  }

  /// The options that take a value, as the help text spells them.
  private static func optionsWithValue(of command: any ParsableCommand.Type) -> Set<String> {
    var options: Set<String> = []
    for line in RootCommand.helpMessage(for: command, columns: 1000).split(separator: "\n") {
      guard line.hasPrefix("  -"), let value = line.firstIndex(of: "<") else { continue }
      // An explanation comes after at least two spaces.
      let names = line[..<value].dropFirst(2)
      if names.dropLast().contains("  ") { continue }
      for name in names.split(whereSeparator: { ", ".contains($0) }) { options.insert(String(name)) }
    }
    return options
  }
}

/// The arguments and the common options of a command line that is not yet complete.
private struct OptionScan {
  var arguments: [[UInt8]] = []
  var commonOptions: [String] = []

  init(of words: [[UInt8]], without cursor: Int, ofOptionsWithValue options: Set<String>) {
    var index = 2
    var onlyArguments = false
    while index < words.count {
      defer { index += 1 }
      let word = words[index]
      if index == cursor { continue }
      let text = escapedArgument(word)
      if onlyArguments || !text.hasPrefix("-") || text == "-" {
        if index < cursor { arguments.append(word) }
      } else if text == "--" {
        onlyArguments = true
      } else if let (name, value) = Self.option(in: text, among: options) {
        let isNext = value == nil && index + 1 < words.count
        if isNext { index += 1 }
        if index == cursor { continue }
        let given = value ?? (isNext ? escapedArgument(words[index]) : "")
        if ["-r", "--repository"].contains(name) { commonOptions.append("--repository=" + given) }
        if ["-c", "--config"].contains(name) { commonOptions.append("--config=" + given) }
      }
    }
  }

  /// The option of a word that takes a value, with the value if it is in the same word.
  private static func option(in text: String, among options: Set<String>) -> (name: String, value: String?)? {
    if text.hasPrefix("--") {
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      return options.contains(parts[0]) ? (parts[0], parts.count == 2 ? parts[1] : nil) : nil
    }
    for (offset, letter) in text.enumerated().dropFirst() where options.contains("-\(letter)") {
      let rest = String(text.dropFirst(offset + 1))
      return ("-\(letter)", rest.isEmpty ? nil : rest)
    }
    return nil
  }
}

/// A word of a command line without the quotes of bash and zsh.
func unquoted(_ word: [UInt8]) -> [UInt8] {
  let (single, double, backslash) = (UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "\\"))
  var bytes: [UInt8] = []
  var quote: UInt8?
  var isANSI = false
  var rest = word[...]
  while let byte = rest.popFirst() {
    if byte == quote {
      quote = nil
    } else if byte == backslash, quote != single || isANSI {
      // The character after the last backslash is not yet typed.
      guard let next = rest.first else { break }
      if quote == single {
        bytes.append(escapedByte(at: &rest))
      } else {
        rest.removeFirst()
        // Between double quotes only these lose their backslash.
        if quote == double, !Array("$`\"\\".utf8).contains(next) { bytes.append(byte) }
        bytes.append(next)
      }
    } else if quote == nil, byte == single || byte == double {
      quote = byte
      isANSI = byte == single && bytes.last == UInt8(ascii: "$") && word.count > 1
      if isANSI { bytes.removeLast() }
    } else {
      bytes.append(byte)
    }
  }
  return bytes
}

/// The byte of an escape such as `\377` or `\xff` between `$'` and `'`, after its backslash.
private func escapedByte(at rest: inout ArraySlice<UInt8>) -> UInt8 {
  let first = rest.removeFirst()
  let named: [UInt8: UInt8] = [
    UInt8(ascii: "n"): 10, UInt8(ascii: "t"): 9, UInt8(ascii: "r"): 13, UInt8(ascii: "e"): 27, UInt8(ascii: "a"): 7,
  ]
  func number(radix: Int, digits: some Sequence<UInt8>) -> UInt8? {
    UInt8(String(decoding: Array(digits), as: UTF8.self), radix: radix)
  }
  if (UInt8(ascii: "0")...UInt8(ascii: "7")).contains(first) {
    let digits = [first] + rest.prefix(2).prefix { (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }
    rest = rest.dropFirst(digits.count - 1)
    return number(radix: 8, digits: digits) ?? first
  }
  if first == UInt8(ascii: "x"), let byte = number(radix: 16, digits: rest.prefix(2)) {
    rest = rest.dropFirst(2)
    return byte
  }
  return named[first] ?? first
}

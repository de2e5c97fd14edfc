/// An ordered list of patterns according to gitignore(5); the last matching pattern decides.
///
/// Names and patterns are bytes, compared exactly, as with git's `core.ignoreCase` false. Filling the list
/// allocates; matching does not.
public struct PatternList: Sendable {
  /// The rules in the order of addition; `patterns` has the text and origin of each.
  private(set) var rules: [Rule] = []
  private(set) var patterns: [Pattern] = []
  // The data of all rules, in one array of each kind.
  private(set) var bytes: [UInt8] = []
  private(set) var steps: [GlobStep] = []
  private(set) var sets: [ByteSet] = []

  public init() {}

  /// The lines that make the same list.
  public var lines: [[UInt8]] { patterns.map(\.text) }

  /// True if no pattern can match anything.
  public var isEmpty: Bool { rules.isEmpty }

  /// Adds one pattern line, without its line feed.
  ///
  /// A comment, a blank line and a pattern that can never match (`[a`, `a\`) add nothing.
  public mutating func add(_ line: [UInt8], origin: String) {
    guard let parsed = PatternLine(line: line) else { return }
    var rule = Rule(
      looksAtPath: parsed.looksAtPath, form: .literal, isNegated: parsed.isNegated,
      directoriesOnly: parsed.directoriesOnly,
      literal: .init(start: bytes.count, count: parsed.literal.count),
      steps: .init(start: steps.count, count: 0))
    let suffix = parsed.wild.dropFirst()
    if !parsed.looksAtPath, parsed.literal.isEmpty, parsed.wild.first == UInt8(ascii: "*"),
      !suffix.contains(where: isSpecial)
    {
      rule.form = .suffix
      rule.literal.count = suffix.count
      bytes += suffix
    } else if parsed.wild.isEmpty {
      bytes += parsed.literal
    } else {
      guard let parser = GlobParser(parsed.wild, sets: sets) else { return }
      rule.form = .glob
      rule.steps.count = parser.steps.count
      bytes += parsed.literal
      steps += parser.steps
      sets = parser.sets
    }
    rules.append(rule)
    patterns.append(Pattern(text: parsed.text, origin: origin))
  }

  /// Adds every line of a file; the origin of each is `name:line`, counted from 1.
  ///
  /// As in git, a UTF-8 byte order mark at the start is skipped. One carriage return before the line feed belongs to
  /// the line's end. A NUL ends the effective part of a line.
  public mutating func add(file text: [UInt8], name: String) {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let lines = text.dropFirst(text.starts(with: mark) ? mark.count : 0)
      .split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      let content = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
      add(Array(content.prefix { $0 != 0 }), origin: "\(name):\(index + 1)")
    }
  }

  /// The pattern that decides for the entry at `path`; `nil` if none matches.
  ///
  /// `path` is relative to the root of the source: non-empty components joined by `/`, without a slash at either end.
  /// Patterns for the directories above are not considered. A walk does not enter an excluded directory, so no `!`
  /// pattern can bring back its content. A symbolic link is not a directory, whatever its target.
  public func match(_ path: Span<UInt8>, isDirectory: Bool) -> Match? {
    var nameStart = path.count
    while nameStart > 0, path[nameStart - 1] != slash { nameStart -= 1 }
    return match(
      path.extracting(0..<max(0, nameStart - 1)), name: path.extracting(nameStart..<path.count),
      isDirectory: isDirectory)
  }

  /// Matches the entry `name` of the directory at the path `directory`, which is empty for the root.
  public func match(directory: [UInt8], name: Span<UInt8>, isDirectory: Bool) -> Match? {
    match(directory.span, name: name, isDirectory: isDirectory)
  }

  private func match(_ directory: Span<UInt8>, name: Span<UInt8>, isDirectory: Bool) -> Match? {
    let rules = rules.span
    let root = name.extracting(0..<0)
    var index = rules.count
    while index > 0 {
      index -= 1
      let rule = rules[index]
      if rule.directoriesOnly, !isDirectory { continue }
      // A pattern without a slash matches every entry as if it were in the root.
      if rule.looksAtPath ? matches(rule, directory: directory, name: name) : matches(rule, directory: root, name: name)
      {
        return Match(pattern: patterns[index], isExcluded: !rule.isNegated)
      }
    }
    return nil
  }

  @inline(__always)
  private func matches(_ rule: Rule, directory: Span<UInt8>, name: Span<UInt8>) -> Bool {
    let literal = bytes.span.extracting(rule.literal.range)
    switch rule.form {
    case .literal:
      return literal.count == PathText.byteCount(directory, name: name)
        && PathText.starts(with: literal, directory: directory, name: name)
    case .suffix:
      guard literal.count <= name.count else { return false }
      let end = name.extracting(last: literal.count)
      return PathText.starts(with: literal, directory: directory, name: end)
    case .glob:
      return PathText.starts(with: literal, directory: directory, name: name)
        && Patterns.matches(
          steps.span.extracting(rule.steps.range), sets: sets.span, directory: directory, name: name,
          from: literal.count)
    }
  }
}

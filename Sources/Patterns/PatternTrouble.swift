/// The reason why a pattern fails its evident purpose.
public enum PatternTrouble: Sendable, Equatable {
  /// An empty line, a slash alone or a comment.
  case isEmpty
  /// A bracket without its end, an unknown class, or a backslash at the end.
  case isMalformed
  /// The pattern ends with a carriage return, which belongs to no name.
  case hasCarriageReturn
  /// A component is empty, `.` or `..`, and no entry has such a name.
  case hasNoSuchComponent
  /// The pattern has another tool's prefix, such as `re:`.
  case hasPrefix(String)
  /// The pattern excludes everything in a source.
  case matchesEverything
  /// The pattern includes entries again, but no earlier pattern excludes any.
  case bringsNothingBack
}

extension PatternList {
  /// The problem of each line, for lines used together in this order; `nil` for a correct line.
  ///
  /// `inFile` allows blank lines and comments, as in a pattern file.
  public static func troubles(of lines: [[UInt8]], inFile: Bool = false) -> [PatternTrouble?] {
    var hasExclusion = false
    return lines.indices.map { index in
      let line = lines[index]
      guard let parsed = PatternLine(line: line) else {
        let isBlank = line.allSatisfy { $0 == UInt8(ascii: " ") } || line.first == UInt8(ascii: "#")
        return inFile && isBlank ? nil : .isEmpty
      }
      defer { hasExclusion = hasExclusion || !parsed.isNegated }
      if let trouble = parsed.trouble { return trouble }
      if parsed.isNegated { return hasExclusion ? nil : .bringsNothingBack }
      let isLast = !lines[(index + 1)...].contains { PatternLine(line: $0)?.isNegated == true }
      return parsed.matchesEverything && isLast ? .matchesEverything : nil
    }
  }
}

extension PatternLine {
  private static let prefixes = ["re:", "regexp:", "rx:", "glob:", "sh:", "fm:", "pp:", "pf:", "- ", "+ "]

  /// The reason why the pattern can never match.
  fileprivate var trouble: PatternTrouble? {
    if text.last == UInt8(ascii: "\r") { return .hasCarriageReturn }
    if !wild.isEmpty, GlobParser(wild, sets: []) == nil { return .isMalformed }
    var rest = text[...]
    if isNegated { rest.removeFirst() }
    if let prefix = Self.prefixes.first(where: { rest.starts(with: $0.utf8) }) { return .hasPrefix(prefix) }
    if rest.first == slash { rest.removeFirst() }
    if directoriesOnly { rest.removeLast() }
    let names = rest.split(separator: slash, omittingEmptySubsequences: false)
    let dot = UInt8(ascii: ".")
    if names.contains(where: { $0.isEmpty || $0.elementsEqual([dot]) || $0.elementsEqual([dot, dot]) }) {
      return .hasNoSuchComponent
    }
    return nil
  }

  /// True for `*`, `/*`, `**` and similar patterns.
  fileprivate var matchesEverything: Bool {
    !directoriesOnly && literal.isEmpty && !wild.isEmpty
      && wild.allSatisfy { $0 == UInt8(ascii: "*") || $0 == slash }
  }
}

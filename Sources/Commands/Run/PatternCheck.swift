internal import Model
internal import Patterns
internal import Posix
internal import Repository
internal import Settings

/// The check of `config check` for the patterns of one source.
struct PatternCheck {
  let file: ConfigurationFile
  let source: Configuration.Source

  func findings() throws(Failure) -> [String] {
    var findings: [String] = []
    for path in source.excludeFrom { findings += try self.findings(in: Array(path.utf8)) }
    let lines = source.exclude.map { Array($0.utf8) }
    // A negated pattern may bring back entries that the patterns in files exclude.
    let hasFiles = !source.excludeFrom.isEmpty
    let problems = PatternList.troubles(of: lines).map { hasFiles && $0 == .bringsNothingBack ? nil : $0 }
    return findings + self.findings(in: lines, problems: problems) { file.at(line: source.excludeLines[$0]) }
  }

  private func findings(in path: [UInt8]) throws(Failure) -> [String] {
    let text: [UInt8]
    do { text = try Descriptor.open(path: path, .read).readToEnd(limit: 16 << 20) } catch {
      throw Failure(.usage, "cannot read the patterns in \(displayName(path)): \(error)", path: path)
    }
    let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { Array($0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0) }
    return findings(in: lines, problems: PatternList.troubles(of: lines, inFile: true)) {
      "\(displayName(path)):\($0 + 1)"
    }
  }

  private func findings(in lines: [[UInt8]], problems: [PatternTrouble?], at place: (Int) -> String) -> [String] {
    lines.indices.compactMap { index in
      let problem = problems[index].map { "the pattern \"\(displayName(lines[index]))\" \($0.words)" }
      return (problem ?? misplaced(lines[index])).map { "\(place(index)): \($0)" }
    }
  }

  /// The problem of a pattern that repeats the source's path. `nil` if the pattern is plausible.
  private func misplaced(_ pattern: [UInt8]) -> String? {
    let isNegated = pattern.first == UInt8(ascii: "!")
    let bare = pattern.dropFirst(isNegated ? 1 : 0)
    let source = Array(self.source.path.utf8)
    guard source != [slash], bare.starts(with: source), bare.dropFirst(source.count).first == slash,
      (try? Descriptor.open(path: source + source, .pathOnly)) == nil
    else { return nil }
    let rest = displayName((isNegated ? [UInt8(ascii: "!")] : []) + bare.dropFirst(source.count))
    return "the pattern \"\(displayName(pattern))\" begins with the source's own path, and patterns are "
      + "relative to the source; write \"\(rest)\""
  }
}

extension PatternTrouble {
  /// The predicate of a sentence whose subject is the pattern.
  var words: String {
    switch self {
    case .isEmpty: "matches nothing: it is empty, or a comment"
    case .isMalformed: "can never match: a bracket has no end, or a backslash has nothing behind it"
    case .hasCarriageReturn: "can never match: it ends with a carriage return, as the lines of Windows do"
    case .hasNoSuchComponent:
      "can never match: no entry is named \".\" or \"..\", or has an empty name; patterns are relative to the source"
    case .hasPrefix(let prefix): "begins with \"\(prefix)\", as for another tool; patterns are those of gitignore(5)"
    case .matchesEverything: "leaves out all that the source has"
    case .bringsNothingBack: "brings nothing back: no pattern before it leaves anything out"
    }
  }
}

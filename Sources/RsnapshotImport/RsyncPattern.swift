internal import Model
internal import Patterns

/// Translates a pattern of rsync's filter to patterns of gitignore(5); one may need several.
///
/// The source is rsync(1), "PATTERN MATCHING RULES". If the manual leaves a case open, rsync's behaviour is the rule,
/// and the tests compare with it.
struct RsyncPattern {
  struct Glob: Equatable {
    /// The parts between slashes, from the root on. `**` alone means any number of directories, and at the end
    /// everything below.
    var components: [[UInt8]]
    var directoriesOnly: Bool

    var line: [UInt8] {
      var text: [UInt8]
      if components.count == 2, components[0] == anyDirectories, components[1] != anyDirectories {
        text = components[1]
        if text.first == UInt8(ascii: "#") || text.first == UInt8(ascii: "!") { text.insert(backslash, at: 0) }
      } else {
        text = Array(components.joined(separator: [slash]))
        if components.count == 1 || components[0] != anyDirectories { text.insert(slash, at: 0) }
      }
      if directoriesOnly { return text + [slash] }
      // A trailing blank counts only after a backslash, and the pattern may already have one.
      guard text.last == UInt8(ascii: " ") else { return text }
      let backslashes = text.dropLast().reversed().prefix { $0 == backslash }.count
      if backslashes.isMultiple(of: 2) { text.insert(backslash, at: text.count - 1) }
      return text
    }

    /// The patterns relative to the directory at `path`; empty if nothing below it can match.
    func below(_ path: [[UInt8]]) -> [Glob] {
      var places: Set<Int> = [0]
      for name in path {
        var next: Set<Int> = []
        for place in reachable(from: places) {
          if components[place] == anyDirectories {
            next.insert(place)
          } else if Self.matches(components[place], name: name) {
            next.insert(place + 1)
          }
        }
        places = next
      }
      return places.sorted().filter { $0 < components.count }.map {
        Glob(components: Array(components[$0...]), directoriesOnly: directoriesOnly)
      }
    }

    /// The possible next positions: `**` may match no directory, unless it is the last component.
    private func reachable(from places: Set<Int>) -> Set<Int> {
      var all = places.filter { $0 < components.count }
      for place in all.sorted() {
        var end = place
        while components[end] == anyDirectories, end + 1 < components.count {
          end += 1
          all.insert(end)
        }
      }
      return all
    }

    private static func matches(_ component: [UInt8], name: [UInt8]) -> Bool {
      var list = PatternList()
      list.add([slash] + component, origin: "")
      return list.match(name.span, isDirectory: true) != nil
    }
  }

  /// The patterns, in no particular order; empty if nothing can match.
  let globs: [Glob]

  /// `nil` if there is no equivalent: a bracket expression without an end or with a slash, or too many `**`.
  init?(_ pattern: [UInt8]) { self.init(pattern, isWild: pattern.contains { "*?[".utf8.contains($0) }) }

  private init?(_ pattern: [UInt8], isWild: Bool) {
    var rest = pattern[...]
    var directoriesOnly = false
    if rest.count > 1, rest.last == slash {
      rest.removeLast()
      directoriesOnly = true
    }
    let isAnchored = rest.first == slash
    if isAnchored { rest.removeFirst() }
    guard isWild else {
      // Without a wildcard, a backslash is literal.
      let names = rest.split(separator: slash, omittingEmptySubsequences: false).map { name in
        Array(name.map { $0 == backslash ? [$0, $0] : [$0] }.joined())
      }
      globs = Self.globs(of: names, isAnchored: isAnchored, directoriesOnly: directoriesOnly)
      return
    }
    guard let tokens = Self.tokens(of: rest) else { return nil }
    let leading = tokens.prefix { $0 == .anything }.count
    var floating = tokens
    // rsync prefixes such a pattern with a slash: whole directories may precede it, or the start of a name.
    if !isAnchored, leading > 0 {
      floating.removeFirst(leading)
      if floating.first == .slash { floating.removeFirst() } else { floating.insert(.star, at: 0) }
    }
    guard let expanded = Self.expanded(floating) else { return nil }
    var found = expanded.flatMap { Self.globs(of: $0, isAnchored: isAnchored, directoriesOnly: directoriesOnly) }
    if rest.suffix(4) == [slash, asterisk, asterisk, asterisk] {
      // The pattern also matches the directory itself.
      guard let outer = RsyncPattern((isAnchored ? [slash] : []) + rest.dropLast(3), isWild: true) else { return nil }
      found += outer.globs
    }
    globs = found
  }

  private static func globs(of names: [[UInt8]], isAnchored: Bool, directoriesOnly: Bool) -> [Glob] {
    if names.contains([]) { return [] }
    return [Glob(components: (isAnchored ? [] : [anyDirectories]) + names, directoriesOnly: directoriesOnly)]
  }

  // MARK: Wildcards

  private enum Token: Equatable {
    case text([UInt8])
    case slash
    case star
    /// Two or more asterisks, which also match slashes.
    case anything
  }

  private static func tokens(of pattern: ArraySlice<UInt8>) -> [Token]? {
    var tokens: [Token] = []
    var rest = pattern
    while let byte = rest.first {
      switch byte {
      case slash:
        tokens.append(.slash)
        rest.removeFirst()
      case asterisk:
        let stars = rest.prefix { $0 == asterisk }
        tokens.append(stars.count > 1 ? .anything : .star)
        rest = rest.dropFirst(stars.count)
      case backslash:
        guard rest.count > 1 else { return nil }
        let escaped = rest[rest.startIndex + 1]
        tokens.append(escaped == slash ? .slash : .text([byte, escaped]))
        rest = rest.dropFirst(2)
      case UInt8(ascii: "["):
        guard let expression = bracket(at: rest), !expression.contains(slash) else { return nil }
        tokens.append(.text(Array(expression)))
        rest = rest.dropFirst(expression.count)
      default:
        tokens.append(.text([byte]))
        rest.removeFirst()
      }
    }
    return tokens
  }

  /// The bracket expression at the start of a text.
  private static func bracket(at text: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    let close = UInt8(ascii: "]")
    var index = text.startIndex + 1
    if index < text.endIndex, text[index] == UInt8(ascii: "!") || text[index] == UInt8(ascii: "^") { index += 1 }
    let first = index
    while index < text.endIndex {
      if text[index] == backslash {
        index += 2
      } else if text[index...].starts(with: "[:".utf8), let end = text[(index + 2)...].firstIndex(of: close),
        text[end - 1] == UInt8(ascii: ":")
      {
        index = end + 1
      } else if text[index] == close, index > first {
        return text[...index]
      } else {
        index += 1
      }
    }
    return nil
  }

  /// The components of patterns that are equivalent together; each `**` is a whole component.
  private static func expanded(_ tokens: [Token]) -> [[[UInt8]]]? {
    var done: [[[UInt8]]] = [[[]]]
    func append(_ bytes: [UInt8]) { for index in done.indices { done[index][done[index].count - 1] += bytes } }
    for (index, token) in tokens.enumerated() {
      let isWhole = (index == 0 || tokens[index - 1] == .slash)
      switch token {
      case .text(let bytes): append(bytes)
      case .star: append([asterisk])
      case .slash: for index in done.indices { done[index].append([]) }
      case .anything where isWhole && index + 1 == tokens.count: append(anyDirectories)
      case .anything where isWhole && tokens[index + 1] == .slash:
        // At least one directory.
        append([asterisk])
        for index in done.indices { done[index].append(anyDirectories) }
      case .anything:
        // Within one name, or from one name across any number of directories into another.
        let isLast = index + 1 == tokens.count
        let within = done.map { names in Self.ending(names, with: [asterisk]) }
        let across = within.map { $0 + (isLast ? [anyDirectories] : [anyDirectories, [asterisk]]) }
        done = within + across
        guard done.count <= 16 else { return nil }
      }
    }
    return done
  }

  private static func ending(_ names: [[UInt8]], with bytes: [UInt8]) -> [[UInt8]] {
    names.dropLast() + [names[names.count - 1] + bytes]
  }
}

private let asterisk = UInt8(ascii: "*")
private let backslash = UInt8(ascii: "\\")
private let anyDirectories = [asterisk, asterisk]

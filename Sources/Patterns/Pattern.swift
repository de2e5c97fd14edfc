/// One pattern and where it came from, for messages that say which rule decided.
public struct Pattern: Sendable {
  /// The line as it counts: without the blanks that gitignore(5) ignores at its end, but with `!` and `/`.
  public let text: [UInt8]
  /// `--exclude`, or `FILE:LINE`.
  public let origin: String
}

/// What decided about an entry.
public struct Match: Sendable {
  /// The last pattern that matches the entry.
  public let pattern: Pattern
  /// False where that pattern begins with `!`.
  public let isExcluded: Bool
}

/// A pattern as matching needs it: what to look at, and which bytes and steps of the list to hold against
/// it. A plain value, so that going over the rules touches no reference count.
struct Rule: BitwiseCopyable {
  /// The whole path for a pattern with a slash at its start or in its middle, else the last component.
  var looksAtPath: Bool
  var form: Form
  var isNegated: Bool
  var directoriesOnly: Bool
  /// Where the literal bytes lie in the list's `bytes`.
  var literal: Extent
  /// Where the steps after the literal bytes lie in the list's `steps`; only of a `.glob`.
  var steps: Extent

  enum Form: UInt8, BitwiseCopyable {
    /// No special byte: equal or not.
    case literal
    /// One asterisk and no other special byte: an end that names share.
    case suffix
    /// Literal bytes, possibly none, and steps.
    case glob
  }

  struct Extent: BitwiseCopyable {
    var start: Int
    var count: Int
    var range: Range<Int> { start..<start + count }
  }
}

/// A pattern's line taken apart, as gitignore(5) has it.
struct PatternLine {
  let text: [UInt8]
  let isNegated: Bool
  let directoriesOnly: Bool
  let looksAtPath: Bool
  /// Up to the first special byte.
  let literal: ArraySlice<UInt8>
  /// From the first special byte on.
  let wild: ArraySlice<UInt8>

  /// `nil` for a comment and for a line that holds no pattern.
  init?(_ line: [UInt8]) {
    guard line.first != UInt8(ascii: "#") else { return nil }
    text = Self.withoutTrailingSpaces(line)
    var rest = text[...]
    isNegated = rest.first == UInt8(ascii: "!")
    if isNegated { rest.removeFirst() }
    directoriesOnly = rest.last == slash
    if directoriesOnly { rest.removeLast() }
    guard !rest.isEmpty else { return nil }
    looksAtPath = rest.contains(slash)
    if rest.first == slash { rest.removeFirst() }
    let special = rest.firstIndex(where: isSpecial) ?? rest.endIndex
    literal = rest[..<special]
    wild = rest[special...]
  }

  /// The line up to its last byte that is no space, or is a space after a backslash.
  private static func withoutTrailingSpaces(_ line: [UInt8]) -> [UInt8] {
    var end = 0
    var index = 0
    while index < line.count {
      let isEscape = line[index] == UInt8(ascii: "\\")
      // A backslash takes the next byte with it, be that a backslash or a space.
      if isEscape || line[index] != UInt8(ascii: " ") { end = index + (isEscape ? 2 : 1) }
      index += isEscape ? 2 : 1
    }
    return Array(line.prefix(end))
  }
}

let slash = UInt8(ascii: "/")

/// Bytes that stand for something else than themselves.
func isSpecial(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "["), UInt8(ascii: "\\"): true
  default: false
  }
}

/// A pattern and its origin, for messages that name the deciding rule.
public struct Pattern: Sendable {
  /// The effective line: without the trailing spaces that gitignore(5) ignores, but with `!` and `/`.
  public let text: [UInt8]
  /// `--exclude`, or `FILE:LINE`.
  public let origin: String
}

/// The decision about an entry.
public struct Match: Sendable {
  /// The last pattern that matches the entry.
  public let pattern: Pattern
  /// False if that pattern begins with `!`.
  public let isExcluded: Bool
}

/// A pattern in the form that matching needs: ranges of the list's bytes and steps. It is a plain value, so a loop
/// over the rules touches no reference count.
struct Rule: BitwiseCopyable {
  /// The whole path for a pattern with a slash at its start or in its middle, else the last component.
  var looksAtPath: Bool
  var form: Form
  var isNegated, directoriesOnly: Bool
  /// The range of the literal bytes in the list's `bytes`.
  var literal: Extent
  /// The range of the steps after the literal bytes in the list's `steps`; only for a `.glob`.
  var steps: Extent

  enum Form: UInt8, BitwiseCopyable {
    case literal
    /// One leading asterisk and no other special byte: the end of a name.
    case suffix
    /// Literal bytes, possibly none, and then steps.
    case glob
  }

  struct Extent: BitwiseCopyable {
    var start, count: Int
    var range: Range<Int> { start..<start + count }
  }
}

/// The parts of a pattern's line, according to gitignore(5).
struct PatternLine {
  let text: [UInt8]
  let isNegated, directoriesOnly, looksAtPath: Bool
  /// The bytes up to the first special byte.
  let literal: ArraySlice<UInt8>
  /// The bytes from the first special byte on.
  let wild: ArraySlice<UInt8>

  /// `nil` for a comment and for a line without a pattern.
  init?(line: [UInt8]) {
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

  /// The line up to its last byte that is no space or is an escaped space.
  private static func withoutTrailingSpaces(_ line: [UInt8]) -> [UInt8] {
    var end = 0
    var index = 0
    while index < line.count {
      let isEscape = line[index] == UInt8(ascii: "\\")
      // A backslash also takes the next byte, even a backslash or a space.
      if isEscape || line[index] != UInt8(ascii: " ") { end = index + (isEscape ? 2 : 1) }
      index += isEscape ? 2 : 1
    }
    return Array(line.prefix(end))
  }
}

let slash = UInt8(ascii: "/")

/// True for a byte with a special meaning in a pattern.
func isSpecial(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "*"), UInt8(ascii: "?"), UInt8(ascii: "["), UInt8(ascii: "\\"): true
  default: false
  }
}

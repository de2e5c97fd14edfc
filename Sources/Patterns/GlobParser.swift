/// One step of matching, after the literal beginning of a pattern.
enum GlobStep: BitwiseCopyable {
  case byte(UInt8)
  /// `?`: any byte but a slash.
  case anyByte
  /// `[...]`: a byte of this set of the list.
  case oneOf(set: Int)
  /// `*`: any run of bytes without a slash, possibly empty.
  case star
  /// `**/`: nothing, or any run of bytes with a slash at its end.
  case directories
  /// `**` at the end, or before an escaped slash: any run of bytes, possibly empty.
  case anything
}

/// Parses a pattern from its first special byte on.
///
/// The rules are those of gitignore(5) and of POSIX 2.13. If these leave a case open, git's behaviour is the rule,
/// and `Tests/PatternsTests` compares with it.
struct GlobParser {
  private let text: ArraySlice<UInt8>
  private var position: Int
  private(set) var steps: [GlobStep] = []
  /// The list's bracket expressions; the parser adds its own.
  private(set) var sets: [ByteSet]

  /// `nil` if the pattern can never match.
  ///
  /// Such a pattern ends in a backslash, or has a bracket expression without an end or with an unknown class.
  init?(_ text: ArraySlice<UInt8>, sets: [ByteSet]) {
    (self.text, self.sets) = (text, sets)
    position = text.startIndex
    while let byte = next() {
      switch byte {
      case UInt8(ascii: "\\"):
        guard let escaped = next() else { return nil }
        steps.append(.byte(escaped))
      case UInt8(ascii: "?"): steps.append(.anyByte)
      case UInt8(ascii: "*"): parseAsterisks()
      case UInt8(ascii: "["):
        guard let set = parseBracket() else { return nil }
        steps.append(.oneOf(set: self.sets.count))
        self.sets.append(set)
      default: steps.append(.byte(byte))
      }
    }
  }

  /// The byte at the position, without moving on.
  private var peek: UInt8? { position < text.endIndex ? text[position] : nil }

  private mutating func next() -> UInt8? {
    guard let byte = peek else { return nil }
    position += 1
    return byte
  }

  /// Parses asterisks after the first. Two or more cross slashes if they stand for whole components.
  ///
  /// Literal bytes may precede them, which are compared before any step: git takes `a**/b` for `a` and `**/b`.
  private mutating func parseAsterisks() {
    let start = position - 1
    while peek == UInt8(ascii: "*") { position += 1 }
    let isPair = position - start > 1
    guard isPair, start == text.startIndex || text[start - 1] == slash else {
      steps.append(.star)
      return
    }
    if peek == slash {
      position += 1
      steps.append(.directories)
    } else {
      let isBeforeEscapedSlash = text[position...].starts(with: [UInt8(ascii: "\\"), slash])
      steps.append(peek == nil || isBeforeEscapedSlash ? .anything : .star)
    }
  }

  /// Parses after the opening bracket; `nil` if the expression is malformed.
  private mutating func parseBracket() -> ByteSet? {
    var set = ByteSet()
    let isNegated = peek == UInt8(ascii: "!") || peek == UInt8(ascii: "^")
    if isNegated { position += 1 }
    let first = position
    // The possible start of a range: a single byte, not another range's end and not a class.
    var low: UInt8?
    while let byte = next() {
      switch byte {
      case UInt8(ascii: "]") where position - 1 > first:
        if isNegated { set.invert() }
        set.remove(slash)
        return set
      case UInt8(ascii: "-"):
        if let start = low, let end = peek, end != UInt8(ascii: "]") {
          guard let high = nextUnescaped() else { return nil }
          if start <= high { set.insert(start...high) }
          low = nil
        } else {
          set.insert(byte)
          low = byte
        }
      case UInt8(ascii: "[") where peek == UInt8(ascii: ":"):
        guard let close = text[(position + 1)...].firstIndex(of: UInt8(ascii: "]")) else { return nil }
        let name = text[(position + 1)..<close]
        if name.last == UInt8(ascii: ":") {
          guard set.insert(class: name.dropLast()) else { return nil }
          position = close + 1
          low = nil
        } else {
          set.insert(byte)
          low = byte
        }
      case UInt8(ascii: "\\"):
        guard let escaped = next() else { return nil }
        set.insert(escaped)
        low = escaped
      default:
        set.insert(byte)
        low = byte
      }
    }
    return nil
  }

  private mutating func nextUnescaped() -> UInt8? {
    let byte = next()
    return byte == UInt8(ascii: "\\") ? next() : byte
  }
}

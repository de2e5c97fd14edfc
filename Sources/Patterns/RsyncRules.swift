/// A pattern that rsync(1) has no rule for.
public struct UntranslatablePattern: Error, Sendable {
  public let pattern: Pattern
}

extension PatternList {
  /// The same rules for the option `--filter` of rsync(1), for a transfer whose root is the root of the source.
  ///
  /// There the first rule that matches decides. The matching is the same: both programs enter no excluded directory.
  public func rsyncRules() throws(UntranslatablePattern) -> [[UInt8]] {
    var all: [[UInt8]] = []
    for (rule, pattern) in zip(rules, patterns).reversed() {
      guard let bodies = RsyncBody.all(of: pieces(of: rule)) else { throw UntranslatablePattern(pattern: pattern) }
      let sign = Array((rule.isNegated ? "+ " : "- ").utf8) + (rule.looksAtPath ? [slash] : [])
      all += bodies.map { sign + $0.bytes + (rule.directoriesOnly ? [slash] : []) }
    }
    return all
  }

  private func pieces(of rule: Rule) -> [RsyncPiece] {
    let literal = bytes[rule.literal.range].map(RsyncPiece.byte)
    switch rule.form {
    case .literal: return literal
    case .suffix: return [.star] + literal
    case .glob:
      return literal
        + steps[rule.steps.range].map { step in
          switch step {
          case .byte(let byte): .byte(byte)
          case .anyByte: .anyByte
          case .oneOf(let set): .oneOf(sets[set])
          case .star: .star
          case .directories: .directories
          case .anything: rule.looksAtPath ? .anything : .star
          }
        }
    }
  }
}

/// A part of a pattern, apart from its list.
private enum RsyncPiece {
  case byte(UInt8)
  case anyByte
  case oneOf(ByteSet)
  case star
  case directories
  case anything

  var isDirectories: Bool { if case .directories = self { true } else { false } }

  /// True if rsync(1) takes the pattern with this piece for one with wildcards, in which a backslash is an escape.
  var isWild: Bool { if case .byte(let byte) = self { "*?[".utf8.contains(byte) } else { true } }
}

private struct RsyncBody {
  /// rsync(1) has no pattern for "nothing, or some directories". Each such piece doubles the number of rules.
  private static let mostDirectories = 6

  var pieces: [RsyncPiece] = []

  /// The patterns that together match the same; `nil` if they are too many.
  static func all(of pieces: [RsyncPiece]) -> [RsyncBody]? {
    guard pieces.count(where: \.isDirectories) <= mostDirectories else { return nil }
    var bodies = [RsyncBody()]
    for piece in pieces {
      if case .oneOf(let set) = piece, set.ranges.isEmpty { return [] }
      let longer = bodies.map { RsyncBody(pieces: $0.pieces + [piece]) }
      bodies = piece.isDirectories ? bodies + longer : longer
    }
    return bodies
  }

  var bytes: [UInt8] {
    let isWild = pieces.contains(where: \.isWild)
    return pieces.flatMap { piece -> [UInt8] in
      switch piece {
      case .byte(let byte): isWild && isSpecial(byte) ? [UInt8(ascii: "\\"), byte] : [byte]
      case .anyByte: [UInt8(ascii: "?")]
      case .oneOf(let set): set.bracket
      case .star: [UInt8(ascii: "*")]
      case .directories: Array("**/".utf8)
      case .anything: Array("**".utf8)
      }
    }
  }
}

extension ByteSet {
  /// The members in ascending ranges, without NUL, which no name has.
  fileprivate var ranges: [ClosedRange<UInt8>] {
    var ranges: [ClosedRange<UInt8>] = []
    for byte in UInt8(1)...UInt8.max where contains(byte) {
      if let last = ranges.last, last.upperBound + 1 == byte {
        ranges[ranges.count - 1] = last.lowerBound...byte
      } else {
        ranges.append(byte...byte)
      }
    }
    return ranges
  }

  /// A bracket expression in which every byte is escaped, so that none has a special meaning.
  fileprivate var bracket: [UInt8] {
    let escape = UInt8(ascii: "\\")
    return [UInt8(ascii: "[")]
      + ranges.flatMap { range in
        [escape, range.lowerBound]
          + (range.count > 1 ? [UInt8(ascii: "-"), escape, range.upperBound] : [])
      } + [UInt8(ascii: "]")]
  }
}

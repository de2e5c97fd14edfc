internal import Catalog
internal import Model

/// A text with a first line that tells whether the text is from `schedule` and was not edited since.
struct MarkedText {
  private static let markStart = "# Made by treering schedule, which replaces this only unedited: "
  private let body: [UInt8]

  init(_ text: String) { body = Self.body(of: Array(text.utf8)) }

  /// The text with its mark, ending with a newline.
  var bytes: [UInt8] { Self.mark(of: body) + body + [newline] }

  var text: String { String(decoding: bytes, as: UTF8.self) }

  /// The first line of a text, with its newline.
  private static func mark(of body: [UInt8]) -> [UInt8] {
    Array((markStart + SHA256().digest(of: body).description.prefix(16) + "\n").utf8)
  }

  /// The text without newlines at its end, which a person may add or lose in copying.
  private static func body(of text: [UInt8]) -> [UInt8] { text.reversed().drop { $0 == newline }.reversed() }

  static func isMark(_ line: some Sequence<UInt8>) -> Bool { line.starts(with: markStart.utf8) }

  /// True if a text is from `schedule`, of this or an earlier version, and was not edited.
  static func isUnedited(_ text: [UInt8]) -> Bool {
    guard isMark(text), let end = text.firstIndex(of: newline) else { return false }
    return mark(of: body(of: Array(text[(end + 1)...]))) == Array(text[...end])
  }
}

/// A line feed.
let newline = UInt8(ascii: "\n")

internal import Model

/// Reads a JSON document in one pass, without a tree of values. The text is untrusted.
///
/// Each call consumes one value. A caller that does not want a value calls `skip`.
struct JSONCursor {
  private var bytes: UnsafeBufferPointer<UInt8>
  private var place = 0
  /// The part of a long document that `bytes` are.
  private var window: JSONWindow?
  private var depth = 0
  /// The deepest nesting that a document may have.
  private static let mostLevels = 64

  private init(_ bytes: UnsafeBufferPointer<UInt8>, of window: JSONWindow? = nil) {
    (self.bytes, self.window) = (bytes, window)
  }

  /// Reads a whole document.
  static func read<R>(_ text: [UInt8], body: (inout JSONCursor) throws -> R) throws -> R {
    try text.withUnsafeBufferPointer { buffer in
      var cursor = JSONCursor(buffer)
      let result = try body(&cursor)
      cursor.skipBlanks()
      guard cursor.place == buffer.count else { throw ResticError("a JSON document has bytes to spare") }
      return result
    }
  }

  /// Reads a long document in pieces. Each string and each number in it must be short.
  static func read<R>(_ pieces: @escaping UnpackedText.Pieces, body: (inout JSONCursor) throws -> R) throws -> R {
    let window = JSONWindow(pieces)
    return try withExtendedLifetime(window) {
      var cursor = JSONCursor(try window.advance(past: 0), of: window)
      let result = try body(&cursor)
      try cursor.refill()
      cursor.skipBlanks()
      guard cursor.place == cursor.bytes.count, window.hasEnded else {
        throw ResticError("a JSON document has bytes to spare")
      }
      return result
    }
  }

  /// Takes more of a long document before a member or an element.
  private mutating func refill() throws {
    guard let window, !window.hasEnded, bytes.count - place < JSONWindow.mostTokenBytes else { return }
    bytes = try window.advance(past: place)
    place = 0
  }

  private mutating func skipBlanks() {
    while place < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[place]) { place += 1 }
  }

  private mutating func peek() throws -> UInt8 {
    if place < bytes.count, bytes[place] <= 0x20 { skipBlanks() }
    guard place < bytes.count else { throw ResticError("a JSON document ends too early") }
    return bytes[place]
  }

  private mutating func take(_ byte: Unicode.Scalar) throws {
    guard try peek() == UInt8(ascii: byte) else { throw ResticError("a JSON document is damaged") }
    place += 1
  }

  private mutating func takeIf(_ byte: Unicode.Scalar) throws -> Bool {
    guard try peek() == UInt8(ascii: byte) else { return false }
    place += 1
    return true
  }

  private mutating func takeWord(_ word: StaticString) throws {
    let end = place + word.utf8CodeUnitCount
    guard end <= bytes.count,
      bytes[place..<end].elementsEqual(UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    else { throw ResticError("a JSON document is damaged") }
    place = end
  }

  private mutating func enter() throws {
    depth += 1
    guard depth <= Self.mostLevels else { throw ResticError("a JSON document is nested too deeply") }
  }

  // MARK: Values

  /// A member's key, valid until its value is read.
  struct Key {
    fileprivate let text: Slice<UnsafeBufferPointer<UInt8>>

    static func ~= (pattern: StaticString, key: Key) -> Bool {
      key.text.elementsEqual(UnsafeBufferPointer(start: pattern.utf8Start, count: pattern.utf8CodeUnitCount))
    }
  }

  /// Reads an object. `body` must consume each member's value. `null` counts as an empty object.
  mutating func members(body: (inout JSONCursor, Key) throws -> Void) throws {
    if try takeNull() { return }
    try take("{")
    try enter()
    defer { depth -= 1 }
    if try takeIf("}") { return }
    repeat {
      try refill()
      try take("\"")
      let key = Key(text: try rawString())
      try take(":")
      try body(&self, key)
    } while try takeIf(",")
    try take("}")
  }

  /// Reads an array. `body` must consume each element. `null` counts as an empty array.
  mutating func elements(body: (inout JSONCursor) throws -> Void) throws {
    if try takeNull() { return }
    try take("[")
    try enter()
    defer { depth -= 1 }
    if try takeIf("]") { return }
    repeat {
      try refill()
      try body(&self)
    } while try takeIf(",")
    try take("]")
  }

  mutating func takeNull() throws -> Bool {
    guard try peek() == UInt8(ascii: "n") else { return false }
    try takeWord("null")
    return true
  }

  mutating func boolean() throws -> Bool {
    if try peek() == UInt8(ascii: "t") {
      try takeWord("true")
      return true
    }
    try takeWord("false")
    return false
  }

  mutating func unsigned(atMost limit: UInt64 = .max) throws -> UInt64 {
    guard digit(try peek()) != nil else { throw ResticError("a JSON document has no number where one should be") }
    var value: UInt64 = 0
    while place < bytes.count, let digit = digit(bytes[place]) {
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      guard !overflow, !carry else { throw ResticError("a JSON document has a number that is too large") }
      value = sum
      place += 1
    }
    if place < bytes.count, [UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[place]) {
      throw ResticError("a JSON document has a fraction where an integer should be")
    }
    guard value <= limit else { throw ResticError("a JSON document has a number that is too large") }
    return value
  }

  private func digit(_ byte: UInt8) -> UInt8? { byte >= 48 && byte <= 57 ? byte - 48 : nil }

  /// The text between quotes, with its escapes; the opening quote is consumed.
  private mutating func rawString() throws -> Slice<UnsafeBufferPointer<UInt8>> {
    let start = place
    while place < bytes.count {
      let byte = bytes[place]
      if byte == UInt8(ascii: "\"") {
        place += 1
        return bytes[start..<place - 1]
      }
      guard byte >= 0x20 else { throw ResticError("a JSON string has a control character") }
      place += byte == UInt8(ascii: "\\") ? 2 : 1
    }
    throw ResticError("a JSON document ends too early")
  }

  mutating func string() throws -> [UInt8] {
    try take("\"")
    let raw = try rawString()
    guard raw.contains(UInt8(ascii: "\\")) else { return Array(raw) }
    return try Self.unescaped(raw)
  }

  mutating func base64() throws -> [UInt8] {
    if try takeNull() { return [] }
    guard let bytes = Base64.decoded(try string()) else { throw ResticError("a JSON document has damaged base64") }
    return bytes
  }

  /// 64 hexadecimal digits.
  mutating func digest() throws -> Digest {
    try take("\"")
    let raw = try rawString()
    guard raw.count == 64 else { throw ResticError("a JSON document has an impossible ID") }
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    var isRight = true
    withUnsafeMutableBytes(of: &words) { target in
      for index in 0..<32 {
        let (high, low) = (
          hexValues[Int(raw[raw.startIndex + 2 * index])], hexValues[Int(raw[raw.startIndex + 2 * index + 1])]
        )
        if high > 15 || low > 15 { isRight = false }
        target[index] = high << 4 | low & 15
      }
    }
    guard isRight else { throw ResticError("a JSON document has an impossible ID") }
    return Digest(words: words)
  }

  /// A time in RFC 3339, in any zone.
  mutating func time() throws -> Timestamp {
    guard let time = parsedTime(try string()) else { throw ResticError("a JSON document has an impossible time") }
    return time
  }

  /// Consumes a value of any kind.
  mutating func skip() throws {
    switch try peek() {
    case UInt8(ascii: "{"): try members { cursor, _ in try cursor.skip() }
    case UInt8(ascii: "["): try elements { try $0.skip() }
    case UInt8(ascii: "\""):
      place += 1
      _ = try rawString()
    case UInt8(ascii: "t"): try takeWord("true")
    case UInt8(ascii: "f"): try takeWord("false")
    case UInt8(ascii: "n"): try takeWord("null")
    default:
      let start = place
      while place < bytes.count, digit(bytes[place]) != nil || "+-.eE".utf8.contains(bytes[place]) { place += 1 }
      guard place > start else { throw ResticError("a JSON document is damaged") }
    }
  }

  private static func unescaped(_ raw: Slice<UnsafeBufferPointer<UInt8>>) throws -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(raw.count)
    var rest = raw[...]
    func unit(_ rest: inout Slice<UnsafeBufferPointer<UInt8>>) throws -> UInt32 {
      var value: UInt32 = 0
      guard rest.count >= 4 else { throw ResticError("a JSON string has a broken escape") }
      for _ in 0..<4 {
        let digit = hexValues[Int(rest.removeFirst())]
        guard digit < 16 else { throw ResticError("a JSON string has a broken escape") }
        value = value << 4 | UInt32(digit)
      }
      return value
    }
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        text.append(byte)
        continue
      }
      guard let kind = rest.popFirst() else { throw ResticError("a JSON string has a broken escape") }
      switch kind {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(kind)
      case UInt8(ascii: "b"): text.append(8)
      case UInt8(ascii: "f"): text.append(12)
      case UInt8(ascii: "n"): text.append(10)
      case UInt8(ascii: "r"): text.append(13)
      case UInt8(ascii: "t"): text.append(9)
      case UInt8(ascii: "u"):
        var value = try unit(&rest)
        if (0xD800..<0xDC00).contains(value), rest.starts(with: "\\u".utf8) {
          var after = rest.dropFirst(2)
          let low = try unit(&after)
          if (0xDC00..<0xE000).contains(low) {
            value = 0x10000 + (value - 0xD800) << 10 + (low - 0xDC00)
            rest = after
          }
        }
        text += Array(String(Character(Unicode.Scalar(value) ?? "\u{FFFD}")).utf8)
      default: throw ResticError("a JSON string has a broken escape")
      }
    }
    return text
  }
}

/// The part of a long JSON document that is in memory.
private final class JSONWindow {
  /// The longest member without its nested values.
  static let mostTokenBytes = 32 << 10
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 256 << 10, alignment: 16)
  private let pieces: UnpackedText.Pieces
  private var filled = 0
  private(set) var hasEnded = false

  init(_ pieces: @escaping UnpackedText.Pieces) { self.pieces = pieces }

  deinit { buffer.deallocate() }

  /// Forgets the first bytes, and reads as many as there is room for.
  func advance(past count: Int) throws -> UnsafeBufferPointer<UInt8> {
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[count..<filled]))
    filled -= count
    while filled < buffer.count, !hasEnded {
      let read = try pieces(UnsafeMutableRawBufferPointer(rebasing: buffer[filled...]))
      filled += read
      hasEnded = read == 0
    }
    return UnsafeBufferPointer(
      start: buffer.baseAddress!.assumingMemoryBound(to: UInt8.self), count: filled)
  }
}

/// The value of each hexadecimal digit; 255 for other bytes.
private let hexValues: [UInt8] = (0..<256).map { byte in
  switch byte {
  case 48...57: UInt8(byte - 48)
  case 97...102: UInt8(byte - 87)
  case 65...70: UInt8(byte - 55)
  default: 255
  }
}

/// Parses `2015-01-02T18:10:50.895208559+01:00`; `nil` for any other form. A tree has three times for each entry.
func parsedTime(_ text: [UInt8]) -> Timestamp? {
  var rest = text[...]
  func number(digits count: Int) -> Int? {
    guard rest.count >= count else { return nil }
    var number = 0
    for byte in rest.prefix(count) {
      guard (48...57).contains(byte) else { return nil }
      number = number * 10 + Int(byte - 48)
    }
    rest.removeFirst(count)
    return number
  }
  func skip(_ mark: Unicode.Scalar) -> Bool {
    guard rest.first == UInt8(ascii: mark) else { return false }
    rest.removeFirst()
    return true
  }
  guard let year = number(digits: 4), skip("-"), let month = number(digits: 2), skip("-"),
    let day = number(digits: 2), skip("T"), let hour = number(digits: 2), skip(":"),
    let minute = number(digits: 2), skip(":"), let second = number(digits: 2)
  else { return nil }
  let time = CalendarTime(year: year, month: month, day: day, hour: hour, minute: minute, second: second)
  var nanoseconds: UInt32 = 0
  if skip(".") {
    var digits = 0
    while digits < 9, let digit = number(digits: 1) {
      nanoseconds = nanoseconds * 10 + UInt32(digit)
      digits += 1
    }
    guard digits > 0 else { return nil }
    for _ in digits..<9 { nanoseconds *= 10 }
  }
  var offset = 0
  if !skip("Z") {
    let isWest = skip("-")
    guard isWest || skip("+"), let hours = number(digits: 2), skip(":"), let minutes = number(digits: 2) else {
      return nil
    }
    offset = (hours * 60 + minutes) * (isWest ? -60 : 60)
  }
  return rest.isEmpty ? Timestamp(seconds: time.sinceEpoch - Int64(offset), nanoseconds: nanoseconds) : nil
}

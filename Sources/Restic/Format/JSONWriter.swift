internal import Model

/// Writes JSON byte for byte as Go's `encoding/json` does, because restic's tree IDs are digests of that text.
struct JSONWriter {
  private(set) var bytes: [UInt8] = []

  init(capacity: Int = 1024) { bytes.reserveCapacity(capacity) }

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

  /// Appends text that needs no escapes, such as a key with its quotes.
  mutating func raw(_ text: StaticString) {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  mutating func number(_ value: some BinaryInteger) { bytes.append(contentsOf: String(value).utf8) }

  mutating func digest(_ digest: Digest) {
    bytes.append(UInt8(ascii: "\""))
    hexadecimal(digest)
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func hexadecimal(_ digest: Digest) {
    withUnsafeBytes(of: digest.words) { raw in
      for byte in raw {
        bytes.append(hexDigits[Int(byte >> 4)])
        bytes.append(hexDigits[Int(byte & 15)])
      }
    }
  }

  mutating func base64(_ value: [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    bytes.append(contentsOf: Base64.encoded(value))
    bytes.append(UInt8(ascii: "\""))
  }

  /// A time in RFC 3339 with up to nine digits of a fraction, in UTC.
  mutating func time(_ time: Timestamp) {
    bytes.append(UInt8(ascii: "\""))
    var text = Array(CalendarTime(seconds: time.seconds).rfc3339.utf8)
    // A time outside the years 0 to 9999 has become the first or last second, without a fraction.
    if time.nanoseconds > 0, CalendarTime.seconds.contains(time.seconds) {
      text.removeLast()
      var digits = Array(String(Int(time.nanoseconds) + 1_000_000_000).utf8.dropFirst())
      while digits.last == UInt8(ascii: "0") { digits.removeLast() }
      text.append(UInt8(ascii: "."))
      text += digits + [UInt8(ascii: "Z")]
    }
    bytes += text
    bytes.append(UInt8(ascii: "\""))
  }

  /// A string. Bytes that are not UTF-8 become U+FFFD, one for each.
  mutating func string(_ value: some Collection<UInt8>) {
    bytes.append(UInt8(ascii: "\""))
    forEachScalar(of: Array(value)) { scalar, source in
      guard let scalar else {
        raw("\\ufffd")
        return
      }
      append(escaped: scalar, source: source)
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func append(escaped scalar: Unicode.Scalar, source: ArraySlice<UInt8>) {
    switch scalar.value {
    case 0x22: raw("\\\"")
    case 0x5C: raw("\\\\")
    case 0x0A: raw("\\n")
    case 0x0D: raw("\\r")
    case 0x09: raw("\\t")
    case 0..<0x20, 0x3C, 0x3E, 0x26, 0x2028, 0x2029:
      raw("\\u")
      let digits = String(scalar.value, radix: 16)
      bytes.append(contentsOf: String(repeating: "0", count: 4 - digits.count).utf8)
      bytes.append(contentsOf: digits.utf8)
    default: bytes.append(contentsOf: source)
    }
  }
}

let hexDigits = Array("0123456789abcdef".utf8)

/// Calls `body` with each scalar and its bytes; `nil` for a byte that is not part of UTF-8.
func forEachScalar(of bytes: [UInt8], body: (Unicode.Scalar?, ArraySlice<UInt8>) -> Void) {
  var index = 0
  while index < bytes.count {
    if bytes[index] < 0x80 {
      body(Unicode.Scalar(bytes[index]), bytes[index...index])
      index += 1
      continue
    }
    var decoder = UTF8()
    var iterator = bytes[index...].makeIterator()
    if case .scalarValue(let scalar) = decoder.decode(&iterator) {
      let width = UTF8.width(scalar)
      body(scalar, bytes[index..<index + width])
      index += width
    } else {
      body(nil, bytes[index...index])
      index += 1
    }
  }
}

/// A name as Go's `strconv.Quote` writes it, without the quotes: restic's form of names of any bytes.
enum QuotedName {
  static func encoded(_ name: [UInt8]) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity(name.count)
    forEachScalar(of: name) { scalar, source in
      guard let scalar else {
        text += hexEscape(source.first!)
        return
      }
      if let escape = escape(of: scalar) { text += escape } else { text += source }
    }
    return text
  }

  private static func hexEscape(_ byte: UInt8) -> [UInt8] {
    Array("\\x".utf8) + [hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]]
  }

  /// The escape of a scalar that Go does not print; `nil` for a printable one.
  private static func escape(of scalar: Unicode.Scalar) -> [UInt8]? {
    switch scalar.value {
    case 0x22: return Array("\\\"".utf8)
    case 0x5C: return Array("\\\\".utf8)
    case 0x07: return Array("\\a".utf8)
    case 0x08: return Array("\\b".utf8)
    case 0x0C: return Array("\\f".utf8)
    case 0x0A: return Array("\\n".utf8)
    case 0x0D: return Array("\\r".utf8)
    case 0x09: return Array("\\t".utf8)
    case 0x0B: return Array("\\v".utf8)
    case 0..<0x20, 0x7F: return hexEscape(UInt8(scalar.value))
    case 0x20..<0x7F: return nil
    default:
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .spaceSeparator, .lineSeparator,
        .paragraphSeparator:
        let digits = String(scalar.value, radix: 16)
        let width = scalar.value < 0x10000 ? 4 : 8
        return Array(((width == 4 ? "\\u" : "\\U") + String(repeating: "0", count: width - digits.count) + digits).utf8)
      default: return nil
      }
    }
  }

  /// The inverse of `encoded`; `nil` for text that `strconv.Unquote` would refuse.
  static func decoded(_ text: [UInt8]) -> [UInt8]? {
    guard text.contains(UInt8(ascii: "\\")) else { return text.contains(10) || text.contains(34) ? nil : text }
    var name: [UInt8] = []
    var rest = text[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "\\") else {
        guard byte != 10, byte != 34 else { return nil }
        name.append(byte)
        continue
      }
      guard let kind = rest.popFirst() else { return nil }
      switch kind {
      case UInt8(ascii: "a"): name.append(7)
      case UInt8(ascii: "b"): name.append(8)
      case UInt8(ascii: "f"): name.append(12)
      case UInt8(ascii: "n"): name.append(10)
      case UInt8(ascii: "r"): name.append(13)
      case UInt8(ascii: "t"): name.append(9)
      case UInt8(ascii: "v"): name.append(11)
      case UInt8(ascii: "\\"), UInt8(ascii: "\""): name.append(kind)
      case UInt8(ascii: "x"):
        guard let value = number(&rest, digits: 2, radix: 16) else { return nil }
        name.append(UInt8(value))
      case UInt8(ascii: "u"), UInt8(ascii: "U"):
        guard let value = number(&rest, digits: kind == UInt8(ascii: "u") ? 4 : 8, radix: 16),
          let scalar = Unicode.Scalar(value)
        else { return nil }
        name += Array(String(Character(scalar)).utf8)
      case UInt8(ascii: "0")...UInt8(ascii: "7"):
        rest = text[(rest.startIndex - 1)...]
        guard let value = number(&rest, digits: 3, radix: 8), value < 256 else { return nil }
        name.append(UInt8(value))
      default: return nil
      }
    }
    return name
  }

  private static func number(_ rest: inout ArraySlice<UInt8>, digits: Int, radix: Int) -> UInt32? {
    let text = rest.prefix(digits)
    guard text.count == digits, text.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else { return nil }
    rest = rest.dropFirst(digits)
    return UInt32(String(decoding: text, as: UTF8.self), radix: radix)
  }
}

/// Base64 with padding (RFC 4648, section 4).
enum Base64 {
  private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

  static func encoded(_ bytes: [UInt8]) -> [UInt8] {
    var text: [UInt8] = []
    text.reserveCapacity((bytes.count + 2) / 3 * 4)
    var index = 0
    while index < bytes.count {
      let left = bytes.count - index
      let word =
        UInt32(bytes[index]) << 16 | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0)
        | (left > 2 ? UInt32(bytes[index + 2]) : 0)
      for digit in 0..<4 {
        text.append(digit <= left ? digits[Int(word >> (18 - 6 * UInt32(digit)) & 63)] : UInt8(ascii: "="))
      }
      index += 3
    }
    return text
  }

  static func decoded(_ text: [UInt8]) -> [UInt8]? {
    guard text.count % 4 == 0 else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.count / 4 * 3)
    var index = 0
    while index < text.count {
      var word: UInt32 = 0
      var padding = 0
      for place in index..<index + 4 {
        let value: UInt32
        switch text[place] {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(text[place]) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(text[place]) - 97 + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(text[place]) - 48 + 52
        case UInt8(ascii: "+"): value = 62
        case UInt8(ascii: "/"): value = 63
        case UInt8(ascii: "=") where place >= text.count - 2:
          padding += 1
          value = 0
        default: return nil
        }
        guard padding == 0 || text[place] == UInt8(ascii: "=") else { return nil }
        word = word << 6 | value
      }
      bytes.append(UInt8(word >> 16 & 255))
      if padding < 2 { bytes.append(UInt8(word >> 8 & 255)) }
      if padding < 1 { bytes.append(UInt8(word & 255)) }
      index += 4
    }
    return bytes
  }
}

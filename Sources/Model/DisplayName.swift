/// A name or path as text for people, with unprintable characters escaped.
///
/// No file name can forge a line of output or steer a terminal. Only display uses this text; names stay bytes
/// elsewhere. `\n`, `\t`, `\r` and `\\` are escaped as in C. Other control bytes and bytes that are not UTF-8 become
/// `\xNN`. Invisible and direction-changing characters become `\u{…}`.
public func displayName(_ bytes: some Sequence<UInt8>) -> String {
  let bytes = Array(bytes)
  var text = ""
  var index = 0
  while index < bytes.count {
    var decoder = UTF8()
    var iterator = bytes[index...].makeIterator()
    switch decoder.decode(&iterator) {
    case .scalarValue(let scalar):
      text += displayScalar(scalar)
      index += UTF8.width(scalar)
    case .emptyInput, .error:
      text += hexEscape(bytes[index])
      index += 1
    }
  }
  return text
}

private func displayScalar(_ scalar: Unicode.Scalar) -> String {
  switch scalar.value {
  case 0x0A: "\\n"
  case 0x09: "\\t"
  case 0x0D: "\\r"
  case 0x5C: "\\\\"
  case ..<0x20, 0x7F: hexEscape(UInt8(scalar.value))
  default:
    switch scalar.properties.generalCategory {
    // C1 controls, line separators, marks that reverse or hide text, and unassigned characters.
    case .control, .format, .lineSeparator, .paragraphSeparator, .unassigned:
      "\\u{\(String(scalar.value, radix: 16))}"
    default: String(scalar)
    }
  }
}

private func hexEscape(_ byte: UInt8) -> String {
  let digits = String(byte, radix: 16)
  return "\\x" + (digits.count == 1 ? "0" : "") + digits
}

/// The bytes of some texts, for a program's arguments.
public func words(_ texts: String...) -> [[UInt8]] { texts.map { Array($0.utf8) } }

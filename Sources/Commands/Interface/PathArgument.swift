internal import ArgumentParser

// Swift's arguments are Unicode text, but a path may have other bytes. A byte that is not valid UTF-8 becomes a
// private-use scalar for the parser. PathArgument converts it back to the same byte.
private let escapeBase: UInt32 = 0x10_FF00

/// Converts an argument to text. Bytes that are not UTF-8 are escaped.
func escapedArgument(_ bytes: [UInt8]) -> String {
  var text = String.UnicodeScalarView()
  var index = 0
  while index < bytes.count {
    var decoder = UTF8()
    var iterator = bytes[index...].makeIterator()
    if case .scalarValue(let scalar) = decoder.decode(&iterator),
      !(escapeBase...escapeBase + 0xFF).contains(scalar.value)
    {
      text.append(scalar)
      index += UTF8.width(scalar)
    } else {
      text.append(Unicode.Scalar(escapeBase + UInt32(bytes[index]))!)
      index += 1
    }
  }
  return String(text)
}

func argumentBytes(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = []
  for scalar in text.unicodeScalars {
    if (escapeBase...escapeBase + 0xFF).contains(scalar.value) {
      bytes.append(UInt8(scalar.value - escapeBase))
    } else {
      bytes += Array(String(scalar).utf8)
    }
  }
  return bytes
}

/// The operator's path, byte for byte.
struct PathArgument: ExpressibleByArgument {
  let bytes: [UInt8]
  init(argument: String) { bytes = argumentBytes(argument) }
  init(bytes: [UInt8]) { self.bytes = bytes }
  static var defaultCompletionKind: CompletionKind { .file() }
}

/// A set of bytes, as a bracket expression matches it.
struct ByteSet: BitwiseCopyable {
  private var words: InlineArray<4, UInt64> = [0, 0, 0, 0]

  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }

  mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }

  mutating func insert(_ ranges: ClosedRange<UInt8>...) { for byte in ranges.joined() { insert(byte) } }

  mutating func remove(_ byte: UInt8) { words[Int(byte >> 6)] &= ~(1 << UInt64(byte & 63)) }

  mutating func invert() { for index in words.indices { words[index] = ~words[index] } }

  /// Adds the ASCII members of a POSIX class such as `alpha`; false if there is no such class.
  mutating func insert(class name: some Sequence<UInt8>) -> Bool {
    switch String(decoding: Array(name), as: UTF8.self) {
    case "alnum": insert(digits, uppercase, lowercase)
    case "alpha": insert(uppercase, lowercase)
    case "blank": insert(0x09...0x09, 0x20...0x20)
    case "cntrl": insert(0x00...0x1F, 0x7F...0x7F)
    case "digit": insert(digits)
    case "graph": insert(0x21...0x7E)
    case "lower": insert(lowercase)
    case "print": insert(0x20...0x7E)
    case "punct": insert(0x21...0x2F, 0x3A...0x40, 0x5B...0x60, 0x7B...0x7E)
    // Git's definition of a space: neither vertical tab nor form feed.
    case "space": insert(0x09...0x0A, 0x0D...0x0D, 0x20...0x20)
    case "upper": insert(uppercase)
    case "xdigit": insert(digits, 0x41...0x46, 0x61...0x66)
    default: return false
    }
    return true
  }
}

private let digits: ClosedRange<UInt8> = 0x30...0x39
private let uppercase: ClosedRange<UInt8> = 0x41...0x5A
private let lowercase: ClosedRange<UInt8> = 0x61...0x7A

internal import Engine

/// An instruction for the next bytes of a content or a record.
enum Instruction {
  /// A literal, or a piece of a long one. It is valid until the next instruction is read.
  case literal(UnsafeRawBufferPointer)
  /// A copy of bytes of the base.
  case copy(offset: UInt64, byteCount: UInt64)
  /// Zeros, from version 2 of the protocol on.
  case zeros(UInt64)
}

/// Writes the instructions that build a content or a record.
struct InstructionWriter {
  private let stream: OutgoingStream
  /// The end of the last copy in the base.
  private var copyEnd: UInt64 = 0

  init(to stream: OutgoingStream) { self.stream = stream }

  mutating func write(_ instruction: Instruction) throws {
    switch instruction {
    case .literal(let bytes):
      if bytes.isEmpty { return }
      try stream.write { $0.integer(UInt64(bytes.count) << 1) }
      try stream.write(bytes)
    case .copy(let offset, let byteCount):
      if byteCount == 0 { return }
      try stream.write {
        $0.integer(byteCount << 1 | 1)
        $0.signed(Int64(bitPattern: offset &- copyEnd))
      }
      copyEnd = offset &+ byteCount
    case .zeros(let byteCount):
      if byteCount == 0 { return }
      try stream.write {
        $0.integer(1)
        $0.integer(byteCount)
      }
    }
  }

  func end() throws { try stream.write { $0.integer(0) } }
}

/// The memory for literals that are read.
final class LiteralBuffer {
  /// The size of the largest piece of a literal.
  static let byteCount = 128 << 10
  let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 4096)

  deinit { bytes.deallocate() }
}

/// Reads and checks the instructions that build exactly `byteCount` bytes.
struct InstructionReader {
  private var fields: IncomingStream.Fields
  private let buffer: LiteralBuffer
  private let baseByteCount: UInt64
  private let mayHaveZeros: Bool
  /// The bytes that are still to be built, without those of the present literal.
  private var bytesLeft: UInt64
  private var literalBytesLeft: UInt64 = 0
  /// The end of the last copy in the base.
  private var copyEnd: UInt64 = 0

  /// Copies are from a base of `baseByteCount` bytes. Without `mayHaveZeros`, zeros are refused.
  init(
    from stream: IncomingStream, buffer: LiteralBuffer, byteCount: UInt64, baseByteCount: UInt64 = 0,
    mayHaveZeros: Bool = false
  ) {
    fields = stream.fields
    (self.buffer, self.baseByteCount, self.mayHaveZeros) = (buffer, baseByteCount, mayHaveZeros)
    bytesLeft = byteCount
  }

  /// The next instruction; `nil` after the last. Throws if the instructions build more or less than `byteCount` bytes.
  mutating func next() throws -> Instruction? {
    if literalBytesLeft > 0 { return try literal() }
    let head = try fields.integer()
    if head == 0 {
      guard bytesLeft == 0 else { throw ProtocolViolation("instructions build less than was announced") }
      return nil
    }
    let isZeros = head == 1 && mayHaveZeros
    let byteCount = isZeros ? try fields.integer() : head >> 1
    guard byteCount > 0, byteCount <= bytesLeft
    else { throw ProtocolViolation("instructions build more than was announced") }
    bytesLeft -= byteCount
    if isZeros {
      try checkForSignal()
      return .zeros(byteCount)
    }
    if head & 1 == 0 {
      literalBytesLeft = byteCount
      return try literal()
    }
    let offset = copyEnd &+ UInt64(bitPattern: try fields.signed())
    guard offset <= baseByteCount, byteCount <= baseByteCount - offset
    else { throw ProtocolViolation("an instruction copies from outside the base") }
    copyEnd = offset + byteCount
    try checkForSignal()
    return .copy(offset: offset, byteCount: byteCount)
  }

  private mutating func literal() throws -> Instruction {
    try checkForSignal()
    let byteCount = Int(min(literalBytesLeft, UInt64(LiteralBuffer.byteCount)))
    let piece = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<byteCount])
    try fields.stream.read(into: piece)
    literalBytesLeft -= UInt64(byteCount)
    return .literal(UnsafeRawBufferPointer(piece))
  }
}

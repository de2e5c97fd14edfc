internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// Writes messages into the zstd stream.
final class OutgoingStream {
  private let compressor: StreamCompressor
  private var pending = MessageWriter()

  init(_ channel: Channel, level: Int32 = 3, windowLog: Int32 = Wire.windowLog) {
    compressor = StreamCompressor(level: level, windowLog: windowLog) { try channel.send(.stream, $0) }
  }

  func message(_ tag: StreamTag, _ body: (inout MessageWriter) throws -> Void = { _ in }) throws {
    var writer = MessageWriter()
    writer.integer(tag.rawValue)
    try body(&writer)
    try write(writer.bytes)
  }

  func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try compressor.write($0) } }

  func write(_ bytes: UnsafeRawBufferPointer) throws { try compressor.write(bytes) }

  /// Sends all that was written. The receiver can then decode it.
  func flush() throws { try compressor.flush() }

  func finish() throws { try compressor.finish() }
}

/// Reads messages from the zstd stream.
final class IncomingStream {
  private let decompressor: StreamDecompressor

  /// `source` returns the next piece, and `nil` at the end.
  init(_ source: @escaping () throws -> [UInt8]?) {
    decompressor = StreamDecompressor(maximumWindowLog: Wire.windowLog, source: source)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws { try decompressor.readExactly(into: buffer) }

  var parts: Parts { Parts(stream: self) }

  struct Parts: MessageSource {
    let stream: IncomingStream

    mutating func byte() throws -> UInt8 {
      var value: UInt8 = 0
      try withUnsafeMutableBytes(of: &value) { try stream.read(into: $0) }
      return value
    }

    /// The caller has checked `count`.
    mutating func take(_ count: Int) throws -> [UInt8] {
      try stream.decompressor.read(count: count)
    }
  }
}

// MARK: Instructions

/// Writes the instructions that build a file or a record: literals, copies from the base and zeros. A zero ends them.
struct InstructionWriter {
  private let stream: OutgoingStream
  private var expected: UInt64 = 0

  init(_ stream: OutgoingStream) { self.stream = stream }

  mutating func write(_ instruction: DeltaInstruction) throws {
    var head = MessageWriter()
    switch instruction {
    case .literal(let bytes):
      if bytes.isEmpty { return }
      head.integer(UInt64(bytes.count) << 1)
      try stream.write(head.bytes)
      try stream.write(bytes)
    case .copy(let offset, let count):
      if count == 0 { return }
      head.integer(count << 1 | 1)
      head.signed(Int64(bitPattern: offset &- expected))
      expected = offset &+ count
      try stream.write(head.bytes)
    }
  }

  /// Writes a run of zeros. It requires version 2 of the protocol.
  func write(zeros byteCount: UInt64) throws {
    if byteCount == 0 { return }
    var head = MessageWriter()
    head.integer(1 as UInt64)
    head.integer(byteCount)
    try stream.write(head.bytes)
  }

  func end() throws { try stream.write([0]) }
}

/// Reads and checks instructions.
final class InstructionReader {
  /// The size of the largest piece of a literal.
  static let pieceBytes = 128 << 10
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pieceBytes, alignment: 16)

  deinit { buffer.deallocate() }

  /// Reads instructions that build exactly `byteCount` bytes, and throws if they build more or less.
  ///
  /// `literal` gets a literal in pieces. `copy` gets an offset within the base and a number of bytes. If it returns
  /// false, the rest is read and discarded, and the result is false. `zeros` gets a number of bytes; without
  /// `mayHaveZeros` zeros are refused.
  func read(
    _ stream: IncomingStream, byteCount: UInt64, baseByteCount: UInt64, copy: (UInt64, UInt64) throws -> Bool,
    mayHaveZeros: Bool = false, zeros: (UInt64) throws -> Void = { _ in },
    literal: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> Bool {
    var parts = stream.parts
    var left = byteCount
    var expected: UInt64 = 0
    var isWhole = true
    while true {
      let head = try parts.integer()
      if head == 0 { break }
      if head == 1, mayHaveZeros {
        let count = try parts.integer()
        guard count > 0, count <= left else { throw WireError("instructions build more than was announced") }
        left -= count
        try checkForSignal()
        if isWhole { try zeros(count) }
        continue
      }
      var count = head >> 1
      guard count > 0, count <= left else { throw WireError("instructions build more than was announced") }
      left -= count
      if head & 1 == 0 {
        while count > 0 {
          try checkForSignal()
          let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<Int(min(count, UInt64(Self.pieceBytes)))])
          try stream.read(into: piece)
          if isWhole { try literal(UnsafeRawBufferPointer(piece)) }
          count -= UInt64(piece.count)
        }
        continue
      }
      let offset = expected &+ UInt64(bitPattern: try parts.signed())
      guard offset <= baseByteCount, count <= baseByteCount - offset else {
        throw WireError("an instruction copies from outside the base")
      }
      expected = offset + count
      try checkForSignal()
      if isWhole { isWhole = try copy(offset, count) }
    }
    guard left == 0 else { throw WireError("instructions build less than was announced") }
    return isWhole
  }
}

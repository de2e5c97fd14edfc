internal import Catalog

/// Writes messages into a zstd stream.
final class OutgoingStream {
  private let compressor: StreamCompressor

  /// `sink` gets the pieces of the stream.
  init(level: Int32 = 3, windowLog: Int32 = Wire.windowLog, sink: @escaping (UnsafeRawBufferPointer) throws -> Void) {
    compressor = StreamCompressor(level: level, windowLog: windowLog, sink: sink)
  }

  func write(_ message: StreamMessage) throws { try write { message.encode(to: &$0) } }

  /// Writes the fields that `encode` gives.
  func write(_ encode: (inout MessageWriter) -> Void) throws {
    var writer = MessageWriter()
    encode(&writer)
    try write(writer.bytes)
  }

  func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try compressor.write($0) } }

  func write(_ bytes: UnsafeRawBufferPointer) throws { try compressor.write(bytes) }

  /// Sends all that was written. The receiver can then decode it.
  func flush() throws { try compressor.flush() }

  func finish() throws { try compressor.finish() }
}

/// Reads messages from a zstd stream.
final class IncomingStream {
  private let decompressor: StreamDecompressor

  /// `source` returns the next piece, and `nil` at the end.
  init(source: @escaping () throws -> [UInt8]?) {
    decompressor = StreamDecompressor(maximumWindowLog: Wire.windowLog, source: source)
  }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws { try decompressor.readExactly(into: buffer) }

  var fields: Fields { Fields(stream: self) }

  /// The next message; `request` is the server's request without an answer.
  func message(answering request: PartRequest? = nil) throws -> StreamMessage {
    var fields = fields
    return try StreamMessage(from: &fields, answering: request)
  }

  struct Fields: MessageSource {
    let stream: IncomingStream

    mutating func byte() throws -> UInt8 {
      var value: UInt8 = 0
      try withUnsafeMutableBytes(of: &value) { try stream.read(into: $0) }
      return value
    }

    /// The caller has checked `count`.
    mutating func bytes(_ count: Int) throws -> [UInt8] { try stream.decompressor.read(count: count) }
  }
}

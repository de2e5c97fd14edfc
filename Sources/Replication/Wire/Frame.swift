internal import Repository

enum FrameType: UInt8, Sendable {
  case hello = 1
  /// The sender gives up: kind, sentence, hint.
  case failure = 2
  /// The sender is at work: a number that grows with its progress.
  case alive = 3
  /// A piece of a zstd stream.
  case stream = 4

  // The client's requests.
  case list = 16
  case openCatalog = 17
  case readCatalog = 18
  case fetch = 19
  case verify = 20
  case push = 21
  case needs = 22
  case logs = 23
  case storeLog = 24
  case fetchLog = 25
  case space = 26
  case report = 27

  // The server's answers.
  case snapshot = 32
  case end = 33
  case bytes = 34
  case accept = 35
  case have = 36
  case need = 37
  case signature = 38
  case published = 39
  case problem = 40
  case note = 41
  case room = 42
  case logNames = 43
  case held = 44
  /// Before the hellos: the source that the server wants.
  case source = 45
}

/// A violation of the protocol by the other process.
struct ProtocolViolation: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A frame: a type byte, the payload length in four bytes, and the payload.
struct Frame: Sendable {
  private static let headBytes = 5

  let type: FrameType
  var payload: [UInt8] = []

  /// The violation by a frame of this type where the protocol has none.
  var isUnexpected: ProtocolViolation { ProtocolViolation("a frame of type \(type.rawValue) came where none may") }

  /// The bytes of a frame on the wire.
  static func encoded(type: FrameType, payload: UnsafeRawBufferPointer) throws(Failure) -> [UInt8] {
    guard payload.count <= Wire.frameBytes
    else { throw Failure(.remote, "something is too long to be sent: \(payload.count) bytes") }
    return [UInt8](unsafeUninitializedCapacity: headBytes + payload.count) { bytes, count in
      let raw = UnsafeMutableRawBufferPointer(bytes)
      raw[0] = type.rawValue
      raw.storeBytes(of: UInt32(payload.count).littleEndian, toByteOffset: 1, as: UInt32.self)
      UnsafeMutableRawBufferPointer(rebasing: raw[headBytes...]).copyMemory(from: payload)
      count = headBytes + payload.count
    }
  }

  /// Splits received bytes into frames.
  struct Decoder: Sendable {
    private var buffer: [UInt8] = []
    private var start = 0

    mutating func append(_ bytes: [UInt8]) {
      if start == buffer.count {
        buffer.removeAll(keepingCapacity: true)
        start = 0
      } else if start > 1 << 20 {
        buffer.removeFirst(start)
        start = 0
      }
      buffer += bytes
    }

    /// The next frame; `nil` if it has not arrived whole.
    mutating func next() throws(ProtocolViolation) -> Frame? {
      guard buffer.count - start >= headBytes else { return nil }
      let length = buffer[start + 1..<start + headBytes].reversed().reduce(0) { $0 << 8 | Int($1) }
      guard length <= Wire.frameBytes else { throw ProtocolViolation("a frame is longer than is allowed") }
      guard let type = FrameType(rawValue: buffer[start])
      else { throw ProtocolViolation("a frame has the unknown type \(buffer[start])") }
      let end = start + headBytes + length
      guard buffer.count >= end else { return nil }
      defer { start = end }
      return Frame(type: type, payload: Array(buffer[start + headBytes..<end]))
    }
  }
}

/// A message in one frame; its reader and its writer stand side by side.
protocol FrameMessage {
  static var type: FrameType { get }
  init(from reader: inout MessageReader) throws
  func encode(to writer: inout MessageWriter)
}

extension FrameMessage {
  /// Decodes a whole payload.
  init(payload: [UInt8]) throws {
    var reader = MessageReader(payload: payload)
    try self.init(from: &reader)
    try reader.end()
  }

  var payload: [UInt8] {
    var writer = MessageWriter()
    encode(to: &writer)
    return writer.bytes
  }
}

/// The server is at work: a number that grows with its progress.
struct KeepAlive {
  let number: UInt64
  /// The work that a verification has done.
  var done: (entries: UInt64, bytes: UInt64)?
}

extension KeepAlive: FrameMessage {
  static let type = FrameType.alive

  init(from reader: inout MessageReader) throws {
    number = try reader.integer()
    if !reader.isAtEnd { done = (try reader.quantity(), try reader.quantity()) }
  }

  func encode(to writer: inout MessageWriter) {
    writer.integer(number)
    guard let done else { return }
    writer.integer(done.entries)
    writer.integer(done.bytes)
  }
}

internal import Catalog
internal import Model
internal import Repository

/// Constants and limits of the protocol in `man/treering-replication.7`.
enum Wire {
  static let magic = Array("treering".utf8)
  /// The oldest and the newest version that this program speaks.
  static let versions: ClosedRange<UInt64> = 1...2
  /// The oldest version with digests of sparse files in records, and zeros among instructions.
  static let sparseVersion: UInt64 = 2
  static let frameBytes = 128 << 10
  /// The base-2 logarithm of the zstd window's size. Client and server both allocate a window.
  static let windowLog: Int32 = 23
  static let pathComponents = 4096
  static let recordBytes = 256 << 20
  /// The most bytes of records for each byte received. No real directory compresses as well as that.
  ///
  /// The limit ties the use of memory and disk to the bytes received, not to the bytes announced.
  static let expansion: UInt64 = 1024
  /// The most bytes of received frames that wait for their reader.
  static let waitingBytes = 16 << 20
  static let candidates = 1000
  static let sources = 1000
  /// The most signatures that are requested and have not arrived.
  static let signatures = 256
  /// The most partial files that are kept.
  static let partialFiles = 64
}

enum FrameType: UInt8 {
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
}

/// Messages inside the zstd stream of a push.
enum StreamTag: UInt8 {
  case record = 1
  case directory = 2
  case file = 3
  case baseFile = 4
  case baseDirectory = 5
  case signature = 6
  case end = 7
  case needed = 8
}

/// A violation of the protocol by the other process.
struct WireError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Encodes a message. Integers are LEB128: seven bits a byte, the lowest first.
struct MessageWriter {
  private(set) var bytes: [UInt8] = []

  init() {}

  mutating func integer(_ value: some UnsignedInteger) {
    var left = UInt64(value)
    while left >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: left) | 0x80)
      left >>= 7
    }
    bytes.append(UInt8(left))
  }

  mutating func signed(_ value: Int64) {
    integer(UInt64(bitPattern: (value << 1) ^ (value >> 63)))
  }

  mutating func text(_ value: some Collection<UInt8>) {
    integer(UInt(value.count))
    bytes += value
  }

  mutating func digest(_ digest: Digest) { bytes += digest.bytes }

  mutating func path(_ path: [[UInt8]]) {
    integer(UInt(path.count))
    for name in path { text(name) }
  }
}

/// A source of the fields of messages.
protocol MessageSource: ~Copyable {
  mutating func byte() throws -> UInt8
  mutating func take(_ count: Int) throws -> [UInt8]
}

extension MessageSource where Self: ~Copyable {
  mutating func integer() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      let next = try byte()
      let bits = UInt64(next & 0x7F)
      guard shift < 63 || bits <= 1 else { throw WireError("a number is too large") }
      value |= bits << UInt64(shift)
      if next & 0x80 == 0 {
        guard next != 0 || shift == 0 else { throw WireError("a number is longer than it need be") }
        return value
      }
    }
    throw WireError("a number is too long")
  }

  /// Reads a number that serves as a count or an index.
  mutating func count(_ limit: Int) throws -> Int {
    let value = try integer()
    guard value <= UInt64(limit) else { throw WireError("\(value) is more than the \(limit) that are allowed") }
    return Int(value)
  }

  /// Reads a number of entries or bytes, at most `Int64.max`: the sum of two does not overflow.
  mutating func quantity() throws -> UInt64 {
    let value = try integer()
    guard value <= UInt64(Int64.max) else { throw WireError("\(value) is more than there can be") }
    return value
  }

  mutating func signed() throws -> Int64 {
    let value = try integer()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  mutating func text(limit: Int) throws -> [UInt8] { try take(try count(limit)) }

  mutating func snapshotName() throws -> SnapshotName {
    guard let name = SnapshotName(try text(limit: 64)) else { throw WireError("a snapshot has no proper name") }
    return name
  }

  mutating func digest() throws -> Digest { Digest(try take(32))! }

  /// Reads a path from a snapshot's root, and checks every name.
  mutating func path() throws -> [[UInt8]] {
    let names = try count(Wire.pathComponents)
    var path: [[UInt8]] = []
    for _ in 0..<names {
      let name = try text(limit: 255)
      guard isComponent(name) else { throw WireError("a path has an impossible name") }
      path.append(name)
    }
    return path
  }
}

/// True if `name` is a valid file name other than `.` and `..`.
func isComponent(_ name: [UInt8]) -> Bool {
  !name.isEmpty && name.count <= 255 && name != [46] && name != [46, 46] && !name.contains(0)
    && !name.contains(UInt8(ascii: "/"))
}

/// True if this can be a repository's id. An id names a directory and appears in lines of text.
func isIdentifier(_ id: [UInt8]) -> Bool { isComponent(id) && id.allSatisfy { $0 > 32 && $0 < 127 } }

/// Decodes a message that has arrived whole.
struct MessageReader: MessageSource {
  private let bytes: [UInt8]
  private var position = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var left: Int { bytes.count - position }

  mutating func byte() throws -> UInt8 { try take(1)[0] }

  mutating func take(_ count: Int) throws -> [UInt8] {
    guard count >= 0, count <= left else { throw WireError("a message ends too early") }
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  func end() throws {
    guard left == 0 else { throw WireError("a message has bytes to spare") }
  }
}

/// The first frame of client and server: the program's identity, and the versions of the protocol that it speaks.
enum Greeting {
  static func begin() -> MessageWriter {
    var writer = MessageWriter()
    writer.integer(Wire.versions.lowerBound)
    writer.integer(Wire.versions.upperBound)
    return writer
  }

  static func send(_ message: MessageWriter, over channel: Channel) throws {
    try channel.send(.hello, Wire.magic + message.bytes)
  }

  /// Receives the other process's greeting. Returns the newest version that both speak, and the fields after the
  /// versions. Later versions may add fields.
  static func receive(over channel: Channel) throws -> (version: UInt64, rest: MessageReader) {
    let frame = try channel.receive(.hello)
    guard frame.payload.starts(with: Wire.magic) else { throw WireError("the \(channel.peer.rawValue) is no treering") }
    var reader = MessageReader(Array(frame.payload.dropFirst(Wire.magic.count)))
    let oldest = try reader.integer()
    let newest = try reader.integer()
    guard oldest <= newest, oldest <= Wire.versions.upperBound, newest >= Wire.versions.lowerBound else {
      throw Failure(
        .remote,
        "the \(channel.peer.rawValue) speaks the protocol's versions \(oldest) to \(newest), and this treering "
          + "\(Wire.versions.lowerBound) to \(Wire.versions.upperBound)",
        hint: "use the newer treering for client and server")
    }
    return (min(newest, Wire.versions.upperBound), reader)
  }
}

// MARK: Failures on the wire

extension Failure {
  private static let kinds: [(Kind, UInt8)] = [
    (.usage, 2), (.failed, 3), (.refused, 4), (.locked, 5), (.damaged, 6), (.remote, 7), (.noSpace, 8),
  ]

  /// The payload of a `failure` frame.
  var wireMessage: [UInt8] {
    var writer = MessageWriter()
    writer.integer(Self.kinds.first { $0.0 == kind }?.1 ?? 3)
    writer.text(Array(message.utf8).prefix(4000))
    writer.text(Array((hint ?? "").utf8).prefix(4000))
    return writer.bytes
  }

  /// Decodes the payload of a `failure` frame, and escapes its texts.
  ///
  /// The kinds for space, locks, damage and refusals stay. Any other kind becomes a failure of the replication.
  init(_ payload: [UInt8]) throws {
    var reader = MessageReader(payload)
    let number = UInt8(try reader.count(255))
    let message = displayName(try reader.text(limit: 1 << 14))
    let hint = displayName(try reader.text(limit: 1 << 14))
    try reader.end()
    let kind = Self.kinds.first { $0.1 == number }?.0 ?? .failed
    let isOwn: Bool =
      switch kind {
      case .locked, .damaged, .noSpace, .refused: true
      default: false
      }
    self.init(isOwn ? kind : .remote, message, hint: hint.isEmpty ? nil : hint)
  }
}

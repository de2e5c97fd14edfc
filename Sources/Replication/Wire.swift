internal import Catalog
internal import Repository

/// The protocol of `man/treering-replication.7`.
enum Wire {
  static let magic = Array("treering".utf8)
  /// The oldest and the newest version that this end speaks.
  static let versions: ClosedRange<UInt64> = 1...2
  /// The oldest in which a record may have digests of sparse files, and instructions zeros.
  static let sparseVersion: UInt64 = 2
  static let frameBytes = 128 << 10
  /// Of what zstd may refer back to; both ends set so much memory aside.
  static let windowLog: Int32 = 23
  static let pathComponents = 4096
  static let recordBytes = 256 << 20
  /// What a peer's bytes may become in a record: more than any directory's do, and little enough that memory and
  /// disk are taken by what came and not by what was claimed.
  static let expansion: UInt64 = 1024
  /// Frames that came and nobody has asked for yet.
  static let waitingBytes = 16 << 20
  static let candidates = 1000
  static let sources = 1000
  /// Signatures that are asked for and have not come.
  static let signatures = 256
  /// Files that were cut off and are kept.
  static let partialFiles = 64
}

enum FrameType: UInt8 {
  case hello = 1
  /// The sender gives up: kind, sentence, hint.
  case failure = 2
  /// The sender is at work: a number that grows.
  case alive = 3
  /// A piece of a zstd stream.
  case stream = 4

  // What a client asks for.
  case list = 16
  case openCatalog = 17
  case readCatalog = 18
  case fetch = 19
  case verify = 20
  case push = 21
  case needs = 22

  // What a server answers.
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

/// The other end broke the protocol: what it did.
struct WireError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A message on its way out. Integers are LEB128: seven bits a byte, the lowest first.
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

/// Where the parts of a message come from.
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

  /// A number that is used to count or to index here.
  mutating func count(_ limit: Int) throws -> Int {
    let value = try integer()
    guard value <= UInt64(limit) else { throw WireError("\(value) is more than the \(limit) that are allowed") }
    return Int(value)
  }

  /// A number of things or bytes that there are; sums of some of them do not overflow.
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

  /// A path from a snapshot's root; every name is checked to be one.
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

/// True for what may stand between two slashes, and leads downwards.
func isComponent(_ name: [UInt8]) -> Bool {
  !name.isEmpty && name.count <= 255 && name != [46] && name != [46, 46] && !name.contains(0)
    && !name.contains(UInt8(ascii: "/"))
}

/// True for what may be a repository's id, which names a directory and stands in lines of text.
func isIdentifier(_ id: [UInt8]) -> Bool { isComponent(id) && id.allSatisfy { $0 > 32 && $0 < 127 } }

/// The parts of a message that came whole.
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

/// What each end says first: who it is, and which versions of the protocol it speaks.
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

  /// Receives the other end's greeting. Returns the version that both speak, and the fields after the versions; later
  /// versions may add fields.
  static func receive(from other: String, over channel: Channel) throws -> (version: UInt64, rest: MessageReader) {
    let frame = try channel.receive(.hello)
    guard frame.payload.starts(with: Wire.magic) else { throw WireError("the \(other) is no treering") }
    var reader = MessageReader(Array(frame.payload.dropFirst(Wire.magic.count)))
    let oldest = try reader.integer()
    let newest = try reader.integer()
    guard oldest <= newest, oldest <= Wire.versions.upperBound, newest >= Wire.versions.lowerBound else {
      throw Failure(
        .remote,
        "the \(other) speaks the protocol's versions \(oldest) to \(newest), and this treering "
          + "\(Wire.versions.lowerBound) to \(Wire.versions.upperBound)",
        hint: "use the newer treering at both ends")
    }
    return (min(newest, Wire.versions.upperBound), reader)
  }
}

// MARK: Failures on the wire

extension Failure {
  private static let kinds: [(Kind, UInt8)] = [
    (.usage, 2), (.failed, 3), (.refused, 4), (.locked, 5), (.damaged, 6), (.remote, 7), (.noSpace, 8),
  ]

  /// As it travels.
  var wireMessage: [UInt8] {
    var writer = MessageWriter()
    writer.integer(Self.kinds.first { $0.0 == kind }?.1 ?? 3)
    writer.text(Array(message.utf8).prefix(4000))
    writer.text(Array((hint ?? "").utf8).prefix(4000))
    return writer.bytes
  }

  /// What the other end said, which is shown as text and nothing else. Where it is not about room, a lock or
  /// damage, replication failed.
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

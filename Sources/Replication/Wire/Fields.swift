internal import Model

/// Encodes the fields of a message. Integers are LEB128: seven bits a byte, the lowest first.
struct MessageWriter {
  private(set) var bytes: [UInt8] = []

  init() {}

  mutating func integer(_ value: UInt64) {
    var left = value
    while left >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: left) | 0x80)
      left >>= 7
    }
    bytes.append(UInt8(left))
  }

  mutating func count(_ value: Int) { integer(UInt64(value)) }

  mutating func flag(_ value: Bool) { integer(value ? 1 : 0) }

  mutating func signed(_ value: Int64) { integer(UInt64(bitPattern: (value << 1) ^ (value >> 63))) }

  mutating func text(_ value: some Collection<UInt8>) {
    count(value.count)
    bytes += value
  }

  /// Writes a text for a person.
  mutating func sentence(_ value: String, limit: Int = Wire.sentSentenceBytes) { text(Array(value.utf8).prefix(limit)) }

  mutating func snapshotNames(_ names: [SnapshotName]) {
    count(names.count)
    for name in names { text(name.bytes) }
  }

  mutating func digest(_ digest: Digest) { raw(digest.bytes) }

  mutating func raw(_ value: some Collection<UInt8>) { bytes += value }

  mutating func path(_ path: TreePath) {
    count(path.count)
    for name in path { text(name) }
  }
}

protocol MessageSource: ~Copyable {
  mutating func byte() throws -> UInt8
  mutating func bytes(_ count: Int) throws -> [UInt8]
}

extension MessageSource where Self: ~Copyable {
  mutating func integer() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      let next = try byte()
      let bits = UInt64(next & 0x7F)
      guard shift < 63 || bits <= 1 else { throw ProtocolViolation("a number is too large") }
      value |= bits << UInt64(shift)
      if next & 0x80 == 0 {
        guard next != 0 || shift == 0 else { throw ProtocolViolation("a number is longer than it need be") }
        return value
      }
    }
    throw ProtocolViolation("a number is too long")
  }

  /// Reads a number that serves as a count or an index.
  mutating func count(limit: Int) throws -> Int {
    let value = try integer()
    guard value <= UInt64(limit) else { throw ProtocolViolation("\(value) is more than the \(limit) that are allowed") }
    return Int(value)
  }

  mutating func flag() throws -> Bool { try count(limit: 1) == 1 }

  /// Reads a number of entries or bytes, at most `Int64.max`: the sum of two does not overflow.
  mutating func quantity() throws -> UInt64 {
    let value = try integer()
    guard value <= UInt64(Int64.max) else { throw ProtocolViolation("\(value) is more than there can be") }
    return value
  }

  mutating func signed() throws -> Int64 {
    let value = try integer()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  mutating func text(limit: Int) throws -> [UInt8] { try bytes(try count(limit: limit)) }

  /// Reads a text for a person, and escapes it.
  mutating func sentence(limit: Int = Wire.sentenceBytes) throws -> String { displayName(try text(limit: limit)) }

  mutating func snapshotName() throws -> SnapshotName {
    guard let name = SnapshotName(try text(limit: Wire.snapshotNameBytes))
    else { throw ProtocolViolation("a snapshot has no proper name") }
    return name
  }

  mutating func snapshotNames(limit: Int) throws -> [SnapshotName] {
    var names: [SnapshotName] = []
    for _ in 0..<(try count(limit: limit)) { names.append(try snapshotName()) }
    return names
  }

  mutating func digest() throws -> Digest { Digest(try bytes(32))! }

  /// Reads a repository's id. An id names a directory and appears in lines of text.
  mutating func identifier() throws -> [UInt8] {
    let id = try text(limit: Wire.identifierBytes)
    guard Name.isPossible(id.span), id.allSatisfy({ $0 > 32 && $0 < 127 })
    else { throw ProtocolViolation("a repository has an impossible id") }
    return id
  }

  /// Reads a path from a snapshot's root, and checks every name.
  mutating func path() throws -> TreePath {
    let names = try count(limit: Wire.pathComponents)
    var path: TreePath = []
    for _ in 0..<names {
      let name = try text(limit: Wire.nameBytes)
      guard Name.isPossible(name.span) else { throw ProtocolViolation("a path has an impossible name") }
      path.append(name)
    }
    return path
  }
}

/// Decodes a message that has arrived whole.
struct MessageReader: MessageSource {
  private let payload: [UInt8]
  private var position = 0

  init(payload: [UInt8]) { self.payload = payload }

  var isAtEnd: Bool { position == payload.count }

  mutating func byte() throws -> UInt8 { try bytes(1)[0] }

  mutating func bytes(_ count: Int) throws -> [UInt8] {
    guard count >= 0, count <= payload.count - position else { throw ProtocolViolation("a message ends too early") }
    defer { position += count }
    return Array(payload[position..<position + count])
  }

  func end() throws { guard isAtEnd else { throw ProtocolViolation("a message has bytes to spare") } }
}

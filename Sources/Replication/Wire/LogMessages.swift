internal import Repository

/// The log that a request names.
struct LogReference {
  let database, name: [UInt8]
}

extension LogReference {
  init(from reader: inout MessageReader) throws {
    database = try reader.databaseName()
    name = try reader.logName()
  }

  func encode(to writer: inout MessageWriter) {
    writer.text(database)
    writer.text(name)
  }
}

/// `logNames`: some of the names in the answer to `logs`.
struct LogNames: FrameMessage {
  static let type = FrameType.logNames
  /// The most names in one frame that a sender writes; they fit in every case.
  static let sentCount = 500
  private static let takenCount = 1 << 16

  let names: [[UInt8]]

  init(_ names: [[UInt8]]) { self.names = names }

  init(from reader: inout MessageReader) throws {
    var names: [[UInt8]] = []
    for _ in 0..<(try reader.count(limit: Self.takenCount)) { names.append(try reader.logName()) }
    self.names = names
  }

  func encode(to writer: inout MessageWriter) {
    writer.count(names.count)
    for name in names { writer.text(name) }
  }
}

/// The end of the answer to `fetchLog`.
struct LogEnd: FrameMessage {
  static let type = FrameType.end

  /// False if there is no such log.
  let isThere: Bool

  init(isThere: Bool) { self.isThere = isThere }
  init(from reader: inout MessageReader) throws { isThere = try reader.flag() }
  func encode(to writer: inout MessageWriter) { writer.flag(isThere) }
}

extension MessageReader {
  mutating func databaseName() throws -> [UInt8] {
    let name = try text(limit: Wire.nameBytes)
    guard Repository.isDatabaseName(name) else { throw ProtocolViolation("a database has an impossible name") }
    return name
  }

  fileprivate mutating func logName() throws -> [UInt8] {
    let name = try text(limit: Wire.nameBytes)
    guard LogArchive.isName(name) else { throw ProtocolViolation("a log has an impossible name") }
    return name
  }
}

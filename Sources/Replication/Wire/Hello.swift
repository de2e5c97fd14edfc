internal import Repository

/// The beginning of both hellos: the program's identity, and the versions of the protocol that it speaks.
enum Hello {
  static func encode(to writer: inout MessageWriter) {
    writer.integer(ProtocolVersion.spoken.lowerBound)
    writer.integer(ProtocolVersion.spoken.upperBound)
  }

  /// Returns the newest version that both speak, and the fields after the versions. Later versions may add fields.
  static func open(_ payload: [UInt8], of peer: String) throws -> (version: ProtocolVersion, fields: MessageReader) {
    guard payload.starts(with: Wire.magic) else { throw ProtocolViolation("the \(peer) is no treering") }
    var reader = MessageReader(payload: Array(payload.dropFirst(Wire.magic.count)))
    let own = ProtocolVersion.spoken
    let oldest = try reader.integer()
    let newest = try reader.integer()
    guard oldest <= newest, oldest <= own.upperBound, newest >= own.lowerBound else {
      throw Failure(
        .remote,
        "the \(peer) speaks the protocol's versions \(oldest) to \(newest), and this treering "
          + "\(own.lowerBound) to \(own.upperBound)", hint: "use the newer treering for client and server")
    }
    return (ProtocolVersion(number: min(newest, own.upperBound)), reader)
  }
}

/// The client's first frame.
struct ClientHello {
  let repositoryPath: [UInt8]
  let program: String
}

extension ClientHello {
  init(from reader: inout MessageReader) throws {
    repositoryPath = try reader.text(limit: Wire.repositoryPathBytes)
    program = try reader.sentence(limit: Wire.programBytes)
    guard !repositoryPath.contains(0) else { throw ProtocolViolation("the repository's path has a NUL") }
  }

  var payload: [UInt8] {
    var writer = MessageWriter()
    Hello.encode(to: &writer)
    writer.text(repositoryPath)
    writer.text(Array(program.utf8))
    return Wire.magic + writer.bytes
  }
}

/// The server's first frame.
struct ServerHello: Sendable {
  let repositoryID: [UInt8]
  let program: String
  let isAppendOnly, isReadOnly: Bool
  /// Equal for two connections only if they lead to one repository; `nil` from a server that does not send it.
  let location: [UInt8]?
}

extension ServerHello {
  init(from reader: inout MessageReader) throws {
    repositoryID = try reader.identifier()
    program = try reader.sentence(limit: Wire.programBytes)
    let rights = try reader.integer()
    isAppendOnly = rights & 1 != 0
    isReadOnly = rights & 2 != 0
    location = reader.isAtEnd ? nil : try reader.text(limit: Wire.locationBytes)
  }

  var payload: [UInt8] {
    var writer = MessageWriter()
    Hello.encode(to: &writer)
    writer.text(repositoryID)
    writer.text(Array(program.utf8))
    writer.integer((isAppendOnly ? 1 : 0) | (isReadOnly ? 2 : 0))
    writer.text(location ?? [])
    return Wire.magic + writer.bytes
  }
}

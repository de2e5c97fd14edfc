internal import Model
public import Repository

/// The archived logs of a database in the server's repository.
public struct RemoteLogs: LogSource {
  private let connection: Connection
  private let database: [UInt8]
  /// The most names that a server may send.
  private static let listedNames = 1 << 22

  /// Throws if the server knows nothing of logs.
  public init(of database: [UInt8], over connection: Connection) throws(Failure) {
    guard connection.version.hasLogs else {
      throw Failure(
        .remote, "\(connection.options.displayName): the treering there is too old to keep logs",
        hint: "use a newer one there")
    }
    (self.connection, self.database) = (connection, database)
  }

  public func names() throws(Failure) -> [[UInt8]] {
    try connection.annotatingErrors {
      try connection.channel.send(Request.logs(database).frame)
      var names: [[UInt8]] = []
      while true {
        let frame = try connection.channel.receive(.logNames, .end)
        if frame.type == .end { return names.sorted { $0.lexicographicallyPrecedes($1) } }
        names += try LogNames(payload: frame.payload).names
        guard names.count <= Self.listedNames else { throw ProtocolViolation("a list does not end") }
      }
    }
  }

  public func readStored(
    _ name: [UInt8], into receiver: (UnsafeRawBufferPointer) throws -> Void
  ) throws(Failure) -> Bool {
    try connection.annotatingErrors {
      let log = LogReference(database: database, name: name)
      try connection.channel.send(Request.fetchLog(log).frame)
      var byteCount: UInt64 = 0
      while true {
        let frame = try connection.channel.receive(.stream, .end)
        if frame.type == .end { return try LogEnd(payload: frame.payload).isThere }
        byteCount += UInt64(frame.payload.count)
        guard byteCount <= Wire.logBytes else { throw ProtocolViolation("a log does not end") }
        try frame.payload.withUnsafeBytes { try receiver($0) }
      }
    }
  }

  /// Sends a log of an archive. It is durable there when the call returns. False if the archive no longer has it.
  ///
  /// Throws `damaged` before anything is sent, so that other logs can follow.
  public func send(_ name: [UInt8], of archive: LogArchive) throws(Failure) -> Bool {
    guard try archive.read(name, into: { _ in }) else { return false }
    return try connection.annotatingErrors {
      let channel = connection.channel
      try channel.send(Request.storeLog(LogReference(database: database, name: name)).frame)
      let isThere = try archive.readStored(name) { bytes in
        var rest = bytes[...]
        while !rest.isEmpty {
          try channel.send(.stream, UnsafeRawBufferPointer(rebasing: rest.prefix(Wire.logPieceBytes)))
          rest = rest.dropFirst(Wire.logPieceBytes)
        }
      }
      guard isThere else { throw Failure(.failed, "the log \(displayName(name)) has vanished") }
      try channel.send(.end)
      _ = try channel.receive(.end)
      return true
    }
  }
}

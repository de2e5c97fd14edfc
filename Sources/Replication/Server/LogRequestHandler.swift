internal import Model
internal import Repository

/// Answers the requests about the archived logs of databases.
struct LogRequestHandler {
  let channel: Channel
  let repository: Repository
  let isReadOnly: Bool
  let space: SpaceBudget

  func list(of database: [UInt8]) throws {
    var names = try repository.pushedLogs(of: database)?.names()[...] ?? []
    while !names.isEmpty {
      try channel.send(LogNames(Array(names.prefix(LogNames.sentCount))))
      names = names.dropFirst(LogNames.sentCount)
    }
    try channel.send(.end)
  }

  /// Receives a log. It is verified and durable before the answer; nothing is replaced.
  func store(_ log: LogReference) throws {
    if isReadOnly {
      throw Failure(
        .refused, "\(displayName(repository.path)) is served read-only: nothing can be pushed to it",
        path: repository.path)
    }
    _ = try repository.makePushedLogs(of: log.database).storeAsStored(log.name) { sink in
      var byteCount: UInt64 = 0
      while true {
        let frame = try channel.receive(.stream, .end)
        if frame.type == .end { return }
        byteCount += UInt64(frame.payload.count)
        guard byteCount <= Wire.logBytes else { throw ProtocolViolation("a log does not end") }
        try space.consume(byteCount: UInt64(frame.payload.count), ofFileWith: byteCount)
        try frame.payload.withUnsafeBytes { try sink($0) }
      }
    }
    try channel.send(.end)
  }

  func fetch(_ log: LogReference) throws {
    let isThere = try repository.pushedLogs(of: log.database)?.readStored(log.name) { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        try channel.send(.stream, UnsafeRawBufferPointer(rebasing: rest.prefix(Wire.logPieceBytes)))
        rest = rest.dropFirst(Wire.logPieceBytes)
      }
    }
    try channel.send(LogEnd(isThere: isThere ?? false))
  }
}

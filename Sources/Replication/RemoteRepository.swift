public import Catalog
public import Engine
internal import Posix
public import Repository
internal import Synchronization

/// A snapshot of a remote, as its server tells of it.
public struct RemoteSnapshot: Sendable {
  public var snapshot: Snapshot
  /// Such as `daily.0`.
  public var sets: [String]
  /// Since when it is held; `nil` where it is not.
  public var held: String?
}

/// Reads a repository at the other end of a connection. One thread at a time.
public final class RemoteRepository: @unchecked Sendable {
  private let connection: Connection
  private let channel: Channel

  public init(_ connection: Connection) {
    self.connection = connection
    channel = connection.channel
  }

  /// The snapshots, oldest first.
  func list() throws -> [RemoteSnapshot] { try listing().snapshots }

  /// The snapshots, what is damaged, and since when and why rotation is held.
  public func listing() throws -> (snapshots: [RemoteSnapshot], damaged: [(name: SnapshotName, reason: String)], rotationHeld: String?) {
    try connection.explained {
      try channel.send(.list)
      var snapshots: [RemoteSnapshot] = []
      var damaged: [(name: SnapshotName, reason: String)] = []
      while true {
        let frame = try channel.receive(.snapshot, .end)
        var reader = MessageReader(frame.payload)
        if frame.type == .end {
          let held = displayName(try reader.text(limit: 4096))
          return (snapshots, damaged, held.isEmpty ? nil : held)
        }
        guard snapshots.count + damaged.count < 1 << 20 else { throw WireError("a list does not end") }
        let isWhole = try reader.integer() == 1
        guard let name = SnapshotName(try reader.text(limit: 64)) else { throw WireError("a snapshot has no proper name") }
        if !isWhole {
          damaged.append((name, displayName(try reader.text(limit: 4096))))
          continue
        }
        let summary = try CatalogSummary(encoded: try reader.text(limit: Wire.frameBytes))
        var sets: [String] = []
        for _ in 0..<(try reader.count(16)) { sets.append(displayName(try reader.text(limit: 64))) }
        let isHeld = try reader.integer() == 1
        let held = displayName(try reader.text(limit: 4096))
        try reader.end()
        snapshots.append(
          RemoteSnapshot(snapshot: Snapshot(name: name, summary: summary), sets: sets, held: isHeld ? held : nil))
      }
    }
  }

  /// Opens a snapshot's catalog, of which only what is looked at is fetched.
  public func openCatalog(_ name: SnapshotName) throws -> OpenCatalog {
    try connection.explained {
      var message = MessageWriter()
      message.text(name.bytes)
      try channel.send(.openCatalog, message.bytes)
      var reader = MessageReader(try channel.receive(.bytes).payload)
      let byteCount = try reader.integer()
      try reader.end()
      return try OpenCatalog(RemoteCatalog(self, name, byteCount: byteCount))
    }
  }

  fileprivate func read(_ name: SnapshotName, at offset: UInt64, count: Int) throws -> [UInt8] {
    try connection.explained {
      var bytes: [UInt8] = []
      while bytes.count < count {
        var message = MessageWriter()
        message.text(name.bytes)
        message.integer(offset + UInt64(bytes.count))
        let part = min(count - bytes.count, Wire.frameBytes)
        message.integer(UInt64(part))
        try channel.send(.readCatalog, message.bytes)
        let answer = try channel.receive(.bytes).payload
        guard answer.count <= part else { throw WireError("more came than was asked for") }
        bytes += answer
        if answer.count < part { break }
      }
      return bytes
    }
  }

  /// Asks for a stored file. Several may be asked for before the first is received; they come in that order.
  public func request(_ name: SnapshotName, _ path: [[UInt8]]) throws {
    var message = MessageWriter()
    message.text(name.bytes)
    message.path(path)
    try connection.explained { try channel.send(.fetch, message.bytes) }
  }

  /// Receives a file that was asked for, piece by piece, at most `byteCount` bytes. Returns why the far side cannot
  /// give it, or `nil`.
  public func receive(byteCount: UInt64, _ take: (UnsafeRawBufferPointer) throws -> Void) throws -> String? {
    try connection.explained {
      let channel = self.channel
      var isAtEnd = false
      let stream = IncomingStream {
        let frame = try channel.receive(.stream, .end)
        isAtEnd = frame.type == .end
        return isAtEnd ? nil : frame.payload
      }
      var parts = stream.parts
      var trouble: String?
      if try parts.integer() == 0 {
        trouble = displayName(try parts.text(limit: 4096))
      } else {
        let size = try parts.integer()
        if size != byteCount { trouble = "its size is \(size) and not \(byteCount) bytes" }
        _ = try InstructionReader().read(
          stream, byteCount: size, baseByteCount: 0, base: { _, _ in false },
          take: { if size == byteCount { try take($0) } })
      }
      while !isAtEnd {
        let frame = try channel.receive(.stream, .end)
        isAtEnd = frame.type == .end
      }
      return trouble
    }
  }

  /// Has snapshots verified at the far side, which reads them; `report` gets each path that differs.
  public func verify(
    _ names: [SnapshotName], report: (Problem) -> Void
  ) throws -> (problems: UInt64, damaged: UInt64, filesRead: UInt64, entries: UInt64, bytesRead: UInt64) {
    try connection.explained {
      var message = MessageWriter()
      message.integer(UInt64(names.count))
      for name in names { message.text(name.bytes) }
      try channel.send(.verify, message.bytes)
      while true {
        let frame = try channel.receive(.problem, .end)
        var reader = MessageReader(frame.payload)
        if frame.type == .end {
          return (
            try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer()
          )
        }
        guard let name = SnapshotName(try reader.text(limit: 64)) else { throw WireError("a snapshot has no proper name") }
        let path = try reader.text(limit: Wire.frameBytes)
        let text = displayName(try reader.text(limit: 4096))
        report(Problem(snapshot: name, path: path, message: text, isDamage: try reader.integer() == 1))
      }
    }
  }
}

/// A catalog at the other end.
private final class RemoteCatalog: CatalogSource, @unchecked Sendable {
  private let repository: RemoteRepository
  private let name: SnapshotName
  let byteCount: UInt64

  init(_ repository: RemoteRepository, _ name: SnapshotName, byteCount: UInt64) {
    self.repository = repository
    self.name = name
    self.byteCount = byteCount
  }

  func read(at offset: UInt64, count: Int) throws -> [UInt8] {
    try repository.read(name, at: offset, count: count)
  }
}

public import Catalog
public import Engine
public import Model
internal import Posix
public import Repository
internal import Retention
internal import Synchronization

/// A snapshot of a remote, as its server describes it.
private struct RemoteSnapshot {
  var snapshot: Snapshot
  /// The snapshot's places in the sets, such as `daily.0`.
  var sets: [String]
  /// The time and the reason of its hold; `nil` if it is not held.
  var held: String?
}

/// Reads the server's repository. Only one thread at a time may use it.
public final class RemoteRepository: VerifiableStore, @unchecked Sendable {
  private struct Listing {
    var snapshots: [RemoteSnapshot] = []
    var unusable: [UnusableSnapshot] = []
    var rotationHeld: String?
  }

  private let connection: Connection
  private let channel: Channel
  private var listing: Listing?

  public var path: [UInt8] { Array(connection.options.shown.utf8) }

  public init(_ connection: Connection) {
    self.connection = connection
    channel = connection.channel
  }

  public func snapshots() throws(Failure) -> SnapshotList {
    let listing = try known()
    var list = SnapshotList()
    list.snapshots = listing.snapshots.map(\.snapshot)
    list.unusable = listing.unusable
    return list
  }

  public func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    var ranked: [SnapshotSet: [(rank: Int, name: SnapshotName)]] = [:]
    for found in try known().snapshots {
      for word in found.sets {
        let parts = word.split(separator: ".")
        guard parts.count == 2, let set = SnapshotSet(rawValue: String(parts[0])), let rank = Int(parts[1]) else {
          continue
        }
        ranked[set, default: []].append((rank, found.snapshot.name))
      }
    }
    return ranked.mapValues { $0.sorted { $0.rank < $1.rank }.map(\.name) }
  }

  public func heldSnapshots() throws(Failure) -> [SnapshotName: String] {
    Dictionary(try known().snapshots.compactMap { found in found.held.map { (found.snapshot.name, $0) } }) { $1 }
  }

  public func heldRotation() throws(Failure) -> String? { try known().rotationHeld }

  private func known() throws(Failure) -> Listing {
    if let listing { return listing }
    let found = try ask()
    listing = found
    return found
  }

  /// The largest list of snapshots that a server may send, in bytes.
  private static let listBytes = 256 << 20

  private func ask() throws(Failure) -> Listing {
    try connection.explained {
      var listing = Listing()
      var names: Set<SnapshotName> = []
      var byteCount = 0
      try channel.send(.list)
      while true {
        let frame = try channel.receive(.snapshot, .end)
        var reader = MessageReader(frame.payload)
        if frame.type == .end {
          let held = displayName(try reader.text(limit: 4096))
          listing.rotationHeld = held.isEmpty ? nil : held
          return listing
        }
        byteCount += frame.payload.count
        guard names.count < 1 << 20, byteCount < Self.listBytes else { throw WireError("a list does not end") }
        let state = try reader.count(2)
        let name = try reader.snapshotName()
        guard names.insert(name).inserted else { throw WireError("a list has a snapshot twice") }
        if state != 1 {
          let reason = displayName(try reader.text(limit: 4096))
          listing.unusable.append(UnusableSnapshot(name: name, reason: reason, isDamage: state == 0))
          continue
        }
        let summary = try CatalogSummary(encoded: try reader.text(limit: Wire.frameBytes))
        var sets: [String] = []
        for _ in 0..<(try reader.count(16)) { sets.append(displayName(try reader.text(limit: 64))) }
        let isHeld = try reader.integer() == 1
        let held = displayName(try reader.text(limit: 4096))
        try reader.end()
        listing.snapshots.append(
          RemoteSnapshot(snapshot: Snapshot(name: name, summary: summary), sets: sets, held: isHeld ? held : nil))
      }
    }
  }

  /// Opens a snapshot's catalog. Only the parts that are read are fetched.
  public func openCatalog(_ name: SnapshotName) throws(Failure) -> OpenCatalog {
    try connection.explained {
      var message = MessageWriter()
      message.text(name.bytes)
      try channel.send(.openCatalog, message.bytes)
      var reader = MessageReader(try channel.receive(.bytes).payload)
      let byteCount = try reader.quantity()
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

  /// The files of a snapshot, for a restore.
  public func contents(of name: SnapshotName) -> (any ContentFetcher)? { RemoteContents(self, name) }

  public var local: Repository? { nil }

  fileprivate func request(_ name: SnapshotName, _ path: [[UInt8]]) throws {
    var message = MessageWriter()
    message.text(name.bytes)
    message.path(path)
    try connection.explained { try channel.send(.fetch, message.bytes) }
  }

  fileprivate func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
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
        let size = try parts.quantity()
        if size != byteCount { trouble = "its size is \(size) and not \(byteCount) bytes" }
        // A file of another size is read and discarded, to get to the next answer. Its size has a limit, too.
        guard size <= max(byteCount.multipliedReportingOverflow(by: 2).overflow ? .max : byteCount * 2, 1 << 30) else {
          throw WireError("\(trouble ?? "")")
        }
        _ = try InstructionReader().read(
          stream, byteCount: size, baseByteCount: 0, copy: { _, _ in false },
          mayHaveZeros: connection.version >= Wire.sparseVersion, zeros: { if size == byteCount { try takeZeros($0) } },
          literal: { if size == byteCount { try take($0) } })
      }
      var left = 16
      while !isAtEnd {
        left -= 1
        guard left > 0 else { throw WireError("a file does not end") }
        let frame = try channel.receive(.stream, .end)
        isAtEnd = frame.type == .end
      }
      return trouble
    }
  }

  /// Requests the server to verify snapshots; only the server reads them. `report` gets each path that differs.
  public func verify(
    _ names: [SnapshotName], threads: Int, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    let start = Clock.monotonic()
    return try connection.explained {
      var message = MessageWriter()
      message.integer(UInt64(names.count))
      for name in names { message.text(name.bytes) }
      try channel.send(.verify, message.bytes)
      while true {
        let frame = try channel.receive(.problem, .end)
        var reader = MessageReader(frame.payload)
        guard frame.type == .end else {
          report(try problem(&reader))
          continue
        }
        var result = VerifyResult(
          problems: try reader.quantity(), damaged: try reader.quantity(), filesRead: try reader.quantity())
        progress.entries.store(try reader.quantity(), ordering: .relaxed)
        progress.bytesRead.store(try reader.quantity(), ordering: .relaxed)
        for _ in 0..<(try reader.count(names.count)) { result.expired.insert(try reader.snapshotName()) }
        try reader.end()
        result.elapsedSeconds = Clock.monotonic() - start
        return result
      }
    }
  }

  private func problem(_ reader: inout MessageReader) throws -> Problem {
    let name = try reader.snapshotName()
    let path = try reader.text(limit: Wire.frameBytes)
    let text = displayName(try reader.text(limit: 4096))
    let isDamage = try reader.integer() == 1
    try reader.end()
    return Problem(snapshot: name, path: path, message: text, isDamage: isDamage)
  }
}

/// A catalog in the server's repository.
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

private final class RemoteContents: ContentFetcher, @unchecked Sendable {
  private let repository: RemoteRepository
  private let name: SnapshotName

  init(_ repository: RemoteRepository, _ name: SnapshotName) {
    self.repository = repository
    self.name = name
  }

  func request(_ path: [[UInt8]]) throws { try repository.request(name, path) }

  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
    try repository.receive(byteCount: byteCount, takeZeros: takeZeros, take)
  }
}

public import Catalog
public import Engine
public import Model
internal import Posix
public import Repository
internal import Synchronization

/// Reads the server's repository. Only one thread at a time may use it.
public final class RemoteRepository: VerifiableStore, Sendable {
  private struct Listing {
    var list = SnapshotList()
    /// The snapshots' places in the sets, such as `daily.0`.
    var sets: [SnapshotName: [String]] = [:]
    /// The time and the reason of each hold.
    var holds: [SnapshotName: String] = [:]
    var rotationHold: String?
  }

  /// The largest list of snapshots that a server may send, in bytes.
  static let listBytes = 256 << 20
  static let listedSnapshots = 1 << 20

  let connection: Connection
  private let listing = Mutex<Listing?>(nil)

  public var path: [UInt8] { Array(connection.options.displayName.utf8) }
  public var repositoryID: [UInt8] { connection.repositoryID }

  public init(over connection: Connection) { self.connection = connection }

  // MARK: Snapshots

  public func snapshots() throws(Failure) -> SnapshotList { try known().list }

  public func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    var ranked: [SnapshotSet: [(rank: Int, name: SnapshotName)]] = [:]
    for (name, sets) in try known().sets {
      for word in sets {
        let parts = word.split(separator: ".")
        guard parts.count == 2, let set = SnapshotSet(rawValue: String(parts[0])), let rank = Int(parts[1])
        else { continue }
        ranked[set, default: []].append((rank, name))
      }
    }
    return ranked.mapValues { $0.sorted { $0.rank < $1.rank }.map(\.name) }
  }

  public func heldSnapshots() throws(Failure) -> [SnapshotName: String] { try known().holds }

  public func heldRotation() throws(Failure) -> String? { try known().rotationHold }

  private func known() throws(Failure) -> Listing {
    if let listing = listing.withLock({ $0 }) { return listing }
    let found = try connection.annotatingErrors { try requestListing() }
    listing.withLock { $0 = found }
    return found
  }

  private func requestListing() throws -> Listing {
    var listing = Listing()
    var names: Set<SnapshotName> = []
    var byteCount = 0
    try connection.channel.send(Request.list.frame)
    while true {
      let frame = try connection.channel.receive(.snapshot, .end)
      if frame.type == .end {
        listing.list.sort()
        listing.rotationHold = try ListEnd(payload: frame.payload).rotationHold
        return listing
      }
      byteCount += frame.payload.count
      guard names.count < Self.listedSnapshots, byteCount < Self.listBytes
      else { throw ProtocolViolation("a list does not end") }
      let found = try ListedSnapshot(payload: frame.payload)
      guard names.insert(found.name).inserted else { throw ProtocolViolation("a list has a snapshot twice") }
      switch found {
      case .unusable(let snapshot): listing.list.unusable.append(snapshot)
      case .usable(let snapshot, let sets, let hold):
        listing.list.snapshots.append(snapshot)
        listing.sets[snapshot.name] = sets
        listing.holds[snapshot.name] = hold
      }
    }
  }

  // MARK: Catalogs and files

  /// Opens a snapshot's catalog. Only the parts that are read are fetched.
  public func openCatalog(of name: SnapshotName) throws(Failure) -> OpenCatalog {
    let source = try catalogSource(of: name)
    return try connection.annotatingErrors { try OpenCatalog(reading: source) }
  }

  /// The bytes of a snapshot's catalog.
  public func catalogSource(of name: SnapshotName) throws(Failure) -> any CatalogSource {
    try connection.annotatingErrors {
      try connection.channel.send(Request.openCatalog(name).frame)
      let size = try connection.channel.receive(CatalogSize.self)
      return RemoteCatalog(of: name, over: connection, byteCount: size.byteCount)
    }
  }

  /// The files of a snapshot, for a restore.
  public func contents(of name: SnapshotName) -> any ContentFetcher { RemoteContents(of: name, over: connection) }

  public func logs(of database: [UInt8]) throws(Failure) -> (any LogSource)? {
    connection.version.hasLogs ? try RemoteLogs(of: database, over: connection) : nil
  }

  public var local: Repository? { nil }

  // MARK: Verification

  /// Requests the server to verify snapshots; only the server reads them. `report` gets each path that differs.
  public func verify(
    _ names: [SnapshotName], options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    let start = Clock.monotonic()
    let request = VerifyRequest(names: names, part: options.part, bytesPerSecond: options.bytesPerSecond)
    return try connection.annotatingErrors {
      guard connection.version.hasPartialVerification || !request.needsVersion2 else {
        throw Failure(
          .remote, "the treering there is too old to verify a part, or to read slowly", hint: "use a newer one there")
      }
      progress.expect(
        try snapshots().snapshots.filter { names.contains($0.name) }.map(\.summary), part: options.part)
      connection.channel.follow(progress)
      defer { connection.channel.follow(nil) }
      try connection.channel.send(Request.verify(request).frame)
      while true {
        let frame = try connection.channel.receive(.problem, .end)
        guard frame.type == .end else {
          report(try Problem(payload: frame.payload))
          continue
        }
        let end = try VerifyEnd(payload: frame.payload)
        guard end.expired.count <= names.count
        else { throw ProtocolViolation("more snapshots expired than were asked for") }
        progress.entries.store(end.entries, ordering: .relaxed)
        progress.bytesRead.store(end.bytesRead, ordering: .relaxed)
        var result = VerifyResult(problems: end.problems, damaged: end.damaged, filesRead: end.filesRead)
        result.expired = Set(end.expired)
        result.elapsedSeconds = Clock.monotonic() - start
        return result
      }
    }
  }
}

private final class RemoteCatalog: CatalogSource {
  private let name: SnapshotName
  private let connection: Connection
  let byteCount: UInt64

  init(of name: SnapshotName, over connection: Connection, byteCount: UInt64) {
    (self.name, self.connection, self.byteCount) = (name, connection, byteCount)
  }

  func read(at offset: UInt64, count: Int) throws -> [UInt8] {
    try connection.annotatingErrors {
      var bytes: [UInt8] = []
      while bytes.count < count {
        let part = min(count - bytes.count, Wire.frameBytes)
        let request = Request.readCatalog(name, offset: offset + UInt64(bytes.count), byteCount: part)
        try connection.channel.send(request.frame)
        let answer = try connection.channel.receive(.bytes).payload
        guard answer.count <= part else { throw ProtocolViolation("more came than was asked for") }
        bytes += answer
        if answer.count < part { break }
      }
      return bytes
    }
  }
}

/// The files of a snapshot in the server's repository.
private final class RemoteContents: ContentFetcher {
  /// The largest file that is read and discarded because its size differs from the catalog's.
  private static let discardedBytes: UInt64 = 1 << 30
  /// The most frames after the last instruction.
  private static let lastFrames = 16

  private let name: SnapshotName
  private let connection: Connection

  init(of name: SnapshotName, over connection: Connection) { (self.name, self.connection) = (name, connection) }

  func request(_ path: TreePath) throws {
    try connection.annotatingErrors { try connection.channel.send(Request.fetch(name, path: path).frame) }
  }

  func receive(
    byteCount: UInt64, takeZeros: (UInt64) throws -> Void, _ take: (UnsafeRawBufferPointer) throws -> Void
  ) throws -> String? {
    try connection.annotatingErrors {
      let channel = connection.channel
      var isAtEnd = false
      let stream = IncomingStream {
        let frame = try channel.receive(.stream, .end)
        isAtEnd = frame.type == .end
        return isAtEnd ? nil : frame.payload
      }
      var fields = stream.fields
      var problem: String?
      switch try FetchHead(from: &fields) {
      case .problem(let reason): problem = reason
      case .file(let size):
        if size != byteCount { problem = "its size is \(size) and not \(byteCount) bytes" }
        try read(from: stream, byteCount: size, expected: byteCount, takeZeros: takeZeros, take: take)
      }
      for _ in 1..<Self.lastFrames where !isAtEnd { isAtEnd = try channel.receive(.stream, .end).type == .end }
      guard isAtEnd else { throw ProtocolViolation("a file does not end") }
      return problem
    }
  }

  private func read(
    from stream: IncomingStream, byteCount: UInt64, expected: UInt64, takeZeros: (UInt64) throws -> Void,
    take: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let (double, isHuge) = expected.multipliedReportingOverflow(by: 2)
    guard byteCount <= max(isHuge ? .max : double, Self.discardedBytes)
    else { throw ProtocolViolation("its size is \(byteCount) and not \(expected) bytes") }
    var instructions = InstructionReader(
      from: stream, buffer: LiteralBuffer(), byteCount: byteCount, mayHaveZeros: connection.version.hasSparseFiles)
    while let instruction = try instructions.next() {
      guard byteCount == expected else { continue }
      switch instruction {
      case .literal(let bytes): try take(bytes)
      case .zeros(let count): try takeZeros(count)
      case .copy: break
      }
    }
  }
}

internal import Catalog
internal import Model

enum Request {
  case list
  case openCatalog(SnapshotName)
  /// Requests `byteCount` bytes of a catalog; at its end there may be fewer.
  case readCatalog(SnapshotName, offset: UInt64, byteCount: Int)
  /// Requests the content of a regular file.
  case fetch(SnapshotName, path: TreePath)
  case verify(VerifyRequest)
  case push(PushRequest)
  /// Requests the names of the logs of a database.
  case logs([UInt8])
  case storeLog(LogReference)
  case fetchLog(LogReference)
  /// Requests the space that these snapshots hold alone and together; that of each snapshot, if none is named.
  case space([SnapshotName])
  /// Reports trouble with the source that the server wants.
  case report(SourceReport)

  init(frame: Frame) throws {
    var reader = MessageReader(payload: frame.payload)
    switch frame.type {
    case .list: self = .list
    case .openCatalog: self = .openCatalog(try reader.snapshotName())
    case .readCatalog:
      self = .readCatalog(
        try reader.snapshotName(), offset: try reader.quantity(), byteCount: try reader.count(limit: Wire.frameBytes))
    case .fetch: self = .fetch(try reader.snapshotName(), path: try reader.path())
    case .verify: self = .verify(try VerifyRequest(from: &reader))
    case .push: self = .push(try PushRequest(from: &reader))
    case .logs: self = .logs(try reader.databaseName())
    case .storeLog: self = .storeLog(try LogReference(from: &reader))
    case .fetchLog: self = .fetchLog(try LogReference(from: &reader))
    case .space: self = .space(try reader.snapshotNames(limit: Wire.measuredSnapshots))
    case .report: self = .report(try SourceReport(from: &reader))
    default: throw frame.isUnexpected
    }
    try reader.end()
  }

  var frame: Frame {
    var writer = MessageWriter()
    let type: FrameType
    switch self {
    case .list: type = .list
    case .openCatalog(let name):
      type = .openCatalog
      writer.text(name.bytes)
    case .readCatalog(let name, let offset, let byteCount):
      type = .readCatalog
      writer.text(name.bytes)
      writer.integer(offset)
      writer.count(byteCount)
    case .fetch(let name, let path):
      type = .fetch
      writer.text(name.bytes)
      writer.path(path)
    case .verify(let request):
      type = .verify
      request.encode(to: &writer)
    case .push(let request):
      type = .push
      request.encode(to: &writer)
    case .logs(let database):
      type = .logs
      writer.text(database)
    case .storeLog(let log):
      type = .storeLog
      log.encode(to: &writer)
    case .fetchLog(let log):
      type = .fetchLog
      log.encode(to: &writer)
    case .space(let names):
      type = .space
      writer.snapshotNames(names)
    case .report(let report):
      type = .report
      report.encode(to: &writer)
    }
    return Frame(type: type, payload: writer.bytes)
  }
}

/// `verify`: some snapshots; since version 2 also a part of them, and the rate of reading.
struct VerifyRequest {
  let names: [SnapshotName]
  var part = VerificationPart.whole
  var bytesPerSecond: UInt64?

  /// True if a server of version 1 would refuse the request.
  var needsVersion2: Bool { !part.isWhole || bytesPerSecond != nil }
}

extension VerifyRequest {
  init(from reader: inout MessageReader) throws {
    names = try reader.snapshotNames(limit: Wire.verifiedSnapshots)
    if reader.isAtEnd { return }
    let number = try reader.count(limit: VerificationPart.mostParts)
    let count = try reader.count(limit: VerificationPart.mostParts)
    guard let part = VerificationPart(number: number, of: count)
    else { throw ProtocolViolation("there is no part \(number) of \(count)") }
    self.part = part
    let rate = try reader.integer()
    bytesPerSecond = rate == 0 ? nil : rate
  }

  func encode(to writer: inout MessageWriter) {
    writer.snapshotNames(names)
    guard needsVersion2 else { return }
    writer.count(part.number)
    writer.count(part.count)
    writer.integer(bytesPerSecond ?? 0)
  }
}

/// `push`: announces the push of one snapshot.
struct PushRequest {
  let name: SnapshotName
  /// The id of the client's repository.
  let client: [UInt8]
  let summary: CatalogSummary
  /// The root digests of the snapshots whose catalogs the client has, the best base first.
  let candidates: [Digest]
  /// True if hints about the source follow each record. The server keeps them for a client without a repository.
  var hasSourceHints = false
}

extension PushRequest {
  init(from reader: inout MessageReader) throws {
    name = try reader.snapshotName()
    client = try reader.identifier()
    summary = try CatalogSummary(encoded: try reader.text(limit: Wire.frameBytes))
    // A source of another host begins with its label.
    let sources =
      summary.sources + summary.absentSources.map { $0.first == slash ? $0 : [slash] + $0 }
      + summary.otherSources.map { [slash] + $0 }
    guard summary.label.isEmpty || Name(summary.label) != nil, sources.count <= Wire.sources,
      summary.databases.count <= Wire.sources,
      sources.allSatisfy(Self.isSource), summary.outcome != .unfinished
    else { throw ProtocolViolation("a snapshot has an impossible description") }
    var candidates: [Digest] = []
    for _ in 0..<(try reader.count(limit: Wire.candidates)) { candidates.append(try reader.digest()) }
    self.candidates = candidates
    hasSourceHints = !reader.isAtEnd
    if hasSourceHints, try reader.integer() != 1 { throw ProtocolViolation("a push has an unknown flag") }
  }

  func encode(to writer: inout MessageWriter) {
    writer.text(name.bytes)
    writer.text(client)
    writer.text(summary.encoded)
    writer.count(candidates.count)
    for candidate in candidates { writer.digest(candidate) }
    if hasSourceHints { writer.integer(1) }
  }

  /// True if the path is absolute and has no empty name, `.` or `..`.
  private static func isSource(_ path: [UInt8]) -> Bool {
    guard path.first == slash, path.count <= 1 << 14 else { return false }
    return path.count == 1
      || path.dropFirst().split(separator: slash, omittingEmptySubsequences: false).allSatisfy { Name($0) != nil }
  }
}

/// `needs`: the space that a push needs. The client computes it from the merge of the catalogs.
struct SpaceNeeds: FrameMessage {
  static let type = FrameType.needs

  /// Bytes of the contents and records to send.
  var bytes: UInt64 = 0
  /// Bytes of files that the server must store once more, although it has or gets their content once.
  var copiedBytes: UInt64 = 0
  /// The number of files that become new inodes.
  var inodes: UInt64 = 0

  init() {}

  init(from reader: inout MessageReader) throws {
    bytes = try reader.quantity()
    copiedBytes = try reader.quantity()
    inodes = try reader.quantity()
  }

  func encode(to writer: inout MessageWriter) {
    for number in [bytes, copiedBytes, inodes] { writer.integer(number) }
  }
}

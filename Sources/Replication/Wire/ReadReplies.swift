internal import Catalog
internal import Engine
internal import Model
internal import Repository

/// `snapshot`: one of those in the answer to `list`.
enum ListedSnapshot: FrameMessage {
  /// A snapshot, with its places in the sets, such as `daily.0`, and the time and the reason of its hold.
  case usable(Snapshot, sets: [String], hold: String?)
  case unusable(UnusableSnapshot)

  static let type = FrameType.snapshot

  private enum State: Int {
    case damaged, usable, unknown
  }

  var name: SnapshotName {
    switch self {
    case .usable(let snapshot, _, _): snapshot.name
    case .unusable(let snapshot): snapshot.name
    }
  }

  init(from reader: inout MessageReader) throws {
    let state = State(rawValue: try reader.count(limit: State.unknown.rawValue))!
    let name = try reader.snapshotName()
    guard state == .usable else {
      let reason = try reader.sentence(limit: Wire.reasonBytes)
      self = .unusable(UnusableSnapshot(name: name, reason: reason, isDamage: state == .damaged))
      return
    }
    let summary = try CatalogSummary(encoded: try reader.text(limit: Wire.frameBytes))
    var sets: [String] = []
    for _ in 0..<(try reader.count(limit: Wire.sets)) { sets.append(try reader.sentence(limit: 64)) }
    let isHeld = try reader.flag()
    let reason = try reader.sentence(limit: Wire.reasonBytes)
    self = .usable(Snapshot(name: name, summary: summary), sets: sets, hold: isHeld ? reason : nil)
  }

  func encode(to writer: inout MessageWriter) {
    switch self {
    case .usable(let snapshot, let sets, let hold):
      writer.count(State.usable.rawValue)
      writer.text(snapshot.name.bytes)
      writer.text(Self.encoded(snapshot.summary))
      writer.count(sets.count)
      for set in sets { writer.text(Array(set.utf8)) }
      writer.flag(hold != nil)
      writer.sentence(hold ?? "")
    case .unusable(let snapshot):
      writer.count((snapshot.isDamage ? State.damaged : .unknown).rawValue)
      writer.text(snapshot.name.bytes)
      writer.sentence(snapshot.reason)
    }
  }

  /// The encoded summary; without its sources, databases and mounts if they are too many for a frame.
  private static func encoded(_ summary: CatalogSummary) -> [UInt8] {
    let bytes = summary.encoded
    if bytes.count <= Wire.frameBytes - 8192 { return bytes }
    var short = summary
    short.sources = []
    short.absentSources = []
    short.otherSources = []
    short.databases = []
    short.mounts = []
    return short.encoded
  }
}

struct ListEnd {
  /// `nil` if rotation is not held.
  let rotationHold: String?
}

extension ListEnd: FrameMessage {
  static let type = FrameType.end

  init(from reader: inout MessageReader) throws {
    let reason = try reader.sentence(limit: Wire.reasonBytes)
    rotationHold = reason.isEmpty ? nil : reason
  }

  func encode(to writer: inout MessageWriter) { writer.sentence(rotationHold ?? "") }
}

/// The answer to `openCatalog`.
struct CatalogSize {
  let byteCount: UInt64
}

extension CatalogSize: FrameMessage {
  static let type = FrameType.bytes

  init(from reader: inout MessageReader) throws { byteCount = try reader.quantity() }

  func encode(to writer: inout MessageWriter) { writer.integer(byteCount) }
}

/// The head of the stream that answers `fetch`.
enum FetchHead {
  /// Instructions for a file of `byteCount` bytes follow.
  case file(byteCount: UInt64)
  case problem(String)

  init(from source: inout some MessageSource) throws {
    self =
      try source.integer() == 0
      ? .problem(try source.sentence(limit: Wire.reasonBytes)) : .file(byteCount: try source.quantity())
  }

  func encode(to writer: inout MessageWriter) {
    switch self {
    case .file(let byteCount):
      writer.flag(true)
      writer.integer(byteCount)
    case .problem(let reason):
      writer.flag(false)
      writer.sentence(reason)
    }
  }
}

/// `problem`: a path that differs from its catalog.
extension Problem: FrameMessage {
  static var type: FrameType { .problem }

  init(from reader: inout MessageReader) throws {
    self.init(
      snapshot: try reader.snapshotName(), path: try reader.text(limit: Wire.frameBytes),
      message: try reader.sentence(limit: Wire.reasonBytes), isDamage: try reader.flag())
  }

  func encode(to writer: inout MessageWriter) {
    writer.text(snapshot.bytes)
    writer.text(path.prefix(Wire.frameBytes - 8192))
    writer.sentence(message)
    writer.flag(isDamage)
  }
}

struct VerifyEnd: FrameMessage {
  static let type = FrameType.end

  let problems, damaged, filesRead, entries, bytesRead: UInt64
  /// Snapshots that expired before their turn.
  let expired: [SnapshotName]

  init(of result: VerifyResult, entries: UInt64, bytesRead: UInt64) {
    problems = result.problems
    damaged = result.damaged
    filesRead = result.filesRead
    (self.entries, self.bytesRead) = (entries, bytesRead)
    expired = Array(result.expired)
  }

  init(from reader: inout MessageReader) throws {
    problems = try reader.quantity()
    damaged = try reader.quantity()
    filesRead = try reader.quantity()
    entries = try reader.quantity()
    bytesRead = try reader.quantity()
    expired = try reader.snapshotNames(limit: Wire.verifiedSnapshots)
  }

  func encode(to writer: inout MessageWriter) {
    for number in [problems, damaged, filesRead, entries, bytesRead] { writer.integer(number) }
    writer.snapshotNames(expired)
  }
}

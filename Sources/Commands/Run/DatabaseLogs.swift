internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention

/// The archived write-ahead log of a database.
struct DatabaseLogs {
  private let archive: LogArchive
  private let names: [[UInt8]]
  private let histories: [UInt32: TimelineHistory]
  private let segmentBytes: UInt64

  /// The longest history that is read. A line has about 60 bytes.
  private static let longestHistory = 1 << 20

  init(in path: [UInt8]) throws(Failure) { try self.init(of: try LogArchive(at: path)) }

  init(of archive: LogArchive) throws(Failure) {
    self.archive = archive
    names = try archive.names()
    var histories: [UInt32: TimelineHistory] = [:]
    var segment: [UInt8]?
    for name in names {
      switch LogFile(name, segmentBytes: Self.smallestSegment) {
      case .history(let timeline)?:
        var text: [UInt8] = []
        _ = try archive.read(name) { bytes in
          text += bytes
          if text.count > Self.longestHistory { throw Errno.fileTooLarge }
        }
        histories[timeline] = TimelineHistory(text)
      case .segment?: segment = name
      default: break
      }
    }
    self.histories = histories
    let size = try segment.flatMap { name throws(Failure) in try archive.facts(of: name)?.byteCount }
    segmentBytes = size.flatMap { Self.isSegmentSize($0) ? $0 : nil } ?? 16 << 20
  }

  /// The segment sizes that initdb(1) allows are the powers of two from 1 MiB to 1 GiB.
  private static let smallestSegment: UInt64 = 1 << 20
  private static func isSegmentSize(_ size: UInt64) -> Bool {
    size.nonzeroBitCount == 1 && (smallestSegment...1 << 30).contains(size)
  }

  private func plan(for bases: [BaseBackup]) -> LogPlan {
    LogPlan(names: names, bases: bases, histories: histories, segmentBytes: segmentBytes)
  }

  private func name(of segment: LogSegment) -> String { segment.name(segmentBytes: segmentBytes) }

  /// Throws unless the archive has the segments without which a new base backup cannot be used.
  func checkLogs(of base: BaseBackup) throws(Failure) {
    let first = LogSegment(timeline: base.timeline, at: base.start, segmentBytes: segmentBytes)
    let last = LogSegment(
      timeline: base.timeline, at: LogPlace(byte: max(base.end.byte, base.start.byte + 1) - 1),
      segmentBytes: segmentBytes)
    let present = Set(names)
    for number in first.number...last.number {
      let name = name(of: LogSegment(timeline: base.timeline, number: number))
      guard present.contains(Array(name.utf8)) else {
        throw Failure(
          .failed, "the archive \(displayName(archive.path)) lacks \(name), which the base backup needs",
          hint: "see whether the server's archive_command stores into this archive")
      }
    }
  }

  /// Removes the files that no base needs, and returns their number.
  func removeUnneeded(by bases: [BaseBackup]) throws(Failure) -> Int {
    let removable = plan(for: bases).removable
    try archive.remove(removable)
    return removable.count
  }

  /// The state of an archive, for `status`.
  struct State {
    struct Gap: Encodable {
      let first: String
      let count: UInt64
    }
    /// The newest segment, and the time at which it was stored.
    var newest: String?
    var stored: Timestamp?
    var missing: [Gap] = []
    /// The reason that the archive cannot be read.
    var problem: String?
  }

  /// The state for the bases of all snapshots.
  func state(for bases: [BaseBackup]) throws(Failure) -> State {
    let plan = plan(for: bases)
    var state = State(newest: plan.newest.map(name(of:)))
    state.stored = try state.newest.flatMap { name throws(Failure) in try archive.storedTime(of: Array(name.utf8)) }
    state.missing = plan.gaps.map { State.Gap(first: name(of: $0.first), count: $0.count) }
    return state
  }
}

extension SnapshotList {
  /// The base backups of a database in all snapshots.
  func baseBackups(of database: [UInt8]) -> [BaseBackup] {
    snapshots.flatMap(\.summary.databases).filter { $0.name == database && !$0.isLeftOut }
      .compactMap { BaseBackup($0.point) }
  }
}

extension ExpectedDatabase {
  /// The state of its archived logs; `nil` if none are archived.
  func logState(for list: SnapshotList) throws(Failure) -> DatabaseLogs.State? {
    if let writeAheadLog { return try DatabaseLogs(in: writeAheadLog).state(for: list.baseBackups(of: name)) }
    return try binaryLogs.map { path throws(Failure) in
      try BinaryLogArchive(in: path).state(for: list.logPlaces(of: name) ?? [])
    }
  }

  /// Removes the archived logs that no dump needs, and returns their number.
  func removeUnneededLogs(for list: SnapshotList) throws(Failure) -> Int {
    if let writeAheadLog { return try DatabaseLogs(in: writeAheadLog).removeUnneeded(by: list.baseBackups(of: name)) }
    guard let binaryLogs, let places = list.logPlaces(of: name) else { return 0 }
    return try BinaryLogArchive(in: binaryLogs).removeUnneeded(by: places)
  }
}

extension ConfigurationFile {
  /// Removes the logs that no snapshot's base backup needs any more. Returns a line for each database that lost some,
  /// and the problems.
  ///
  /// A snapshot that cannot be read may need any log, so then all stay.
  func removeUnneededLogs(for repository: Repository) -> (done: [String], problems: [String]) {
    var (done, problems): ([String], [String]) = ([], [])
    for database in databases {
      guard database.writeAheadLog != nil || database.binaryLogs != nil else { continue }
      do {
        let list = try repository.snapshots()
        guard list.unusable.isEmpty else { continue }
        let count = try database.removeUnneededLogs(for: list)
        if count > 0 { done.append("\(counted(count, "log")) of \(displayName(database.name)) removed") }
      } catch { problems.append("the logs of \(displayName(database.name)) were not looked through: \(error)") }
    }
    return (done, problems)
  }
}

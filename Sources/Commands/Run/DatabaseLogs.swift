internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention

extension LogArchive {
  /// Throws if the data directory is that of another server than the log.
  func checkServer(ofData data: Directory) throws(Failure) {
    let control: [UInt8]
    do {
      control = try data.directory(Array("global".utf8).span).descriptor.openToRead(Array("pg_control".utf8).span)
        .read(at: 0, count: 8)
    } catch { throw .writing("read global/pg_control for the archive", at: path, because: error) }
    guard let known = try systemIdentifier(), let found = SystemIdentifier(controlFile: control), known != found
    else { return }
    throw Failure(
      .refused,
      "the archive \(displayName(path)) has the log of another server: its system identifier is \(known), and that of the "
        + "base backup is \(found)", path: path,
      hint: "each server that initdb made needs an archive of its own; name that of this one")
  }
}

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

  /// Throws unless the archive has the segments without which a new base backup cannot be used, of the same server.
  func checkLogs(of base: BaseBackup, in data: Directory) throws(Failure) {
    try archive.checkServer(ofData: data)
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

  /// The newest segment of a timeline, and the time at which it was stored; `nil` for that of all.
  func newest(on timeline: UInt32?) throws(Failure) -> Newest? {
    guard let segment = plan(for: []).newest(on: timeline) else { return nil }
    let name = name(of: segment)
    return try Newest(name: name, stored: archive.storedTime(of: Array(name.utf8)))
  }

  struct Newest {
    var name: String
    var stored: Timestamp?
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
    /// True if the newest dump needs none of the missing logs.
    var newestIsWhole = true
    /// The reason that the archive cannot be used.
    var problem: String?
  }

  /// The state for the bases of all snapshots.
  func state(for bases: [BaseBackup]) throws(Failure) -> State {
    let plan = plan(for: bases)
    var state = State(newest: plan.newest(on: nil).map(name(of:)))
    state.stored = try state.newest.flatMap { name throws(Failure) in try archive.storedTime(of: Array(name.utf8)) }
    state.missing = plan.gaps.map { State.Gap(first: name(of: $0.first), count: $0.count) }
    state.newestIsWhole = self.plan(for: Array(bases.suffix(1))).gaps.isEmpty
    return state
  }
}

extension SnapshotList {
  /// The base backups of a database in all snapshots, the newest last.
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
      try BinaryLogArchive(in: path).state(
        for: list.logPlaces(of: name) ?? [], newestBegan: list.dumpRecords(of: name).first?.record.began)
    }
  }
}

extension LogArchive {
  /// Removes the logs of a database that no dump needs, and returns their number.
  ///
  /// The names of both kinds of logs have different forms, and logs of the one kind need no dump of the other.
  fileprivate func removeUnneeded(of database: [UInt8], for list: SnapshotList) throws(Failure) -> Int {
    let places = list.logPlaces(of: database) ?? []
    return try DatabaseLogs(of: self).removeUnneeded(by: list.baseBackups(of: database))
      + BinaryLogArchive(of: self).removeUnneeded(by: places)
  }
}

extension Repository {
  /// The archive of a database's logs; `nil` if no snapshot has a dump, which says nothing about the logs.
  private func archive(at path: [UInt8], of database: [UInt8]) throws(Failure) -> LogArchive? {
    let archive = try LogArchive(at: path)
    if try snapshots().dumpRecords(of: database).isEmpty { return nil }
    guard try archive.isKept(for: id) else {
      throw Failure(
        .refused, "the archive \(displayName(path)) is kept for the dumps of another repository", path: path,
        hint: "give each repository an archive of its own; if the other one is gone, remove the file .repository there")
    }
    return archive
  }

  /// Removes the logs that no dump in a snapshot needs any more: those in the archives of the configuration, and those
  /// that were pushed here. Returns a line for each database that lost some, and the problems.
  ///
  /// A snapshot that cannot be read may need any log, so then all stay.
  func removeUnneededLogs(by file: ConfigurationFile?) -> (done: [String], problems: [String]) {
    var (done, problems): ([String], [String]) = ([], [])
    func look(at database: [UInt8], open: () throws(Failure) -> LogArchive?) {
      do {
        let list = try snapshots()
        guard list.unusable.isEmpty, let archive = try open() else { return }
        let count = try archive.removeUnneeded(of: database, for: list)
        if count > 0 { done.append("\(counted(count, "log")) of \(displayName(database)) removed") }
      } catch { problems.append("the logs of \(displayName(database)) were not looked through: \(error)") }
    }
    for database in file?.databases ?? [] {
      guard let path = database.writeAheadLog ?? database.binaryLogs else { continue }
      look(at: database.name) { () throws(Failure) in try archive(at: path, of: database.name) }
    }
    do {
      for database in try databasesWithPushedLogs() {
        look(at: database) { () throws(Failure) in try pushedLogs(of: database) }
      }
    } catch { problems.append("\(error)") }
    return (done, problems)
  }
}

internal import Catalog
internal import Databases
internal import Model
internal import Repository

/// The archived binary logs of a MySQL or MariaDB server.
struct BinaryLogArchive {
  private let archive: LogArchive
  private let logs: [BinaryLogName]

  init(in path: [UInt8]) throws(Failure) { try self.init(of: try LogArchive(at: path)) }

  init(of archive: LogArchive) throws(Failure) {
    self.archive = archive
    logs = try archive.names().compactMap { BinaryLogName($0) }
  }

  /// Removes the logs that no dump needs, and returns their number.
  func removeUnneeded(by dumps: [BinaryLogPlace]) throws(Failure) -> Int {
    let removable = BinaryLogPlan(logs: logs, dumps: dumps).removable
    try archive.remove(removable.map(\.text))
    return removable.count
  }

  /// The failure that the logs of a server must not go to the archive of another.
  static func another(at path: [UInt8], because reason: String) -> Failure {
    Failure(
      .refused, "the archive \(displayName(path)) has the binary logs of another server: \(reason)", path: path,
      hint:
        "after RESET MASTER or on a new server, name a new directory as \"archive\"; the old one stays for its dumps")
  }

  /// The state for the dumps of all snapshots, the newest first. `began` is the time of the newest.
  func state(for dumps: [BinaryLogPlace], newestBegan began: Timestamp? = nil) throws(Failure) -> DatabaseLogs.State {
    let newest = logs.filter { log in dumps.isEmpty || dumps.contains { $0.log.base == log.base } }.max()
    var state = DatabaseLogs.State(newest: newest.map { displayName($0.text) })
    state.stored = try newest.flatMap { log throws(Failure) in try archive.storedTime(of: log.text) }
    state.missing = BinaryLogPlan(logs: logs, dumps: dumps).gaps.map {
      DatabaseLogs.State.Gap(first: displayName($0.first.text), count: $0.count)
    }
    state.newestIsWhole = BinaryLogPlan(logs: logs, dumps: Array(dumps.prefix(1))).gaps.isEmpty
    // The log of a dump is open at that time, so no later one can be in the archive then.
    if let began, let place = dumps.first, let newest, newest > place.log, let stored = state.stored, stored < began {
      let other = Self.another(
        at: archive.path, because: "its \(displayName(newest.text)) is older than the newest dump")
      state.problem = "\(other)"
    }
    return state
  }
}

extension SnapshotList {
  /// The places of all dumps of a database in the binary logs; `nil` if a dump does not tell its own.
  func logPlaces(of database: [UInt8]) -> [BinaryLogPlace]? {
    let places = dumpRecords(of: database).map { BinaryLogPlace(point: $0.record.point) }
    return places.contains { $0 == nil } ? nil : places.compactMap(\.self)
  }
}

internal import Catalog
internal import Model
internal import Repository
internal import Retention

/// The timeline that a recovery of PostgreSQL follows.
///
/// PostgreSQL's own choice is the newest one. But a moment between the place at which that one left its ancestor, and the
/// recovery that made it, is on the ancestor alone.
struct TimelineChoice {
  private let timelines: Timelines
  private let moment: Int64?
  /// The timeline that was asked for.
  private let named: UInt32?

  init(of logs: any LogSource, by command: DatabaseCommand) throws(Failure) {
    (moment, named) = (command.at, command.timeline)
    timelines = try Timelines(of: logs, readsTimes: command.timeline == nil)
  }

  private var wanted: UInt32? { named ?? timelines.current(at: moment) }
  /// True if the state of another timeline would be a wrong one.
  private var isStrict: Bool { named != nil || moment != nil }

  /// The dumps that are no base backups, or from which the timeline is reached.
  func reachable(
    _ records: [(snapshot: Snapshot, record: DatabaseRecord)]
  ) throws(Failure) -> [(snapshot: Snapshot, record: DatabaseRecord)] {
    guard let wanted else { return records }
    let found = records.filter { BaseBackup($0.record.point).map { timelines.canReach(wanted, from: $0) } ?? true }
    guard found.isEmpty else { return found }
    if isStrict { throw noWay(to: wanted) }
    return records
  }

  /// The timeline of the recovery from a base backup; `nil` for another dump.
  func timeline(from dump: StoredDump) throws(Failure) -> UInt32? {
    guard let base = BaseBackup(dump.record.point) else { return nil }
    guard let wanted else { return base.timeline }
    if timelines.canReach(wanted, from: base) { return wanted }
    if isStrict { throw noWay(to: wanted) }
    return base.timeline
  }

  private func noWay(to timeline: UInt32) -> Failure {
    let known = timelines.all.map(String.init).joined(separator: ", ")
    return Failure(
      .usage, "no base backup leads to the timeline \(timeline)",
      hint: known.isEmpty ? "the archive has no history of a timeline" : "the archive has the histories of: \(known)")
  }
}

extension Timelines {
  /// The timelines of an archive. The times need the first segment of each.
  fileprivate init(of logs: any LogSource, readsTimes: Bool) throws(Failure) {
    let names = try logs.names()
    var branches: [Branch] = []
    for name in names {
      guard case .history(let timeline)? = LogFile(name), let text = try logs.content(of: name),
        let history = TimelineHistory(text)
      else { continue }
      var branch = Branch(timeline: timeline, history: history, began: nil)
      let first = names.first { $0.count == 24 && $0.starts(with: name.prefix(8)) }
      if readsTimes, let first, let segment = try logs.content(of: first) {
        var records = LogRecords(segment: segment, from: history.ancestors.last?.end)
        branch.began = records?.nextTime()
      }
      branches.append(branch)
    }
    self.init(branches)
  }
}

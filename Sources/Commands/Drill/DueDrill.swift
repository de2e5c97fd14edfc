internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

extension DrillConfiguration {
  /// A drill that is overdue by so much is done at any hour.
  static let patienceSeconds: Int64 = 7 * 86_400
  /// A quiet hour, in minutes.
  private static let hour: Int64 = 60
  /// 1970 began on a Thursday, four days after a Sunday.
  private static let firstMinute: Int64 = 4 * 1440

  /// True if a run starts the drill. `last` is the time of the last one, or of the first snapshot if none was done.
  ///
  /// `localSeconds` is `now` with the offset of the local time zone. Runs do not start at the same second each time, so
  /// with a quiet hour a drill is due an hour earlier.
  func isDue(after last: Int64, hasRun: Bool, at now: Int64, localSeconds: Int64) -> Bool {
    guard let everySeconds else { return false }
    let age = now - last
    if age >= everySeconds + Self.patienceSeconds { return true }
    guard let quietHour else { return !hasRun || age >= everySeconds }
    let period: Int64 = quietHour.weekday == nil ? 1440 : 7 * 1440
    let start = Int64((quietHour.weekday ?? 0) * 1440 + quietHour.minutes)
    let sinceStart = (localSeconds / 60 + Self.firstMinute - start) % period
    return sinceStart < Self.hour && (!hasRun || age >= everySeconds - Self.hour * 60)
  }

  /// True if the last drill should have been done by now.
  func isOverdue(after last: Int64, at now: Int64) -> Bool {
    everySeconds.map { now - last > $0 + Self.patienceSeconds } ?? false
  }
}

extension ConfigurationFile {
  /// The drills that a run starts now.
  func dueDrills(in repository: Repository, at now: Timestamp) throws(Failure) -> [DrillConfiguration] {
    if settings.drills.isEmpty { return [] }
    let first = try repository.snapshots().snapshots.first?.summary.started.seconds
    let past = try repository.pastDrills()
    let local = LocalTime(fields: Clock.localFields(of: now.seconds), of: now.seconds)
    return settings.drills.filter { drill in
      let last = past.last { $0.name == drill.name }.flatMap { Moment.seconds(of: $0.time) }
      return drill.isDue(
        after: last ?? first ?? now.seconds, hasRun: last != nil, at: now.seconds,
        localSeconds: now.seconds + Int64(local.offsetSeconds))
    }
  }
}

extension Repository {
  /// The drills of the history, newest last.
  func pastDrills() throws(Failure) -> [DrillAnswer] {
    DrillAnswer.all(in: try history.tail(byteCount: DrillAnswer.historyBytes))
  }
}

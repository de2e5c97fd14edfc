internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// The decision whether a run takes a snapshot. It is pure: it depends only on its properties and arguments.
struct DueCheck {
  var policy: RetentionPolicy
  var label: [UInt8]
  var sources: [[UInt8]]
  /// The sources that are not there, or that cannot be read.
  var absent: Set<[UInt8]> = []
  /// The databases, as sources. One without a good dump in the period is due again.
  var databases: Set<[UInt8]> = []
  /// The sources of other hosts. A host that was not to be reached is not asked again in the same period.
  var hosts: Set<[UInt8]> = []
  /// True if the absence of all absent sources is expected.
  var isAbsenceExcused = false

  /// True if the shortest kept period has no snapshot of all present sources yet.
  ///
  /// `local` gives the local time of a moment.
  func isDue(after snapshots: [Snapshot], at now: Timestamp, local: (Timestamp) -> LocalTime) -> Bool {
    let present = Set(sources).subtracting(absent).subtracting(hosts)
    let mayBePresent = !(present.isEmpty && databases.isEmpty && hosts.isEmpty)
    if !mayBePresent && isAbsenceExcused { return false }
    guard let set = shortestSet else { return true }
    return !snapshots.contains {
      $0.summary.label == label && mayBePresent
        && hosts.isSubset(of: $0.summary.otherSources + $0.summary.absentSources)
        && present.isSubset(of: $0.summary.sources) && databases.isSubset(of: $0.summary.otherSources)
        && absent.isSubset(of: $0.summary.sources + $0.summary.absentSources)
        && set.isSamePeriod(local($0.summary.taken), as: local(now))
    }
  }

  /// The set whose periods decide; `nil` if a snapshot is always due.
  private var shortestSet: SnapshotSet? {
    guard policy.keepLast == 0, policy.keepWithinSeconds == nil else { return nil }
    return SnapshotSet.allCases.first { policy.keep[$0] ?? 0 > 0 }
  }

  /// The time at which the next period begins; `nil` if no period decides, or if there is nothing to save.
  ///
  /// No snapshot is due at `now`.
  func nextPeriod(after now: Timestamp, local: (Timestamp) -> LocalTime) -> Timestamp? {
    guard let set = shortestSet, !databases.isEmpty || !absent.isSuperset(of: sources) else { return nil }
    let present = local(now)
    // All time zones differ from UTC by a multiple of this.
    let quarter: Int64 = 15 * 60
    return (1...(366 * 24 * 4)).lazy
      .map { Timestamp(seconds: (now.seconds / quarter + $0) * quarter, nanoseconds: 0) }
      .first { !set.isSamePeriod(present, as: local($0)) }
  }
}

extension ConfigurationFile {
  /// The optional sources whose absence is not reported, because their RPO has not passed.
  func excusedSources(
    in repository: Repository, among known: SnapshotList? = nil, at time: Timestamp
  ) throws(Failure) -> Set<[UInt8]> {
    guard (sources + hostSources).contains(where: \.isOptional) else { return [] }
    let list = if let known { known } else { try repository.snapshots() }
    let damaged = try repository.marks.all(.damaged)
    return Set(
      ExpectedSource.all(in: self, or: list).filter { source in
        guard source.isOptional, let rpo = source.rpoSeconds else { return source.isOptional }
        return source.newestGood(in: list, damaged: damaged).map { time - $0.summary.started <= Double(rpo) } ?? false
      }.map(\.subject))
  }

  /// True if a run would take a snapshot. The options have the excused sources.
  func isSnapshotDue(
    for options: SnapshotOptions, after list: SnapshotList, at time: Timestamp
  ) throws(Failure) -> Bool {
    try dueCheck(for: options).isDue(after: list.snapshots, at: time, local: localTime(of:))
  }

  /// The time at which the next snapshot is due, if none is now; `nil` if it is not known.
  func nextSnapshot(for options: SnapshotOptions, at time: Timestamp) throws(Failure) -> Timestamp? {
    try dueCheck(for: options).nextPeriod(after: time, local: localTime(of:))
  }

  private func dueCheck(for options: SnapshotOptions) throws(Failure) -> DueCheck {
    let absent = try options.absentSources()
    return DueCheck(
      policy: settings.retention, label: options.label, sources: options.sources, absent: Set(absent.map(\.path)),
      databases: Set(databases.map(\.source)), hosts: Set(hostSources.map(\.subject)),
      isAbsenceExcused: absent.allSatisfy { !$0.isThere && options.excusedSources.contains($0.path) })
  }
}

private func localTime(of time: Timestamp) -> LocalTime {
  LocalTime(fields: Clock.localFields(of: time.seconds), of: time.seconds)
}

internal import Catalog
internal import Model
internal import Repository
internal import Retention

/// The decision whether a run takes a snapshot. It is pure: it depends only on its properties and arguments.
struct DueCheck {
  var policy: RetentionPolicy
  var label: [UInt8]
  var sources: [[UInt8]]
  /// The sources that are not there, or that cannot be read.
  var absent: Set<[UInt8]> = []
  /// True if the absence of all absent sources is expected.
  var isAbsenceExcused = false

  /// True if the shortest kept period has no snapshot of all present sources yet.
  ///
  /// `local` gives the local time of a moment.
  func isDue(after snapshots: [Snapshot], at now: Timestamp, local: (Timestamp) -> LocalTime) -> Bool {
    let present = Set(sources).subtracting(absent)
    if present.isEmpty && isAbsenceExcused { return false }
    guard policy.keepLast == 0, policy.keepWithinSeconds == nil,
      let set = SnapshotSet.allCases.first(where: { policy.keep[$0] ?? 0 > 0 })
    else { return true }
    return !snapshots.contains {
      $0.summary.label == label && !present.isEmpty && present.isSubset(of: $0.summary.sources)
        && absent.isSubset(of: $0.summary.sources + $0.summary.absentSources)
        && set.isSamePeriod(local($0.summary.dated), local(now))
    }
  }
}

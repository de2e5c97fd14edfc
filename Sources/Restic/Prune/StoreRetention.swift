internal import Catalog
public import Model
internal import Posix
public import Repository
public import Retention

/// A snapshot of a repository of restic's format, and the decision about it.
public struct JudgedSnapshot: Sendable {
  public let snapshot: Snapshot
  public let decision: RetentionDecision
  /// The ID by which restic names it.
  public let id: Digest
}

extension ResticStore {
  /// The retention plan for all snapshots, by the same rules as at home, for each host by itself.
  ///
  /// Without `unwanted`, only snapshots that treering made may expire. If it is not empty, only these may, also those of
  /// restic. The obstacle is the reason that nothing expires.
  public func retentionPlan(
    by policy: RetentionPolicy, unwanted: Set<SnapshotName>, now: Timestamp
  ) throws(Failure) -> (judged: [JudgedSnapshot], obstacle: String?) {
    let list = try snapshots()
    var groups: [[UInt8]: [Snapshot]] = [:]
    for snapshot in list.snapshots { groups[snapshot.summary.label, default: []].append(snapshot) }
    var decisions: [SnapshotName: RetentionDecision] = [:]
    var obstacle: String?
    for group in groups.values {
      let isNamed = group.contains { unwanted.contains($0.name) }
      var judged: [Snapshot] = []
      for snapshot in group {
        if try unwanted.isEmpty ? isOfTreering(snapshot.name) : true { judged.append(snapshot) }
      }
      // A plan without an unwanted snapshot would be one of a rotation.
      guard unwanted.isEmpty || isNamed else { continue }
      let plan = Retention.retentionPlan(
        for: judged.enumerated().map { Self.retained($1, place: $0, isUnwanted: unwanted.contains($1.name)) },
        policy: policy, now: now.seconds)
      obstacle = obstacle ?? plan.obstacle
      for (snapshot, decision) in zip(judged, plan.decisions) { decisions[snapshot.name] = decision }
    }
    let other = RetentionDecision(reasons: [.notNamed], expires: false)
    let judged = try list.snapshots.map { snapshot throws(Failure) in
      JudgedSnapshot(
        snapshot: snapshot, decision: decisions[snapshot.name] ?? other, id: try id(of: snapshot.name))
    }
    return (judged, obstacle)
  }

  private static func retained(_ snapshot: Snapshot, place: Int, isUnwanted: Bool) -> RetainedSnapshot {
    let summary = snapshot.summary
    let seconds = snapshot.name.seconds
    return RetainedSnapshot(
      name: snapshot.name.description, sequence: UInt64(place), time: seconds,
      local: LocalTime(fields: Clock.localFields(of: seconds), of: seconds), isGood: summary.outcome == .complete,
      isUnwanted: isUnwanted, place: place,
      sources: SourceSet(label: summary.label, paths: summary.sources).keys + summary.otherSources)
  }

  private func isOfTreering(_ name: SnapshotName) throws(Failure) -> Bool { try listed(name).file.isOfTreering }
}

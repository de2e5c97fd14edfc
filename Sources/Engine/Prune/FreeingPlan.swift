internal import Model
internal import Posix
public import Repository
public import Retention

/// The snapshots to delete so that some space comes free.
public struct FreeingPlan: Sendable {
  /// The snapshots, in the order in which rotation would give them up.
  public var snapshots: [Snapshot]
  /// The space that comes free with them, the spare included.
  public var freed: FreedSpace
  /// The part that the spare alone holds.
  public var spareBytes: UInt64
  /// False if all snapshots that may be deleted would not free enough. The plan has all of them then.
  public var isEnough: Bool
}

/// Finds the snapshots that rotation would give up first, until `byteCount` bytes come free.
///
/// The newest of them that are not needed stay. No snapshot is deleted.
public func planFreeing(
  byteCount: UInt64, in repository: Repository, policy: RetentionPolicy, wanted: SourceSet?
) throws -> FreeingPlan {
  let list = try repository.snapshots()
  let plan = try repository.retention.plan(for: list, by: policy, now: Clock.now(), wanted: wanted)
  if let obstacle = plan.obstacle { throw Failure(.refused, "nothing may be deleted: \(obstacle)") }
  let leaving = plan.leaving(among: list.snapshots.indices).map { list.snapshots[$0] }
  let names = leaving.map(\.name)
  let search = FreedSpaceSearch(in: repository, among: list.snapshots)
  let spare = [search.spare?.name].compactMap { $0 }
  let all = try search.space(deleting: Set(names + spare))
  let sums = all.bytes(inOrder: names)
  let count = sums.firstIndex { $0 >= byteCount } ?? names.count
  let chosen = all.smallestPart(of: Array(names.prefix(count)), and: spare, freeing: byteCount)
  return FreeingPlan(
    snapshots: leaving.filter { chosen.contains($0.name) },
    freed: try search.space(deleting: chosen.union(spare)), spareBytes: sums[0], isEnough: sums[count] >= byteCount)
}

extension RetentionPlan {
  /// The snapshots in the order in which they are given up for space: those that expire, and then those that only their
  /// age keeps, the oldest first.
  func leaving(among indices: Range<Int>) -> [Int] {
    let planned = indices.filter { decisions[$0].expires }
    return planned + (obstacle != nil ? [] : indices.filter { decisions[$0].isExpendable })
  }
}

extension FreedSpace {
  /// The snapshots that are needed to free some bytes, together with `others`. The last ones that are not needed are
  /// left out.
  fileprivate func smallestPart(
    of names: [SnapshotName], and others: [SnapshotName], freeing byteCount: UInt64
  ) -> Set<SnapshotName> {
    var chosen = Set(names)
    let leaving = chosen.union(others)
    var freed = bytes(ofOnly: leaving)
    var inodesOf: [SnapshotName: [Int]] = [:]
    for (index, inode) in inodes.enumerated() where inode.holders.isSubset(of: leaving) {
      for holder in inode.holders { inodesOf[holder, default: []].append(index) }
    }
    var isStaying = [Bool](repeating: false, count: inodes.count)
    for name in names.reversed() {
      let own = (inodesOf[name] ?? []).filter { !isStaying[$0] }
      let loss = own.reduce(ownBytes[name] ?? 0) { $0 &+ inodes[$1].bytes }
      guard freed >= loss, freed - loss >= byteCount else { continue }
      freed -= loss
      chosen.remove(name)
      for index in own { isStaying[index] = true }
    }
    return chosen
  }
}

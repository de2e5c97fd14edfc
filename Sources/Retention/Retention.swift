/// How many snapshots are kept.
public struct RetentionPolicy: Hashable, Sendable {
  /// How many of its newest members each set keeps; without a number it keeps none.
  public var keep: [SnapshotSet: Int]
  /// The newest so many are kept whatever set they are in.
  public var keepLast: Int
  /// Those not older than the newest one by more than this are kept.
  public var keepWithinSeconds: Int64?

  public init(keep: [SnapshotSet: Int], keepLast: Int = 0, keepWithinSeconds: Int64? = nil) {
    self.keep = keep
    self.keepLast = keepLast
    self.keepWithinSeconds = keepWithinSeconds
  }

  /// What is kept where nobody says otherwise.
  public static let standard = RetentionPolicy(
    keep: [.hourly: 24, .daily: 7, .weekly: 4, .monthly: 12, .yearly: 3])

  /// True where nothing but the newest would be kept.
  public var keepsNothing: Bool {
    keep.values.allSatisfy { $0 == 0 } && keepLast == 0 && keepWithinSeconds == nil
  }
}

/// What retention needs to know of a snapshot.
public struct RetainedSnapshot: Sendable {
  public var name: String
  /// When it was taken, in seconds since 1970-01-01T00:00:00Z.
  public var time: Int64
  /// The same in the operator's zone.
  public var local: LocalTime
  /// Everything is in it, without a warning.
  public var isGood: Bool
  /// Held by the operator.
  public var isHeld: Bool
  /// The operator wants to be rid of it.
  public var isUnwanted: Bool
  /// What it is of; label first.
  public var sources: [[UInt8]]

  public init(
    name: String, time: Int64, local: LocalTime, isGood: Bool, isHeld: Bool = false,
    isUnwanted: Bool = false, sources: [[UInt8]] = []
  ) {
    self.name = name
    self.time = time
    self.local = local
    self.isGood = isGood
    self.isHeld = isHeld
    self.isUnwanted = isUnwanted
    self.sources = sources
  }
}

/// What becomes of one snapshot, and why.
public struct RetentionDecision: Sendable, Equatable {
  /// Why it is kept, or why it expires; never empty.
  public enum Reason: Hashable, Sendable {
    case newest
    /// No newer good snapshot has this source.
    case newestGood
    case held
    /// Its place among the newest, from 0.
    case member(SnapshotSet, rank: Int)
    case last(rank: Int)
    case within
    /// It would expire, but nothing expires in this rotation.
    case nothingExpires
    case inNoSet
    case unwanted
    /// The file system has too little room.
    case space
  }
  public var reasons: [Reason]
  public var expires: Bool

  public init(reasons: [Reason], expires: Bool) {
    self.reasons = reasons
    self.expires = expires
  }

  /// The sets it is in, each with its place there.
  public var sets: [(set: SnapshotSet, rank: Int)] {
    reasons.compactMap { if case .member(let set, let rank) = $0 { (set, rank) } else { nil } }
  }

  /// True where it may be given up for space: nothing but its age keeps it.
  public var isExpendable: Bool {
    !expires && !reasons.contains { [.newest, .newestGood, .held, .nothingExpires].contains($0) }
  }
}

/// What a rotation does with each snapshot.
public struct RetentionPlan: Sendable {
  /// In the order of the snapshots.
  public var decisions: [RetentionDecision]
  /// Why nothing expires, where that is so.
  public var obstacle: String?
  /// True where somebody has to look before any later rotation may go on.
  public var mustBeReleased = false
}

/// Decides what is kept, from the snapshots alone; oldest first, in the order of their sequence numbers.
///
/// A set's member is the first good snapshot of its period, or, where the period has none, the first.
/// `obstacle` is what the caller knows: rotation is held. Nothing expires either where the clock cannot be
/// right: but for what the operator wants to be rid of.
public func retentionPlan(
  _ snapshots: [RetainedSnapshot], _ policy: RetentionPolicy, now: Int64, obstacle: String? = nil
) -> RetentionPlan {
  var reasons = [[RetentionDecision.Reason]](repeating: [], count: snapshots.count)
  for index in newestOfEachSource(snapshots) { reasons[index].append(.newestGood) }
  if let last = snapshots.indices.last { reasons[last].insert(.newest, at: 0) }
  for index in snapshots.indices where snapshots[index].isHeld { reasons[index].append(.held) }
  for set in SnapshotSet.allCases {
    for (rank, index) in members(snapshots, of: set).reversed().prefix(policy.keep[set] ?? 0).enumerated() {
      reasons[index].append(.member(set, rank: rank))
    }
  }
  for (rank, index) in snapshots.indices.reversed().prefix(policy.keepLast).enumerated() {
    reasons[index].append(.last(rank: rank))
  }
  if let within = policy.keepWithinSeconds, let newest = snapshots.last {
    for index in snapshots.indices where newest.time - snapshots[index].time <= within {
      reasons[index].append(.within)
    }
  }

  var plan = RetentionPlan(decisions: [], obstacle: obstacle)
  if obstacle == nil { (plan.obstacle, plan.mustBeReleased) = clockTrouble(snapshots, now) }
  plan.decisions = snapshots.indices.map { index in
    let isProtected = reasons[index].contains { [.newest, .newestGood, .held].contains($0) }
    if snapshots[index].isUnwanted && !isProtected {
      return RetentionDecision(reasons: [.unwanted], expires: true)
    }
    if !reasons[index].isEmpty { return RetentionDecision(reasons: reasons[index], expires: false) }
    if plan.obstacle != nil { return RetentionDecision(reasons: [.nothingExpires], expires: false) }
    return RetentionDecision(reasons: [.inNoSet], expires: true)
  }
  return plan
}

/// The members of a set, oldest first.
private func members(_ snapshots: [RetainedSnapshot], of set: SnapshotSet) -> [Int] {
  var places: [[Int]: Int] = [:]
  for index in snapshots.indices where !snapshots[index].isUnwanted {
    let key = set.key(snapshots[index].local)
    if let first = places[key], snapshots[first].isGood || !snapshots[index].isGood { continue }
    places[key] = index
  }
  return places.values.sorted()
}

/// Of each source the newest good snapshot, or, where it has none, the newest.
private func newestOfEachSource(_ snapshots: [RetainedSnapshot]) -> Set<Int> {
  var newest: [[UInt8]: Int] = [:]
  for index in snapshots.indices {
    // One that was made elsewhere may not say of what it is.
    for source in snapshots[index].sources.isEmpty ? [[]] : snapshots[index].sources {
      if let known = newest[source], snapshots[known].isGood && !snapshots[index].isGood { continue }
      newest[source] = index
    }
  }
  return Set(newest.values)
}

/// Longer than any machine that is in use stands still.
private let implausibleGapSeconds: Int64 = 366 * 86_400

private func clockTrouble(_ snapshots: [RetainedSnapshot], _ now: Int64) -> (String?, Bool) {
  guard let newest = snapshots.last else { return (nil, false) }
  if let future = snapshots.last(where: { $0.time > now }) {
    return (
      "the snapshot \(future.name) is from the future, so the clock was or is wrong; if it is right now, "
        + "remove such snapshots with: treering rotate --expire \(future.name)", false
    )
  }
  if let previous = snapshots.dropLast().last {
    if previous.time > newest.time {
      return ("the clock was set back between \(previous.name) and \(newest.name)", false)
    }
    if newest.time - previous.time > implausibleGapSeconds {
      return (
        "more than a year lies between \(previous.name) and \(newest.name); if the clock is right, run: "
          + "treering release", true
      )
    }
  }
  if now - newest.time > implausibleGapSeconds {
    return ("the newest snapshot is more than a year old, or the clock is wrong", false)
  }
  return (nil, false)
}

public import Model

/// The number of snapshots to keep.
public struct RetentionPolicy: Hashable, Sendable {
  /// The number of newest periods for which each set keeps its members. A set without a number keeps none.
  public var keep: [SnapshotSet: Int]
  /// The number of newest snapshots that are kept regardless of sets.
  public var keepLast: Int
  /// Snapshots that are at most this much older than the newest are kept.
  public var keepWithinSeconds: Int64?

  public init(keep: [SnapshotSet: Int], keepLast: Int = 0, keepWithinSeconds: Int64? = nil) {
    (self.keep, self.keepLast, self.keepWithinSeconds) = (keep, keepLast, keepWithinSeconds)
  }

  /// The policy that is used without configuration.
  public static let standard = RetentionPolicy(keep: [.hourly: 24, .daily: 7, .weekly: 4, .monthly: 12, .yearly: 3])

  /// True if only the newest snapshot would be kept.
  public var keepsNothing: Bool { countsNothing && keepWithinSeconds ?? 0 <= 0 }

  /// True if no rule of the policy keeps a number of snapshots.
  var countsNothing: Bool { keep.values.allSatisfy { $0 == 0 } && keepLast == 0 }
}

/// The properties of a snapshot that retention uses.
public struct RetainedSnapshot: Sendable {
  public var name: String
  /// The position of the snapshot in the order. Its successor has the next number, unless snapshots in between have
  /// expired.
  public var sequence: UInt64
  /// The time of the snapshot, in seconds since 1970-01-01T00:00:00Z.
  public var time: Int64
  /// The time of the snapshot in the operator's time zone.
  public var local: LocalTime
  /// The snapshot is complete and had no warnings.
  public var isGood: Bool
  /// The operator holds the snapshot.
  public var isHeld: Bool
  /// The operator wants to expire the snapshot.
  public var isUnwanted: Bool
  /// The snapshot was received by a push.
  public var isReceived: Bool
  /// The time of the snapshot is that of the client that pushed it.
  public var isDatedByClient: Bool
  /// The place of the snapshot among all by the time at which they were taken, from 0.
  public var place: Int
  /// The start or the reception of the snapshot by the clock of the repository, in seconds since 1970.
  public var arrival: Int64
  /// The sources of the snapshot, label first.
  public var sources: [[UInt8]]
  /// The requested sources that were absent, label first.
  public var absentSources: [[UInt8]]

  public init(
    name: String, sequence: UInt64 = 0, time: Int64, local: LocalTime, isGood: Bool, isHeld: Bool = false,
    isUnwanted: Bool = false, isReceived: Bool = false, isDatedByClient: Bool = false, place: Int = 0,
    arrival: Int64? = nil, sources: [[UInt8]] = [], absentSources: [[UInt8]] = []
  ) {
    self.name = name
    self.sequence = sequence
    self.time = time
    self.local = local
    self.isGood = isGood
    self.isHeld = isHeld
    self.isUnwanted = isUnwanted
    self.isReceived = isReceived
    self.isDatedByClient = isDatedByClient
    self.place = place
    self.arrival = arrival ?? time
    self.sources = sources
    self.absentSources = absentSources
  }
}

/// The decision about one snapshot, with its reasons.
public struct RetentionDecision: Sendable, Equatable {
  /// A reason for keeping or expiring a snapshot. A decision has at least one.
  public enum Reason: Hashable, Sendable {
    case newest
    /// No newer good snapshot has this source.
    case newestGood
    case held
    /// The member's rank among the newest, from 0.
    case member(SnapshotSet, rank: Int)
    case last(rank: Int)
    case within
    /// The snapshot would expire, but this rotation expires nothing.
    case nothingExpires
    /// The operator asked to expire other snapshots only.
    case notNamed
    case inNoSet
    case unwanted
    /// The file system is short of space.
    case space
    /// The snapshot would expire, but a process is reading it.
    case inUse
    /// The snapshot cannot be moved now: a file system is mounted on it, or the disk returns an error.
    case obstructed
  }
  public var reasons: [Reason]
  public var expires: Bool

  public init(reasons: [Reason], expires: Bool) { (self.reasons, self.expires) = (reasons, expires) }

  /// The sets of the snapshot, each with its rank there.
  public var sets: [(set: SnapshotSet, rank: Int)] {
    reasons.compactMap { if case .member(let set, let rank) = $0 { (set, rank) } else { nil } }
  }

  /// True if the snapshot may be expired to free space: only its age keeps it.
  public var isExpendable: Bool {
    !expires && !reasons.contains { [.newest, .newestGood, .held, .nothingExpires].contains($0) }
  }
}

/// The decisions of a rotation about all snapshots.
public struct RetentionPlan: Sendable {
  /// In the order of the snapshots.
  public var decisions: [RetentionDecision]
  /// The reason for expiring nothing, if there is one.
  public var obstacle: String?
  /// True if the operator must release rotation before a later one may expire anything.
  public var mustBeReleased = false
  /// Sources, label first, whose newest good snapshot may expire, because pushes brought too many sources.
  public var unprotectedSources: [[UInt8]] = []
}

/// Computes the retention plan. The snapshots come in the order of retention, oldest first; see `order(of:)`.
///
/// A member of a set is the first good snapshot of a period that has a source. If the period has no good one, the
/// member is the first snapshot that has the source. Thus a snapshot of some sources never takes the place of a
/// snapshot of all. A set keeps the members of its newest periods.
///
/// `obstacle` is the caller's reason to expire nothing: rotation is held. Nothing expires either if the clock is
/// implausible. Only gaps after the sequence number `accepted` count, because the operator has accepted the older ones.
///
/// If any snapshot `isUnwanted`, only unwanted snapshots expire. `wanted` are the sources that are still to be backed
/// up, label first. The sources of the newest snapshot are added, and those that were absent from it. `commandOptions`
/// is appended to the command lines in messages and names the repository.
public func retentionPlan(
  for snapshots: [RetainedSnapshot], policy: RetentionPolicy, now: Int64, obstacle: String? = nil,
  accepted: UInt64? = nil, wanted: [[UInt8]] = [], commandOptions: String = ""
) -> RetentionPlan {
  let isAsked = snapshots.contains(where: \.isUnwanted)
  let sources = placesOfSources(in: snapshots)
  let unprotected = unprotectedSources(in: snapshots, sources: sources)
  var reasons = protections(
    of: snapshots, sources: sources, unprotected: unprotected, wanted: isAsked ? wanted : nil, now: now)
  for set in SnapshotSet.allCases {
    for (rank, index) in members(among: snapshots, sources: sources, of: set, periods: policy.keep[set] ?? 0)
      .enumerated()
    {
      reasons[index].append(.member(set, rank: rank))
    }
  }
  let last = sources.values.flatMap { $0.suffix(policy.keepLast) }
  for (rank, index) in Set(last).sorted().reversed().enumerated() { reasons[index].append(.last(rank: rank)) }
  if let within = policy.keepWithinSeconds, let newest = snapshots.last {
    for index in snapshots.indices where newest.time - snapshots[index].time <= within {
      reasons[index].append(.within)
    }
  }

  // An implausible clock does not override the operator's request; a hold does, until its release.
  var plan = RetentionPlan(decisions: [], obstacle: obstacle)
  plan.unprotectedSources = unprotected.sorted { $0.lexicographicallyPrecedes($1) }
  if !isAsked, obstacle == nil {
    (plan.obstacle, plan.mustBeReleased) = clockTrouble(
      in: snapshots, policy: policy, now: now, accepted: accepted, commandOptions: commandOptions)
  }
  plan.decisions = snapshots.indices.map { index in
    let isProtected = reasons[index].contains { [.newest, .newestGood, .held].contains($0) }
    if snapshots[index].isUnwanted && !isProtected && obstacle == nil {
      return RetentionDecision(reasons: [.unwanted], expires: true)
    }
    if !reasons[index].isEmpty { return RetentionDecision(reasons: reasons[index], expires: false) }
    if plan.obstacle != nil { return RetentionDecision(reasons: [.nothingExpires], expires: false) }
    if isAsked { return RetentionDecision(reasons: [.notNamed], expires: false) }
    return RetentionDecision(reasons: [.inNoSet], expires: true)
  }
  return plan
}

/// The number of received sources whose newest good snapshot never expires.
///
/// It exceeds the number of hosts of one repository. It is small enough that a client that invents sources cannot fill
/// the disk with snapshots that never expire. The sources that were known first are protected, so new ones cannot
/// displace them.
private let mostReceivedSources = 4096

private func unprotectedSources(in snapshots: [RetainedSnapshot], sources: [[UInt8]: [Int]]) -> Set<[UInt8]> {
  let received = sources.filter { $0.value.allSatisfy { snapshots[$0].isReceived } }
  if received.count <= mostReceivedSources { return [] }
  let firstKnown = received.sorted {
    $0.value[0] != $1.value[0] ? $0.value[0] < $1.value[0] : $0.key.lexicographicallyPrecedes($1.key)
  }
  return Set(firstKnown.dropFirst(mostReceivedSources).map(\.key))
}

/// The reasons that keep snapshots regardless of the policy.
///
/// The newest snapshot is the one that was taken last. The newest good one of a source is protected by the time at
/// which it was taken, and also by the order of retention, because a client chooses the former.
///
/// If `wanted` is not `nil`, the operator asks to expire some snapshots. Then a source that is no longer wanted
/// protects no snapshot. A snapshot from the future, taken with a wrong clock, is not preferred to one of the present.
private func protections(
  of snapshots: [RetainedSnapshot], sources: [[UInt8]: [Int]], unprotected: Set<[UInt8]>, wanted: [[UInt8]]?, now: Int64
) -> [[RetentionDecision.Reason]] {
  var reasons = [[RetentionDecision.Reason]](repeating: [], count: snapshots.count)
  func isOfThePresent(_ index: Int) -> Bool { !snapshots[index].isUnwanted || snapshots[index].time <= now }
  let byTime = snapshots.indices.sorted { (snapshots[$0].place, $0) < (snapshots[$1].place, $1) }
  let newest = byTime.last { wanted == nil || isOfThePresent($0) } ?? byTime.last
  var current: Set<[UInt8]>?
  if let wanted, let newest {
    current = Set(wanted)
    current!.formUnion(snapshots[newest].sources.isEmpty ? Array(sources.keys) : snapshots[newest].sources)
    current!.formUnion(snapshots[newest].absentSources)
  }
  func protectNewestGood(at places: [Int]) {
    let present = wanted == nil ? places : places.filter(isOfThePresent)
    func newestGood(at places: [Int]) -> Int? { places.last { snapshots[$0].isGood } }
    guard let kept = newestGood(at: present) ?? newestGood(at: places) ?? present.last ?? places.last else { return }
    if !reasons[kept].contains(.newestGood) { reasons[kept].append(.newestGood) }
  }
  for (source, places) in sources where !unprotected.contains(source) && current?.contains(source) ?? true {
    protectNewestGood(at: places.sorted { (snapshots[$0].place, $0) < (snapshots[$1].place, $1) })
    if wanted == nil { protectNewestGood(at: places) }
  }
  if let newest { reasons[newest].insert(.newest, at: 0) }
  for index in snapshots.indices where snapshots[index].isHeld { reasons[index].append(.held) }
  return reasons
}

/// The indices of the snapshots that have a source, oldest first, for each source.
///
/// A snapshot that was made elsewhere and names no sources counts for every source.
private func placesOfSources(in snapshots: [RetainedSnapshot]) -> [[UInt8]: [Int]] {
  var all = Set(snapshots.flatMap(\.sources))
  if all.isEmpty { all = [[]] }
  var places: [[UInt8]: [Int]] = [:]
  for index in snapshots.indices {
    let sources = snapshots[index].sources
    for source in sources.isEmpty ? all : Set(sources) { places[source, default: []].append(index) }
  }
  return places
}

/// The members of a set in its newest periods, newest first.
private func members(
  among snapshots: [RetainedSnapshot], sources: [[UInt8]: [Int]], of set: SnapshotSet, periods count: Int
) -> [Int] {
  var all: Set<Int> = []
  for places in sources.values {
    var firsts: [[Int]: Int] = [:]
    for index in places where !snapshots[index].isUnwanted {
      let key = set.key(of: snapshots[index].local)
      if let first = firsts[key], snapshots[first].isGood || !snapshots[index].isGood { continue }
      firsts[key] = index
    }
    all.formUnion(firsts.values)
  }
  var periods: Set<[Int]> = []
  return all.sorted(by: >).filter { index in
    let key = set.key(of: snapshots[index].local)
    if periods.count < count { periods.insert(key) }
    return periods.contains(key)
  }
}

/// The longest plausible gap; no machine in use is off for longer.
private let implausibleGapSeconds: Int64 = 366 * 86_400

private func clockTrouble(
  in snapshots: [RetainedSnapshot], policy: RetentionPolicy, now: Int64, accepted: UInt64?, commandOptions: String
) -> (String?, Bool) {
  guard let newest = snapshots.last else { return (nil, false) }
  if let future = snapshots.last(where: { $0.time > now }) {
    return (
      "the snapshot \(future.name) is from the future, so the clock was or is wrong; if it is right now, "
        + "remove such snapshots with: treering delete \(future.name)\(commandOptions)", false
    )
  }
  let arrivals = snapshots.sorted { $0.sequence < $1.sequence }.suffix(2)
  if let previous = arrivals.first, let last = arrivals.last, previous.arrival > last.arrival {
    return (
      "the clock was set back between \(previous.name) and \(last.name); if it is right now, the next "
        + "snapshot ends this", false
    )
  }
  let within = policy.countsNothing ? policy.keepWithinSeconds : nil
  for (limit, span) in [(within, "more time than is kept"), (implausibleGapSeconds, "more than a year")] {
    guard let limit, let (before, after) = leap(in: snapshots, longerThan: limit, accepted: accepted) else { continue }
    let remedy = "if the clock is right, run: treering release\(commandOptions)"
    return ("\(span) lies between \(before) and \(after); \(remedy)", true)
  }
  if now - newest.time > implausibleGapSeconds {
    return ("the newest snapshot is more than a year old, or the clock is wrong", false)
  }
  return (nil, false)
}

/// The newest gap longer than `limit`, if the snapshots after it span at most `limit`.
///
/// A leap of the clock may have caused such a gap, however many snapshots followed. A gap left by expired snapshots
/// does not count, except before the newest snapshot.
private func leap(
  in snapshots: [RetainedSnapshot], longerThan limit: Int64, accepted: UInt64?
) -> (before: String, after: String)? {
  guard let newest = snapshots.last else { return nil }
  for index in snapshots.indices.dropFirst().reversed() {
    let (before, after) = (snapshots[index - 1], snapshots[index])
    if let accepted, after.sequence <= accepted { return nil }
    let isSuccessor = after.sequence == before.sequence &+ 1 && !after.isDatedByClient
    let isOwn = isSuccessor || index == snapshots.indices.last
    if isOwn, after.time - before.time > limit, newest.time - after.time <= limit { return (before.name, after.name) }
  }
  return nil
}

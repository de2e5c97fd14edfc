/// How many snapshots are kept.
public struct RetentionPolicy: Hashable, Sendable {
  /// Of how many of its newest periods each set keeps the members; without a number it keeps none.
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
  public var keepsNothing: Bool { countsNothing && keepWithinSeconds ?? 0 <= 0 }

  /// True where nothing is kept by its number.
  var countsNothing: Bool { keep.values.allSatisfy { $0 == 0 } && keepLast == 0 }
}

/// What retention needs to know of a snapshot.
public struct RetainedSnapshot: Sendable {
  public var name: String
  /// Its place in the order; the one after it has the next number, unless some between have expired.
  public var sequence: UInt64
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
  /// It came from elsewhere, by a push.
  public var isReceived: Bool
  /// What it is of; label first.
  public var sources: [[UInt8]]
  /// What it should have been of, too, and was not there; label first.
  public var absentSources: [[UInt8]]

  public init(
    name: String, sequence: UInt64 = 0, time: Int64, local: LocalTime, isGood: Bool, isHeld: Bool = false,
    isUnwanted: Bool = false, isReceived: Bool = false, sources: [[UInt8]] = [], absentSources: [[UInt8]] = []
  ) {
    self.name = name
    self.sequence = sequence
    self.time = time
    self.local = local
    self.isGood = isGood
    self.isHeld = isHeld
    self.isUnwanted = isUnwanted
    self.isReceived = isReceived
    self.sources = sources
    self.absentSources = absentSources
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
    /// The operator asked for the end of others only.
    case notNamed
    case inNoSet
    case unwanted
    /// The file system has too little room.
    case space
    /// It would expire, but somebody is reading it.
    case inUse
    /// It cannot be taken away now: something is mounted on it, or the disk refuses.
    case obstructed
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
  /// Sources, label first, whose newest good snapshot may expire: pushes have brought too many.
  public var unprotectedSources: [[UInt8]] = []
}

/// Decides what is kept, from the snapshots alone; oldest first, in the order of their sequence numbers.
///
/// A member of a set is the first good snapshot of a period that has a source, or, where the period has none, the
/// first that has it. So a snapshot of some sources never takes the place of one of all. A set keeps the members of
/// its newest periods.
/// `obstacle` is what the caller knows: rotation is held. Nothing expires either where the clock cannot be
/// right, unless somebody looked when the newest had the sequence number `accepted`.
///
/// Where the operator wants to be rid of some snapshots, these expire and no others. `wanted` are the sources that
/// are still to be backed up, label first; those of the newest snapshot are too, and those that were absent from it.
/// `commandOptions` end the command lines in messages: they name the repository.
public func retentionPlan(
  _ snapshots: [RetainedSnapshot], _ policy: RetentionPolicy, now: Int64, obstacle: String? = nil,
  accepted: UInt64? = nil, wanted: [[UInt8]] = [],
  commandOptions: String = ""
) -> RetentionPlan {
  let isAsked = snapshots.contains(where: \.isUnwanted)
  let sources = placesOfSources(snapshots)
  let unprotected = unprotectedSources(snapshots, sources)
  var reasons = protections(snapshots, sources, unprotected, wanted: isAsked ? wanted : nil, now: now)
  for set in SnapshotSet.allCases {
    for (rank, index) in members(snapshots, sources, of: set, periods: policy.keep[set] ?? 0).enumerated() {
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

  // The clock is no reason against the operator's word; a hold is, until its release.
  var plan = RetentionPlan(decisions: [], obstacle: obstacle)
  plan.unprotectedSources = unprotected.sorted { $0.lexicographicallyPrecedes($1) }
  if !isAsked, obstacle == nil {
    (plan.obstacle, plan.mustBeReleased) = clockTrouble(snapshots, policy, now, accepted, commandOptions)
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

/// How many sources that only received snapshots have keep their newest good snapshot for ever: more than the hosts of
/// one repository have, and few enough that a client that invents sources does not fill the disk with what never expires.
/// Those of before, which were known first, are safe from it.
private let mostReceivedSources = 4096

private func unprotectedSources(_ snapshots: [RetainedSnapshot], _ sources: [[UInt8]: [Int]]) -> Set<[UInt8]> {
  let received = sources.filter { $0.value.allSatisfy { snapshots[$0].isReceived } }
  if received.count <= mostReceivedSources { return [] }
  let firstKnown = received.sorted {
    $0.value[0] != $1.value[0] ? $0.value[0] < $1.value[0] : $0.key.lexicographicallyPrecedes($1.key)
  }
  return Set(firstKnown.dropFirst(mostReceivedSources).map(\.key))
}

/// Why snapshots stay whatever the policy says.
///
/// With `wanted` the operator asks for the end of some. Then a source that nobody wants any more keeps none, and a
/// snapshot from the future, taken by a wrong clock, does not stand for one of the present.
private func protections(
  _ snapshots: [RetainedSnapshot], _ sources: [[UInt8]: [Int]], _ unprotected: Set<[UInt8]>, wanted: [[UInt8]]?,
  now: Int64
) -> [[RetentionDecision.Reason]] {
  var reasons = [[RetentionDecision.Reason]](repeating: [], count: snapshots.count)
  func isOfThePresent(_ index: Int) -> Bool { !snapshots[index].isUnwanted || snapshots[index].time <= now }
  let newest = snapshots.indices.last { wanted == nil || isOfThePresent($0) } ?? snapshots.indices.last
  var current: Set<[UInt8]>?
  if let wanted, let newest {
    current = Set(wanted)
    current!.formUnion(snapshots[newest].sources.isEmpty ? Array(sources.keys) : snapshots[newest].sources)
    current!.formUnion(snapshots[newest].absentSources)
  }
  for (source, places) in sources where !unprotected.contains(source) && current?.contains(source) ?? true {
    let present = wanted == nil ? places : places.filter(isOfThePresent)
    func newestGood(_ places: [Int]) -> Int? { places.last { snapshots[$0].isGood } }
    guard let kept = newestGood(present) ?? newestGood(places) ?? present.last ?? places.last else { continue }
    if !reasons[kept].contains(.newestGood) { reasons[kept].append(.newestGood) }
  }
  if let newest { reasons[newest].insert(.newest, at: 0) }
  for index in snapshots.indices where snapshots[index].isHeld { reasons[index].append(.held) }
  return reasons
}

/// Where the snapshots are that have a source, oldest first. One that was made elsewhere, and does not say of what it
/// is, counts for every source.
private func placesOfSources(_ snapshots: [RetainedSnapshot]) -> [[UInt8]: [Int]] {
  var all = Set(snapshots.flatMap(\.sources))
  if all.isEmpty { all = [[]] }
  var places: [[UInt8]: [Int]] = [:]
  for index in snapshots.indices {
    let sources = snapshots[index].sources
    for source in sources.isEmpty ? all : Set(sources) { places[source, default: []].append(index) }
  }
  return places
}

/// The members of a set in its newest periods, the newest first.
private func members(
  _ snapshots: [RetainedSnapshot], _ sources: [[UInt8]: [Int]], of set: SnapshotSet, periods count: Int
) -> [Int] {
  var all: Set<Int> = []
  for places in sources.values {
    var firsts: [[Int]: Int] = [:]
    for index in places where !snapshots[index].isUnwanted {
      let key = set.key(snapshots[index].local)
      if let first = firsts[key], snapshots[first].isGood || !snapshots[index].isGood { continue }
      firsts[key] = index
    }
    all.formUnion(firsts.values)
  }
  var periods: Set<[Int]> = []
  return all.sorted(by: >).filter { index in
    let key = set.key(snapshots[index].local)
    if periods.count < count { periods.insert(key) }
    return periods.contains(key)
  }
}

/// Longer than any machine that is in use stands still.
private let implausibleGapSeconds: Int64 = 366 * 86_400

private func clockTrouble(
  _ snapshots: [RetainedSnapshot], _ policy: RetentionPolicy, _ now: Int64, _ accepted: UInt64?,
  _ commandOptions: String
) -> (String?, Bool) {
  guard let newest = snapshots.last else { return (nil, false) }
  if let future = snapshots.last(where: { $0.time > now }) {
    return (
      "the snapshot \(future.name) is from the future, so the clock was or is wrong; if it is right now, "
        + "remove such snapshots with: treering rotate --expire \(future.name)\(commandOptions)", false
    )
  }
  if let previous = snapshots.dropLast().last, previous.time > newest.time {
    return (
      "the clock was set back between \(previous.name) and \(newest.name); if it is right now, the next "
        + "snapshot ends this", false
    )
  }
  let within = policy.countsNothing ? policy.keepWithinSeconds : nil
  if let within, let (before, after) = leap(snapshots, longerThan: within, accepted) {
    return (
      "more time than is kept lies between \(before) and \(after); if the clock is right, run: treering release\(commandOptions)", true
    )
  }
  if let (before, after) = leap(snapshots, longerThan: implausibleGapSeconds, accepted) {
    return ("more than a year lies between \(before) and \(after); if the clock is right, run: treering release\(commandOptions)", true)
  }
  if now - newest.time > implausibleGapSeconds {
    return ("the newest snapshot is more than a year old, or the clock is wrong", false)
  }
  return (nil, false)
}

/// The newest gap after which less time was kept than the gap is long: a leap of the clock may have made it, however many
/// snapshots have followed. A gap that the end of others has made is none, except before the newest.
private func leap(
  _ snapshots: [RetainedSnapshot], longerThan limit: Int64, _ accepted: UInt64?
) -> (before: String, after: String)? {
  guard let newest = snapshots.last else { return nil }
  for index in snapshots.indices.dropFirst().reversed() {
    let (before, after) = (snapshots[index - 1], snapshots[index])
    if let accepted, after.sequence <= accepted { return nil }
    let isOwn = after.sequence == before.sequence &+ 1 || index == snapshots.indices.last
    if isOwn, after.time - before.time > limit, newest.time - after.time <= limit { return (before.name, after.name) }
  }
  return nil
}

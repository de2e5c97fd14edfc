public import Model
public import Posix
public import Repository
public import Retention

extension MinimumFree {
  /// The amount in bytes, for this file system.
  public func byteCount(of system: FileSystemStatus) -> UInt64 {
    switch self {
    case .bytes(let bytes): bytes
    case .share(let share): UInt64(share * Double(system.bytesUsed &+ system.bytesAvailable))
    }
  }
}

public struct RotationOptions: Sendable {
  public var policy: RetentionPolicy
  public var minimumFree: MinimumFree?
  /// Bytes needed in addition to `minimumFree`, for a snapshot that did not fit.
  public var neededBytes: UInt64 = 0
  /// True if an expired snapshot is kept as the spare, to become the next snapshot.
  public var keepsSpare: Bool
  /// Snapshots to expire although they are in a set. If there are any, no others expire, and the policy is not
  /// remembered.
  public var unwanted: Set<SnapshotName>
  /// The sources that are still backed up. The newest good snapshot of each stays, even if it is in `unwanted`.
  public var wanted: SourceSet?
  public var isDry: Bool
  public var threads: ThreadCount

  public init(
    policy: RetentionPolicy, minimumFree: MinimumFree? = nil, keepsSpare: Bool = true,
    unwanted: Set<SnapshotName> = [], isDry: Bool = false, threads: ThreadCount
  ) {
    self.policy = policy
    self.minimumFree = minimumFree
    self.keepsSpare = keepsSpare
    self.unwanted = unwanted
    self.isDry = isDry
    self.threads = threads
  }
}

/// The outcome of a rotation, or of its dry run.
public struct RotationResult: Sendable {
  /// All snapshots before the rotation, oldest first.
  public var snapshots: [Snapshot]
  /// A decision for each snapshot.
  public var plan: RetentionPlan
  /// Snapshots that cannot be used, with the reason; they neither count nor expire.
  public var unusable: [UnusableSnapshot] = []
  /// Snapshots that could not be expired and leftovers that could not be removed, with the reason. The next rotation
  /// tries again.
  public var problems: [Warning] = []
  /// The space of the snapshots that expire, and of the spare that they replace. `nil` if none expires.
  public var freed: FreedSpace?
  /// The part of `freed` that comes free only when the next snapshot has recycled the new spare.
  public var spareBytes: UInt64 = 0
  /// Bytes still missing for `minimumFree`. If all expendable snapshots would not suffice, none of them expires.
  public var missingBytes: UInt64 = 0
  /// The snapshots that expire.
  public var expired: [Snapshot] { zip(snapshots, plan.decisions).filter(\.1.expires).map(\.0) }
}

/// Applies retention: expires the snapshots in no set, and more if space is short.
///
/// The caller holds the lock, and empties the trash afterwards without it.
public func rotate(_ repository: Repository, with options: RotationOptions) throws(Failure) -> RotationResult {
  do {
    var rotation = try Rotation(of: repository, with: options)
    try rotation.run()
    return rotation.result
  } catch { throw .writing("rotate the snapshots of", at: repository.path, because: error) }
}

private struct Rotation {
  private let repository: Repository
  private let options: RotationOptions
  private let now = Clock.now()
  private var list: SnapshotList
  private(set) var result: RotationResult
  /// True if space is short, so that no spare is kept.
  private var isShort = false
  private var search: FreedSpaceSearch?

  init(of repository: Repository, with options: RotationOptions) throws {
    (self.repository, self.options) = (repository, options)
    if options.policy.keepsNothing {
      throw Failure(.usage, "nothing would be kept but the newest snapshot", hint: "name a set to keep")
    }
    if !options.isDry { try repository.publication.recover() }
    list = try repository.snapshots()
    // The examination decides whether the plan has an obstacle.
    if !options.isDry { try examineArrivals(in: repository, among: list) }
    let plan = try repository.retention.plan(
      for: list, by: options.policy, now: now, unwanted: options.unwanted, wanted: options.wanted)
    result = RotationResult(snapshots: list.snapshots, plan: plan, unusable: list.unusable)
  }

  mutating func run() throws {
    if let minimum = options.minimumFree, options.unwanted.isEmpty { isShort = try expireForSpace(minimum) }
    let claims = claimExpired()
    defer { withExtendedLifetime(claims) {} }
    try measure()
    if !options.isDry {
      try rememberPlan()
      changeLinks()
      expire()
    }
    result.problems = repository.problems.drain()
  }

  private var keepsSpare: Bool { options.keepsSpare && !isShort }

  private mutating func openedSearch() -> FreedSpaceSearch {
    let search = search ?? FreedSpaceSearch(in: repository, among: list.snapshots)
    self.search = search
    return search
  }

  /// Finds the space that comes free, before anything changes.
  private mutating func measure() throws {
    let expired = result.expired.map(\.name)
    guard let newest = expired.last else { return }
    let search = openedSearch()
    let leaving = Set(expired + [search.spare?.name].compactMap { $0 })
    let freed = try search.space(deleting: leaving)
    if keepsSpare { result.spareBytes = freed.bytes &- freed.bytes(ofOnly: leaving.subtracting([newest])) }
    result.freed = freed
  }

  /// Locks the snapshots that expire. A snapshot in use stays.
  private mutating func claimExpired() -> [FileLock] {
    var claims: [FileLock] = []
    for index in result.snapshots.indices where result.plan.decisions[index].expires {
      let name = result.snapshots[index].name
      do {
        if let claim = try repository.locks.lockForExpiry(name) {
          claims.append(claim)
        } else {
          result.plan.decisions[index] = RetentionDecision(reasons: [.inUse], expires: false)
        }
      } catch {
        repository.problems.note("cannot find out whether the snapshot \(name) is in use, so it stays", because: error)
        result.plan.decisions[index] = RetentionDecision(reasons: [.obstructed], expires: false)
      }
    }
    return claims
  }

  private func rememberPlan() throws {
    if result.plan.mustBeReleased, let obstacle = result.plan.obstacle {
      try repository.rotationFreeze.begin(obstacle, at: now)
    }
    // A policy that is not applied is not remembered.
    guard options.unwanted.isEmpty, result.plan.obstacle == nil else { return }
    // On a full disk, only the expiry may make room for the policy.
    do { try repository.retention.remember(options.policy) } catch {
      guard error.kind == .noSpace else { throw error }
      repository.problems.note(error)
    }
  }

  /// Changes the links before anything expires, so that none names an expired snapshot.
  ///
  /// A full disk takes no new link, and must still get its room.
  private mutating func changeLinks() {
    let names = Set(result.expired.map(\.name))
    list.snapshots.removeAll { names.contains($0.name) }
    do {
      try repository.retention.updateLinks(for: list)
      if let newest = list.newest { try repository.publication.pointLatest(to: newest.name) }
      try repository.publication.pointPlan(among: list)
    } catch { repository.problems.note(error) }
  }

  private mutating func expire() {
    let expired = result.expired
    for snapshot in expired {
      do {
        // The newest expired snapshot is the most like the next one.
        try repository.retirement.expire(snapshot.name, asSpare: keepsSpare && snapshot.name == expired.last?.name)
      } catch {
        // A snapshot that cannot be removed does not hinder the others.
        repository.problems.note(error)
        // A snapshot whose state is unknown counts as present.
        if (try? repository.hasExpired(snapshot.name)) != true,
          let index = result.snapshots.firstIndex(where: { $0.name == snapshot.name })
        {
          result.plan.decisions[index] = RetentionDecision(reasons: [.obstructed], expires: false)
        }
      }
    }
    // A deletion that is refused changes nothing.
    if !keepsSpare, options.unwanted.isEmpty || !expired.isEmpty { repository.retirement.discardSpare() }
  }

  /// Also marks the oldest expendable snapshots, until enough space will be free. True if space is short.
  private mutating func expireForSpace(_ minimum: MinimumFree) throws -> Bool {
    func available() throws -> (free: UInt64, wanted: UInt64) {
      let system = try repository.root.descriptor.fileSystem()
      return (system.bytesAvailable, minimum.byteCount(of: system) &+ options.neededBytes)
    }
    var (free, wanted) = try available()
    if free >= wanted { return false }
    if !options.isDry {
      // The spare and the trash are invisible to users, so they go before any snapshot.
      repository.retirement.discardSpare()
      emptyTrashNotingErrors(of: repository, threads: options.threads)
      (free, wanted) = try available()
      if free >= wanted { return true }
    }
    let planned = result.snapshots.indices.filter { result.plan.decisions[$0].expires }
    let leaving = result.plan.leaving(among: result.snapshots.indices)
    let search = openedSearch()
    let names = leaving.map { result.snapshots[$0].name }
    let freed = try search.space(deleting: Set(names + [search.spare?.name].compactMap { $0 })).bytes(inOrder: names)
    func missing(_ count: Int) -> UInt64 { wanted - min(wanted, free &+ freed[count]) }
    var count = planned.count
    while count < leaving.count, missing(count) > 0 { count += 1 }
    // No additional snapshot is given up if the minimum cannot be reached.
    if missing(count) > 0 { count = planned.count }
    for index in leaving[planned.count..<count] {
      result.plan.decisions[index] = RetentionDecision(reasons: [.space], expires: true)
    }
    result.missingBytes = missing(count)
    return true
  }
}

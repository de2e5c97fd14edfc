internal import Catalog
public import Model
internal import Posix
public import Retention

extension Snapshot {
  /// The properties of this snapshot that retention uses. `placed` is its place in the order of retention.
  fileprivate func retained(
    placed: (index: Int, time: Timestamp), isHeld: Bool, isDamaged: Bool, isUnwanted: Bool
  ) -> RetainedSnapshot {
    let seconds = (summary.isDatedByClient ? placed.time : summary.received ?? summary.started).seconds
    return RetainedSnapshot(
      name: name.description, sequence: summary.sequence, time: seconds,
      local: LocalTime(fields: Clock.localFields(of: seconds), of: seconds),
      isGood: summary.outcome == .complete && !isDamaged, isHeld: isHeld, isUnwanted: isUnwanted,
      isReceived: summary.received != nil, isDatedByClient: summary.isDatedByClient, place: placed.index,
      arrival: (summary.received ?? summary.started).seconds,
      sources: SourceSet(label: summary.label, paths: summary.sources).keys + summary.otherSources,
      absentSources: SourceSet(label: summary.label, paths: summary.allAbsentSources).keys)
  }
}

/// Retention: the plan, the policy of the last rotation, and the directories of links.
public struct RepositoryRetention {
  let repository: Repository
  /// The retention plan for the snapshots of a list, in the order of the list.
  ///
  /// If `unwanted` is not empty, only these snapshots may expire. `wanted` are the sources that are still to be backed
  /// up.
  public func plan(
    for list: SnapshotList, by policy: RetentionPolicy, now: Timestamp, unwanted: Set<SnapshotName> = [],
    wanted: SourceSet? = nil
  ) throws(Failure) -> RetentionPlan {
    let held = try repository.marks.all(.held)
    let damaged = try repository.marks.all(.damaged)
    let obstacle = try repository.rotationFreeze.description().map { "rotation is held since \($0)" }
    let order = list.retentionOrder
    var plan = retentionPlan(
      for: order.map { placed in
        let snapshot = list.snapshots[placed.index]
        return snapshot.retained(
          placed: placed, isHeld: held[snapshot.name] != nil, isDamaged: damaged[snapshot.name] != nil,
          isUnwanted: unwanted.contains(snapshot.name))
      }, policy: policy, now: now.seconds, obstacle: obstacle,
      accepted: repository.rotationFreeze.acceptedSequence(in: list), wanted: wanted?.keys ?? [],
      commandOptions: " --repository \(displayName(repository.path))")
    for (placed, decision) in zip(order, plan.decisions) { plan.decisions[placed.index] = decision }
    return plan
  }

  /// The members of each set, newest first, by the policy of the last rotation.
  func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    let plan = try plan(for: list, by: lastPolicy(), now: Clock.now())
    var members: [SnapshotSet: [(rank: Int, name: SnapshotName)]] = [:]
    for (snapshot, decision) in zip(list.snapshots, plan.decisions) where !decision.expires {
      for (set, rank) in decision.sets { members[set, default: []].append((rank, snapshot.name)) }
    }
    return members.mapValues { $0.sorted { $0.rank < $1.rank }.map(\.name) }
  }

  // MARK: The last applied policy

  private var file: ControlFile { repository.file(named: Array("retention".utf8)) }

  /// The policy of the last rotation, or the standard policy before the first rotation.
  ///
  /// Throws `damaged` if the file cannot be read completely, because a partial policy must not expire more snapshots.
  public func lastPolicy() throws(Failure) -> RetentionPolicy {
    do { return try file.read(limit: 4096).map { try RetentionPolicy(stored: $0) } ?? .standard } catch {
      let why = displayName(Array("\(error)".utf8))
      throw Failure(
        .damaged, "\(displayName(repository.path))/.treering/retention cannot be read: \(why)", path: repository.path,
        hint: "say again what to keep, such as: treering rotate --keep daily=7")
    }
  }

  /// Stores a policy, so that all commands agree on the members of the sets.
  public func remember(_ policy: RetentionPolicy) throws(Failure) {
    if policy != (try? lastPolicy()) { try repository.replace(file, with: policy.stored) }
  }

  // MARK: Directories of links

  /// Updates the directories `hourly` to `yearly`. Each holds a relative link to each member of its set. Other links
  /// with the name of a snapshot are removed. The caller holds the lock.
  public func updateLinks(for list: SnapshotList) throws(Failure) {
    let members = try members(of: list)
    for set in SnapshotSet.allCases {
      do { try updateLinks(in: Array(set.rawValue.utf8), to: members[set] ?? []) } catch {
        throw .writing("update the links in \(set.rawValue) of", at: repository.path, because: error)
      }
    }
  }

  private func updateLinks(in name: [UInt8], to members: [SnapshotName]) throws(Errno) {
    let existing: Directory?
    do { existing = try repository.root.directory(name.span) } catch {
      guard error == .noSuchEntry else { throw error }
      existing = nil
    }
    if members.isEmpty && existing == nil { return }
    let directory: Directory
    if let existing {
      directory = existing
      // An older treering left it to root.
      try repository.owner.give(directory.descriptor)
    } else {
      try repository.makeDirectory(name, in: repository.root, mode: 0o755)
      directory = try repository.root.directory(name.span)
    }
    var right: Set<SnapshotName> = []
    for found in try directory.names() {
      guard let snapshot = SnapshotName(found),
        let target = try? directory.descriptor.readSymbolicLink(found.span)
      else { continue }
      if members.contains(snapshot), target == Self.linkTarget(for: snapshot) {
        right.insert(snapshot)
      } else {
        try directory.descriptor.unlink(found.span)
      }
    }
    for snapshot in members where !right.contains(snapshot) {
      let link = snapshot.bytes
      try directory.descriptor.makeSymbolicLink(link.span, to: Self.linkTarget(for: snapshot))
    }
    if members.isEmpty { try? repository.root.descriptor.removeDirectory(name.span) }
  }

  private static func linkTarget(for name: SnapshotName) -> [UInt8] { Array("../".utf8) + name.bytes }
}

/// The policy in `.treering/retention`: one line of words such as `daily=7`.
extension RetentionPolicy {
  /// The reason that a stored policy cannot be read.
  struct Damage: Error, CustomStringConvertible {
    let description: String
  }

  /// Parses the file's content. A set that an older treering did not know keeps none.
  init(stored text: [UInt8]) throws(Damage) {
    self.init(keep: Dictionary(uniqueKeysWithValues: SnapshotSet.allCases.map { ($0, 0) }))
    var keepLast: Int?
    var named: Set<SnapshotSet> = []
    for word in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace) {
      let parts = word.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, let number = Int(parts[1]), number >= 0 else { throw Damage(description: "\(word)") }
      switch parts[0] {
      case "keep_last": keepLast = number
      case "keep_within_seconds": keepWithinSeconds = Int64(number)
      default:
        guard let set = SnapshotSet(rawValue: parts[0]) else { throw Damage(description: "\(word)") }
        keep[set] = number
        named.insert(set)
      }
    }
    self.keepLast = keepLast ?? 0
    // A set that came later may be missing in an older repository's file; one of the first five is lost.
    let first: Set<SnapshotSet> = [.hourly, .daily, .weekly, .monthly, .yearly]
    guard keepLast != nil, named.isSuperset(of: first), text.last == UInt8(ascii: "\n"), !keepsNothing
    else { throw Damage(description: "it is not whole") }
  }

  /// The file's content.
  var stored: String {
    var words = SnapshotSet.allCases.map { "\($0.rawValue)=\(keep[$0] ?? 0)" }
    words.append("keep_last=\(keepLast)")
    if let within = keepWithinSeconds { words.append("keep_within_seconds=\(within)") }
    return words.joined(separator: " ") + "\n"
  }
}

public import Catalog
internal import Posix
public import Retention

extension Snapshot {
  /// The properties of this snapshot that retention uses.
  func retained(isHeld: Bool, isDamaged: Bool, isUnwanted: Bool) -> RetainedSnapshot {
    let seconds = summary.dated.seconds
    return RetainedSnapshot(
      name: name.description, sequence: summary.sequence, time: seconds,
      local: LocalTime(fields: Clock.localFields(seconds), of: seconds),
      isGood: summary.outcome == .complete && !isDamaged, isHeld: isHeld, isUnwanted: isUnwanted,
      isReceived: summary.received != nil,
      sources: SourceSet(label: summary.label, paths: summary.sources).keys + summary.otherSources,
      absentSources: SourceSet(label: summary.label, paths: summary.absentSources).keys)
  }
}

extension Repository {
  /// The retention plan for the snapshots of a list, in the order of the list.
  ///
  /// If `unwanted` is not empty, only these snapshots may expire. `wanted` are the sources that are still to be backed
  /// up.
  public func retention(
    of list: SnapshotList, _ policy: RetentionPolicy, now: Timestamp, unwanted: Set<SnapshotName> = [],
    wanted: SourceSet? = nil
  ) throws(Failure) -> RetentionPlan {
    let held = try marks(.held)
    let damaged = try marks(.damaged)
    let obstacle = try heldRotation().map { "rotation is held since \($0)" }
    return retentionPlan(
      list.snapshots.map {
        $0.retained(
          isHeld: held[$0.name] != nil, isDamaged: damaged[$0.name] != nil, isUnwanted: unwanted.contains($0.name))
      }, policy, now: now.seconds, obstacle: obstacle, accepted: acceptedSequence(of: list), wanted: wanted?.keys ?? [],
      commandOptions: " --repository \(displayName(path))")
  }

  /// The members of each set, newest first, by the policy of the last rotation.
  public func members(of list: SnapshotList) throws(Failure) -> [SnapshotSet: [SnapshotName]] {
    let plan = try retention(of: list, lastPolicy(), now: Clock.now())
    return Self.members(of: list.snapshots, plan.decisions)
  }

  static func members(
    of snapshots: [Snapshot], _ decisions: [RetentionDecision]
  ) -> [SnapshotSet: [SnapshotName]] {
    var members: [SnapshotSet: [SnapshotName]] = [:]
    for (snapshot, decision) in zip(snapshots, decisions).reversed() where !decision.expires {
      for (set, _) in decision.sets { members[set, default: []].append(snapshot.name) }
    }
    return members
  }

  // MARK: The last applied policy

  /// The policy of the last rotation, or the standard policy before the first rotation.
  ///
  /// Throws `damaged` if the file cannot be read completely, because a partial policy must not expire more snapshots.
  public func lastPolicy() throws(Failure) -> RetentionPolicy {
    let text: [UInt8]
    do throws(Errno) {
      let name = Self.retentionName
      text = try control.descriptor.openToRead(name.span).readToEnd(limit: 4096)
    } catch {
      if error == .noSuchEntry { return .standard }
      throw damagedPolicy("\(error)")
    }
    var policy = RetentionPolicy(keep: [:])
    var missing = Set(SnapshotSet.allCases.map(\.rawValue) + ["keep_last"])
    for word in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace) {
      let parts = word.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, let number = Int64(parts[1]), number >= 0 else { throw damagedPolicy("\(word)") }
      missing.remove(parts[0])
      switch parts[0] {
      case "keep_last": policy.keepLast = Int(number)
      case "keep_within_seconds": policy.keepWithinSeconds = number
      default:
        guard let set = SnapshotSet(rawValue: parts[0]) else { throw damagedPolicy("\(word)") }
        policy.keep[set] = Int(number)
      }
    }
    guard missing.isEmpty, text.last == UInt8(ascii: "\n"), !policy.keepsNothing else {
      throw damagedPolicy("it is not whole")
    }
    return policy
  }

  private func damagedPolicy(_ why: String) -> Failure {
    Failure(
      .damaged, "\(displayName(path))/.treering/retention cannot be read: \(displayName(Array(why.utf8)))",
      hint: "say again what to keep, such as: treering rotate --keep daily=7")
  }

  /// Stores a policy, so that all commands agree on the members of the sets.
  public func remember(_ policy: RetentionPolicy) throws(Failure) {
    if policy == (try? lastPolicy()) { return }
    var words = SnapshotSet.allCases.map { "\($0.rawValue)=\(policy.keep[$0] ?? 0)" }
    words.append("keep_last=\(policy.keepLast)")
    if let within = policy.keepWithinSeconds { words.append("keep_within_seconds=\(within)") }
    try replace(Self.retentionName, with: words.joined(separator: " ") + "\n")
  }

  /// Replaces a small file of `.treering` atomically and durably.
  func replace(_ name: [UInt8], with text: String) throws(Failure) {
    let temporary = name + Array(".new".utf8)
    do {
      let file = try openFile(temporary, in: control.descriptor, [.write, .truncate])
      try file.write(Array(text.utf8))
      try file.synchronize()
      try file.close()
      try control.descriptor.rename(temporary.span, to: control.descriptor, as: name.span, replacing: true)
      try control.descriptor.synchronize()
    } catch { throw .writing("write .treering/\(displayName(name)) of", path, error) }
  }

  // MARK: Directories of links

  /// Updates the directories `hourly` to `yearly`. Each holds a relative link to each member of its set. Other links
  /// with the name of a snapshot are removed. The caller holds the lock.
  public func updateSets(_ list: SnapshotList) throws(Failure) {
    let members = try members(of: list)
    for set in SnapshotSet.allCases {
      do { try updateSet(Array(set.rawValue.utf8), members[set] ?? []) } catch {
        throw .writing("update the links in \(set.rawValue) of", path, error)
      }
    }
  }

  private func updateSet(_ name: [UInt8], _ members: [SnapshotName]) throws(Errno) {
    let existing: Directory?
    do { existing = try root.directory(name.span) } catch {
      guard error == .noSuchEntry else { throw error }
      existing = nil
    }
    if members.isEmpty && existing == nil { return }
    let directory: Directory
    if let existing {
      directory = existing
      // An older treering left it to root.
      try giveToOwner(directory.descriptor)
    } else {
      try makeDirectory(name, in: root.descriptor, mode: 0o755)
      directory = try root.directory(name.span)
    }
    var right: Set<SnapshotName> = []
    var listing = DirectoryListing()
    try listing.read(directory.descriptor)
    for entry in listing.entries {
      let found = Array(listing.bytes[entry.range])
      guard let snapshot = SnapshotName(found),
        let target = try? directory.descriptor.readSymbolicLink(found.span)
      else { continue }
      if members.contains(snapshot), target == Self.linkTarget(snapshot) {
        right.insert(snapshot)
      } else {
        try directory.descriptor.unlink(found.span)
      }
    }
    for snapshot in members where !right.contains(snapshot) {
      let link = snapshot.bytes
      try directory.descriptor.makeSymbolicLink(link.span, to: Self.linkTarget(snapshot))
    }
    if members.isEmpty { try? root.descriptor.removeDirectory(name.span) }
  }

  private static func linkTarget(_ name: SnapshotName) -> [UInt8] { Array("../".utf8) + name.bytes }
}

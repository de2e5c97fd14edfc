internal import Catalog
internal import Posix
public import Repository

// The last steps of a publication: `latest`, the links of the sets, and the comparison of a snapshot that came from
// elsewhere. A process that was killed may not have taken them, so each can be taken again.

/// Takes the last steps of a publication as far as they have not been taken. The snapshots are published, so trouble
/// is returned and ends nothing. The caller holds the lock, and has called `recover`.
public func completePublication(_ list: SnapshotList, in repository: Repository) -> [Warning] {
  var troubles: [Warning] = []
  func step(_ body: () throws(Failure) -> Warning?) {
    do throws(Failure) { if let warning = try body() { troubles.append(warning) } } catch {
      troubles.append(Warning(path: repository.path, message: error.description))
    }
  }
  step { () throws(Failure) in
    if let newest = list.newest { try repository.pointLatest(to: newest.name) }
    return nil
  }
  step { () throws(Failure) in
    try repository.updateSets(list)
    return nil
  }
  step { () throws(Failure) in try examineArrival(in: repository, list) }
  return troubles
}

/// Compares the snapshot that came and was not compared yet with the one before it, and lets rotation go on unless it
/// looks like a disaster. Returns that suspicion, or why the two cannot be compared; rotation stays held then. The
/// caller holds the lock, and has called `recover`.
func examineArrival(in repository: Repository, _ list: SnapshotList) throws(Failure) -> Warning? {
  guard let arrival = try repository.unexaminedArrival() else { return nil }
  let name = Array(arrival.name.description.utf8)
  if let damaged = list.damaged.first(where: { $0.name == arrival.name }) {
    return Warning(path: name, message: "cannot be compared with the snapshot before it: \(damaged.reason)\(remedy(repository))")
  }
  // Where it is not there, its publication did not come to its end.
  guard let snapshot = list.snapshots.last(where: { $0.name == arrival.name }),
    let previous = predecessor(of: snapshot, in: list)
  else {
    try repository.endRotationHold()
    return nil
  }
  let suspicion: Warning?
  do {
    suspicion = try suspectChanges(
      from: previous, to: snapshot, moved: arrival.movedFileCount, in: repository, GuardLimits())
  } catch {
    let trouble = "with \(previous.name): \(error)"
    try repository.holdRotation(for: arrival, at: Clock.now(), trouble: trouble)
    return Warning(path: name, message: "cannot be compared \(trouble)\(remedy(repository))")
  }
  guard let suspicion else {
    try repository.endRotationHold()
    return nil
  }
  let reason = "\(displayName(suspicion.path)): \(suspicion.message)"
  try repository.holdRotation("\(arrival.name): \(reason)", at: Clock.now(), isBetterReason: true)
  return Warning(path: name, message: "\(reason)\(remedy(repository))")
}

private func remedy(_ repository: Repository) -> String {
  "; look whether that is right; rotation is held in \(displayName(repository.path)) until: treering release"
}

/// The last snapshot before this one that has one of its sources.
func predecessor(of snapshot: Snapshot, in list: SnapshotList) -> Snapshot? {
  list.snapshots.last {
    $0.summary.sequence < snapshot.summary.sequence && $0.summary.label == snapshot.summary.label
      && !Set($0.summary.sources).isDisjoint(with: snapshot.summary.sources)
  }
}

internal import Model
internal import Posix
public import Repository

// The last steps of a publication: `latest`, `RECOVERY.md`, the links of the sets, and the comparison of a received snapshot. A
// killed process may have missed them, so each step can be repeated.

/// Takes the remaining steps of earlier publications.
///
/// The snapshots are already published, so trouble is returned and ends nothing. The caller holds the lock, and has
/// called `recover`.
public func completePublication(_ list: SnapshotList, in repository: Repository) -> [Warning] {
  var troubles: [Warning] = []
  func step(body: () throws(Failure) -> Warning?) {
    do throws(Failure) { if let warning = try body() { troubles.append(warning) } } catch {
      troubles.append(Warning(path: repository.path, message: error.description))
    }
  }
  step { () throws(Failure) in
    if let newest = list.newest { try repository.publication.pointLatest(to: newest.name) }
    return nil
  }
  step { () throws(Failure) in
    try repository.publication.pointPlan(among: list)
    return nil
  }
  step { () throws(Failure) in
    try repository.retention.updateLinks(for: list)
    return nil
  }
  step { () throws(Failure) in
    troubles += try examineArrivals(in: repository, among: list)
    return nil
  }
  return troubles
}

/// Compares each received snapshot with those before it, unless that was done already.
///
/// The hold on rotation ends unless a snapshot looks like a disaster or cannot be compared. Returns the suspicions,
/// and the reasons why a snapshot cannot be compared. The caller holds the lock, and has called `recover`.
@discardableResult
func examineArrivals(in repository: Repository, among list: SnapshotList) throws(Failure) -> [Warning] {
  var warnings: [Warning] = []
  for arrival in try repository.rotationFreeze.arrivals() {
    if let warning = try examine(arrival, in: repository, list: list) { warnings.append(warning) }
  }
  return warnings
}

private func examine(
  _ arrival: UnexaminedArrival, in repository: Repository, list: SnapshotList
) throws(Failure) -> Warning? {
  func warning(_ message: String) -> Warning {
    Warning(
      path: Array(arrival.name.description.utf8),
      message: "\(message); look whether that is right; rotation is held in \(displayName(repository.path)) until: "
        + "treering release")
  }
  func cannotCompare(_ trouble: String) throws(Failure) -> Warning {
    try repository.rotationFreeze.begin(for: arrival, at: Clock.now(), problem: trouble)
    return warning("cannot be compared \(trouble)")
  }
  // A snapshot that cannot be examined now may be this one, or the one before it.
  if let unusable = list.unusable.first(where: { $0.name == arrival.name || !$0.isDamage }) {
    let which = unusable.name == arrival.name ? "with the snapshot before it" : "with \(unusable.name)"
    return try cannotCompare("\(which): \(unusable.reason)")
  }
  guard let snapshot = list.snapshots.last(where: { $0.name == arrival.name }) else {
    guard try isGone(arrival.name, from: repository)
    else { return try cannotCompare("with the snapshot before it: its publication has not come to its end") }
    try repository.rotationFreeze.end(for: arrival)
    return nil
  }
  let suspects: [SuspectChange]
  do {
    suspects = try suspectChanges(
      in: snapshot, among: list, moved: arrival.movedFileCount, repository: repository, limits: GuardLimits())
  } catch { return try cannotCompare("\(error)") }
  if let first = suspects.first {
    let reason = "\(first.description) since the snapshot \(first.previous)"
    try repository.holdRotation("in the snapshot \(arrival.name), \(reason)", because: suspects, at: Clock.now())
    try repository.rotationFreeze.end(for: arrival)
    return warning(reason)
  }
  try repository.rotationFreeze.end(for: arrival)
  return nil
}

/// True if a snapshot is certainly absent: it was not published, or has expired.
private func isGone(_ name: SnapshotName, from repository: Repository) throws(Failure) -> Bool {
  do { return try repository.hasExpired(name) } catch {
    throw .writing("look for the snapshot \(name) in", at: repository.path, because: error)
  }
}

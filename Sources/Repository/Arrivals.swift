public import Catalog
internal import Posix

/// A received, published snapshot that has not yet been compared with its predecessor.
///
/// Rotation is held from before the publication until the comparison. If the process is killed in between, the hold
/// stays, and the next process finishes the comparison.
public struct UnexaminedArrival: Sendable {
  public var name: SnapshotName
  /// The number of files that were found under another path in the base.
  public var movedFileCount: UInt64

  public init(name: SnapshotName, movedFileCount: UInt64) {
    self.name = name
    self.movedFileCount = movedFileCount
  }

  fileprivate func reason(_ rest: String) -> String { "\(name) came with \(movedFileCount) moved files and \(rest)" }

  /// Parses a hold that `holdRotation` wrote. `nil` if rotation is held for another reason.
  init?(_ hold: RotationHold) {
    let words = hold.reason.split(separator: " ", maxSplits: 6, omittingEmptySubsequences: false)
    guard words.count == 7, words[1...2] == ["came", "with"], words[4...5] == ["moved", "files"],
      let name = SnapshotName(Array(words[0].utf8)), let count = UInt64(words[3])
    else { return nil }
    self.init(name: name, movedFileCount: count)
  }
}

extension Repository {
  /// Holds rotation until an arrival has been compared.
  ///
  /// `trouble` is the reason for a failed comparison; `nil` means that the comparison has not run yet.
  public func holdRotation(
    for arrival: UnexaminedArrival, at time: Timestamp, trouble: String? = nil
  ) throws(Failure) {
    let reason = arrival.reason(trouble.map { "cannot be compared \($0)" } ?? "has not been looked at")
    let holds = try rotationHolds()
    var changed = holds
    if let index = holds.firstIndex(where: { UnexaminedArrival($0)?.name == arrival.name }) {
      changed[index] = RotationHold(since: holds[index].since, reason: reason)
    } else if holds.filter({ UnexaminedArrival($0) != nil }).count < Self.mostHolds {
      changed.append(RotationHold(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    } else {
      return try holdRotation("\(Self.mostHolds) snapshots came that could not be compared", at: time)
    }
    if changed != holds { try write(changed) }
  }

  /// The arrivals for which rotation is held.
  public func unexaminedArrivals() throws(Failure) -> [UnexaminedArrival] {
    try rotationHolds().compactMap { UnexaminedArrival($0) }
  }

  /// Ends the rotation hold of an arrival after its comparison.
  public func endRotationHold(for arrival: UnexaminedArrival) throws(Failure) {
    try write(try rotationHolds().filter { UnexaminedArrival($0)?.name != arrival.name })
  }

  /// Makes the renames of a publication durable.
  public func synchronizePublication() throws(Failure) {
    let catalogs = try directory(Self.catalogsName)
    do throws(Errno) {
      try catalogs.descriptor.synchronize()
      try root.descriptor.synchronize()
    } catch { throw .writing("make the last snapshot durable in", path, error) }
  }
}

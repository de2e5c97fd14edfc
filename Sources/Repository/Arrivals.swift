internal import Catalog
public import Model
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

  fileprivate func reason(ending rest: String) -> String {
    "\(name) came with \(movedFileCount) moved files and \(rest)"
  }

  /// Parses a reason that `RotationFreeze.begin(for:)` wrote. `nil` for another reason.
  init?(from reason: FreezeReason) {
    let words = reason.reason.split(separator: " ", maxSplits: 6, omittingEmptySubsequences: false)
    guard words.count == 7, words[1...2] == ["came", "with"], words[4...5] == ["moved", "files"],
      let name = SnapshotName(Array(words[0].utf8)), let count = UInt64(words[3])
    else { return nil }
    self.init(name: name, movedFileCount: count)
  }
}

extension RotationFreeze {
  /// Holds rotation until an arrival has been compared.
  ///
  /// `problem` is the reason for a failed comparison; `nil` means that the comparison has not run yet.
  public func begin(for arrival: UnexaminedArrival, at time: Timestamp, problem: String? = nil) throws(Failure) {
    let reason = arrival.reason(ending: problem.map { "cannot be compared \($0)" } ?? "has not been looked at")
    let reasons = try reasons()
    var changed = reasons
    if let index = reasons.firstIndex(where: { UnexaminedArrival(from: $0)?.name == arrival.name }) {
      changed[index] = FreezeReason(since: reasons[index].since, reason: reason)
    } else if reasons.filter({ UnexaminedArrival(from: $0) != nil }).count < Self.mostReasons {
      changed.append(FreezeReason(since: CalendarTime(seconds: time.seconds).rfc3339, reason: reason))
    } else {
      return try begin("\(Self.mostReasons) snapshots came that could not be compared", at: time)
    }
    if changed != reasons { try write(changed) }
  }

  /// The arrivals for which rotation is held.
  public func arrivals() throws(Failure) -> [UnexaminedArrival] {
    try reasons().compactMap { UnexaminedArrival(from: $0) }
  }

  /// Ends the hold for an arrival after its comparison.
  public func end(for arrival: UnexaminedArrival) throws(Failure) {
    try write(try reasons().filter { UnexaminedArrival(from: $0)?.name != arrival.name })
  }
}

public import Model

/// The times from which the place of a snapshot follows.
public struct SnapshotTimes: Sendable {
  /// The number of the snapshot in its repository, by arrival.
  public var sequence: UInt64
  /// The start, or the reception, by the clock of the repository.
  public var here: Timestamp
  /// The time by the clock of another repository; `nil` if the snapshot is placed by its arrival.
  public var elsewhere: Timestamp?

  public init(sequence: UInt64, here: Timestamp, elsewhere: Timestamp? = nil) {
    (self.sequence, self.here, self.elsewhere) = (sequence, here, elsewhere)
  }
}

/// Orders snapshots, oldest first. Each result has the index of a snapshot and the time that places it.
///
/// The clock of the repository is the latest time `here` until an arrival. It never goes back, and an arrival is at
/// least a nanosecond after the one before. Thus snapshots that are placed by their arrival are in order of sequence
/// number, and their times are as well. Any other snapshot is placed by `elsewhere`, but no later than by its arrival.
/// Thus a time in the future hides no snapshot that is taken after that arrival.
public func order(of snapshots: [SnapshotTimes]) -> [(index: Int, time: Timestamp)] {
  var clock: Timestamp?
  let arrivals = snapshots.indices.sorted { (snapshots[$0].sequence, $0) < (snapshots[$1].sequence, $1) }
  let placed = arrivals.map { index in
    let now = clock.map { max($0.next, snapshots[index].here) } ?? snapshots[index].here
    clock = now
    return (index: index, time: snapshots[index].elsewhere.map { min($0, now) } ?? now)
  }
  return placed.enumerated().sorted { ($0.element.time, $0.offset) < ($1.element.time, $1.offset) }.map(\.element)
}

extension Timestamp {
  /// The time a nanosecond later.
  fileprivate var next: Timestamp {
    nanoseconds < 999_999_999
      ? Timestamp(seconds: seconds, nanoseconds: nanoseconds + 1) : Timestamp(seconds: seconds + 1, nanoseconds: 0)
  }
}

internal import Catalog
public import Model
internal import Retention

// The places of snapshots. The rule is `order(of:)` in `Retention`.

extension SnapshotList {
  /// Puts the snapshots in the order of the times at which they were taken. A received snapshot is never placed after
  /// its arrival.
  public mutating func sort() {
    // Two copies of one snapshot may have one number.
    snapshots.sort { $0.name.description < $1.name.description }
    snapshots = order(of: snapshots.map(\.summary.times)).map { snapshots[$0.index] }
  }

  /// Adds a snapshot in its place.
  public mutating func add(_ snapshot: Snapshot) {
    snapshots.append(snapshot)
    sort()
  }

  /// Adds a snapshot of another repository as if it arrived at `time`.
  public mutating func add(arriving snapshot: Snapshot, at time: Timestamp) {
    var summary = snapshot.summary
    summary.sequence = (lastArrival?.summary.sequence ?? 0) &+ 1
    summary.received = time
    add(Snapshot(name: snapshot.name, summary: summary))
  }

  /// The snapshots in the order of retention, oldest first, each with its index and the time that places it.
  ///
  /// A snapshot that an append-only server received is placed by its arrival, because its client may be hostile.
  public var retentionOrder: [(index: Int, time: Timestamp)] { order(of: snapshots.map(\.summary.retentionTimes)) }

  /// The snapshot that came last.
  public var lastArrival: Snapshot? { snapshots.max { $0.summary.sequence < $1.summary.sequence } }
}

extension CatalogSummary {
  fileprivate var times: SnapshotTimes {
    SnapshotTimes(sequence: sequence, here: received ?? started, elsewhere: received.map { _ in placed ?? started })
  }

  fileprivate var retentionTimes: SnapshotTimes {
    SnapshotTimes(
      sequence: sequence, here: received ?? started,
      elsewhere: received.flatMap { _ in isDatedByClient ? placed ?? started : nil })
  }
}

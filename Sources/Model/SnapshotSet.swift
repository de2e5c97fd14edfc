/// The sets of snapshots. Each keeps one snapshot for each of its periods.
public enum SnapshotSet: String, CaseIterable, Sendable {
  case hourly, daily, weekly, monthly, yearly
}

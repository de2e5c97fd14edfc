/// The sets of snapshots, from the shortest period to the longest. Each keeps one snapshot for each of its periods.
public enum SnapshotSet: String, CaseIterable, Sendable {
  case hourly, daily, weekly, monthly, yearly
}

/// The sets of snapshots. Each keeps one snapshot for each of its periods.
public enum SnapshotSet: String, CaseIterable, Sendable {
  case hourly, daily, weekly, monthly, yearly

  /// The noun of the set's period, such as "hour".
  public var period: String {
    switch self {
    case .hourly: "hour"
    case .daily: "day"
    case .weekly: "week"
    case .monthly: "month"
    case .yearly: "year"
    }
  }
}

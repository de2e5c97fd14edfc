public import Model

/// The timelines that recoveries of a server made, and the one that was current at a moment.
public struct Timelines: Sendable {
  public struct Branch: Sendable {
    public var timeline: UInt32
    public var history: TimelineHistory
    /// The first time in its log: the end of the recovery that made it. `nil` if no log tells it.
    public var began: Timestamp?

    public init(timeline: UInt32, history: TimelineHistory, began: Timestamp?) {
      (self.timeline, self.history, self.began) = (timeline, history, began)
    }
  }

  private let branches: [Branch]

  public init(_ branches: [Branch] = []) { self.branches = branches }

  /// The timelines that a message names.
  public var all: [UInt32] { branches.map(\.timeline).sorted() }

  /// The timeline that the newest recovery before a moment made, `nil` for the end of time. The result is `nil` if none
  /// was before: then it is that of each base backup.
  public func current(at seconds: Int64?) -> UInt32? {
    let moment = Timestamp(seconds: seconds ?? .max, nanoseconds: 0)
    return branches.compactMap { branch in branch.began.map { ($0, branch.timeline) } }
      .filter { $0.0 <= moment }.max { $0 < $1 }?.1
  }

  /// True if a recovery from a base backup can follow the timeline.
  public func canReach(_ timeline: UInt32, from base: BaseBackup) -> Bool {
    if timeline == base.timeline { return true }
    return branches.first { $0.timeline == timeline }?.history.ancestors
      .contains { $0.timeline == base.timeline && $0.end >= base.end } ?? false
  }
}

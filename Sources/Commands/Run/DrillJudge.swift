internal import Catalog
internal import Model
internal import Repository
internal import Settings

extension RepositoryState {
  /// The state of a drill of the configuration.
  struct Drill: Encodable {
    let drill: String
    /// The time of the last one, its result, and its age.
    let time: String?
    let result: DrillAnswer.Result?
    let ageSeconds: Int64?
    /// The time of the recovery, the objective, and the age of the data; `nil` if not measured or not stated.
    let totalSeconds: Double?
    let rtoSeconds, dataAgeSeconds: Int64?
    /// `well`, `failed`, `slow`, `late` or `never`.
    let state: String
  }
}

/// Compares the drills of the history with the configuration.
struct DrillJudge {
  let facts: RepositoryFacts
  let now: Timestamp

  /// The state of a drill, and the problem if it has one.
  func judge(_ drill: DrillConfiguration) -> (drill: RepositoryState.Drill, finding: String?) {
    let last = facts.drills.last { $0.name == drill.name }
    let time = last.flatMap { Moment.seconds(of: $0.time) }
    let recovery = last?.copies.first?.recovery
    let (state, finding) = problem(of: drill, last: last, at: time)
    let answer = RepositoryState.Drill(
      drill: drill.name, time: last?.time, result: last?.result, ageSeconds: time.map { now.seconds - $0 },
      totalSeconds: recovery?.totalSeconds, rtoSeconds: drill.rtoSeconds, dataAgeSeconds: recovery?.dataAgeSeconds,
      state: state)
    return (answer, finding)
  }

  private func problem(of drill: DrillConfiguration, last: DrillAnswer?, at time: Int64?) -> (String, String?) {
    let every = durationText(Double(drill.everySeconds ?? 0))
    guard let last, let time else {
      let first = facts.list.snapshots.first?.summary.started.seconds ?? now.seconds
      return (
        "never", drill.isOverdue(after: first, at: now.seconds) ? "the drill \(drill.name) was never done" : nil
      )
    }
    if last.result == .failed {
      let reason = last.error.map { ": \($0)" } ?? ""
      return (
        "failed",
        "the drill \(drill.name) of \(last.time) failed\(reason); see: \(facts.advice("drill show \(drill.name)"))"
      )
    }
    if let total = last.totalSeconds, let rto = drill.rtoSeconds, total > Double(rto) {
      return (
        "slow",
        "the recovery \(drill.name) takes at least \(durationText(total)), and should take at most "
          + durationText(Double(rto))
      )
    }
    guard drill.isOverdue(after: time, at: now.seconds) else { return ("well", nil) }
    let age = durationText(Double(now.seconds - time))
    return ("late", "the last drill \(drill.name) was \(age) ago, and should be every \(every)")
  }
}

/// One step of a run, for the history.
struct RunStep: Encodable {
  enum Outcome: String, Encodable { case done, warnings, failed }

  let step: String
  let outcome: Outcome
  let elapsedSeconds: Double
  let message: String?
}

/// The document of `run --json`, and a line of the history.
struct RunAnswer: HistoryLine {
  var time: String
  var command = "run"
  var runID: String
  let host: String
  let repository: String
  /// `made`, `not_due`, `failed`, `refused` or `locked`.
  var result: String
  var exitStatus: Int32
  var steps: [RunStep] = []
  var snapshot: SnapshotAnswer?
  var expired: [String] = []
  var error: String?
  var elapsedSeconds = 0.0

  /// The answer for a person at a terminal.
  var lines: [String] {
    if result == "not_due" && steps.isEmpty { return ["nothing is due"] }
    return table(
      steps.map {
        [$0.step, $0.outcome.rawValue, durationText($0.elapsedSeconds), $0.message ?? ""]
      }, rightAligned: [2])
  }
}

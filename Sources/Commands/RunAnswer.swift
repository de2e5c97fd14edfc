/// One step of a run, for the history.
struct RunStep: Encodable {
  let step: String
  /// `done`, `warnings` or `failed`.
  let outcome: String
  let elapsedSeconds: Double
  let message: String?

  enum CodingKeys: String, CodingKey {
    case step, outcome
    case elapsedSeconds = "elapsed_seconds"
    case message
  }
}

/// The document of `run --json`, and a line of the history.
struct RunAnswer: Encodable {
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

  enum CodingKeys: String, CodingKey {
    case time, command
    case runID = "run_id"
    case host, repository
    case result
    case exitStatus = "exit_status"
    case steps, snapshot, expired, error
    case elapsedSeconds = "elapsed_seconds"
  }

  /// The answer for a person at a terminal.
  var lines: [String] {
    if result == "not_due" && steps.isEmpty { return ["nothing is due"] }
    return table(
      steps.map {
        [$0.step, $0.outcome, durationText($0.elapsedSeconds), $0.message ?? ""]
      }, rightAligned: [2])
  }
}

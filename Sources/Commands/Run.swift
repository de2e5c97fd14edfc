internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Posix
internal import Repository
internal import Retention

struct RunCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Do everything that is due, as the configuration says: the line for cron.",
    discussion: """
      Runs the hooks before, takes a snapshot of all sources, applies retention, and runs the hooks after. \
      Nothing is due where the shortest period that a set keeps has a snapshot already. A good run prints \
      nothing.

      Example:
        treering run --config /etc/treering/treering.toml
      """)

  @Flag(help: "Take a snapshot even if none is due.")
  var now = false

  @Flag(help: "Wait until another run has ended, instead of ending with status 5.")
  var wait = false

  @Flag(help: ArgumentHelp("Let no guard stop the run, as with snapshot."))
  var acceptChanges = false

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    Posix.Process.rememberSignals()
    let file = try common.requiredConfiguration()
    var options = try file.snapshotOptions()
    options.guardLimits.acceptsChanges = acceptChanges
    let repository = try common.openRepository()
    try refuseSourcesInside(repository, options.sources)
    Posix.Process.notifyServiceManager("READY=1\nSTATUS=waiting for the repository")
    let run = ScheduledRun(file, options, repository, common)
    let start = Clock.now()
    let answer: RunAnswer
    do {
      answer = try repository.whileLocked("run", at: start, waiting: wait ? { try checkForSignal() } : nil) {
        run.work(startingAt: start, evenIfNotDue: now)
      }
    } catch let failure as Failure where failure.kind == .locked {
      if common.json { Console.print(jsonText(RunAnswer.locked(run.id, failure.description))) }
      throw failure
    }
    var status = ExitStatus(code: answer.exitStatus)
    if !deleteTrash(repository, file.threads), status == .done { status = .warnings }
    if common.json {
      Console.print(jsonText(answer))
    } else if common.verbose || Posix.Process.terminalWidth(.output) != nil && !common.quiet {
      for line in answer.lines { Console.print(line) }
    }
    Posix.Process.notifyServiceManager("STOPPING=1\nSTATUS=\(answer.result)")
    return status
  }
}

/// One step of a run, for the history.
struct RunStep: Encodable {
  let step: String
  /// `done`, `warnings`, `failed`, or `skipped`.
  let outcome: String
  let elapsedSeconds: Double
  let message: String?

  enum CodingKeys: String, CodingKey {
    case step, outcome
    case elapsedSeconds = "elapsed_seconds"
    case message
  }
}

/// The document of `run --json`, and with a time one line of the history.
struct RunAnswer: Encodable {
  var time: String
  var command = "run"
  var runID: String
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
    case result
    case exitStatus = "exit_status"
    case steps, snapshot, expired, error
    case elapsedSeconds = "elapsed_seconds"
  }

  static func locked(_ id: String, _ error: String) -> RunAnswer {
    RunAnswer(
      time: Clock.now().rfc3339, runID: id, result: "locked", exitStatus: ExitStatus.locked.code, error: error)
  }

  /// What a person at a terminal reads.
  var lines: [String] {
    if result == "not_due" { return ["nothing is due"] }
    return table(
      steps.map {
        [$0.step, $0.outcome, durationText($0.elapsedSeconds), $0.message ?? ""]
      }, rightAligned: [2])
  }
}

internal import ArgumentParser
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct RunCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Do everything that is due, as the configuration says: the line for cron.",
    discussion: """
      Runs the hooks before, takes a snapshot of all sources, applies retention, runs the hooks after, \
      pushes what the configuration's remotes do not have yet, and verifies the part that is due. \
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

  @Flag(name: [.customShort("n"), .long], help: "Do nothing; say what is due.")
  var dryRun = false

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let file = try common.requiredConfiguration()
    if dryRun { return try sayWhatIsDue(by: file) }
    let run = ScheduledRun(of: file, options: common)
    let start = Clock.now()
    var repository: Repository?
    let answer: RunAnswer
    do {
      let opened = try common.openRepository()
      repository = opened
      var options = try file.snapshotOptions()
      options.guardLimits.acceptsChanges = acceptChanges
      try refuse(options.sources, inside: opened)
      CurrentProcess.notifyServiceManager("READY=1\nSTATUS=waiting for the repository")
      try opened.withLock(for: "run", at: start, waiting: wait ? { try checkForSignal() } : nil) {
        run.work(of: options, in: opened, startingAt: start, evenIfNotDue: now)
      }
      answer = run.finish(in: opened)
    } catch let failure as Failure {
      answer = run.cannotBegin(because: failure, in: repository, at: start)
    }
    common.answer(answer, isWanted: common.speaks, lines: answer.lines)
    CurrentProcess.notifyServiceManager("STOPPING=1\nSTATUS=\(answer.result)")
    return ExitStatus(code: answer.exitStatus)
  }
}

extension RunCommand {
  private func sayWhatIsDue(by file: ConfigurationFile) throws -> ExitStatus {
    let repository = try common.openRepository()
    var due = try file.due(in: repository, at: Clock.now(), evenIfNotDue: now)
    let rotation = try rotate(
      repository,
      with: RotationOptions(
        policy: file.settings.retention, minimumFree: file.settings.minimumFree, keepsSpare: file.settings.keepSpare,
        isDry: true, threads: file.threads))
    let expired = rotation.expired.map(\.name.description)
    if !expired.isEmpty { due.append("rotate") }
    let lines = due.map { step in
      switch step.split(separator: " ", maxSplits: 1).map(String.init) {
      case ["snapshot"]: "would take a snapshot"
      case ["rotate"]: "would expire \(expired.joined(separator: " "))"
      case let words where words[0] == "push": "would push to \(words[1])"
      default: "would \(step)"
      }
    }
    common.answer(DueAnswer(due: due, expired: expired), lines: lines.isEmpty ? ["nothing is due"] : lines)
    return .done
  }
}

/// The document of `run --dry-run --json`.
private struct DueAnswer: Encodable {
  let dryRun = true
  /// The steps, such as `snapshot`, `push nas`, `verify 3/30` and `rotate`.
  let due: [String]
  /// The snapshots that would expire now. The new snapshot may let more of them expire.
  let expired: [String]
}

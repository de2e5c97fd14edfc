internal import ArgumentParser
internal import Engine
internal import Posix
internal import Repository

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

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let file = try common.requiredConfiguration()
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

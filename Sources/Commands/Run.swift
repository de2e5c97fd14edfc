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
      pushes what the configuration's remotes do not have yet, verifies the part that is due, and does the drills \
      that are due. \
      Nothing is due where the shortest period that a set keeps has a snapshot already. A good run prints \
      nothing. If the configuration has several repositories, each has a run in a process of its own.

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
    if let file = try common.configurationOfSeveral() {
      return dryRun ? try sayWhatIsDueInAll(of: file) : try runAll(of: file)
    }
    let file = try common.requiredConfiguration()
    if dryRun {
      let direct = try DirectSnapshot(connection: .none, options: common)
      let (document, lines) = try whatIsDue(by: file, options: common, direct: direct)
      common.answer(document, lines: lines)
      return .done
    }
    let run = ScheduledRun(of: file, options: common)
    let start = Clock.now()
    var repository: Repository?
    let answer: RunAnswer
    do {
      run.direct = try DirectSnapshot(connection: .none, options: common)
      let opened = try run.direct?.cache.repository ?? common.openRepository()
      repository = opened
      var options = file.settings.receives ? nil : try file.snapshotOptions()
      options?.guardLimits.acceptsChanges = acceptChanges
      try refuse(options?.localSources ?? [], inside: opened)
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
    if now, run.direct == nil, !common.json, !common.quiet, let repository { noteSet(of: answer, in: repository) }
    return ExitStatus(code: answer.exitStatus)
  }
}

extension RunCommand {
  /// Says that the snapshot is one more in its period, and so is the first to expire.
  private func noteSet(of answer: RunAnswer, in repository: Repository) {
    guard let name = answer.snapshot.flatMap({ SnapshotName(Array($0.snapshot.utf8)) }),
      // The snapshot is published, so a plan that cannot be made is no failure.
      (try? common.isInNoSet(name, of: repository)) == true
    else { return }
    Console.note(
      "\(name) is in no set: the next rotation may remove it; keep it with: \(repository.advice("hold \(name)"))")
  }

  private func whatIsDue(
    by file: ConfigurationFile, options common: CommonOptions, direct: DirectSnapshot?
  ) throws -> (document: DueAnswer, lines: [String]) {
    let repository = try direct?.cache.repository ?? common.openRepository()
    var (due, next) = try file.dueWork(
      in: repository, among: direct?.snapshots() ?? repository.snapshots(), at: Clock.now(), evenIfNotDue: now)
    var expired: [String] = []
    if direct == nil {
      let rotation = try rotate(
        repository,
        with: RotationOptions(
          policy: file.settings.retention, minimumFree: file.settings.minimumFree, keepsSpare: file.settings.keepSpare,
          isDry: true, threads: file.threads))
      expired = rotation.expired.map(\.name.description)
    } else {
      due.removeAll { $0.hasPrefix("push ") || $0.hasPrefix("verify ") }
    }
    if !expired.isEmpty { due.append("rotate") }
    var lines = due.map { step in
      switch step.split(separator: " ", maxSplits: 1).map(String.init) {
      case ["snapshot"]: "would take a snapshot"
      case ["rotate"]: "would expire \(expired.joined(separator: " "))"
      case let words where words[0] == "push": "would push to \(words[1])"
      case let words where words[0] == "drill": "would do the drill \(words[1])"
      default: "would \(step)"
      }
    }
    if lines.isEmpty { lines = ["nothing is due"] }
    if let next { lines.append("the next snapshot is due at \(next.localText)") }
    if due.contains("snapshot"), direct == nil, !common.json, !common.quiet {
      Console.note("see what the snapshot would find with: \(repository.advice("diff latest --live"))")
    }
    return (DueAnswer(due: due, expired: expired, nextSnapshot: next?.rfc3339), lines)
  }

  // MARK: Several repositories

  /// Runs all repositories of the file, and then tells the receivers of its notices.
  private func runAll(of file: ConfigurationFile) throws -> ExitStatus {
    let (start, began) = (Clock.now(), Clock.monotonic())
    let flags = [(now, "--now"), (wait, "--wait"), (acceptChanges, "--accept-changes"), (common.verbose, "--verbose")]
    let runs = try RepositoryRuns(of: file, arguments: flags.filter(\.0).map(\.1), isStaggered: !now)
    CurrentProcess.notifyServiceManager("READY=1\nSTATUS=\(counted(file.repositories.count, "repository"))")
    let ends = runs.run()
    let (runID, elapsedSeconds) = (newRunID(), Clock.monotonic() - began)
    func report(of runs: [RepositoryRun]) -> RepositoryRunsAnswer {
      RepositoryRunsAnswer(runID: runID, at: start, repositories: runs, elapsedSeconds: elapsedSeconds)
    }
    let news = report(of: ends.filter { !$0.isLocked })
    let hasProblem = news.isIdle ? false : RepositoryRunsEnd(of: file, answer: news).tellAll()
    let answer = report(of: ends)
    common.answer(answer, isWanted: common.speaks, lines: answer.lines)
    CurrentProcess.notifyServiceManager("STOPPING=1")
    let status = ExitStatus(code: answer.exitStatus)
    return status == .done && hasProblem ? .warnings : status
  }

  private func sayWhatIsDueInAll(of file: ConfigurationFile) throws -> ExitStatus {
    var documents: [DueOfRepository] = []
    var lines: [String] = []
    var statuses: [ExitStatus] = [.done]
    for one in file.repositories {
      let name = one.name ?? ""
      var options = common
      options.repository = PathArgument(bytes: Array(name.utf8))
      do {
        let direct = try DirectSnapshot(connection: .none, options: options)
        let (document, due) = try whatIsDue(by: one, options: options, direct: direct)
        documents.append(DueOfRepository(name: name, work: document))
        lines += due.map { "\(name): \($0)" }
      } catch let failure as Failure {
        Console.complain("\(name): \(failure)")
        statuses.append(ExitStatus(failure.kind))
      }
    }
    common.answer(DueInAllAnswer(repositories: documents), lines: lines)
    return ExitStatus.worst(of: statuses)
  }
}

/// The document of `run --dry-run --json`.
struct DueAnswer: Encodable {
  let dryRun = true
  /// The steps, such as `snapshot`, `push nas`, `verify 3/30` and `rotate`.
  let due: [String]
  /// The snapshots that would expire now. The new snapshot may let more of them expire.
  let expired: [String]
  /// The time at which a snapshot is due, if none is now.
  let nextSnapshot: String?
}

/// The same for several repositories.
private struct DueInAllAnswer: Encodable {
  let dryRun = true
  let repositories: [DueOfRepository]
}

private struct DueOfRepository: Encodable {
  let name: String
  let work: DueAnswer
}

internal import Catalog
internal import Engine
internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings
internal import Synchronization

/// A random UUID for a run.
func newRunID() -> String { UUID().uuidString.lowercased() }

/// The steps of one `treering run`, with the repository locked.
final class ScheduledRun {
  let file: ConfigurationFile
  let common: CommonOptions
  private let notices: Notices
  private let repositoryPath: [UInt8]
  /// The way to a remote, if there is no repository here, but only a cache of catalogs.
  var direct: DirectSnapshot?
  var answer: RunAnswer
  /// The databases without a good dump, and trouble with fetches.
  private var dumpWarnings: [Warning] = []
  private let began = Clock.monotonic()
  private(set) var start = Clock.now()

  init(of file: ConfigurationFile, options common: CommonOptions) {
    (self.file, self.common) = (file, common)
    repositoryPath = (try? common.repositoryPath()) ?? []
    answer = RunAnswer(
      time: "", runID: newRunID(), host: displayName(CurrentProcess.hostName()),
      repository: displayName(repositoryPath), result: "failed", exitStatus: ExitStatus.failed.code)
    notices = Notices(for: file.settings, runID: answer.runID)
  }

  /// The time limit of programs after a run that was told to end.
  static let lastSeconds: Int64 = 10

  /// Takes the snapshot and applies retention. The caller holds the lock, and calls `finish` without it.
  ///
  /// Never throws: an error is printed, and recorded in the history and the exit status. No options mean no snapshot.
  func work(of options: SnapshotOptions?, in repository: Repository, startingAt start: Timestamp, evenIfNotDue: Bool) {
    self.start = start
    answer.time = start.rfc3339
    do {
      var options = options
      let list = try direct?.snapshots() ?? repository.snapshots()
      options?.excusedSources = try file.excusedSources(in: repository, among: list, at: start)
      if let options, try evenIfNotDue || file.isSnapshotDue(for: options, after: list, at: start) {
        answer.steps += notices.runBegins()
        try allSteps(for: options, in: repository)
        answer.result = "made"
      } else {
        SiteMaintenance(of: repository).clear(file.settings.sites.map { Array($0.path.utf8) })
        answer.result = "not_due"
        answer.exitStatus = ExitStatus.done.code
        // This expires snapshots that an earlier run had to leave, or that the configuration no longer keeps.
        try rotate(repository, isRepeated: true)
        if answer.expired.isEmpty { answer.steps = [] }
        warn(FrozenSources(of: file.sources, in: repository).removeLeftovers(), of: "freeze", since: began)
      }
    } catch { take(Failure(wrapping: error)) }
  }

  /// Pushes due snapshots and sends the notices. The caller has released the lock.
  ///
  /// The lock is not needed: a snapshot cannot expire during its push, and other runs can proceed.
  func finish(in repository: Repository) -> RunAnswer {
    pushAll(from: repository)
    pushLogs()
    removeUnneededLogs(for: repository)
    verifyPart(of: repository)
    rehearse(in: repository)
    let start = Clock.monotonic()
    if let problem = emptyTrashNotingErrors(of: repository, threads: file.threads) {
      note("trash", outcome: .warnings, since: start, message: problem.description)
    }
    answer.elapsedSeconds = Clock.monotonic() - began
    let hasDoneNothing = answer.steps.allSatisfy { $0.outcome == .absent }
    if answer.result == "not_due" && answer.expired.isEmpty && hasDoneNothing { return answer }
    writeMetrics(of: repository)
    end(in: repository)
    return answer
  }

  /// Pushes to all remotes. A remote that fails is tried again by the next run and does not affect the others.
  private func pushAll(from repository: Repository) {
    for remote in file.settings.remotes where direct == nil && CurrentProcess.rememberedSignal == nil {
      let start = Clock.monotonic()
      let step = "push \(remote.name)"
      do {
        let expected = ExpectedRemote(remote, in: repository)
        let job = PushJob(
          to: try RemoteTarget(remote: remote, options: common), from: repository, sources: file.sourceSet,
          options: common, excusesAbsence: expected.isAbsenceExcused(at: self.start))
        guard let snapshot = try job.due(in: try repository.snapshots()) else { continue }
        CurrentProcess.notifyServiceManager("STATUS=\(step)")
        let pushed = try job.work(snapshot)
        if pushed.warnings == 0 {
          note(step, outcome: .done, since: start, message: pushed.line)
        } else {
          let warnings = counted(pushed.warnings, "warning")
          note(step, outcome: .warnings, since: start, message: "\(pushed.line), with \(warnings)")
        }
      } catch let absence as RemoteAbsence {
        note(step, outcome: .absent, since: start, message: absence.reason)
      } catch {
        let failure = Failure(wrapping: error, as: .remote)
        // Another run is pushing.
        if failure.kind == .locked {
          note(step, outcome: .done, since: start, message: failure.message)
          continue
        }
        take(failure, of: step, since: start)
      }
    }
  }

  /// Sends the archived logs to the remotes that take them.
  private func pushLogs() {
    for remote in file.settings.remotes where remote.logs && CurrentProcess.rememberedSignal == nil {
      let start = Clock.monotonic()
      let step = "push logs \(remote.name)"
      do {
        let target = try RemoteTarget(remote: remote, options: common)
        // The push of the snapshot has told of an absence.
        if remote.isOptional, target.absence != nil { continue }
        let answer = try LogPush(of: file).work(to: target)
        if answer.sent > 0 { note(step, outcome: .done, since: start, message: answer.line) }
      } catch {
        let failure = Failure(wrapping: error, as: .remote)
        if remote.isOptional, failure.kind == .remote { continue }
        take(failure, of: step, since: start)
      }
    }
  }

  /// Notes that a remote was not reached or served. The run's snapshot is published all the same.
  func take(_ failure: Failure, of step: String, since start: Timestamp) {
    let status = status(of: failure) == .warnings ? ExitStatus.remote : status(of: failure)
    Console.complain(of: failure, status: status)
    note(step, outcome: .failed, since: start, message: failure.description)
    guard [ExitStatus.done.code, ExitStatus.warnings.code].contains(answer.exitStatus) else { return }
    answer.exitStatus = status.code
    answer.error = failure.description
  }

  /// Removes archived logs that no base backup needs. This comes after the pushes, so that the remotes have them.
  private func removeUnneededLogs(for repository: Repository) {
    // A cache does not know the older base backups.
    if direct != nil { return }
    let start = Clock.monotonic()
    let (done, problems) = repository.removeUnneededLogs(by: file)
    if let message = done.first { note("logs", outcome: .done, since: start, message: message) }
    for problem in problems {
      Console.warn(problem)
      note("logs", outcome: .warnings, since: start, message: problem)
    }
  }

  /// Ends a run that did not get the lock or could not start. A lock held by another run is not reported.
  func cannotBegin(because failure: Failure, in repository: Repository?, at start: Timestamp) -> RunAnswer {
    answer.time = start.rfc3339
    take(failure)
    if failure.kind == .locked { answer.result = "locked" } else { end(in: repository) }
    return answer
  }

  private func take(_ failure: Failure) {
    var failure = failure
    if case .interrupted = failure.kind, answer.snapshot == nil { failure.hint = Treering.afterInterruption["run"] }
    let status = status(of: failure)
    Console.complain(of: failure, status: status)
    answer.error = failure.description
    answer.exitStatus = status.code
    answer.result = answer.snapshot != nil ? "made" : failure.kind == .refused ? "refused" : "failed"
  }

  /// The exit status for a failure, which may have come after the publication of the snapshot.
  private func status(of failure: Failure) -> ExitStatus {
    answer.snapshot == nil ? ExitStatus(failure.kind) : ExitStatus(afterPublication: failure.kind)
  }

  /// Sends the notices and writes the history. A run that was not due sent no start, so it sends no end if it
  /// succeeded.
  private func end(in repository: Repository?) {
    if answer.result != "not_due" || answer.exitStatus != ExitStatus.done.code {
      answer.steps += notices.runEnded(
        answer, environment: answer.environment(of: "notify", status: answer.exitStatus, at: repositoryPath))
      answer.steps += notices.sendMail(
        after: answer, last: { try repository?.history.lastMail() },
        // A cache says nothing about the snapshots of the remote.
        report: { direct == nil ? repository.map { BackupReport.text(of: $0, by: file) } ?? [] : [] })
    }
    guard let repository, !repository.history.record(answer), answer.exitStatus == ExitStatus.done.code else { return }
    answer.exitStatus = ExitStatus.warnings.code
  }

  /// Writes the metrics. A failure is only a warning.
  private func writeMetrics(of repository: Repository) {
    guard direct == nil, let path = file.settings.metricsTextfile else { return }
    let start = Clock.monotonic()
    do {
      let now = Clock.now()
      let state = try RepositoryState(of: repository, configuration: file, at: now)
      let run = RunFigures(
        exitStatus: answer.exitStatus, elapsedSeconds: answer.elapsedSeconds, snapshot: answer.snapshot?.figures)
      try Commands.writeMetrics(of: [(state.repository, state, run)], at: now, to: Array(path.utf8))
    } catch {
      Console.warn("\(error)")
      note("metrics", outcome: .warnings, since: start, message: "\(error)")
    }
  }

  // MARK: Steps

  private func allSteps(for options: SnapshotOptions, in repository: Repository) throws {
    answer.exitStatus = ExitStatus.done.code
    var failure: (any Error)?
    do {
      for hook in file.settings.hooksBefore { try run(hook, when: "before") }
      renewPlan(in: repository)
      try dumpAndSnapshot(options, in: repository)
      try rotate(repository)
    } catch { failure = error }
    // Hooks before may have stopped services, so the hooks after run in any case.
    for hook in file.settings.hooksAfter {
      do { try run(hook, when: "after", failed: failure) } catch { failure = failure ?? error }
    }
    if let failure { throw failure }
  }

  /// Writes the recovery plan anew if it changed, for the snapshot that follows. A failure is only a warning.
  private func renewPlan(in repository: Repository) {
    guard direct == nil, let directory = file.planDirectory else { return }
    let began = Clock.monotonic()
    do {
      let facts = try AuditCollection(of: repository, configuration: file, at: start).planFacts()
      let isNew = try KeptPlan(directory: directory).renew(PlanDocument(of: facts))
      if isNew { note("recovery plan", outcome: .done, since: began) }
    } catch {
      Console.warn("\(error)")
      note("recovery plan", outcome: .warnings, since: began, message: "\(error)")
    }
  }

  /// Fetches from hosts, dumps the databases, freezes the sources, takes the snapshot, and removes temporary files.
  private func dumpAndSnapshot(_ sources: SnapshotOptions, in repository: Repository) throws {
    var options = sources
    let (dumps, maintenance) = (file.dumps, SiteMaintenance(of: repository))
    let frozen = FrozenSources(of: file.sources, in: repository)
    let start = Clock.monotonic()
    defer {
      warn(maintenance.endAll(), of: "maintenance", since: start)
      warn(frozen.end(), of: "freeze", since: start)
      if dumps != nil { warn(Engine.removeDumps(of: options, in: repository), of: "dumps", since: start) }
      HostFetches(file: file).discard(in: repository)
    }
    warn(frozen.removeLeftovers(), of: "freeze", since: start)
    try HostFetches(file: file).make(in: repository, for: &options, isDirect: direct != nil) { note($0, for: sources) }
    if dumps != nil { CurrentProcess.notifyServiceManager("STATUS=dumping the databases") }
    try dumps?.make(in: repository, for: &options, during: maintenance, ended: noteDump)
    try frozen.freeze(&options)
    var mayTryAgain = 3
    while true {
      do { return try snapshot(options, in: repository) } catch let full as Failure
        where full.kind == .noSpace && !full.isSuspect && mayTryAgain > 0
      {
        mayTryAgain -= 1
        try expireForSpace(after: full, in: repository)
      }
    }
  }

  /// Notes the end of a fetch. The snapshot warns of a source that it lacks.
  private func note(_ end: HostFetches.End, for options: SnapshotOptions) {
    end.warnings.forEach { Console.warn($0.message, path: $0.path) }
    dumpWarnings += end.warnings
    let outcome = end.outcome(excusing: options.excusedSources)
    note("fetch \(end.source.title)", outcome: outcome, since: end.start, message: end.message)
  }

  private func noteDump(_ end: DatabaseDumps.End) {
    for warning in end.warnings { Console.warn(warning.message, path: warning.path) }
    dumpWarnings += end.warnings
    let outcome: RunStep.Outcome = end.failure != nil ? .failed : end.warnings.isEmpty ? .done : .warnings
    let message = end.failure?.description ?? end.warnings.first?.description
    note("dump \(displayName(end.database.name))", outcome: outcome, since: end.start, message: message)
    guard let first = end.warnings.first, answer.exitStatus == ExitStatus.done.code else { return }
    answer.exitStatus = ExitStatus.warnings.code
    answer.error = first.description
  }

  private func warn(_ warnings: [Warning], of step: String, since start: Timestamp) {
    for warning in warnings {
      Console.warn(warning.message, path: warning.path)
      note(step, outcome: .warnings, since: start, message: warning.description)
    }
  }

  /// Expires snapshots to free space. Throws `full` if none may expire.
  private func expireForSpace(after full: Failure, in repository: Repository) throws {
    let before = answer.expired.count
    try rotate(repository, isRepeated: true, neededBytes: full.neededBytes)
    let count = answer.expired.count - before
    guard count > 0 else { throw full }
    Console.warn("\(full.message); \(count) expired to make room, and it is tried again")
    emptyTrashNotingErrors(of: repository, threads: file.threads)
    answer.exitStatus = ExitStatus.warnings.code
    answer.error = full.message
  }

  func note(_ step: String, outcome: RunStep.Outcome, since start: Timestamp, message: String? = nil) {
    answer.steps.append(
      RunStep(step: step, outcome: outcome, elapsedSeconds: Clock.monotonic() - start, message: message))
    if outcome == .warnings && answer.exitStatus == ExitStatus.done.code {
      answer.exitStatus = ExitStatus.warnings.code
      answer.error = message
    }
  }

  /// Runs a step. An error is noted and thrown on.
  private func step(_ name: String, body: (_ start: Timestamp) throws -> Void) throws {
    let start = Clock.monotonic()
    do { try body(start) } catch {
      note(name, outcome: .failed, since: start, message: "\(error)")
      throw error
    }
  }

  private func snapshot(_ options: SnapshotOptions, in repository: Repository) throws {
    CurrentProcess.notifyServiceManager("STATUS=taking a snapshot")
    let monitor = ConsoleMonitor(wantsExcluded: common.verbose)
    let progress = Progress()
    try step("snapshot") { start in
      let sent = try direct?.take(options, progress: progress, monitor: monitor)
      let result =
        try sent?.snapshot ?? common.takeSnapshot(of: options, in: repository, progress: progress, monitor: monitor)
      answer.snapshot = SnapshotAnswer(
        for: result, progress: progress, warnings: monitor.warnings, dumpWarnings: dumpWarnings)
      if let direct, let sent { answer.snapshot?.add(sent, to: direct.target) }
      let isGood = progress.warnings.value == 0
      let entries = counted(result.snapshot.summary.root.totals.entries, "entry")
      var message = "\(result.snapshot.name): \(entries), "
      message += "\(counted(progress.copied.value, "file")) copied (\(byteText(progress.bytesCopied.value)))"
      if let first = monitor.warnings.first {
        message = "\(counted(progress.warnings.value, "warning")), the first of \(first)"
      }
      note("snapshot", outcome: isGood ? .done : .warnings, since: start, message: message)
    }
  }

  /// Applies retention. An obstacle is reported once per period, and not by a repeated attempt.
  private func rotate(_ repository: Repository, isRepeated: Bool = false, neededBytes: UInt64 = 0) throws {
    // The remote applies its own retention.
    if direct != nil { return }
    CurrentProcess.notifyServiceManager("STATUS=rotating")
    try step("rotate") { start in
      var options = RotationOptions(
        policy: file.settings.retention, minimumFree: file.settings.minimumFree, keepsSpare: file.settings.keepSpare,
        threads: file.threads)
      options.neededBytes = neededBytes
      let result = try Engine.rotate(repository, with: options)
      answer.expired += result.expired.map(\.name.description)
      if let freed = result.freed { answer.freedBytes = (answer.freedBytes ?? 0) &+ freed.bytes }
      for problem in result.problems.dropFirst() { Console.warn("\(problem); the next rotation tries again") }
      var problem = result.plan.obstacle.map { "nothing expires: \($0)" }
      if result.missingBytes > 0 { problem = result.shortage }
      if let unusable = result.unusable.first { problem = problem ?? "\(unusable.sentence); see: treering status" }
      problem = problem ?? result.plan.unprotectedSentence
      if isRepeated { problem = nil }
      if let first = result.problems.first { problem = "\(first); the next rotation tries again" }
      if let problem { Console.warn("\(problem)") }
      let freed = result.freed.map { ["(\($0.text))"] } ?? []
      let expired = ["\(result.expired.count) expired"] + result.expired.map(\.name.description) + freed
      note(
        "rotate", outcome: problem == nil ? .done : .warnings, since: start,
        message: problem ?? expired.joined(separator: " "))
    }
  }

  private func run(_ hook: Configuration.Hook, when: String, failed: (any Error)? = nil) throws {
    let step = "hook \(when): \(hook.command.joined(separator: " "))"
    CurrentProcess.notifyServiceManager("STATUS=\(step)")
    let start = Clock.monotonic()
    var status = answer.exitStatus
    if let failed { status = self.status(of: Failure(wrapping: failed)).code }
    let wantsAll = common.verbose
    // Services stopped by hooks before are restarted even by an interrupted run, but with a short time limit.
    let isInterrupted = when == "after" && CurrentProcess.rememberedSignal != nil
    let limit = isInterrupted ? min(hook.timeoutSeconds, Self.lastSeconds) : hook.timeoutSeconds
    let variables = answer.environment(of: when, status: status, at: repositoryPath)
    let ended = hook.run(environment: variables, limitSeconds: limit, finishes: isInterrupted) { line in
      if wantsAll { Console.complain("\(hook.command[0]): \(displayName(line))") }
    }
    guard let problem = ended.problem else {
      note(step, outcome: .done, since: start)
      return
    }
    let message = "the hook \(hook.command[0]) \(problem)"
    // The last lines of output explain the failure.
    if !wantsAll { ended.complain(of: hook) }
    if when == "before" { try checkForSignal() }
    if hook.isRequired {
      note(step, outcome: .failed, since: start, message: message)
      throw Failure(.failed, message, hint: when == "before" ? "no snapshot was taken" : nil)
    }
    Console.warn("\(message)")
    note(step, outcome: .warnings, since: start, message: message)
  }
}

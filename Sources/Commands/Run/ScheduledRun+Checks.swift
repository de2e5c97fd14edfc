internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

// The checks of what is stored: verification and drills.
extension ScheduledRun {
  /// The number of damaged paths that a run names.
  private static let namedProblems = 100

  /// Verifies the part that is due. Another run may be at it.
  func verifyPart(of repository: Repository) {
    guard direct == nil, let settings = file.settings.verification, CurrentProcess.rememberedSignal == nil
    else { return }
    let began = Clock.monotonic()
    var step = "verify"
    do {
      guard let lock = try repository.verifiedParts.lock() else { return }
      defer { withExtendedLifetime(lock) {} }
      let list = try repository.snapshots()
      let names = list.unusable.map(\.name) + list.snapshots.map(\.name)
      guard let part = settings.duePart(after: try repository.verifiedParts.all(), at: start), !names.isEmpty
      else { return }
      step = "verify \(part)"
      CurrentProcess.notifyServiceManager("STATUS=\(step)")
      let named = Atomic<Int>(0)
      let progress = Progress()
      let options = VerifyOptions(threads: file.threads, part: part, bytesPerSecond: settings.limitRate)
      let line = ProgressLine(for: step, of: progress, options: common)
      defer { line.stop() }
      let result = try repository.verify(names, options: options, progress: progress) { problem in
        if named.add(1, ordering: .relaxed).newValue <= Self.namedProblems { Console.complain(problem.line) }
      }
      line.stop()
      let found = VerificationFindings(result: result)
      let verified = names.filter { !result.expired.contains($0) }
      try repository.record(
        VerificationLine(
          time: start, part: part, verified: verified.count, of: list, findings: found, progress: progress),
        of: result, names: verified, part: part, by: "run", at: start)
      let message = "\(counted(result.filesRead, "file")) (\(byteText(progress.bytesRead.value))) read"
      switch found.status {
      case .damaged: throw damage(of: result.damaged, in: part, of: repository)
      case .done: note(step, outcome: .done, since: began, message: message + ", no damage")
      default:
        let paths = counted(result.problems, "path")
        Console.warn("\(paths) could not be verified")
        note(step, outcome: .warnings, since: began, message: "\(message); \(paths) could not be verified")
      }
    } catch {
      let failure = Failure(wrapping: error)
      let status = ExitStatus(afterPublication: failure.kind)
      Console.complain(of: failure, status: status)
      note(step, outcome: status == .warnings ? .warnings : .failed, since: began, message: failure.description)
      // Damage matters more than a push that failed.
      guard status != .warnings, [.done, .warnings, .remote].contains(ExitStatus(code: answer.exitStatus))
      else { return }
      answer.exitStatus = status.code
      answer.error = failure.description
    }
  }

  /// Does the drills that are due. Another run may be at it.
  func rehearse(in repository: Repository) {
    guard !file.settings.drills.isEmpty, CurrentProcess.rememberedSignal == nil else { return }
    let began = Clock.monotonic()
    do {
      guard let lock = try repository.lockDrills() else { return }
      defer { withExtendedLifetime(lock) {} }
      for drill in try file.dueDrills(in: repository, at: start) { try rehearse(drill, in: repository) }
    } catch { take(Failure(wrapping: error), of: "drill", since: began) }
  }

  private func rehearse(_ drill: DrillConfiguration, in repository: Repository) throws {
    let (began, step) = (Clock.monotonic(), "drill \(drill.name)")
    CurrentProcess.notifyServiceManager("STATUS=\(step)")
    let result = try TableDrill(drill: drill, file: file, common: common).run()
    repository.history.record(result)
    if result.result != .failed {
      let time = result.totalSeconds.map { "the recovery takes at least \(durationText($0))" }
      return note(step, outcome: result.result == .passed ? .done : .warnings, since: began, message: time)
    }
    let message = "the \(step) failed: \(result.error ?? "")"
    Console.complain(message)
    note(step, outcome: .failed, since: began, message: message)
    let isDamage = result.exitStatus == ExitStatus.damaged.code
    // A drill that failed has changed nothing. Damage matters more than a push that failed.
    guard answer.exitStatus == ExitStatus.done.code || isDamage && [1, 7].contains(answer.exitStatus) else { return }
    answer.exitStatus = isDamage ? result.exitStatus : ExitStatus.warnings.code
    answer.error = message
  }

  private func damage(of paths: UInt64, in part: VerificationPart, of repository: Repository) -> Failure {
    Failure(
      .damaged,
      "damage found: \(counted(paths, "path differs", plural: "paths differ")) from the catalogs, in part \(part)",
      path: repository.path, hint: "see: \(repository.advice("verify --part \(part)"))")
  }
}

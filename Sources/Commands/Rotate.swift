internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

struct RotateCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "rotate", abstract: "Apply retention: expire snapshots that are in no set.",
    discussion: """
      A snapshot is a member of a set when it is the first good one of its hour, day, ISO week, month or \
      year, in local time; each set keeps its newest members. The newest snapshot, the newest good one of \
      each source and held ones never expire, and nothing expires while rotation is held or the clock is \
      wrong. To delete certain snapshots, see: treering delete. Without --keep, --keep-last and --keep-within what was \
      applied last is applied again: at first hourly=24 daily=7 weekly=4 monthly=12 yearly=3. With one of them, a \
      set that is not named keeps none.

      Example:
        treering rotate --keep hourly=24 --keep daily=7 --dry-run --repository /backup/treering
      """)

  @Option(
    help: ArgumentHelp("Keep the newest N of a set: hourly, daily, weekly, monthly, yearly.", valueName: "set=n"),
    completion: .list(SnapshotSet.allCases.map { "\($0.rawValue)=" }),
    transform: setAndCount)
  var keep: [SetAndCount] = []

  @Option(help: ArgumentHelp("Keep the newest N snapshots.", valueName: "n"))
  var keepLast: Int?

  @Option(
    help: ArgumentHelp("Keep what is younger than the newest by no more than this, such as 14d.", valueName: "time"),
    transform: seconds(for: "--keep-within"))
  var keepWithin: Int64?

  @Option(
    help: ArgumentHelp("Expire the oldest that nothing protects, until so much is free: 5% or 20G.", valueName: "size"),
    transform: freeSpace(for: "--minimum-free"))
  var minimumFree: MinimumFree?

  @Flag(help: "Delete all that expires, and keep none to be made into the next snapshot.")
  var noSpare = false

  @OptionGroup var storage: StorageOptions
  @OptionGroup var expiry: ExpiryOptions
  private var common: CommonOptions { expiry.common }

  func execute() throws -> ExitStatus {
    if let keepLast, keepLast < 0 { throw Failure(.usage, "--keep-last takes a number from 0 on") }
    CurrentProcess.rememberSignals()
    if let target = try common.resticTarget(storage) { return try rotateStorage(target) }
    let repository = try common.openRepository()
    // The configuration applies only to its own repository.
    let configured = try common.configuration(of: repository)
    var options = RotationOptions(
      policy: try policy(of: repository, or: configured), minimumFree: minimumFree ?? configured?.settings.minimumFree,
      keepsSpare: !noSpare && configured?.settings.keepSpare ?? true, isDry: expiry.dryRun,
      threads: expiry.threads.count)
    options.wanted = configured?.sourceSet
    guard !expiry.dryRun else { return report(result: try rotate(repository, with: options), of: repository) }
    return try rotateLocked(repository, with: options, command: "rotate", configuration: configured) {
      report(result: $0, of: repository)
    }
  }

  /// Rotates a repository of restic's format.
  private func rotateStorage(_ target: RemoteTarget) throws -> ExitStatus {
    guard minimumFree == nil else {
      throw Failure(.usage, "the free space of \(target.name) is not known", hint: "leave --minimum-free out")
    }
    let removal = try ResticRemoval(at: target, options: common, isDryRun: expiry.dryRun)
    return try removal.rotate(by: try givenPolicy() ?? removal.policy)
  }

  private func policy(
    of repository: Repository, or configuration: ConfigurationFile?
  ) throws(Failure) -> RetentionPolicy {
    if let policy = try givenPolicy() { return policy }
    if let configuration { return configuration.settings.retention }
    return try repository.retention.lastPolicy()
  }

  /// The policy of the command line; `nil` if it names none.
  private func givenPolicy() throws(Failure) -> RetentionPolicy? {
    if keep.isEmpty && keepLast == nil && keepWithin == nil { return nil }
    var policy = RetentionPolicy(keep: [:], keepLast: keepLast ?? 0, keepWithinSeconds: keepWithin)
    for item in keep { policy.keep[item.set] = item.count }
    if policy.keepsNothing {
      throw Failure(.usage, "nothing would be kept but the newest snapshot", hint: "name a set to keep")
    }
    return policy
  }

  private func report(result: RotationResult, of repository: Repository) -> ExitStatus {
    // The reasons of holds only explain the answer.
    let held = (try? repository.marks.all(.held)) ?? [:]
    common.answer(
      RotationAnswer(for: result, held: held, isDry: expiry.dryRun), isWanted: expiry.dryRun || common.speaks,
      lines: table(Self.rows(of: result, held: held)) + [result.freedSentence(isDry: expiry.dryRun)].compactMap { $0 })
    if result.missingBytes > 0 { Console.complain(result.shortage) }
    if let obstacle = result.plan.obstacle { Console.complain("nothing expires: \(obstacle)") }
    let status = result.complain(of: repository)
    if result.plan.obstacle != nil { return .refused }
    return result.missingBytes > 0 ? .noSpace : status
  }

  private static func rows(of result: RotationResult, held: [SnapshotName: String]) -> [[String]] {
    [["SNAPSHOT", "TAKEN", "", "WHY"]]
      + zip(result.snapshots, result.plan.decisions).map { snapshot, decision in
        [
          snapshot.name.description, snapshot.summary.started.localText,
          decision.expires ? "expires" : "stays",
          decision.reasons.map { $0 == .held ? "held \(held[snapshot.name] ?? "")" : $0.words }
            .joined(separator: ", "),
        ]
      }
  }
}

/// Rotates with the repository locked, removes logs and trash, and records the command in the history.
func rotateLocked(
  _ repository: Repository, with options: RotationOptions, command: String, configuration: ConfigurationFile?,
  report: (RotationResult) -> ExitStatus
) throws -> ExitStatus {
  let start = Clock.now()
  var line = RotationLine(time: start.rfc3339, command: command)
  do {
    let result = try repository.withLock(for: command, at: start) { try rotate(repository, with: options) }
    line.expired = result.expired.map(\.name.description)
    line.freedBytes = result.freed?.bytes
    line.obstacle = result.plan.obstacle
    line.error = result.problems.first?.description ?? result.plan.obstacle
    var status = report(result)
    if let problem = emptyTrashNotingErrors(of: repository, threads: options.threads) {
      if status == .done { status = .warnings }
      line.error = line.error ?? problem.description
    }
    for problem in repository.removeUnneededLogs(by: configuration).problems {
      Console.warn(problem)
      if status == .done { status = .warnings }
      line.error = line.error ?? problem
    }
    line.exitStatus = status.code
    return repository.history.record(line) || status != .done ? status : .warnings
  } catch let failure as Failure {
    line.error = failure.description
    line.exitStatus = ExitStatus(failure.kind).code
    // A lock held by another run is not worth a history line.
    if failure.kind != .locked { repository.history.record(line) }
    throw failure
  }
}

extension RotationResult {
  /// Prints the problems of a rotation or deletion. Returns `warnings` if there are any.
  func complain(of repository: Repository) -> ExitStatus {
    for unusable in unusable { Console.warn("\(unusable.name) is left out: \(unusable.reason)") }
    for problem in problems { Console.warn("\(problem); the next rotation tries again") }
    if let unprotected = plan.unprotectedSentence { Console.warn("\(unprotected)") }
    for unusable in freed?.unreadable ?? [] {
      Console.warn(
        "the space of \(unusable.name) is not counted as freed: \(unusable.reason); see: "
          + repository.advice("verify \(unusable.name)"))
    }
    let isWhole =
      unusable.isEmpty && (freed?.unreadable ?? []).isEmpty && problems.isEmpty && plan.unprotectedSources.isEmpty
    return isWhole ? .done : .warnings
  }

  /// The shortage of space, for a person.
  var shortage: String {
    "\(byteText(missingBytes)) more would have to come free, and would not even without all that may expire, so "
      + "nothing expired for space; make room, or ask for less"
  }
}

extension RetentionPlan {
  /// The warning that newest good snapshots may expire, for a person. `nil` if none may.
  var unprotectedSentence: String? {
    guard let first = unprotectedSources.first else { return nil }
    let others = unprotectedSources.count == 1 ? "" : " and \(unprotectedSources.count - 1) others"
    return "pushes have brought too many sources, so even the newest good snapshot of \(displayName(first))\(others) "
      + "may expire; keep it with: treering hold"
  }
}

/// The document of `rotate --json`.
struct RotationAnswer: Encodable {
  struct Item: Encodable {
    let snapshot, time: String
    let expires: Bool
    let reasons: [String]
    /// The time and reason of the hold.
    let held: String?
  }
  let dryRun: Bool
  let snapshots: [Item]
  let expired: Int
  let obstacle: String?
  let freedBytes: UInt64?
  /// The part of `freedBytes` that comes free when the next snapshot has recycled the spare.
  let spareBytes: UInt64?
  let doubts: [String]
  let missingBytes: UInt64
  let unprotectedSources: Int
}

extension RotationAnswer {
  init(for result: RotationResult, held: [SnapshotName: String], isDry: Bool) {
    let items = zip(result.snapshots, result.plan.decisions).map {
      Item(
        snapshot: $0.name.description, time: $0.summary.started.rfc3339, expires: $1.expires,
        reasons: $1.reasons.map(\.key), held: held[$0.name])
    }
    self.init(
      dryRun: isDry, snapshots: items, expired: result.expired.count, obstacle: result.plan.obstacle,
      freedBytes: result.freed?.bytes, spareBytes: result.freed == nil ? nil : result.spareBytes,
      doubts: result.freed?.doubts.keys ?? [], missingBytes: result.missingBytes,
      unprotectedSources: result.plan.unprotectedSources.count)
  }
}

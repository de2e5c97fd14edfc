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
      wrong. With --expire the named snapshots expire, and no others. Without --keep, --keep-last and --keep-within what was applied last is applied again: at first \
      hourly=24 daily=7 weekly=4 monthly=12 yearly=3. With one of them, a set that is not named keeps none.

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

  @Option(
    help: ArgumentHelp("Expire this one, whatever set it is in, and no other.", valueName: "snapshot"),
    completion: .snapshot)
  var expire: [String] = []

  @Flag(help: "Delete all that expires, and keep none to be made into the next snapshot.")
  var noSpare = false

  @Flag(name: [.customShort("n"), .long], help: "Only show what would be done.")
  var dryRun = false

  @OptionGroup var threads: ThreadOption
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if let keepLast, keepLast < 0 { throw Failure(.usage, "--keep-last takes a number from 0 on") }
    let saysWhatToKeep = !keep.isEmpty || keepLast != nil || keepWithin != nil || minimumFree != nil
    if !expire.isEmpty, saysWhatToKeep {
      throw Failure(
        .usage, "--expire expires the named snapshots and no others, so it goes with no --keep and no --minimum-free",
        hint: "apply a policy with a command of its own")
    }
    CurrentProcess.rememberSignals()
    let repository = try common.openRepository()
    let list = try repository.snapshots()
    // The configuration applies only to its own repository.
    let configured = try common.configuration(of: repository)
    var options = RotationOptions(
      policy: try policy(of: repository, or: configured), minimumFree: minimumFree ?? configured?.settings.minimumFree,
      keepsSpare: !noSpare && configured?.settings.keepSpare ?? true,
      unwanted: Set(try expire.map { try repository.resolve($0, in: list, allowsTimes: false).name }), isDry: dryRun,
      threads: threads.count)
    options.wanted = configured?.sourceSet
    guard !dryRun else {
      return report(result: try rotate(repository, with: options), of: repository, unwanted: options.unwanted)
    }
    let start = Clock.now()
    var line = RotationLine(time: start.rfc3339)
    do {
      let result = try repository.withLock(for: "rotate", at: start) { try rotate(repository, with: options) }
      line.expired = result.expired.map(\.name.description)
      line.obstacle = result.plan.obstacle
      line.error = result.problems.first?.description ?? result.plan.obstacle
      var status = report(result: result, of: repository, unwanted: options.unwanted)
      if let problem = emptyTrashNotingErrors(of: repository, threads: threads.count) {
        if status == .done { status = .warnings }
        line.error = line.error ?? problem.description
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

  private func policy(
    of repository: Repository, or configuration: ConfigurationFile?
  ) throws(Failure) -> RetentionPolicy {
    if keep.isEmpty && keepLast == nil && keepWithin == nil {
      if let configuration { return configuration.settings.retention }
      return try repository.retention.lastPolicy()
    }
    var policy = RetentionPolicy(keep: [:], keepLast: keepLast ?? 0, keepWithinSeconds: keepWithin)
    for item in keep { policy.keep[item.set] = item.count }
    if policy.keepsNothing {
      throw Failure(.usage, "nothing would be kept but the newest snapshot", hint: "name a set to keep")
    }
    return policy
  }

  private func report(result: RotationResult, of repository: Repository, unwanted: Set<SnapshotName>) -> ExitStatus {
    let freed = result.expired.isEmpty ? nil : result.freedBytes
    common.answer(
      RotationAnswer(for: result, isDry: dryRun), isWanted: dryRun || common.speaks,
      lines: table(Self.rows(of: result)) + (freed.map { ["frees \(byteText($0))"] } ?? []))
    for unusable in result.unusable {
      Console.warn("\(unusable.name) is left out of rotation: \(unusable.reason)")
    }
    if result.missingBytes > 0 { Console.complain(result.shortage) }
    for problem in result.problems { Console.warn("\(problem); the next rotation tries again") }
    if let unprotected = result.plan.unprotectedSentence { Console.warn("\(unprotected)") }
    for (name, reason) in result.unreadable {
      Console.warn(
        "what \(name) holds is not counted as freed: \(reason); see: \(repository.advice("verify \(name)"))")
    }
    if let obstacle = result.plan.obstacle { Console.complain("nothing expires: \(obstacle)") }
    for (snapshot, decision) in Self.staying(in: result, unwanted: unwanted) where result.plan.obstacle == nil {
      let why = decision.reasons.filter { $0.isProtection || $0 == .inUse }
      let advice = Self.advice(against: why, for: snapshot.name, in: repository).map { "; \($0)" } ?? ""
      Console.complain(
        "\(snapshot.name) stays, although --expire names it: \(why.map(\.words).joined(separator: ", "))\(advice)")
    }
    return Self.status(of: result, unwanted: unwanted)
  }

  private static func status(of result: RotationResult, unwanted: Set<SnapshotName>) -> ExitStatus {
    if result.plan.obstacle != nil || !staying(in: result, unwanted: unwanted).isEmpty { return .refused }
    let isWhole =
      result.unusable.isEmpty && result.unreadable.isEmpty && result.problems.isEmpty
      && result.plan.unprotectedSources.isEmpty
    return result.missingBytes > 0 ? .noSpace : isWhole ? .done : .warnings
  }

  /// The snapshots that `--expire` names but a protection keeps.
  private static func staying(
    in result: RotationResult, unwanted: Set<SnapshotName>
  ) -> [(Snapshot, RetentionDecision)] {
    zip(result.snapshots, result.plan.decisions).filter { unwanted.contains($0.name) && !$1.expires }
  }

  /// The remedy for a snapshot that `--expire` names but a protection keeps.
  private static func advice(
    against reasons: [RetentionDecision.Reason], for name: SnapshotName, in repository: Repository
  ) -> String? {
    if reasons.contains(.held) { return "let it go first, with: \(repository.advice("release \(name)"))" }
    if reasons.contains(.inUse) { return "try again when that has ended" }
    if reasons.contains(.newest) || reasons.contains(.newestGood) {
      return "take a newer one of the same sources first"
    }
    return nil
  }

  private static func rows(of result: RotationResult) -> [[String]] {
    [["SNAPSHOT", "TAKEN", "", "WHY"]]
      + zip(result.snapshots, result.plan.decisions).map { snapshot, decision in
        [
          snapshot.name.description, snapshot.summary.started.localText,
          decision.expires ? "expires" : "stays",
          decision.reasons.map(\.words).joined(separator: ", "),
        ]
      }
  }
}

extension RotationResult {
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
    let snapshot: String
    let time: String
    let expires: Bool
    let reasons: [String]
  }
  let dryRun: Bool
  let snapshots: [Item]
  let expired: Int
  let obstacle: String?
  let freedBytes: UInt64?
  let missingBytes: UInt64
  let unprotectedSources: Int
}

extension RotationAnswer {
  init(for result: RotationResult, isDry: Bool) {
    let items = zip(result.snapshots, result.plan.decisions).map {
      Item(
        snapshot: $0.name.description, time: $0.summary.started.rfc3339, expires: $1.expires,
        reasons: $1.reasons.map(\.key))
    }
    self.init(
      dryRun: isDry, snapshots: items, expired: result.expired.count, obstacle: result.plan.obstacle,
      freedBytes: result.freedBytes, missingBytes: result.missingBytes,
      unprotectedSources: result.plan.unprotectedSources.count)
  }
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// Collects the facts for an audit. The copies are in `AuditCollection+Copies`. No tree is read, and nothing is connected to unless removal is probed.
struct AuditCollection {
  let repository: Repository
  let file: ConfigurationFile
  let now: Timestamp
  let list: SnapshotList
  let history: [UInt8]
  private let runs: [RecordedRun]
  private let lastRotation: Int64?
  let drills: [DrillAnswer]
  let planRecords: [PlanRecord]
  let state: RepositoryFacts
  let devices = BlockDevices()

  /// Runs every five minutes for 30 days fit.
  private static let historyBytes = 32 << 20

  init(of repository: Repository, configuration file: ConfigurationFile, at now: Timestamp) throws {
    (self.repository, self.file, self.now) = (repository, file, now)
    list = try repository.snapshots()
    history = try repository.history.tail(byteCount: Self.historyBytes)
    let lines = RecordedRun.all(in: history)
    runs = lines.filter { $0.command == "run" }
    lastRotation = lines.last { $0.expired?.isEmpty == false }.flatMap { Moment.seconds(of: $0.time) }
    drills = DrillAnswer.all(in: history)
    planRecords = PlanRecord.all(in: history)
    state = try RepositoryFacts(of: repository, configuration: file, sources: [], at: now)
  }

  /// `removals` has the answers of the remotes to the probes, if they were made.
  func facts(removals: [String: AuditFacts.Removal]? = nil) throws -> AuditFacts {
    var facts = AuditFacts(of: displayName(repository.path), at: now.seconds)
    facts.location = file.settings.audit.location
    facts.verifyWithin = file.settings.audit.verifyWithinSeconds
    facts.subjects = subjects(days: facts.days)
    facts.copies = copies.map { copy in
      var copy = copy
      if copy.kind == .remote { copy.removal = removals?[copy.name] }
      return copy
    }
    facts.rehearsals = file.settings.drills.map(rehearsal)
    let names = Set(file.settings.drills.map(\.name))
    facts.lastDrill = drills.last { !names.contains($0.name) }.flatMap(AuditFacts.Drill.init)
    facts.jobs = InstalledJobs.all(of: file.path)
    facts.lastRun = runs.last.flatMap(AuditFacts.Run.init)
    // A run that had no snapshot to take, and went well, sends no notice.
    let telling = runs.last { $0.result != "not_due" || $0.exitStatus != ExitStatus.done.code }
    facts.lastRun?.noticed = telling?.noticed
    let settings = file.settings
    facts.notifies =
      settings.healthchecks != nil || settings.webhook != nil || settings.notifyCommand != nil || settings.mail != nil
    let rotation = try repository.retention.plan(for: list, by: settings.retention, now: now)
    facts.rotationObstacle = rotation.obstacle
    facts.overdue = rotation.decisions.count(where: \.expires)
    facts.lastExpiry = lastRotation
    facts.oldest = list.snapshots.first?.summary.started.seconds
    facts.fullAt = fullAt
    facts.unpushedLogs = settings.databasesWithoutPushedLogs.map(\.name)
    facts.blindSpots = blindSpots(readsCatalog: true)
    facts.excluded = runs.last { $0.snapshot != nil }?.snapshot?.exclusion
    facts.excludedLimit = settings.audit.excludedLimit
    if file.planDirectory != nil { facts.plan = try plan() }
    facts.notMeasured = [
      AuditFacts.NotMeasured(
        fact: "the bytes that exclusions leave out, and the entries of directories that they leave out",
        remedy: "du(1) of the paths in: exclude of each [[source]]")
    ]
    if removals == nil {
      facts.notMeasured.append(
        AuditFacts.NotMeasured(
          fact: "whether a stolen key could delete the copies", remedy: "treering audit --probe\(option)"))
    }
    return facts
  }

  /// The objective is compared with so many drills.
  private static let comparedDrills = 3

  private func rehearsal(of drill: DrillConfiguration) -> AuditFacts.Rehearsal {
    let past = drills.filter { $0.name == drill.name }
    return AuditFacts.Rehearsal(
      name: drill.name, last: past.last.flatMap(AuditFacts.Drill.init),
      recoverySeconds: past.compactMap(\.totalSeconds).suffix(Self.comparedDrills), rto: drill.rtoSeconds,
      every: drill.everySeconds)
  }

  private func plan() throws -> AuditFacts.Plan {
    let facts = try planFacts()
    return AuditFacts.Plan(
      digest: PlanDocument(of: facts).digest, printed: facts.printed, tested: facts.tested,
      encrypted: facts.copies.filter { $0.kind == .encrypted }.map(\.name), statesKeys: !facts.plan.keys.isEmpty)
  }

  func blindSpots(readsCatalog: Bool) -> [AuditFacts.BlindSpot] {
    BlindSpotSearch(file: file, repository: repository, list: list).all(readsCatalog: readsCatalog) + unreadable
  }

  // MARK: Objectives

  private func subjects(days: Int64) -> [AuditFacts.Subject] {
    let goodRuns = runs.filter { $0.snapshot?.outcome == "complete" }
    let sources = ExpectedSource.all(in: file, or: list).compactMap { source -> AuditFacts.Subject? in
      var subject = AuditFacts.Subject(.source, named: source.title)
      subject.rpo = source.maximumAge(said: nil)
      let kept = list.snapshots.filter {
        $0.summary.outcome == .complete && state.damaged[$0.name] == nil && source.isIn($0.summary)
      }
      let expired = goodRuns.filter { $0.snapshot?.sources?.contains(subject.name) == true }
      subject.measure(
        kept.map(\.summary.started.seconds) + expired.compactMap(\.snapshotSeconds), at: now.seconds, days: days)
      // A source that may be absent has no objective unless it states one.
      return source.isOptional && source.rpoSeconds == nil ? nil : subject
    }
    let databases = file.databases.map { database in
      var subject = AuditFacts.Subject(.database, named: displayName(database.name))
      subject.rpo = database.rpoSeconds
      let kept = list.snapshots.flatMap(\.summary.databases).filter { $0.name == database.name && !$0.isLeftOut }
      let expired = runs.compactMap { $0.snapshot }.flatMap { $0.databases ?? [] }
        .filter { $0.name == subject.name && $0.dumped }
      subject.measure(
        kept.map(\.began.seconds) + expired.compactMap { Moment.seconds(of: $0.began) }, at: now.seconds, days: days)
      return subject
    }
    return sources + databases
  }

  var bytesCopiedPerDay: UInt64 {
    RepositoryState(from: state, expecting: .init(sources: []), at: now).bytesCopiedPerDay
  }

  private var fullAt: Int64? {
    state.bytesTotal == 0
      ? nil
      : RepositoryState.fullAt(bytesFree: state.bytesFree, bytesPerDay: bytesCopiedPerDay, now: now.seconds)
  }

  /// The files that none of the last runs could read.
  private var unreadable: [AuditFacts.BlindSpot] {
    let count = file.settings.audit.unreadableRuns
    let named = runs.suffix(64).compactMap(\.snapshot).suffix(count).map { snapshot in
      Set((snapshot.warningsNamed ?? []).filter { $0.message.contains("cannot be read") }.map(\.path))
    }
    guard named.count == count, let first = named.first else { return [] }
    let always = named.dropFirst().reduce(first) { $0.intersection($1) }
    return always.sorted().map { AuditFacts.BlindSpot(.unreadable(runs: count), at: $0) }
  }
}

extension AuditFacts.Subject {
  /// Finds the longest time without a good copy in the last days, from the times of the good copies.
  mutating func measure(_ times: [Int64], at now: Int64, days: Int64) {
    let times = Set(times).sorted()
    newest = times.last
    let begin = now - days * 86_400
    measuredSince = times.first.flatMap { $0 > begin ? $0 : nil }
    for (time, next) in zip(times, times.dropFirst() + [now]) where next > begin && next - time > worstGap ?? -1 {
      worstGap = next - time
      worstGapEnd = next
    }
  }
}

extension AuditFacts.Drill {
  fileprivate init?(_ drill: DrillAnswer) {
    guard let seconds = Moment.seconds(of: drill.time) else { return nil }
    self.init(time: seconds, hasFailed: drill.result == .failed, elapsedSeconds: drill.elapsedSeconds)
  }
}

extension AuditFacts.Run {
  fileprivate init?(_ run: RecordedRun) {
    guard let seconds = Moment.seconds(of: run.time) else { return nil }
    self.init(time: seconds, starter: run.startedBy.flatMap(RunStarter.init), noticed: run.noticed)
  }
}

internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// Collects the facts for an audit. No tree is read, and nothing is connected to unless removal is probed.
struct AuditCollection {
  let repository: Repository
  let file: ConfigurationFile
  let now: Timestamp
  let list: SnapshotList
  let history: [UInt8]
  private let runs: [RecordedRun]
  let drills: [DrillAnswer]
  let planRecords: [PlanRecord]
  let state: RepositoryFacts
  private let devices = BlockDevices()

  /// Runs every five minutes for 30 days fit.
  private static let historyBytes = 32 << 20

  init(of repository: Repository, configuration file: ConfigurationFile, at now: Timestamp) throws {
    (self.repository, self.file, self.now) = (repository, file, now)
    list = try repository.snapshots()
    history = try repository.history.tail(byteCount: Self.historyBytes)
    runs = RecordedRun.all(in: history)
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
    facts.jobs = InstalledJobs.all()
    facts.lastRun = runs.last.flatMap(AuditFacts.Run.init)
    let settings = file.settings
    facts.notifies =
      settings.healthchecks != nil || settings.webhook != nil || settings.notifyCommand != nil || settings.mail != nil
    facts.rotationObstacle = state.plan.obstacle
    facts.oldest = list.snapshots.first?.summary.started.seconds
    facts.fullAt = fullAt
    facts.blindSpots = blindSpots
    if file.planDirectory != nil { facts.plan = try plan() }
    facts.notMeasured = ["the share of each source that the exclusions leave out"]
    if removals == nil { facts.notMeasured.append("whether a stolen key could delete the copies; see --probe") }
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

  var blindSpots: [AuditFacts.BlindSpot] {
    BlindSpotSearch(file: file, repository: repository, list: list).all() + unreadable
  }

  // MARK: Copies

  var copies: [AuditFacts.Copy] {
    [original, own] + file.settings.remotes.map(copy) + file.settings.syncs.map(Self.copy)
  }

  private var original: AuditFacts.Copy {
    var copy = AuditFacts.Copy(.original, named: "this machine")
    for source in file.sources { copy.disks.formUnion(devices.disks(below: Array(source.path.utf8))) }
    return copy
  }

  var own: AuditFacts.Copy {
    var copy = AuditFacts.Copy(.repository, named: displayName(repository.path))
    copy.disks = devices.disks(below: repository.path)
    copy.location = file.settings.audit.location
    copy.newest = list.newest?.summary.started.seconds
    copy.rpo = file.settings.rpoSeconds
    copy.lacks = list.newest.map { lacks(of: $0.summary) } ?? []
    copy.take(state.verifiedParts)
    // A verification before the first snapshot verified nothing.
    if let verified = copy.verified, let oldest = list.snapshots.first, verified < oldest.summary.started.seconds {
      copy.verified = nil
    }
    copy.damaged = list.damaged.count + list.snapshots.count { state.damaged[$0.name] != nil }
    copy.refresh = "treering run --now\(option)"
    copy.verify = repository.advice("verify")
    return copy
  }

  func copy(at remote: RemoteConfiguration) -> AuditFacts.Copy {
    var copy = AuditFacts.Copy(.remote, named: remote.name)
    let expected = ExpectedRemote(remote, in: repository, history: state.history)
    copy.location = remote.location
    copy.newest = expected.arrival?.snapshot.seconds
    copy.seen = expected.arrival?.seconds
    copy.rpo = remote.rpoSeconds
    copy.absence = expected.absence
    copy.refresh = "treering push \(remote.name)\(option)"
    copy.verify = "treering verify -r \(remote.name)\(option)"
    let arrived = list.snapshots.last { $0.name == expected.arrival?.snapshot }
    copy.lacks = arrived.map { lacks(of: $0.summary) } ?? []
    switch remote.address {
    case .local(let path):
      copy.disks = devices.disks(below: path)
      // A repository that is here has its own record.
      if let other = try? Repository.open(path) {
        copy.take((try? other.verifiedParts.all()) ?? [])
        copy.damaged = ((try? other.marks.all(.damaged)) ?? [:]).count
      }
    case .restic(let path): copy.disks = devices.disks(below: path)
    case .storage(.s3(_, let host, _, _)): copy.host = host
    case .storage(.rest(let url)): copy.host = String(url.split(separator: "/").dropFirst().first ?? "")
    case .ssh(_, let host, _, _), .storage(.sftp(_, let host, _, _)):
      copy.host = displayName(host)
      if Self.isThisMachine(host) { copy.host = nil }
    }
    let parts = repository.pushMemory.verifiedParts(at: remote.address.resolved.recorded)
    copy.take((try? parts?.all()) ?? [])
    return copy
  }

  private static func copy(by sync: Configuration.Sync) -> AuditFacts.Copy {
    var copy = AuditFacts.Copy(.sync, named: sync.name)
    copy.location = sync.location
    return copy
  }

  /// Other names of this machine cannot be told from those of other machines without asking the network.
  private static func isThisMachine(_ host: [UInt8]) -> Bool {
    ["localhost", "127.0.0.1", "::1", displayName(CurrentProcess.hostName())].contains(displayName(host))
  }

  /// The configured sources and databases that a snapshot does not have.
  private func lacks(of summary: CatalogSummary) -> [String] {
    let sources = ExpectedSource.all(in: file, or: list).filter { !$0.isOptional && !$0.isIn(summary) }
    let databases = file.databases.filter { expected in
      !summary.databases.contains { $0.name == expected.name && !$0.isLeftOut }
    }
    return sources.map(\.title) + databases.map { "the database \(displayName($0.name))" }
  }

  private var option: String { file.path == ConfigurationFile.defaultPath ? "" : " -c \(displayName(file.path))" }

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

extension AuditFacts.Copy {
  /// Takes the later times of a record of verifications.
  fileprivate mutating func take(_ parts: [VerifiedPart]) {
    verified = [verified, parts.verifiedSince].compactMap(\.self).max()
    partVerified = [partVerified, parts.last?.seconds].compactMap(\.self).max()
  }
}

extension AuditFacts.Subject {
  /// Finds the longest time without a good copy in the last days, from the times of the good copies.
  mutating func measure(_ times: [Int64], at now: Int64, days: Int64) {
    let times = Set(times).sorted()
    newest = times.last
    let begin = now - days * 86_400
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
    let notices = ["healthchecks", "healthchecks start", "webhook", MailMessage.step]
    let hasFailed = (run.steps ?? []).contains {
      (notices.contains($0.step) || $0.step.hasPrefix("notify ")) && $0.outcome == "failed"
    }
    self.init(time: seconds, starter: run.startedBy.flatMap(RunStarter.init), noticed: !hasFailed)
  }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// The state of a repository, a pure function of the facts: the answer to "is all well?".
struct RepositoryState: Encodable {
  struct Source: Encodable {
    let source: String
    /// The newest snapshot without warnings that has the source.
    let newestGood: String?
    let time: String?
    let ageSeconds: Int64?
    /// `well`, `late`, `never`, `absent` or `future`.
    let state: String
  }

  var exitStatus: ExitStatus { isWell ? .done : damagedSnapshots.isEmpty ? .warnings : .damaged }

  struct Remote: Encodable {
    let remote: String
    /// The newest snapshot that it is known to have, and the age of this snapshot.
    let snapshot: String?
    let ageSeconds: Int64?
    /// The time of the last push that went well.
    let arrived: String?
    let onSameDisk: Bool
    /// `well`, `late`, `never`, `absent` or `failed`.
    let state: String
    /// The last push, whether it went well or not.
    let lastPush: PastRuns.Push?
  }

  struct Database: Encodable {
    let database, kind: String
    /// The newest snapshot with a dump, and the time at which this dump began.
    let newestGood: String?
    let time: String?
    let ageSeconds: Int64?
    /// See `DatabaseAnswer`.
    let point: String?
    /// See `DatabaseAnswer`.
    let shortcomings: String?
    /// The newest archived log, and the time at which it was stored.
    let newestLog: String?
    let newestLogTime: String?
    let newestLogAgeSeconds: Int64?
    /// The logs that the archive lacks, between the oldest base backup and the newest log.
    let missingLogs: [DatabaseLogs.State.Gap]
    /// `well`, `late`, `failed`, `incomplete`, `never`, `gap` or `future`.
    let state: String
  }

  struct Part: Encodable {
    let part, time: String
  }

  let repository: String
  /// True if the operator has nothing to do.
  let isWell: Bool
  /// The problems, one sentence each.
  let findings: [String]
  /// Sentences about weaknesses that do not make the state bad.
  let notes: [String]
  /// The work of the next run, such as `snapshot`, `push nas` and `verify 3/30`. `nil` without a configuration.
  let due: [String]?
  /// The time at which a snapshot is due, if none is now.
  let nextSnapshot: String?
  let sources: [Source]
  let databases: [Database]
  let snapshots: Int
  /// The number of members of each set.
  let sets: [String: Int]
  let held: [String]
  /// The reason that nothing expires, with its start if rotation is held.
  let rotationHeld: String?
  let damagedSnapshots: [String]
  let bytesFree, bytesTotal: UInt64
  /// The recent daily average of bytes that snapshots copied.
  let bytesCopiedPerDay: UInt64
  let lastVerified: String?
  /// The time and extent of the last verification that the history has.
  let lastVerification: PastRuns.Verification?
  let lastAudit: PastRuns.Audit?
  let lastDrill: PastRuns.Drill?
  let drills: [Drill]
  /// The last verification of each part.
  let verifiedParts: [Part]
  /// Everything was verified at this time or later.
  let verifiedSince: String?
  let remotes: [Remote]
  let sourcesOnSameDisk: [String]
  /// The last runs, newest last.
  let runs: [PastRuns.Run]

  /// The expectations that the facts are compared with.
  struct Expectations {
    var sources: [ExpectedSource]
    /// False if the sources are those of the snapshots.
    var isConfigured = false
    var databases: [ExpectedDatabase] = []
    var remotes: [ExpectedRemote] = []
    var verification: Configuration.Verification?
    var drills: [DrillConfiguration] = []
    /// See `RepositoryState.due`.
    var due: [String]?
    var nextSnapshot: Timestamp?
    /// The maximum age of a newest good snapshot, in place of the configuration's RPO.
    var maximumAgeSeconds: Int64?
  }

  init(from facts: RepositoryFacts, expecting expectations: Expectations, at now: Timestamp) {
    let judge = Judge(facts: facts, expectations: expectations, now: now)
    repository = displayName(facts.path)
    let judged = expectations.sources.map(judge.judge)
    sources = judged.map(\.source)
    let judgedDatabases = expectations.databases.map(DatabaseJudge(facts: facts, now: now).judge)
    databases = judgedDatabases.map(\.database)
    let judgedRemotes = expectations.remotes.map(judge.judge)
    remotes = judgedRemotes.map(\.remote)
    let verification = judge.verification
    let judgedDrills = expectations.drills.map(DrillJudge(facts: facts, now: now).judge)
    drills = judgedDrills.map(\.drill)
    findings =
      judged.compactMap(\.finding) + judgedDatabases.compactMap(\.finding) + judge.snapshotFindings
      + judgedRemotes.compactMap(\.finding) + expectations.remotes.compactMap(judge.keyReminder)
      + verification.findings + judgedDrills.compactMap(\.finding) + judge.runFindings
    notes = judgedDatabases.compactMap(\.note) + verification.notes + judge.diskNotes
    due = expectations.due
    nextSnapshot = expectations.nextSnapshot?.rfc3339
    isWell = findings.isEmpty
    snapshots = facts.list.snapshots.count
    sets = Dictionary(uniqueKeysWithValues: facts.memberCounts.map { ($0.key.rawValue, $0.value) })
    held = facts.held.map(\.description).sorted()
    rotationHeld = facts.plan.obstacle
    damagedSnapshots = (facts.list.damaged.map(\.name) + judge.verifiedDamage.keys).map(\.description).sorted()
    bytesFree = facts.bytesFree
    bytesTotal = facts.bytesTotal
    bytesCopiedPerDay = judge.bytesCopiedPerDay
    lastVerified = judge.lastVerified.map { Timestamp(seconds: $0, nanoseconds: 0).rfc3339 }
    lastVerification = facts.history.lastVerification
    lastAudit = facts.history.lastAudit
    lastDrill = facts.history.lastDrill
    verifiedParts = facts.verifiedParts.map {
      Part(part: $0.part.description, time: Timestamp(seconds: $0.seconds, nanoseconds: 0).rfc3339)
    }
    verifiedSince = judge.verifiedSince.map { Timestamp(seconds: $0, nanoseconds: 0).rfc3339 }
    sourcesOnSameDisk = facts.sourcesOnSameDisk.map { displayName($0) }
    runs = facts.history.runs.suffix(10)
  }
}

/// Compares the facts about a repository with the expectations.
private struct Judge {
  let facts: RepositoryFacts
  let expectations: RepositoryState.Expectations
  let now: Timestamp

  /// The damage that verifications found in snapshots that still exist.
  var verifiedDamage: [SnapshotName: String] {
    let present = Set(facts.list.snapshots.map(\.name))
    return facts.damaged.filter { present.contains($0.key) }
  }

  /// The state of a source, and the problem if it has one.
  func judge(_ source: ExpectedSource) -> (source: RepositoryState.Source, finding: String?) {
    let hasLabels = source.isOnHost || Set(expectations.sources.map(\.label)).count > 1
    let shown = (hasLabels ? "\(displayName(source.label)):" : "") + displayName(source.path)
    let good = source.newestGood(in: facts.list, damaged: facts.damaged)
    let age = good.map { now.seconds - $0.summary.started.seconds }
    var state = "well"
    var finding: String?
    if let age, let good {
      if age < 0 {
        state = "future"
        finding = "the newest good snapshot of \(shown), \(good.name), is from the future: the clock was or is wrong"
      } else if let most = source.maximumAge(said: expectations.maximumAgeSeconds), age > most {
        state = "late"
        let remedy =
          expectations.isConfigured
          ? "" : "; if it is backed up no longer: \(facts.advice("delete \(good.name)"))"
        finding =
          "the newest good snapshot of \(shown) is \(durationText(Double(age))) old, and should be at most "
          + durationText(Double(most)) + remedy
      } else if source.isAbsent(in: facts.list) {
        state = "absent"
      }
    } else if source.isOptional && source.rpoSeconds == nil {
      state = "absent"
    } else {
      state = "never"
      finding = "there is no good snapshot of \(shown)"
    }
    let answer = RepositoryState.Source(
      source: shown, newestGood: good?.name.description, time: good?.summary.started.rfc3339, ageSeconds: age,
      state: state)
    return (answer, finding)
  }

  var snapshotFindings: [String] {
    var findings: [String] = []
    if facts.list.snapshots.isEmpty { findings.append("there is no snapshot yet") }
    if let obstacle = facts.plan.obstacle { findings.append("nothing expires: \(obstacle)") }
    if let unprotected = facts.plan.unprotectedSentence { findings.append(unprotected) }
    findings += facts.list.unusable.map(\.sentence)
    if let damage = damageFinding { findings.append(damage) }
    if let drill = facts.history.lastDrill, drill.result == "failed",
      !expectations.drills.contains(where: { $0.name == drill.name })
    {
      findings.append("the last drill, at \(drill.time), failed; see: \(facts.advice("drill show"))")
    }
    return findings
  }

  /// One finding for all snapshots that a verification found damaged; `nil` if there are none.
  private var damageFinding: String? {
    let damaged = verifiedDamage.sorted { $0.key.description < $1.key.description }
    guard !damaged.isEmpty else { return nil }
    let names = damaged.map(\.key)
    let shown = damaged.prefix(3).map { "\($0.key)\(damaged.count == 1 ? " is damaged" : ""), found \($0.value)" }
    let more = damaged.count > shown.count ? ["\(damaged.count - shown.count) more"] : []
    return (damaged.count == 1 ? "the snapshot " : "\(damaged.count) snapshots are damaged: ")
      + (shown + more).joined(separator: "; ") + "; see: \(facts.advice("verify\(Arrivals.words(for: names))")); "
      + facts.arrivals.remedy(forDamageIn: names, repository: facts.path)
  }

  /// The state of a remote, and the problem if it has one.
  func judge(_ expected: ExpectedRemote) -> (remote: RepositoryState.Remote, finding: String?) {
    let name = expected.name
    let age = expected.arrival.map { now.seconds - $0.snapshot.seconds }
    var state = "well"
    var finding: String?
    if let absence = expected.absence, !expected.isAbsenceExcused(at: now) {
      state = "absent"
      finding = "the remote \(name) is absent: \(absence)"
      if let age, let lateness = lateness(of: expected, age: age) {
        finding = "the remote \(name) is absent: \(absence); its newest snapshot is \(lateness)"
      }
    } else if expected.absence != nil {
      state = "absent"
      if expected.arrival == nil { finding = "nothing was pushed to \(name) yet" }
    } else if let push = expected.lastPush, push.hasFailed {
      state = "failed"
      finding = "the last push to \(name), at \(push.time), failed\(push.error.map { ": \($0)" } ?? "")"
    } else if expected.arrival == nil {
      state = "never"
      finding = "nothing was pushed to \(name) yet"
    } else if let age, let lateness = lateness(of: expected, age: age) {
      state = "late"
      finding = "the newest snapshot at \(name) is \(lateness)"
    }
    let remote = RepositoryState.Remote(
      remote: name, snapshot: expected.arrival?.snapshot.description, ageSeconds: age,
      arrived: expected.arrival.map { Timestamp(seconds: $0.seconds, nanoseconds: 0).rfc3339 },
      onSameDisk: expected.isOnSameDisk, state: state, lastPush: expected.lastPush)
    return (remote, finding)
  }

  /// The sentence that a password should be proved; `nil` if that is not due.
  func keyReminder(_ expected: ExpectedRemote) -> String? {
    guard let limit = expected.keyTestSeconds else { return nil }
    let advice = "prove it with: treering key test -r \(expected.name)"
    guard let last = expected.lastKeyTest
    else { return "the password of \(expected.name) that is kept elsewhere was never proved; \(advice)" }
    let age = now.seconds - last.seconds
    guard age > limit else { return nil }
    return "the password of \(expected.name) that is kept elsewhere was proved \(durationText(Double(age))) ago; "
      + advice
  }

  /// The end of a sentence about the newest snapshot of a remote; `nil` if its RPO has not passed.
  private func lateness(of remote: ExpectedRemote, age: Int64) -> String? {
    guard remote.isLate(at: now), let most = remote.rpoSeconds else { return nil }
    return "\(durationText(Double(age))) old, and should be at most \(durationText(Double(most)))"
  }

  var verifiedSince: Int64? { facts.verifiedParts.verifiedSince }

  /// The time of the last verification. The record of parts outlives the lines of the history.
  var lastVerified: Int64? {
    [facts.verifiedParts.last?.seconds, facts.history.lastVerification.flatMap { Moment.seconds(of: $0.time) }]
      .compactMap(\.self).max()
  }

  /// Verifications that are missing: problems if the configuration asks for them, notes otherwise.
  var verification: (findings: [String], notes: [String]) {
    guard let oldest = facts.list.snapshots.first?.summary.started.seconds else { return ([], []) }
    let settings = expectations.verification
    // A period has a part each. A machine that is off at night may be late by less than a period.
    let limit = settings.map { 2 * $0.everySeconds }
    guard let last = lastVerified else {
      guard let settings, let limit, now.seconds - oldest > limit
      else { return ([], ["nothing was verified yet; verify all with: \(facts.advice("verify"))"]) }
      return (["nothing was verified yet, and a part should be every \(periodText(settings.everySeconds))"], [])
    }
    if let settings, let limit, now.seconds - last > limit {
      let age = durationText(Double(now.seconds - last))
      return (["the last verification was \(age) ago, and should be every \(periodText(settings.everySeconds))"], [])
    }
    let cycle = settings.map { 2 * $0.everySeconds * Int64($0.parts) } ?? 90 * 86_400
    guard now.seconds - oldest > cycle, verifiedSince.map({ now.seconds - $0 > cycle }) ?? true else { return ([], []) }
    return ([], ["not everything was verified within the last \(periodText(cycle))"])
  }

  private func periodText(_ seconds: Int64) -> String {
    seconds == 86_400
      ? "day" : seconds % 86_400 == 0 ? counted(seconds / 86_400, "day") : durationText(Double(seconds))
  }

  /// One disk with source and repository loses both, unless a remote on another disk has them.
  var diskNotes: [String] {
    expectations.remotes.filter(\.isOnSameDisk).map {
      "the remote \($0.name) is on the same disk as the repository: not a second medium"
    } + sourceDiskNotes
  }

  private var sourceDiskNotes: [String] {
    let sources = facts.sourcesOnSameDisk.map { displayName($0) }
    guard !sources.isEmpty, !expectations.remotes.contains(where: { $0.arrival != nil && !$0.isOnSameDisk })
    else { return [] }
    let shown = sources.count > 3 ? "\(sources[0]) and \(sources.count - 1) more" : sources.joined(separator: ", ")
    return [
      "the repository is on the same disk as \(shown), and no remote elsewhere has a copy: this disk's end loses both"
    ]
  }

  /// A later rotation or received push does not clear the failure of another run.
  var runFindings: [String] {
    let runs = facts.history.runs
    let rotation = runs.last.flatMap { $0.command == "rotate" ? $0 : nil }
    let last = [runs.last { !["rotate", "receive"].contains($0.command) }, rotation].compactMap { $0 }
    // A push that failed is reported once, by its remote.
    let pushes = Set(expectations.remotes.filter { judge($0).finding != nil }.compactMap(\.lastPush?.error))
    return last.filter { $0.exitStatus != 0 && !pushes.contains($0.error ?? "") }.map { run in
      let why = run.error.map { ": \($0)" } ?? ""
      return "the last \(run.command), at \(run.time), ended with status \(run.exitStatus)\(why)"
    }
  }

  /// The daily mean over the last seven days, or over the repository's age if that is less.
  ///
  /// The span is at least one day. Expired snapshots count. The first snapshot does not count, because it copied
  /// everything.
  var bytesCopiedPerDay: UInt64 {
    var copied = facts.history.bytesCopied
    for snapshot in facts.list.snapshots { copied[snapshot.name] = snapshot.summary.bytesCopied }
    guard let first = copied.keys.min(by: { $0.seconds < $1.seconds }) else { return 0 }
    let day: Int64 = 86_400
    let span = min(7 * day, max(day, now.seconds - first.seconds))
    let bytes = copied.filter { $0.key != first && now.seconds - $0.key.seconds < span }.reduce(0) { $0 &+ $1.value }
    return UInt64(min(Double(bytes) / Double(span) * Double(day), 0x1p62))
  }
}

extension RepositoryState {
  /// The time at which the disk is full at this growth; `nil` without growth, or if that is over ten years away.
  static func fullAt(bytesFree: UInt64, bytesPerDay: UInt64, now: Int64) -> Int64? {
    guard bytesPerDay > 0, bytesFree / bytesPerDay <= 3650 else { return nil }
    return now + Int64(bytesFree / bytesPerDay) * 86_400
  }

  /// Collects the facts. The configuration names the expected sources; without one, all known sources are expected.
  init(
    of repository: Repository, configuration file: ConfigurationFile?, maximumAgeSeconds: Int64? = nil,
    at now: Timestamp
  ) throws {
    let list = try repository.snapshots()
    let sources = ExpectedSource.all(in: file, or: list)
    let facts = try RepositoryFacts(
      of: repository, configuration: file, sources: sources.filter { !$0.isOnHost }.map(\.path), at: now)
    let remotes = ExpectedRemote.all(in: file, of: repository, history: facts.history)
    var expectations = Expectations(
      sources: sources, isConfigured: file != nil, databases: ExpectedDatabase.all(in: file, or: list),
      remotes: remotes, verification: file?.settings.verification, drills: file?.settings.drills ?? [],
      maximumAgeSeconds: maximumAgeSeconds)
    if let work = try file?.dueWork(in: repository, among: list, at: now) {
      (expectations.due, expectations.nextSnapshot) = (work.steps, work.nextSnapshot)
    }
    self.init(from: facts, expecting: expectations, at: now)
  }
}

extension ConfigurationFile {
  /// The work of the next run, and the time of the next snapshot if none is due; see `RepositoryState.due`.
  ///
  /// A new snapshot is due at each remote, unless the remote takes only the members of a set.
  func dueWork(
    in repository: Repository, among list: SnapshotList, at now: Timestamp, evenIfNotDue: Bool = false
  ) throws(Failure) -> (steps: [String], nextSnapshot: Timestamp?) {
    var due: [String] = []
    var next: Timestamp?
    if !sources.isEmpty || !databases.isEmpty {
      var options = try snapshotOptions()
      options.excusedSources = try excusedSources(in: repository, among: list, at: now)
      var isDue = evenIfNotDue
      if !isDue { isDue = try isSnapshotDue(for: options, after: list, at: now) }
      if isDue { due.append("snapshot") } else { next = try nextSnapshot(for: options, at: now) }
    }
    let isSnapshotDue = !due.isEmpty
    for remote in settings.remotes {
      let snapshot = try repository.duePush(
        to: remote.address.resolved.recorded, set: remote.set, of: sourceSet, in: list)
      if snapshot != nil || isSnapshotDue && remote.set == nil { due.append("push \(remote.name)") }
    }
    let verified = try repository.verifiedParts.all()
    if let part = settings.verification?.duePart(after: verified, at: now), !list.snapshots.isEmpty || !due.isEmpty {
      due.append("verify \(part)")
    }
    due += try dueDrills(in: repository, at: now).map { "drill \($0.name)" }
    return (due, next)
  }
}

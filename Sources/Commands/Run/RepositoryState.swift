internal import Catalog
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

  /// True if a snapshot is known to be damaged.
  var isDamaged: Bool { !damagedSnapshots.isEmpty }

  let repository: String
  /// True if the operator has nothing to do.
  let isWell: Bool
  /// The problems, one sentence each.
  let findings: [String]
  let sources: [Source]
  let snapshots: Int
  /// The number of members of each set.
  let sets: [String: Int]
  let held: [String]
  /// The reason that nothing expires, with its start if rotation is held.
  let rotationHeld: String?
  let damagedSnapshots: [String]
  let bytesFree: UInt64
  let bytesTotal: UInt64
  /// The recent daily average of bytes that snapshots copied.
  let bytesCopiedPerDay: UInt64
  /// The time and extent of the last verification.
  let lastVerification: PastRuns.Verification?
  /// The last push to each remote that has had a push.
  let pushes: [PastRuns.Push]
  /// The last runs, newest last.
  let runs: [PastRuns.Run]

  /// The expectations that the facts are compared with.
  struct Expectations {
    var sources: [ExpectedSource]
    /// False if the sources are those of the snapshots.
    var isConfigured = false
    /// The names of the configured remotes; `nil` if all that have had a push are expected.
    var remotes: [String]?
    /// The maximum age of a newest good snapshot, in place of the configuration's RPO.
    var maximumAgeSeconds: Int64?
  }

  init(from facts: RepositoryFacts, expecting expectations: Expectations, at now: Timestamp) {
    let judge = Judge(facts: facts, expectations: expectations, now: now)
    let pushes = judge.pushes
    repository = displayName(facts.path)
    let judged = expectations.sources.map(judge.judge)
    sources = judged.map(\.source)
    findings =
      judged.compactMap(\.finding) + judge.snapshotFindings + judge.pushFindings(of: pushes) + judge.runFindings
    isWell = findings.isEmpty
    snapshots = facts.list.snapshots.count
    sets = Dictionary(uniqueKeysWithValues: facts.memberCounts.map { ($0.key.rawValue, $0.value) })
    held = facts.held.map(\.description).sorted()
    rotationHeld = facts.plan.obstacle
    damagedSnapshots = (facts.list.damaged.map(\.name) + judge.verifiedDamage.keys).map(\.description).sorted()
    bytesFree = facts.bytesFree
    bytesTotal = facts.bytesTotal
    bytesCopiedPerDay = judge.bytesCopiedPerDay
    lastVerification = facts.history.lastVerification
    self.pushes = pushes
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
    let hasLabels = Set(expectations.sources.map(\.label)).count > 1
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
          ? "" : "; if it is backed up no longer: \(facts.advice("rotate --expire \(good.name)"))"
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
    for (name, reason) in verifiedDamage.sorted(by: { $0.key.description < $1.key.description }) {
      findings.append("the snapshot \(name) is damaged, found \(reason); see: \(facts.advice("verify \(name)"))")
    }
    return findings
  }

  /// The last push to each expected remote.
  var pushes: [PastRuns.Push] {
    facts.history.pushes.filter {
      expectations.remotes?.contains($0.result.remote) ?? !facts.history.mistypedRemotes.contains($0.result.remote)
    }
  }

  func pushFindings(of pushes: [PastRuns.Push]) -> [String] {
    let missing = (expectations.remotes ?? []).filter { name in !pushes.contains { $0.result.remote == name } }
    return missing.map { "nothing was pushed to \($0) yet" }
      + pushes.filter(\.hasFailed).map { push in
        "the last push to \(push.result.remote), at \(push.time), failed\(push.error.map { ": \($0)" } ?? "")"
      }
  }

  /// A later rotation or received push does not clear the failure of another run.
  var runFindings: [String] {
    let runs = facts.history.runs
    let rotation = runs.last.flatMap { $0.command == "rotate" ? $0 : nil }
    let last = [runs.last { !["rotate", "receive"].contains($0.command) }, rotation].compactMap { $0 }
    return last.filter { $0.exitStatus != 0 }.map { run in
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
    return UInt64(Double(bytes) / Double(span) * Double(day))
  }
}

extension RepositoryState {
  /// Collects the facts. The configuration names the expected sources; without one, all known sources are expected.
  init(
    of repository: Repository, configuration: ConfigurationFile?, remotes: [String]? = nil,
    maximumAgeSeconds: Int64? = nil, at now: Timestamp
  ) throws {
    let facts = try RepositoryFacts(of: repository, at: now)
    let expectations = Expectations(
      sources: ExpectedSource.all(in: configuration, or: facts.list), isConfigured: configuration != nil,
      remotes: remotes, maximumAgeSeconds: maximumAgeSeconds)
    self.init(from: facts, expecting: expectations, at: now)
  }
}

/// The facts about a repository, collected without reading a tree.
struct RepositoryFacts {
  var path: [UInt8]
  var list: SnapshotList
  /// The snapshots that a verification found damaged, each with the time and the reason.
  var damaged: [SnapshotName: String] = [:]
  var held: [SnapshotName] = []
  /// The number of members of each set.
  var memberCounts: [SnapshotSet: Int] = [:]
  var plan: RetentionPlan
  /// 0 if the file system does not tell its size.
  var bytesFree: UInt64 = 0
  var bytesTotal: UInt64 = 0
  var history: PastRuns

  /// A command line for this repository, for use in messages.
  func advice(_ command: String) -> String { commandLine(command, repository: path) }
}

extension RepositoryFacts {
  init(of repository: Repository, at now: Timestamp) throws {
    let list = try repository.snapshots()
    self.init(
      path: repository.path, list: list,
      plan: try repository.retention.plan(for: list, by: repository.retention.lastPolicy(), now: now),
      history: PastRuns(history: try repository.history.tail(byteCount: 1 << 20)))
    damaged = try repository.marks.all(.damaged)
    held = Array(try repository.marks.all(.held).keys)
    memberCounts = try repository.members(of: list).mapValues(\.count)
    let system = try repository.root.descriptor.fileSystem()
    if system.hasSize {
      bytesFree = system.bytesAvailable
      bytesTotal = system.bytesUsed &+ system.bytesAvailable
    }
  }
}

/// A source that should have snapshots.
struct ExpectedSource {
  let label: [UInt8]
  let path: [UInt8]
  var isOptional = false
  /// The RPO of this source.
  var rpoSeconds: Int64?
  /// The RPO of all sources.
  var commonRPOSeconds: Int64?

  /// The sources of the configuration. Without one, the sources of all snapshots.
  static func all(in file: ConfigurationFile?, or list: SnapshotList) -> [ExpectedSource] {
    if let file {
      return file.settings.sources.map {
        ExpectedSource(
          label: Array(file.settings.label.utf8), path: Array($0.path.utf8), isOptional: $0.isOptional,
          rpoSeconds: $0.rpoSeconds, commonRPOSeconds: file.settings.rpoSeconds)
      }
    }
    var seen: Set<[[UInt8]]> = []
    return list.snapshots.reversed().flatMap { snapshot in
      snapshot.summary.sources.filter { seen.insert([snapshot.summary.label, $0]).inserted }
        .map { ExpectedSource(label: snapshot.summary.label, path: $0) }
    }
  }

  /// The newest snapshot without warnings that has the source.
  func newestGood(in list: SnapshotList, damaged: [SnapshotName: String]) -> Snapshot? {
    list.snapshots.last {
      $0.summary.outcome == .complete && damaged[$0.name] == nil && $0.summary.label == label
        && $0.summary.sources.contains(path)
    }
  }

  /// The maximum age of the newest good snapshot. The command line's value does not apply to optional sources.
  func maximumAge(said: Int64?) -> Int64? { isOptional ? rpoSeconds : said ?? rpoSeconds ?? commonRPOSeconds }

  /// True if the source is absent from the newest snapshot that was to contain it.
  func isAbsent(in list: SnapshotList) -> Bool {
    let last = list.snapshots.last {
      $0.summary.label == label && ($0.summary.sources + $0.summary.absentSources).contains(path)
    }
    return last?.summary.absentSources.contains(path) ?? false
  }
}

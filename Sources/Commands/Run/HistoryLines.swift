internal import Catalog
internal import Engine
internal import Model
internal import Replication
internal import Repository

/// A line of `history.jsonl`. `run` and `import` record their answers.
protocol HistoryLine: Encodable {
  /// RFC 3339.
  var time: String { get }
  var command: String { get }
  var exitStatus: Int32 { get }
  var error: String? { get }
}

extension History {
  func append(_ line: some HistoryLine) throws(Failure) { try append(jsonText(line, isLine: true)) }

  /// Appends a line. Returns false, with a warning, if it cannot be written.
  ///
  /// The run is still complete and ends with `warnings`.
  @discardableResult
  func record(_ line: some HistoryLine) -> Bool {
    do { try append(line) } catch {
      Console.warn("\(error)")
      return false
    }
    return true
  }
}

struct SnapshotLine: HistoryLine {
  let time: String
  let command = "snapshot"
  let sources: [String]
  let exitStatus: Int32
  let error: String?
  let result: SnapshotAnswer?
}

struct RotationLine: HistoryLine {
  let time: String
  /// `rotate` or `delete`.
  let command: String
  var expired: [String] = []
  var freedBytes: UInt64?
  var obstacle, error: String?
  var exitStatus = ExitStatus.done.code
}

struct PushLine: HistoryLine {
  let time: String
  let command = "push"
  let exitStatus: Int32
  let error: String?
  let result: PushAnswer
}

/// A push in the history of the receiving repository.
struct ReceptionLine: HistoryLine {
  let time: String
  let command = "receive"
  let snapshot: String
  let bytesReceived, filesLinked, filesCopied: UInt64
  let exitStatus: Int32
  let error: String?
  let elapsedSeconds: Double
}

extension ReceptionLine {
  init(for push: ReceivedPush) {
    self.init(
      time: push.began.rfc3339, snapshot: push.name.description, bytesReceived: push.bytesReceived,
      filesLinked: push.snapshot?.summary.filesLinked ?? 0, filesCopied: push.snapshot?.summary.filesCopied ?? 0,
      exitStatus: push.failure.map { ExitStatus($0.kind).code } ?? 0, error: push.failure?.description,
      elapsedSeconds: push.elapsedSeconds)
  }
}

struct VerificationLine: HistoryLine {
  let time: String
  let command = "verify"
  /// `nil` for everything in the verified snapshots.
  let part: String?
  /// The number of verified snapshots, then the number of existing ones.
  let snapshots: Int
  let ofSnapshots: Int
  let entries, bytesRead, problems: UInt64
  let exitStatus: Int32
  var error: String?
  /// The remote of a repair, by its name or the recorded form of its address.
  var repairFrom: String?
  /// The snapshots that the repair left damaged.
  var unrepaired: [String]?
}

extension VerificationLine {
  init(
    time: Timestamp, part: VerificationPart, verified count: Int, of list: SnapshotList, findings: VerificationFindings,
    progress: Progress
  ) {
    self.init(
      time: time.rfc3339, part: part.isWhole ? nil : part.description, snapshots: count,
      ofSnapshots: list.snapshots.count + list.unusable.count - findings.result.expired.count,
      entries: progress.entries.value, bytesRead: progress.bytesRead.value, problems: findings.result.problems,
      exitStatus: findings.status.code)
  }
}

struct AuditLine: HistoryLine {
  let time: String
  let command = "audit"
  let exitStatus: Int32
  let error: String?
  /// The numbers of findings that fall short, of copies that count, of media, and of copies elsewhere.
  let short: Int
  let copies, media, offSite: Int
}

/// The document of `snapshot --json`.
struct SnapshotAnswer: Encodable {
  struct NamedWarning: Encodable {
    let path, message: String

    init(_ warning: Warning) {
      path = displayName(warning.path)
      message = warning.message
    }
  }
  let snapshot: String
  let previous: String?
  let sequence: UInt64
  let outcome: String
  let entries, files, directories, bytes, filesLinked, filesMoved, filesCopied, filesCloned: UInt64
  let linkLimits, bytesCopied, bytesRead, filesVanished, catalogOnly, directoriesSkipped: UInt64
  let excluded: UInt64
  let sources: [String]
  /// Sources that were requested but are not in the snapshot.
  let absent: [String]
  let databases: [DatabaseAnswer]
  let warnings: UInt64
  var warningsNamed: [NamedWarning]
  let rootDigest: String
  let elapsedSeconds: Double
  /// The remote of a snapshot without a local repository, and the bytes on the wire; otherwise `nil`.
  var remote: String?
  var bytesSent, bytesReceived: UInt64?
}

extension SnapshotAnswer {
  var figures: SnapshotFigures {
    SnapshotFigures(
      snapshot: snapshot, entries: entries, bytes: bytes, bytesCopied: bytesCopied, warnings: warnings)
  }

  mutating func add(_ result: DirectSnapshot.Result, to target: RemoteTarget) {
    (remote, bytesSent, bytesReceived) = (target.name, result.transfer.bytesSent, result.transfer.bytesReceived)
  }

  /// `dumpWarnings` are about databases, which the engine does not count.
  init(for result: SnapshotResult, progress: Progress, warnings: [Warning], dumpWarnings: [Warning] = []) {
    let summary = result.snapshot.summary
    self.init(
      snapshot: result.snapshot.name.description, previous: result.previous?.description, sequence: summary.sequence,
      outcome: summary.outcome.word, entries: summary.root.totals.entries, files: summary.files,
      directories: summary.directories, bytes: summary.root.totals.bytes, filesLinked: summary.filesLinked,
      filesMoved: progress.moved.value, filesCopied: summary.filesCopied, filesCloned: progress.cloned.value,
      linkLimits: progress.linkLimits.value, bytesCopied: summary.bytesCopied, bytesRead: progress.bytesRead.value,
      filesVanished: progress.vanished.value, catalogOnly: progress.catalogOnly.value,
      directoriesSkipped: progress.skipped.value, excluded: progress.excluded.value,
      sources: summary.sources.map { displayName($0) } + summary.hostTitles,
      absent: summary.allAbsentSources.map { displayName($0) },
      databases: summary.databases.map(DatabaseAnswer.init),
      warnings: progress.warnings.value + UInt64(dumpWarnings.count),
      warningsNamed: (dumpWarnings + warnings).map(NamedWarning.init), rootDigest: summary.root.digest.description,
      elapsedSeconds: result.elapsedSeconds)
  }
}

struct RunStep: Codable {
  enum Outcome: String, Codable { case done, warnings, failed, absent }

  let step: String
  let outcome: Outcome
  let elapsedSeconds: Double
  let message: String?
}

/// The end of a run, for the receivers of notices.
protocol RunReport: Encodable {
  var host: String { get }
  var exitStatus: Int32 { get }
  var error: String? { get }
  /// The text for a person.
  var lines: [String] { get }
  /// The same without details, if a receiver cannot take all.
  var shortened: Self { get }
}

/// The figures of a snapshot for the metrics.
struct SnapshotFigures: Codable {
  let snapshot: String
  let entries, bytes, bytesCopied, warnings: UInt64
}

/// The document of `run --json`, and a line of the history.
struct RunAnswer: HistoryLine, RunReport {
  var time: String
  var command = "run"
  var runID: String
  let startedBy = RunStarter.current()
  let host, repository: String
  /// `made`, `not_due`, `failed`, `refused` or `locked`.
  var result: String
  var exitStatus: Int32
  var steps: [RunStep] = []
  var snapshot: SnapshotAnswer?
  var expired: [String] = []
  /// The space of the expired snapshots.
  var freedBytes: UInt64?
  var error: String?
  var elapsedSeconds = 0.0

  /// The answer for a person at a terminal.
  var lines: [String] {
    if result == "not_due" && steps.isEmpty { return ["nothing is due"] }
    // A message that was printed already is not repeated.
    let said = Console.lastMessages
    return table(
      steps.map { step in
        let message = step.message ?? ""
        let isSaid = !message.isEmpty && said.contains { $0.hasSuffix(message) }
        return [step.step, step.outcome.rawValue, durationText(step.elapsedSeconds), isSaid ? "see above" : message]
      }, rightAligned: [2])
  }

  var shortened: RunAnswer {
    var shorter = self
    shorter.snapshot?.warningsNamed = []
    shorter.steps = []
    return shorter
  }
}

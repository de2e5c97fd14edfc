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
      Console.complain("warning: \(error)")
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

  init(
    of options: SnapshotOptions, at start: Timestamp, status: ExitStatus, error: String?, result: SnapshotAnswer?
  ) {
    time = start.rfc3339
    sources = options.sources.map { displayName($0) }
    exitStatus = status.code
    self.error = error
    self.result = result
  }
}

struct RotationLine: HistoryLine {
  let time: String
  let command = "rotate"
  var expired: [String] = []
  var obstacle: String?
  var error: String?
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
  let bytesReceived: UInt64
  let filesLinked: UInt64
  let filesCopied: UInt64
  let exitStatus: Int32
  let error: String?
  let elapsedSeconds: Double

  init(for push: ReceivedPush) {
    time = push.began.rfc3339
    snapshot = push.name.description
    bytesReceived = push.bytesReceived
    filesLinked = push.snapshot?.summary.filesLinked ?? 0
    filesCopied = push.snapshot?.summary.filesCopied ?? 0
    exitStatus = push.failure.map { ExitStatus($0.kind).code } ?? 0
    error = push.failure?.description
    elapsedSeconds = push.elapsedSeconds
  }
}

struct VerificationLine: HistoryLine {
  let time: String
  let command = "verify"
  /// The number of verified snapshots, then the number of existing ones.
  let snapshots: Int
  let ofSnapshots: Int
  let entries: UInt64
  let bytesRead: UInt64
  let problems: UInt64
  let exitStatus: Int32
  var error: String?
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository

/// The ratio of the tree's size to the bytes sent.
func speedUp(of treeBytes: UInt64, sent: UInt64) -> String {
  let tenths = UInt64(Double(treeBytes) / Double(max(sent, 1)) * 10)
  return "\(grouped(tenths / 10)).\(tenths % 10)"
}

/// The document of `push --json`.
struct PushAnswer: Encodable {
  let remote: String
  let snapshot: String
  let base: String?
  /// `sent`, `there` (already present), `would_send`, or `failed`.
  let result: String
  let bytesSent: UInt64
  let bytesReceived: UInt64
  let bytesOfTree: UInt64
  let entriesChanged: UInt64
  let filesLinked: UInt64
  let filesCopied: UInt64
  /// The number of warnings, including those of the server.
  var warnings: Int
  let elapsedSeconds: Double

  var status: ExitStatus { warnings > 0 ? .warnings : .done }

  init(for result: PushResult, to target: RemoteTarget, warnings: Int, isDryRun: Bool) {
    self.warnings = warnings
    remote = target.name
    snapshot = result.snapshot.name.description
    base = result.base?.description
    self.result = !result.isNew ? "there" : isDryRun ? "would_send" : "sent"
    bytesSent = result.bytesSent
    bytesReceived = result.bytesReceived
    bytesOfTree = result.snapshot.summary.root.totals.bytes
    entriesChanged = result.entriesChanged
    filesLinked = result.filesLinked
    filesCopied = result.filesCopied
    elapsedSeconds = result.elapsedSeconds
  }

  init(
    failed name: SnapshotName, to target: RemoteTarget, bytesSent: UInt64, bytesReceived: UInt64, elapsedSeconds: Double
  ) {
    remote = target.name
    snapshot = name.description
    warnings = 0
    base = nil
    result = "failed"
    self.bytesSent = bytesSent
    self.bytesReceived = bytesReceived
    bytesOfTree = 0
    entriesChanged = 0
    filesLinked = 0
    filesCopied = 0
    self.elapsedSeconds = elapsedSeconds
  }

  /// The answer for a person.
  var line: String {
    let against = base.map { ", against \($0)" } ?? ""
    switch result {
    case "there": return "\(remote) has \(snapshot) already"
    case "would_send":
      return "would send \(snapshot) to \(remote)\(against): "
        + "\(counted(entriesChanged, "entry differs", plural: "entries differ"))"
    default:
      return "sent \(snapshot) to \(remote)\(against): \(counted(entriesChanged, "entry")) changed, "
        + "\(byteText(bytesSent)) sent and \(byteText(bytesReceived)) received in \(durationText(elapsedSeconds)), "
        + "speed-up \(speedUp(of: bytesOfTree, sent: bytesSent &+ bytesReceived))"
    }
  }
}

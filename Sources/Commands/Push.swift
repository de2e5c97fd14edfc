internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Retention
internal import Settings
internal import Synchronization

struct PushCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "push",
    abstract: "Send a snapshot to another repository, of which only what changed travels.",
    discussion: """
      REMOTE is a name from the configuration, ssh://user@host:port/path, user@host:path, or the path of another \
      repository, on a second disk for example. Over ssh treering must be installed on the remote machine, and the \
      repository there made with treering init. Without a SNAPSHOT the newest one is sent, or the newest of the \
      set that the configuration names. It keeps its name there. What was sent before a connection broke is \
      not sent again.

      Example:
        treering push ssh://backup@nas.example.org/srv/treering/web01 --repository /backup/treering
      """)

  @Argument(help: ArgumentHelp("Where to: a name from the configuration, or an address.", valueName: "remote"))
  var remote: String

  @Argument(help: ArgumentHelp("The snapshot to send; the newest, if left out.", valueName: "snapshot"))
  var snapshot: String?

  @Flag(name: [.customShort("n"), .long], help: "Send nothing; say what would be sent.")
  var dryRun = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let repository = try common.openRepository()
    let target = try RemoteTarget(remote, connection, try common.configuration(naming: remote), common)
    let list = try repository.snapshots()
    let sources = try sources(of: repository)
    let wanted =
      try snapshot.map { try repository.resolve($0, in: list) } ?? newest(of: target, sources, repository, list)
    let run = PushJob(target, repository, sources, common)
    let answer = try run.work(wanted, isDryRun: dryRun)
    if common.json {
      Console.print(jsonText(answer))
    } else if dryRun || common.verbose || CurrentProcess.terminalWidth(.output) != nil && !common.quiet {
      Console.print(answer.line)
    }
    return answer.status
  }

  /// The configuration's sources.
  ///
  /// If the configuration was not given with `--config`, its errors must not prevent a push to an address.
  private func sources(of repository: Repository) throws(Failure) -> SourceSet? {
    if common.config != nil { return try common.configuration(of: repository)?.sourceSet }
    return (try? common.configuration(of: repository))?.sourceSet
  }

  /// The newest snapshot of the configuration's sources. A newer damaged snapshot is an error; it is never skipped
  /// silently.
  private func newest(
    of target: RemoteTarget, _ sources: SourceSet?, _ repository: Repository, _ list: SnapshotList
  ) throws -> Snapshot {
    let newest = try repository.resolve(target.set.map { "\($0).0" } ?? "latest", in: list)
    let set = target.set.flatMap(SnapshotSet.init(rawValue:))
    return try repository.newest(of: sources, in: set, among: list) ?? newest
  }
}

/// A push and its line in the history.
struct PushJob {
  let target: RemoteTarget
  private let repository: Repository
  /// The configuration's sources.
  private let sources: SourceSet?
  private let common: CommonOptions

  init(_ target: RemoteTarget, _ repository: Repository, _ sources: SourceSet?, _ common: CommonOptions) {
    self.target = target
    self.repository = repository
    self.sources = sources
    self.common = common
  }

  /// The snapshot to push: the newest one, unless the remote is known to have it.
  func due(in list: SnapshotList) throws(Failure) -> Snapshot? {
    let set = target.set.flatMap(SnapshotSet.init(rawValue:))
    guard let snapshot = try repository.newest(of: sources, in: set, among: list) else { return nil }
    // The last push is remembered. The remote is asked again once a day, because it may have been recreated.
    if let last = repository.pushMemory.last(address: Array(target.options.shown.utf8)),
      last.names.contains(snapshot.name),
      abs(Clock.now() - last.time) < 86_400
    {
      return nil
    }
    return snapshot
  }

  func work(_ snapshot: Snapshot, isDryRun: Bool = false) throws -> PushAnswer {
    let start = Clock.now()
    let began = Clock.monotonic()
    let progress = PushProgress()
    var reached: Connection?
    do {
      let connection = try Connection(target.options)
      reached = connection
      guard !connection.leads(to: repository) else {
        throw Failure(.usage, "\(target.name) is this repository itself", hint: "name another one")
      }
      let treeBytes = snapshot.summary.root.totals.bytes
      let line = ProgressLine(options: common) { elapsed in
        Self.line(progress, sent: connection.bytesSent, treeBytes: treeBytes, elapsed)
      }
      defer { line.stop() }
      let monitor = ConsoleMonitor()
      let result = try push(
        snapshot, of: repository, over: connection, isDryRun: isDryRun, progress: progress, monitor: monitor)
      line.stop()
      var answer = PushAnswer(result, target, warnings: monitor.warnings.count, isDryRun: isDryRun)
      if !isDryRun {
        let line = PushHistoryLine(time: start.rfc3339, exitStatus: answer.status.code, error: nil, result: answer)
        // The snapshot was sent, so a history that cannot be written is no failure.
        do { try record(line) } catch { monitor.warn(Warning(path: repository.path, message: "\(error)")) }
      }
      answer.warnings = monitor.warnings.count
      return answer
    } catch {
      let failure = error as? Failure ?? Failure(.remote, "\(error)")
      // A lock held by another push is not worth a history line. A usage error means that no push took place.
      if !isDryRun, failure.kind != .locked, failure.kind != .usage {
        let line = PushHistoryLine(
          time: start.rfc3339, exitStatus: ExitStatus(failure.kind).code, error: failure.description,
          result: PushAnswer(
            failed: snapshot.name, target, bytesSent: reached?.bytesSent ?? 0,
            bytesReceived: reached?.bytesReceived ?? 0, elapsedSeconds: Clock.monotonic() - began))
        do { try record(line) } catch { Console.complain("warning: \(error)") }
      }
      throw failure
    }
  }

  private func record(_ line: PushHistoryLine) throws(Failure) {
    try repository.history.append(jsonText(line, isLine: true))
  }

  private static func line(_ progress: PushProgress, sent: UInt64, treeBytes: UInt64, _ elapsed: Double) -> String {
    var line = "push: \(byteText(sent)) sent"
    if elapsed > 0 { line += ", \(byteText(UInt64(Double(sent) / elapsed)))/s" }
    if sent > 0 { line += ", speed-up \(speedUp(treeBytes, sent))" }
    if progress.isBuilding.load(ordering: .relaxed) { return line + ", the server builds the snapshot" }
    let done = progress.bytesDone.load(ordering: .relaxed)
    let expected = progress.bytesExpected.load(ordering: .relaxed)
    if expected > 0, done > 0, elapsed >= 1 {
      let share = min(1, Double(done) / Double(expected))
      line += ", \(Int(share * 100)) %, about \(durationText(elapsed / share - elapsed)) left"
    }
    return line
  }
}

/// The ratio of the tree's size to the bytes sent.
private func speedUp(_ treeBytes: UInt64, _ sent: UInt64) -> String {
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

  enum CodingKeys: String, CodingKey {
    case remote, snapshot, base, result, warnings
    case bytesSent = "bytes_sent"
    case bytesReceived = "bytes_received"
    case bytesOfTree = "bytes_of_tree"
    case entriesChanged = "entries_changed"
    case filesLinked = "files_linked"
    case filesCopied = "files_copied"
    case elapsedSeconds = "elapsed_seconds"
  }

  init(_ result: PushResult, _ target: RemoteTarget, warnings: Int, isDryRun: Bool) {
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
    failed name: SnapshotName, _ target: RemoteTarget, bytesSent: UInt64, bytesReceived: UInt64, elapsedSeconds: Double
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
        + "\(counted(entriesChanged, "entry differs", "entries differ"))"
    default:
      return "sent \(snapshot) to \(remote)\(against): \(counted(entriesChanged, "entry", "entries")) changed, "
        + "\(byteText(bytesSent)) sent and \(byteText(bytesReceived)) received in \(durationText(elapsedSeconds)), "
        + "speed-up \(speedUp(bytesOfTree, bytesSent &+ bytesReceived))"
    }
  }
}

/// The line of a push in the history.
struct PushHistoryLine: Encodable {
  let time: String
  let command = "push"
  let exitStatus: Int32
  let error: String?
  let result: PushAnswer

  enum CodingKeys: String, CodingKey {
    case time, command
    case exitStatus = "exit_status"
    case error, result
  }
}

internal import Catalog
internal import Engine
public import Model
public import Posix
public import Repository
internal import Synchronization

/// The end of the reception of a source from the treering of its host.
public enum ReceivedSource: Sendable {
  /// The source is in this snapshot of the receiving repository. The warnings name what is not as on the host.
  case received(SnapshotName, warnings: [Warning])
  case absent(reason: String)
  /// The source is as in the last snapshot of the receiving repository.
  case unchanged(warnings: [Warning])
  /// Files changed before they were sent. What was sent is kept for another attempt.
  case changed(Failure)
  /// No treering that can send the source has answered. Without `end`, the program had to be ended, or said the reason.
  case unanswered(end: ChildEnd?, lines: [[UInt8]], reason: String)
}

/// Starts treering on a host, as the command of `options`, and receives a source from it into `repository`.
///
/// The host walks and sends as the client, and this process is the server. It takes the wanted source and nothing else.
/// `repository` is one of `FetchDirectory.receiver`.
public func receive(
  _ wanted: WantedSource, by options: RemoteOptions, into repository: Repository, minimumFree: MinimumFree?,
  threads: ThreadCount
) throws(Failure) -> ReceivedSource {
  let process: ServerProcess
  do { process = try ServerProcess(for: options) } catch { throw error as? Failure ?? Failure(.remote, "\(error)") }
  let channel = Channel(
    over: ChildTransport(of: process.child), to: .client, timeoutSeconds: options.timeoutSeconds,
    readsWhileSending: false, longestSeconds: options.longestSeconds)
  let reception = SourceReception(of: wanted, into: repository)
  do {
    try channel.send(wanted)
    try reception.session(over: channel, program: options.program, minimumFree: minimumFree, threads: threads).run()
  } catch {
    if let signal = CurrentProcess.rememberedSignal { throw Failure(.interrupted(signal: signal), "interrupted") }
    guard reception.hasBegun else {
      let (end, lines) = process.end()
      return .unanswered(end: end, lines: lines, reason: "\(error)")
    }
    try? channel.send(Failure(ofServer: error, at: repository.path))
    // A source that has come whole is not sent a second time. The result names the missing end.
    if reception.hasSnapshot { return try reception.result() }
    do throws(Failure) { try Connection.annotatingErrors(of: options, process: process) { throw error } } catch {
      if error.kind == .locked { return .changed(error) }
      throw error
    }
  }
  return try reception.result()
}

/// The reception of one source, as the server's session sees it. The notes of the session are warnings of the source.
final class SourceReception: NoteMonitor {
  private struct State: Sendable {
    var hasBegun = false
    var snapshot: SnapshotName?
    var absence: String?
    var isUnchanged = false
    var isDone = false
    var inability: String?
    /// The warnings of this machine.
    var notes: [Warning] = []
    var droppedNotes = 0
    var warnings: [Warning] = []
    /// The bytes of the reports so far.
    var byteCount = 0
  }

  private let wanted: WantedSource
  private let repository: Repository
  private let state = Mutex(State())

  init(of wanted: WantedSource, into repository: Repository) {
    (self.wanted, self.repository) = (wanted, repository)
  }

  /// The session that receives the source.
  func session(
    over channel: Channel, program: String, minimumFree: MinimumFree?, threads: ThreadCount
  ) -> ServerSession {
    var rights = ServeOptions(program: program)
    rights.confines = false
    rights.threads = threads
    rights.minimumFree = { _ in minimumFree }
    return ServerSession(channel: channel, options: rights, onReceived: { self.end(with: $1) }, source: self)
  }

  /// True once a treering has answered.
  var hasBegun: Bool { state.withLock { $0.hasBegun } }

  /// True once the source is there as a whole.
  var hasSnapshot: Bool { state.withLock { $0.snapshot != nil } }

  func begin() -> Repository {
    state.withLock { $0.hasBegun = true }
    return repository
  }

  /// Throws unless the host may ask for it: it may send the wanted source once, and see what it sent before.
  func check(_ request: Request) throws(ProtocolViolation) {
    switch request {
    case .list, .openCatalog, .readCatalog, .report: return
    case .push(let push):
      let summary = push.summary
      guard state.withLock({ $0.snapshot == nil }), summary.label == wanted.label.bytes,
        summary.sources == [wanted.path], summary.otherSources.isEmpty, summary.absentSources.isEmpty,
        summary.databases.isEmpty
      else { throw ProtocolViolation("another source came than was asked for") }
    default: throw ProtocolViolation("a host may only send its source")
    }
  }

  func take(_ report: SourceReport) throws(ProtocolViolation) {
    let isTooMuch = state.withLock { state in
      state.byteCount += report.path.count + report.text.utf8.count
      switch report.kind {
      case .entry: state.warnings.append(Warning(path: place(of: report.path), message: report.text))
      case .absence: state.absence = report.text
      case .unchanged: state.isUnchanged = true
      case .done: state.isDone = true
      case .unable: state.inability = report.text
      }
      return state.byteCount > Wire.reportBytes || state.warnings.count > Wire.notes
    }
    if isTooMuch { throw ProtocolViolation("the reports do not end") }
  }

  /// A path of the host as one of the snapshot.
  private func place(of path: [UInt8]) -> [UInt8] { (wanted.label.bytes + TreePath(parsing: path)).relative }

  // MARK: Notes

  func open() {}

  func warn(_ warning: Warning) { add(warning) }

  /// The text begins with the path in the snapshot.
  func note(_ shortcoming: String) {
    let parts = shortcoming.split(separator: ": ", maxSplits: 1)
    guard let path = parts.first, let message = parts.last, parts.count == 2 else { return }
    add(Warning(path: Array(path.utf8), message: String(message)))
  }

  func noteDamage(of path: TreePath, in snapshot: Snapshot) {
    let name = repository.nameOfTree(snapshot.name)
    add(Warning(path: path.relative, message: "has damaged bytes in the snapshot \(name), and is sent whole"))
  }

  private func add(_ warning: Warning) {
    state.withLock { state in
      if state.notes.count < Wire.sentNotes { state.notes.append(warning) } else { state.droppedNotes += 1 }
    }
  }

  // MARK: The end

  private func end(with push: ReceivedPush) { state.withLock { $0.snapshot = push.snapshot?.name } }

  func result() throws(Failure) -> ReceivedSource {
    let end = state.withLock { $0 }
    var warnings = end.notes + end.warnings
    func warn(_ message: String) { warnings.append(Warning(path: place(of: wanted.path), message: message)) }
    if end.droppedNotes > 0 { warn("has \(end.droppedNotes) more entries with trouble") }
    if let snapshot = end.snapshot {
      if !end.isDone { warn("came, but the connection ended before the host named all entries that are not as there") }
      return .received(snapshot, warnings: warnings)
    }
    if let inability = end.inability { return .unanswered(end: nil, lines: [], reason: inability) }
    if let absence = end.absence { return .absent(reason: absence) }
    // Nothing is unchanged without an earlier tree.
    if end.isUnchanged, repository.showsTree { return .unchanged(warnings: warnings) }
    throw Failure(.remote, "the host ended without sending the source")
  }
}

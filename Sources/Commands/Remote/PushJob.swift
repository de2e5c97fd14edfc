internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Synchronization

/// The absence of an optional remote, which is no failure.
struct RemoteAbsence: Error { let reason: String }

/// A push and its line in the history.
struct PushJob {
  let target: RemoteTarget
  let repository: Repository
  private let sources: SourceSet?
  let common: CommonOptions
  /// True if a remote that cannot be reached is a `RemoteAbsence`.
  private let excusesAbsence: Bool

  init(
    to target: RemoteTarget, from repository: Repository, sources: SourceSet?, options common: CommonOptions,
    excusesAbsence: Bool = false
  ) {
    self.target = target
    self.repository = repository
    self.sources = sources
    self.common = common
    self.excusesAbsence = excusesAbsence
  }

  /// The snapshot to push: the newest one, unless the remote is known to have it.
  func due(in list: SnapshotList) throws(Failure) -> Snapshot? {
    try repository.duePush(to: target.options.recordedAddress, set: target.set, of: sources, in: list)
  }

  /// Throws if the remote is this repository itself.
  func refuseItself(at connection: Connection) throws(Failure) {
    guard !connection.servesSameRepository(as: repository)
    else { throw Failure(.usage, "\(target.name) is this repository itself", hint: "name another one") }
  }

  /// Pushes a snapshot. With `isPartOfAll`, the newest snapshot at the remote is not looked for.
  func work(_ snapshot: Snapshot, isDryRun: Bool = false, isPartOfAll: Bool = false) throws -> PushAnswer {
    let start = Clock.now()
    let began = Clock.monotonic()
    let progress = PushProgress()
    var reached: Connection?
    do {
      if excusesAbsence, let reason = target.absence { throw RemoteAbsence(reason: reason) }
      if let restic = target.restic {
        return try workWithRestic(restic, snapshot: snapshot, isDryRun: isDryRun, isPartOfAll: isPartOfAll, at: start)
      }
      let connection = try Connection(options: target.options)
      reached = connection
      try refuseItself(at: connection)
      let newestThere = isPartOfAll ? nil : try self.newestThere(beside: snapshot, over: connection)
      let isFirst = repository.pushMemory.last(address: target.options.recordedAddress) == nil
      let line = ProgressLine(options: common) { elapsed in
        Self.line(for: progress, sent: connection.bytesSent, elapsedSeconds: elapsed)
      }
      defer { line.stop() }
      let monitor = ConsoleMonitor()
      let result = try push(
        snapshot, of: repository, over: connection, isDryRun: isDryRun, progress: progress, monitor: monitor)
      line.stop()
      var answer = PushAnswer(for: result, to: target, warnings: monitor.warnings.count, isDryRun: isDryRun)
      answer.newestThere = newestThere?.description
      return finish(answer, isFirst: isFirst, isDryRun: isDryRun, monitor: monitor, at: start)
    } catch let absence as RemoteAbsence {
      throw absence
    } catch {
      let failure = Failure(wrapping: error, as: .remote)
      if excusesAbsence, reached == nil, let reason = target.absence(because: failure) {
        throw RemoteAbsence(reason: reason)
      }
      if !isDryRun {
        let answer = PushAnswer(
          remote: target.name, snapshot: snapshot.name.description, result: "failed",
          bytesSent: reached?.bytesSent ?? 0, bytesReceived: reached?.bytesReceived ?? 0,
          elapsedSeconds: Clock.monotonic() - began)
        record(failure, of: answer, at: start)
      }
      throw failure
    }
  }

  /// Completes an answer, and appends it to the history.
  func finish(
    _ answer: PushAnswer, isFirst: Bool, isDryRun: Bool, monitor: ConsoleMonitor, at start: Timestamp
  ) -> PushAnswer {
    var answer = answer
    answer.onSameDisk = repository.isOnDisk(of: target.address)
    answer.namesSameDisk = isFirst && answer.onSameDisk
    if !isDryRun {
      let line = PushLine(time: start.rfc3339, exitStatus: answer.status.code, error: nil, result: answer)
      // The snapshot was sent, so a history that cannot be written is no failure.
      do { try repository.history.append(line) } catch {
        monitor.warn(Warning(path: repository.path, message: "\(error)"))
      }
    }
    answer.warnings = monitor.warnings.count
    return answer
  }

  /// Appends a failed push to the history.
  ///
  /// A lock held by another push is not worth a line. A usage error means that no push took place.
  private func record(_ failure: Failure, of answer: PushAnswer, at start: Timestamp) {
    if failure.kind == .locked || failure.kind == .usage { return }
    let line = PushLine(
      time: start.rfc3339, exitStatus: ExitStatus(failure.kind).code, error: failure.description, result: answer)
    do { try repository.history.append(line) } catch { Console.warn("\(error)") }
  }

  /// The snapshot that stays the newest at the remote after the push of an older one; `nil` for the newest one here.
  private func newestThere(beside snapshot: Snapshot, over connection: Connection) throws -> SnapshotName? {
    if try repository.snapshots().newest?.name == snapshot.name { return nil }
    var list = try RemoteRepository(over: connection).snapshots()
    if !list.snapshots.contains(where: { $0.name == snapshot.name }) { list.add(arriving: snapshot, at: Clock.now()) }
    return list.newest.flatMap { $0.name == snapshot.name ? nil : $0.name }
  }

  /// The progress line. It fits in 80 columns, so that the time left is seen.
  static func line(for progress: PushProgress, sent: UInt64, elapsedSeconds elapsed: Double) -> String {
    var line = "push: \(byteText(sent)) sent"
    if elapsed > 0 { line += ", \(byteText(UInt64(Double(sent) / elapsed)))/s" }
    if progress.isBuilding.load(ordering: .relaxed) { return line + ", the server builds the snapshot" }
    let done = progress.bytesDone.load(ordering: .relaxed)
    let expected = progress.bytesExpected.load(ordering: .relaxed)
    if expected > 0 {
      line += ", \(byteText(min(done, expected))) of \(byteText(expected))"
      line += ProgressLine.remainder(share: Double(done) / Double(expected), elapsedSeconds: elapsed)
    }
    return line
  }
}

extension Repository {
  /// The snapshot to push to an address: the newest one, unless the remote is known to have it.
  func duePush(
    to address: [UInt8], set: SnapshotSet?, of sources: SourceSet?, in list: SnapshotList
  ) throws(Failure) -> Snapshot? {
    guard let snapshot = try newest(of: sources, in: set, among: list) else { return nil }
    // The last push is remembered. The remote is asked again once a day, because it may have been recreated.
    if let last = pushMemory.last(address: address), last.names.contains(snapshot.name),
      abs(Clock.now() - last.time) < 86_400
    {
      return nil
    }
    return snapshot
  }
}

/// The ratio of the tree's size to the bytes sent.
func speedUp(of treeBytes: UInt64, sent: UInt64) -> String {
  let tenths = UInt64(Double(treeBytes) / Double(max(sent, 1)) * 10)
  return "\(grouped(tenths / 10)).\(tenths % 10)"
}

/// The document of `push --json`.
struct PushAnswer: Encodable {
  let remote, snapshot: String
  var base: String?
  /// `sent`, `there` (already present), `would_send`, or `failed`.
  let result: String
  let bytesSent, bytesReceived: UInt64
  var bytesOfTree: UInt64 = 0
  var entriesChanged: UInt64 = 0
  var filesLinked: UInt64 = 0
  var filesCopied: UInt64 = 0
  /// The snapshot that stays the newest one there.
  var newestThere: String?
  /// True if the remote is on the disk of the repository.
  var onSameDisk = false
  /// True if the answer for a person says so.
  var namesSameDisk = false
  /// The number of warnings, including those of the server.
  var warnings = 0
  let elapsedSeconds: Double

  var status: ExitStatus { warnings > 0 ? .warnings : .done }

  private enum CodingKeys: CodingKey {
    case remote, snapshot, base, result, bytesSent, bytesReceived, bytesOfTree, entriesChanged, filesLinked, filesCopied
    case newestThere, onSameDisk, warnings, elapsedSeconds
  }

  /// The answer for a person.
  var line: String {
    let stays = result == "would_send" ? "would stay" : "stays"
    return work + (newestThere.map { "; the newest there \(stays) \($0)" } ?? "")
      + (namesSameDisk ? "; it is on the same disk as the repository: not a second medium" : "")
  }

  private var work: String {
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

extension PushAnswer {
  init(for result: PushResult, to target: RemoteTarget, warnings: Int, isDryRun: Bool) {
    self.init(
      remote: target.name, snapshot: result.snapshot.name.description, base: result.base?.description,
      result: !result.isNew ? "there" : isDryRun ? "would_send" : "sent", bytesSent: result.bytesSent,
      bytesReceived: result.bytesReceived, bytesOfTree: result.snapshot.summary.root.totals.bytes,
      entriesChanged: result.entriesChanged, filesLinked: result.filesLinked, filesCopied: result.filesCopied,
      warnings: warnings, elapsedSeconds: result.elapsedSeconds)
  }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Sends one snapshot to a server.
final class PushClient {
  private let snapshot: Snapshot
  private let repository: Repository
  private let connection: Connection
  private let progress: PushProgress
  private let monitor: any Monitor
  private let answers: PushAnswers
  /// The remote's name for messages.
  private let remote: [UInt8]
  private let start = Clock.monotonic()

  private let new: CatalogReader
  private let files: any SnapshotFiles
  /// False if the repository is a cache of catalogs, and the files are those of the sources.
  private let hasTrees: Bool
  private let lock: FileLock
  private let candidates: [BaseCandidate]
  /// The snapshot's summary, with the time that places it in this repository.
  private let summary: CatalogSummary
  private var base: ClientBase?

  init(
    _ snapshot: Snapshot, of repository: Repository, files: SourceFiles? = nil, over connection: Connection,
    progress: PushProgress, monitor: any Monitor
  ) throws {
    self.snapshot = snapshot
    self.repository = repository
    self.connection = connection
    self.progress = progress
    self.monitor = monitor
    remote = Array(connection.options.displayName.utf8)
    answers = PushAnswers(over: connection.channel, remote: remote, monitor: monitor)
    lock = try repository.locks.lockShared(snapshot.name)
    new = CatalogReader(reading: try repository.openCatalog(of: snapshot.name))
    hasTrees = files == nil
    self.files = try files ?? StoredFiles(in: repository.openTree(of: snapshot.name))
    let list = try repository.snapshots()
    candidates = try repository.pushMemory.baseCandidates(
      for: snapshot, remote: connection.repositoryID, in: list, limit: Wire.candidates)
    var summary = snapshot.summary
    summary.placed = list.retentionOrder.first { list.snapshots[$0.index].name == snapshot.name }?.time
    if summary.placed == summary.started { summary.placed = nil }
    self.summary = summary
  }

  func run(isDryRun: Bool) throws -> PushResult {
    do { return isDryRun ? try preview() : try push() } catch let error as CatalogError {
      throw Failure(
        .damaged, "the catalog of the snapshot \(snapshot.name) is damaged here: \(error)",
        hint: "see: \(repository.advice("verify \(snapshot.name)"))")
    }
  }

  /// A dry run only lists the remote's snapshots. It announces no push.
  private func preview() throws -> PushResult {
    let list = try RemoteRepository(over: connection).snapshots().snapshots
    let digests = Set(list.map(\.summary.root.digest))
    let present = list.first { $0.name == snapshot.name }
    if let present, present.summary.root.digest != snapshot.summary.root.digest {
      throw Failure(.refused, "has another snapshot \(snapshot.name) already", hint: "what is there is never replaced")
    }
    base = candidates.first { digests.contains($0.summary.root.digest) }.flatMap(openBase)
    if present == nil { _ = try measure(with: ServerParts()) }
    return result(isNew: present == nil)
  }

  private func push() throws -> PushResult {
    guard let parts = try announce() else {
      remember()
      return result(isNew: false)
    }
    let ticker = Ticker(intervalMilliseconds: 1000) { [channel = connection.channel, progress] in
      channel.sendKeepAlive(number: progress.bytesRead.value &+ progress.bytesDone.value &+ progress.changed.value)
    }
    defer { ticker.stop() }
    try agreeOnSpace(measure(with: parts))
    let stream = OutgoingStream(over: connection.channel)
    let contents = ContentSender(
      to: stream, of: snapshot, files: files, base: base, progress: progress, monitor: monitor)
    var sender = PlanSender(
      plan: PushPlan(of: new, base: base?.finder), snapshot: snapshot, base: base, parts: parts, stream: stream,
      contents: contents, answers: answers, connection: connection, progress: progress, sendsHints: sendsHints)
    try sender.run()
    progress.isBuilding.store(true, ordering: .relaxed)
    let published = try sendMissingParts(with: contents, over: stream)
    remember()
    return result(isNew: true, linked: published.filesLinked, copied: published.filesCopied)
  }

  // MARK: Beginning

  /// Announces the push and reads the server's answer. Opens the base. Returns the parts that the server has; `nil` if
  /// it has the snapshot already.
  private func announce() throws -> ServerParts? {
    let request = Request.push(
      PushRequest(
        name: snapshot.name, client: repository.id, summary: summary,
        candidates: candidates.map(\.summary.root.digest), hasSourceHints: sendsHints))
    let frame = request.frame
    guard frame.payload.count <= Wire.frameBytes
    else { throw Failure(.remote, "the snapshot \(snapshot.name) has too many sources to be pushed") }
    try connection.channel.send(frame)
    let answer = try answers.receive(.accept, .published)
    if answer.type == .published {
      guard try !Published(payload: answer.payload).isNew
      else { throw ProtocolViolation("a snapshot is new before it was sent") }
      return nil
    }
    let accept = try PushAccept(payload: answer.payload, version: connection.version, candidateCount: candidates.count)
    base = accept.base.flatMap { openBase(candidates[$0]) }
    return try answers.receiveParts(accept, of: snapshot.summary)
  }

  /// Without a repository here, the server's catalog has to tell which files are unchanged if the cache is lost.
  private var sendsHints: Bool { !hasTrees && connection.version.hasSourceHints }

  private func openBase(_ candidate: BaseCandidate) -> ClientBase? {
    do { return try ClientBase(candidate: candidate, in: repository, hasFiles: hasTrees) } catch {
      warnOfBase(candidate.name, because: error)
      return nil
    }
  }

  private func warnOfBase(_ name: SnapshotName, because error: any Error) {
    monitor.warn(
      Warning(
        path: Array(name.description.utf8),
        message: "its catalog is damaged here, so everything is sent whole: \(error)"))
  }

  /// Adds up the bytes to read, for the progress line, and the space that the push needs on the server. A base with a
  /// damaged catalog is not used.
  private func measure(with parts: ServerParts) throws -> SpaceNeeds {
    func measure() throws -> SpaceNeeds {
      let measure = try PushMeasure(
        of: PushPlan(of: new, base: base?.finder), parts: parts, files: files, progress: progress)
      progress.bytesExpected.store(measure.bytes, ordering: .relaxed)
      return measure.needs
    }
    do { return try measure() } catch let error as CatalogError {
      guard let base else { throw error }
      warnOfBase(base.name, because: error)
      self.base = nil
      progress.changed.store(0, ordering: .relaxed)
      return try measure()
    }
  }

  /// Announces the space that the push needs. A server without that space refuses before any data is sent.
  private func agreeOnSpace(_ needs: SpaceNeeds) throws {
    guard connection.version.hasSpaceCheck else { return }
    try connection.channel.send(needs)
    _ = try SpaceGranted(payload: try answers.receive(SpaceGranted.type).payload)
  }

  // MARK: The end

  /// Sends the parts that the server requests, until the server has published the snapshot.
  private func sendMissingParts(with contents: ContentSender, over stream: OutgoingStream) throws -> Published {
    var requests: UInt64 = 0
    while true {
      let frame = try answers.receive(PartRequest.type, Published.type)
      if frame.type == Published.type {
        let published = try Published(payload: frame.payload)
        guard published.isNew else { throw ProtocolViolation("the snapshot was there before it was sent") }
        return published
      }
      requests += 1
      guard requests <= snapshot.summary.root.totals.entries
      else { throw ProtocolViolation("the same is asked for again and again") }
      try answer(PartRequest(payload: frame.payload), with: contents, over: stream)
    }
  }

  private func answer(_ request: PartRequest, with contents: ContentSender, over stream: OutgoingStream) throws {
    switch try new.find(request.path) {
    case .directory(let record, _)? where !request.isContent:
      let content = Array(record.content)
      try stream.write(.needed(recordByteCount: content.count))
      try contents.send(record: content, base: nil)
    case .file(let row, _)? where request.isContent && row.kind == .regular:
      let file = try contents.open(at: request.path, row: row)
      // The server would request a file that does not match its digest again and again.
      try contents.check(file, against: row.digest)
      try stream.write(.needed(recordByteCount: nil))
      try contents.send(file, base: nil, mayHaveHoles: row.digest.isSparse)
    default: throw ProtocolViolation("something is asked for that the snapshot has not")
    }
    try stream.flush()
  }

  /// Records the push in the repository. The server has the snapshot, so an error is only a warning.
  private func remember() {
    guard hasTrees else { return }
    do {
      try repository.pushMemory.remember(
        snapshot.name, to: connection.repositoryID, address: connection.options.recordedAddress)
    } catch {
      monitor.warn(Warning(path: remote, message: "has \(snapshot.name), and that cannot be remembered here: \(error)"))
    }
  }

  private func result(isNew: Bool, linked: UInt64 = 0, copied: UInt64 = 0) -> PushResult {
    PushResult(
      snapshot: snapshot, base: base?.name, isNew: isNew, bytesSent: connection.bytesSent,
      bytesReceived: connection.bytesReceived, entriesChanged: progress.changed.value, filesLinked: linked,
      filesCopied: copied, elapsedSeconds: Clock.monotonic() - start)
  }
}

internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Receives one pushed snapshot, from the request to the publication.
final class PushReceiver {
  private let push: IncomingPush
  private let options: ServeOptions
  private let start = Clock.monotonic()
  private let began = Clock.now()

  private var request: PushRequest { push.request }
  private var channel: Channel { push.channel }
  private var repository: Repository { push.repository }

  init(
    for request: PushRequest, over channel: Channel, into repository: Repository, options: ServeOptions,
    minimumFree: MinimumFree?, version: ProtocolVersion, notes: (any NoteMonitor)? = nil
  ) {
    self.options = options
    push = IncomingPush(
      request: request, channel: channel, repository: repository, version: version,
      space: SpaceBudget(of: repository, minimumFree: minimumFree),
      notes: notes ?? ClientNoteMonitor(over: channel, isOpen: version.hasEarlyNotes))
  }

  /// Returns the result for the history; `nil` if the repository had the snapshot already.
  func run() throws -> ReceivedPush? {
    let counter = KeepAliveCounter(of: push.progress)
    let ticker = Ticker(intervalMilliseconds: 1000) { [channel] in channel.sendKeepAlive(number: counter.value()) }
    defer { ticker.stop() }
    return try repository.withLock(for: "receive", at: began) {
      let list = try finishEarlierWork()
      if let present = try presentSnapshot(in: list) {
        try repository.publication.synchronizeRenames()
        try channel.send(Published(isNew: false, sequence: present.summary.sequence))
        return nil
      }
      let base = try PushBase.choose(among: request.candidates, in: list, of: repository)
      return result(snapshot: try receive(into: openStaging(base: base), base: base))
    }
  }

  func result(snapshot: Snapshot? = nil, failure: Failure? = nil) -> ReceivedPush {
    ReceivedPush(
      name: request.name, snapshot: snapshot, failure: failure, bytesReceived: channel.bytesReceived.value,
      elapsedSeconds: Clock.monotonic() - start, began: began)
  }

  // MARK: Beginning

  /// Finishes the work of a server that was killed during an earlier push. Returns the repository's snapshots.
  private func finishEarlierWork() throws -> SnapshotList {
    try repository.publication.recover()
    let list = try repository.snapshots()
    for problem in completePublication(list, in: repository) { push.notes.warn(problem) }
    try cleanup.discard(Set(list.snapshots.map(\.name) + list.unusable.map(\.name)))
    return list
  }

  private var cleanup: StagingCleanup { StagingCleanup(repository: repository, client: request.client, now: began) }

  /// The pushed snapshot, if the repository has it already. Throws if the repository has another one of this name.
  private func presentSnapshot(in list: SnapshotList) throws -> Snapshot? {
    let place = displayName(repository.path)
    if let present = list.snapshots.first(where: { $0.name == request.name }) {
      guard present.summary.root.digest == request.summary.root.digest else {
        throw Failure(
          .refused, "\(place) has another snapshot \(request.name) already", hint: "what is there is never replaced")
      }
      return present
    }
    guard !list.unusable.contains(where: { $0.name == request.name }) else {
      throw Failure(
        .refused, "\(place) has a damaged snapshot \(request.name) already",
        hint: "what is there is never replaced; see: treering list --repository \(place)")
    }
    return nil
  }

  private func openStaging(base: PushBase?) throws -> PushStaging {
    try cleanup.prepare(for: request.name)
    do {
      let directory = try repository.receivedParts.directory(for: request.name)
      return try PushStaging(in: directory, for: request, base: base?.snapshot, onWork: push.countRead)
    } catch let error as Errno {
      throw Failure.writing("continue an earlier push in", at: repository.path, because: error)
    }
  }

  /// Tells the client the base and the parts that need not come again.
  private func accept(_ staging: PushStaging, base: PushBase?) throws {
    let known = try staging.knownPrefixes()
    let answer = PushAccept(
      base: base.flatMap { request.candidates.firstIndex(of: $0.snapshot.summary.root.digest) },
      partialFiles: staging.partialFiles, knownCount: known.count)
    try channel.send(.accept, answer.payload(version: push.version))
    for start in stride(from: 0, to: known.count, by: KnownParts.sentCount) {
      try channel.send(.have, KnownParts(prefixes: Array(known[start...].prefix(KnownParts.sentCount))).payload)
    }
    push.notes.open()
  }

  /// Refuses a push that does not fit, before the client sends any of its data.
  private func agreeOnSpace(base: PushBase?) throws {
    guard push.version.hasSpaceCheck else { return }
    let needs = try channel.receive(SpaceNeeds.self)
    try push.space.check(
      needs, for: request.summary, baseCatalogBytes: base?.catalog.byteCount ?? 0, makeSpace: discardUnused)
    try channel.send(SpaceGranted())
  }

  /// Frees space that no visible snapshot uses: the spare and the trash.
  private func discardUnused() throws {
    repository.retirement.discardSpare()
    try emptyTrash(of: repository, threads: options.threads)
  }

  // MARK: Receiving

  private func receive(into staging: PushStaging, base: PushBase?) throws -> Snapshot {
    let fsync = BackgroundFsync()
    var hasBegun = false
    do {
      try accept(staging, base: base)
      try agreeOnSpace(base: base)
      hasBegun = true
      do {
        let tree = try receiveStream(into: staging, base: base, fsync: fsync)
        return try build(from: tree, in: staging, base: base, fsync: fsync)
      } catch let error as CatalogError { throw try base?.damage(behind: error, in: repository) ?? error }
    } catch {
      staging.remember(received: channel.bytesReceived.value)
      let hasNoSpace = (error as? Failure)?.kind == .noSpace
      // Data from a client that broke the protocol must not obstruct a client that keeps to it. Data that the disk
      // lost must not stay either. The kernel may report a later loss to another process, not to the next push.
      // A push that does not fit leaves no data on the disk.
      if Self.isProtocolViolation(error) || fsync.hasFailed || hasNoSpace && hasBegun {
        try? repository.receivedParts.discard(request.name)
      }
      // The next push has the space of the spare, too.
      if hasNoSpace { try? discardUnused() }
      throw error
    }
  }

  private static func isProtocolViolation(_ error: any Error) -> Bool {
    error is ProtocolViolation || error is CatalogError || (error as? Failure)?.kind == .refused
  }

  /// Receives the stream up to its end. The server may request missing parts from then on.
  private func receiveStream(into staging: PushStaging, base: PushBase?, fsync: BackgroundFsync) throws -> PushedTree {
    let stream = IncomingStream { [channel] in
      guard let frame = try channel.receive() else { throw Channel.ended }
      guard frame.type == .stream else { throw ProtocolViolation("a frame of type \(frame.type.rawValue) in a push") }
      return frame.payload
    }
    let parts = PartReceiver(of: push, from: stream, into: staging, fsync: fsync)
    let signatures = SignatureSender(for: push, base: base)
    defer { signatures.stop() }
    let pathCheck = DirectoryPathCheck(root: request.summary.root.digest, namedBefore: staging.parts.namedBefore)
    var receiver = StreamReceiver(
      push: push, stream: stream, staging: staging, base: base, parts: parts, signatures: signatures,
      pathCheck: pathCheck)
    try receiver.run()
    return PushedTree(
      of: push, from: stream, in: staging, base: base?.snapshot, receiver: parts,
      doubtfulBaseFiles: receiver.doubtfulBaseFiles)
  }

  private func build(
    from tree: PushedTree, in staging: PushStaging, base: PushBase?, fsync: BackgroundFsync
  ) throws -> Snapshot {
    try makeDurable(staging, fsync: fsync)
    let snapshot: Snapshot
    do {
      snapshot = try buildSnapshot(
        request.name, as: request.summary, isDatedByClient: !options.isAppendOnly, keepsMounts: request.hasSourceHints,
        from: tree, base: base?.snapshot,
        in: repository, threads: options.threads,
        program: options.program, progress: push.progress, monitor: push.notes)
    } catch {
      // Only `.failed` may come from lost data, which a second sync reports and discards.
      if (error as? Failure)?.kind == .failed { try makeDurable(staging, fsync: fsync) }
      throw error
    }
    try? repository.receivedParts.discard(request.name)
    // The snapshot is published, even if this answer does not reach the client.
    try? channel.send(
      Published(
        isNew: true, sequence: snapshot.summary.sequence, filesLinked: push.progress.linked.value,
        filesCopied: push.progress.copied.value))
    return snapshot
  }

  /// Waits until the received data is on disk. Throws, and discards all of it, if the disk lost any.
  ///
  /// `syncfs` reports only losses since its descriptor was opened, so the build's own call would miss these.
  private func makeDurable(_ staging: PushStaging, fsync: BackgroundFsync) throws {
    push.progress.isSynchronizing.store(true, ordering: .relaxed)
    defer { push.progress.isSynchronizing.store(false, ordering: .relaxed) }
    do throws(Errno) {
      try fsync.finish()
      try repository.publication.synchronizeFileSystem(through: staging.contents.descriptor)
    } catch {
      try? repository.receivedParts.discard(request.name)
      throw Failure.writing("receive a snapshot in", at: repository.path, because: error)
    }
  }
}

/// One push, as the server's parts share it.
struct IncomingPush: Sendable {
  let request: PushRequest
  let channel: Channel
  let repository: Repository
  let version: ProtocolVersion
  let space: SpaceBudget
  let notes: any NoteMonitor
  /// Counters of the work that takes time; the keep-alives report them.
  let progress = Progress()

  /// Counts the bytes that a read returned.
  var countRead: @Sendable (UInt64) -> Void { { [progress] in progress.bytesRead.add($0, ordering: .relaxed) } }
}

/// The progress number in the server's keep-alives; it grows while a push makes progress.
final class KeepAliveCounter: Sendable {
  private let progress: Progress
  private let synchronizingSeconds = Atomic<UInt64>(0)
  /// The longest wait for a disk sync, in seconds. The kernel does not report the progress of a sync.
  private static let limitSeconds: UInt64 = 3600

  init(of progress: Progress) { self.progress = progress }

  /// Returns the current number; called once a second.
  func value() -> UInt64 {
    if progress.isSynchronizing.load(ordering: .relaxed), synchronizingSeconds.value < Self.limitSeconds {
      synchronizingSeconds.add(1, ordering: .relaxed)
    }
    return progress.entries.value &+ progress.bytesRead.value &+ progress.bytesCopied.value
      &+ synchronizingSeconds.value
  }
}

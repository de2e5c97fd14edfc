internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Receives one pushed snapshot.
final class PushSession {
  let channel: Channel
  let repository: Repository
  private let options: ServeOptions
  private let start = Clock.monotonic()
  private let began = Clock.now()

  /// The version of the protocol.
  let version: UInt64
  private let name: SnapshotName
  let sent: CatalogSummary
  private let client: [UInt8]
  private var candidates: [Digest] = []

  /// Counters of the work that takes time; the keep-alives report them.
  private let progress = Progress()
  var stream: IncomingStream!
  let instructions = InstructionReader()
  var tree: ReceivedTree!
  var base: Snapshot?
  private var baseReader: CatalogReader?
  private var baseTree: Directory?
  private var baseFiles: StoredFiles?
  private var signatures: SignatureSender?
  /// `nil` after the end of the stream.
  var writeBack: WriteBack? = WriteBack()
  let notes: NoteMonitor
  let room: Room
  /// The paths of the base's files from which a content could not be built, by the content's digest.
  var doubtful: [ContentDigest: [[UInt8]]] = [:]
  /// The directory that the messages in the stream are about.
  private var folder: (record: DirectoryRecord, base: (path: [[UInt8]], record: DirectoryRecord)?)?
  private var way: WayDown
  private var files: FileCursor?
  private var directories: [DirectoryRow]?
  /// Bytes of the records received.
  private var recordBytes: UInt64 = 0
  /// Bytes of the base's records that they could be built from.
  private var recordBaseBytes: UInt64 = 0
  /// Bytes of the received records that were read again.
  private var recordBytesAgain: UInt64 = 0
  /// The number of references to entries that the base has under other paths.
  private var references: UInt64 = 0

  init(
    _ channel: Channel, _ repository: Repository, _ options: ServeOptions, _ minimumFree: MinimumFree?,
    version: UInt64, _ request: [UInt8]
  ) throws {
    self.channel = channel
    self.repository = repository
    self.options = options
    self.version = version
    notes = NoteMonitor(channel, isOpen: version >= 2)
    room = Room(repository, minimumFree)
    var reader = MessageReader(request)
    let name = try reader.snapshotName()
    self.name = name
    client = try reader.text(limit: 64)
    guard isIdentifier(client) else {
      throw WireError("a client has an impossible id")
    }
    sent = try CatalogSummary(encoded: try reader.text(limit: Wire.frameBytes))
    let slash = UInt8(ascii: "/")
    let sources = sent.sources + sent.absentSources + sent.otherSources.map { [slash] + $0 }
    guard sent.label.isEmpty || isComponent(sent.label), sources.count <= Wire.sources,
      sources.allSatisfy(Self.isSource), sent.outcome != .unfinished
    else { throw WireError("a snapshot has an impossible description") }
    way = WayDown(root: sent.root.digest)
    for _ in 0..<(try reader.count(Wire.candidates)) { candidates.append(try reader.digest()) }
    try reader.end()
  }

  /// True if the path is absolute and has no empty name, `.` or `..`.
  private static func isSource(_ path: [UInt8]) -> Bool {
    guard path.first == UInt8(ascii: "/"), path.count <= 1 << 14 else { return false }
    return path.count == 1
      || path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        .allSatisfy { isComponent(Array($0)) }
  }

  /// Returns the snapshot; `nil` if the repository had it already.
  func run() throws -> ReceivedPush? {
    let pulse = Pulse(progress)
    let ticker = Ticker(intervalMilliseconds: 1000) { [channel] in channel.sendAlive(pulse.beat()) }
    defer { ticker.stop() }
    return try repository.withLock(for: "receive", at: began) {
      try repository.publication.recover()
      let list = try repository.snapshots()
      // A server that was killed after it had published may have left this work unfinished.
      for trouble in completePublication(list, in: repository) { notes.warn(trouble) }
      let published = Set(list.snapshots.map(\.name) + list.unusable.map(\.name))
      let staging = Staging(repository: repository, client: client, began: began)
      try staging.discard(published)
      if let present = list.snapshots.first(where: { $0.name == name }) {
        guard present.summary.root.digest == sent.root.digest else {
          throw Failure(
            .refused, "\(displayName(repository.path)) has another snapshot \(name) already",
            hint: "what is there is never replaced")
        }
        try repository.publication.synchronizeRenames()
        try acknowledge(present, isNew: false, Progress())
        return nil
      }
      if published.contains(name) {
        throw Failure(
          .refused, "\(displayName(repository.path)) has a damaged snapshot \(name) already",
          hint: "what is there is never replaced; see: treering list --repository \(displayName(repository.path))")
      }
      try chooseBase(list)
      try staging.prepare(for: name)
      do {
        tree = try ReceivedTree(
          try repository.receivedParts.directory(for: name), client: client, root: sent.root.digest,
          base: base?.summary.root.digest,
          directoryLimit: sent.root.totals.entries,
          onWork: { [progress] in progress.bytesRead.add($0, ordering: .relaxed) })
      } catch let error as Errno {
        throw Failure.writing("continue an earlier push in", at: repository.path, because: error)
      }
      way = WayDown(root: sent.root.digest, namedBefore: tree.namedBefore)
      do {
        try accept()
        if version >= 2 { try agreeOnRoom() }
        do { return try receive() } catch let error as CatalogError { throw try damageOfBase(error) }
      } catch {
        // Data from a client that broke the protocol must not obstruct a client that keeps to it. Data that the disk
        // lost must not stay either. The kernel may report a later loss to another process, not to the next push.
        tree.remember(received: channel.bytesReceived.value)
        if Self.isLie(error) || writeBack?.hasFailed == true { try? repository.receivedParts.discard(name) }
        if (error as? Failure)?.kind == .noSpace {
          // A push that does not fit leaves no data on the disk. The next push has the space of the spare, too.
          if stream != nil { try? repository.receivedParts.discard(name) }
          try? makeRoom()
        }
        throw error
      }
    }
  }

  private static func isLie(_ error: any Error) -> Bool {
    error is WireError || error is CatalogError || (error as? Failure)?.kind == .refused
  }

  private func chooseBase(_ list: SnapshotList) throws {
    let marked = try repository.marks.all(.damaged)
    for digest in candidates {
      guard let found = list.snapshots.last(where: { $0.summary.root.digest == digest }),
        let catalog = try? repository.openCatalog(found.name), let root = try? repository.openTree(found.name)
      else { continue }
      // The intact files of a damaged tree can serve. A damaged catalog does not tell which files are intact.
      if marked[found.name] != nil, (try? CatalogReader(catalog).check()) == nil { continue }
      base = found
      baseReader = CatalogReader(catalog)
      baseTree = root
      baseFiles = StoredFiles(root)
      return
    }
  }

  /// Returns the error to report. Marks the base if its catalog is damaged, so that the next push avoids it.
  private func damageOfBase(_ error: CatalogError) throws -> any Error {
    guard let base, let baseReader else { return error }
    do {
      try CatalogReader(baseReader.catalog).check()
      return error
    } catch let damage as CatalogError {
      try repository.marks.add(.damaged, to: base.name, reason: "by push: its catalog: \(damage)", at: Clock.now())
      return Failure(
        .damaged, "the catalog of \(base.name) there, of which only the changes were sent, is damaged: \(damage)",
        hint: "push again: that snapshot is not built upon any more; there, see: treering verify \(base.name)")
    }
  }

  private func accept() throws {
    let known = try tree.known()
    var message = MessageWriter()
    let index = base.flatMap { base in candidates.firstIndex(of: base.summary.root.digest) }
    message.integer(UInt64(index.map { $0 + 1 } ?? 0))
    let partials = tree.partials
    if version >= 2 {
      message.integer(UInt64(partials.count))
      for partial in partials {
        message.digest(partial.digest.digest)
        message.integer(partial.digest.isSparse ? 1 : 0 as UInt64)
        message.integer(partial.byteCount)
      }
    } else if let partial = partials.first(where: { !$0.digest.isSparse }) {
      message.integer(partial.byteCount + 1)
      message.digest(partial.digest.digest)
    } else {
      message.integer(0 as UInt64)
    }
    message.integer(UInt64(known.count))
    try channel.send(.accept, message.bytes)
    var rest = known[...]
    while !rest.isEmpty {
      let part = rest.prefix(8192)
      rest = rest.dropFirst(part.count)
      var bytes: [UInt8] = []
      for prefix in part { withUnsafeBytes(of: prefix) { bytes += $0 } }
      try channel.send(.have, bytes)
    }
    notes.open()
  }

  /// Refuses a push that does not fit, before the client sends any of its data.
  private func agreeOnRoom() throws {
    let needs = try PushNeeds(try channel.receive(.needs).payload)
    try room.check(needs, for: sent, baseCatalogBytes: baseReader?.catalog.byteCount ?? 0, makeRoom: makeRoom)
    try channel.send(.room)
  }

  /// Frees space that no visible snapshot uses: the spare and the trash.
  private func makeRoom() throws {
    repository.retirement.discardSpare()
    try emptyTrash(of: repository, threads: options.threads)
  }

  // MARK: The stream

  private func receive() throws -> ReceivedPush {
    let channel = self.channel
    stream = IncomingStream {
      guard let frame = try channel.receive() else { throw Channel.ended }
      guard frame.type == .stream else { throw WireError("a frame of type \(frame.type.rawValue) in a push") }
      return frame.payload
    }
    let sender = SignatureSender(
      channel, baseTree, baseReader, onRead: { [progress] in progress.bytesRead.add($0, ordering: .relaxed) },
      onLoss: { [notes, base] path in
        if let base { notes.noteDamage(of: path, in: base) }
      })
    signatures = sender
    do {
      defer { sender.stop() }
      while try takeMessage() {}
    }
    let gate = Gate()
    tree.fetchRecord = { [unowned self] digest, path in try gate.locked { try self.fetchRecord(digest, path) } }
    tree.fetchContent = { [unowned self] digest, path, byteCount in
      try gate.locked { try self.fetchContent(digest, path, byteCount) }
    }
    try synchronize()
    let snapshot: Snapshot
    do {
      snapshot = try buildSnapshot(
        name, as: sent, from: tree, base: base, in: repository, threads: options.threads, program: options.program,
        progress: progress, monitor: notes)
    } catch {
      if (error as? Failure)?.kind == .failed { try synchronize() }
      throw error
    }
    try? repository.receivedParts.discard(name)
    // The snapshot is published, even if this answer does not reach the client.
    try? acknowledge(snapshot, isNew: true, progress)
    return outcome(snapshot, nil)
  }

  /// Syncs the received data. Throws, and discards all of it, if the disk lost any.
  ///
  /// The build opens the file system later, and would not see this error.
  private func synchronize() throws {
    progress.isSynchronizing.store(true, ordering: .relaxed)
    defer { progress.isSynchronizing.store(false, ordering: .relaxed) }
    defer { writeBack = nil }
    do throws(Errno) {
      try writeBack?.finish()
      try repository.publication.synchronize(tree.contents.descriptor)
    } catch {
      try? repository.receivedParts.discard(name)
      throw Failure.writing("receive a snapshot in", at: repository.path, because: error)
    }
  }

  /// The result of the push, for the history.
  func outcome(_ snapshot: Snapshot?, _ failure: Failure?) -> ReceivedPush {
    ReceivedPush(
      name: name, snapshot: snapshot, failure: failure, bytesReceived: channel.bytesReceived.value,
      elapsedSeconds: Clock.monotonic() - start, began: began)
  }

  private func acknowledge(_ snapshot: Snapshot, isNew: Bool, _ progress: Progress) throws {
    var message = MessageWriter()
    message.integer(isNew ? 1 : 0 as UInt64)
    message.integer(snapshot.summary.sequence)
    message.integer(progress.linked.value)
    message.integer(progress.copied.value)
    try channel.send(.published, message.bytes)
  }

  /// Handles one message of the stream. Returns false for the last message.
  private func takeMessage() throws -> Bool {
    try checkForSignal()
    var parts = stream.parts
    let number = try parts.integer()
    guard let tag = UInt8(exactly: number).flatMap(StreamTag.init(rawValue:)) else {
      throw WireError("the stream has an unknown message \(number)")
    }
    switch tag {
    case .record: try takeRecord(&parts)
    case .directory:
      let digest = try parts.digest()
      guard let record = try tree.record(digest) else { throw WireError("a directory did not come before") }
      recordBytesAgain &+= UInt64(record.bytes.count)
      guard recordBytesAgain <= 16 << 20 &+ 4 &* tree.partsByteCount else {
        throw WireError("the same directories come again and again")
      }
      try enter(record, try baseFolder(&parts))
    case .file: try takeFile(&parts)
    case .baseFile:
      try takeReference()
      let row = try takeRow(&parts)
      try tree.add(baseFile: try parts.path(), for: row.digest)
    case .baseDirectory:
      try takeReference()
      guard let folder else { throw WireError("a reference belongs to no directory") }
      let index = try parts.count(Int(Int32.max))
      let rows = try directories ?? folder.record.directories()
      directories = rows
      guard index < rows.count else { throw WireError("a reference is to a directory that is not there") }
      try tree.add(baseDirectory: try parts.path(), for: rows[index].digest)
    case .signature: try signatures?.add(try parts.path())
    case .end: return false
    case .needed: throw WireError("what was not asked for came")
    }
    return true
  }

  /// Counts a reference, and throws if there are too many. Each reference is for a new row, and the row's digest was
  /// received: 32 bytes that do not compress.
  private func takeReference() throws {
    references &+= 1
    guard references <= 4096 &+ (channel.bytesReceived.value &+ tree.receivedBefore) / 16 else {
      throw WireError("there are more references than what came can have rows")
    }
  }

  private func baseFolder(
    _ parts: inout IncomingStream.Parts
  ) throws -> (path: [[UInt8]], record: DirectoryRecord, isMoved: Bool)? {
    let flags = try parts.integer()
    guard flags <= 3, flags != 2 else { throw WireError("a record has unknown flags") }
    guard flags & 1 == 1 else { return nil }
    let path = try parts.path()
    guard case .directory(let record, _)? = try baseReader?.find(path) else {
      throw WireError("a record's base is no directory")
    }
    return (path, record, flags & 2 == 2)
  }

  private func takeRecord(_ parts: inout IncomingStream.Parts) throws {
    let before = try baseFolder(&parts)
    let content = try takeRecordContent(&parts, before?.record)
    // The checks come before the record is stored.
    let record = try DirectoryRecord(content: content)
    try goDown(to: ReceivedTree.digest(of: content), record)
    _ = try tree.add(record: content, movedFrom: before.flatMap { $0.isMoved ? $0.path : nil })
    try enter(record, before)
  }

  private func goDown(to digest: Digest, _ record: DirectoryRecord) throws {
    try way.enter(digest, record.directories()) { try tree.record($0) }
  }

  /// The limit on record bytes; it follows from the bytes received and the base's records.
  private var allowedRecordBytes: UInt64 {
    16 << 20 &+ Wire.expansion &* channel.bytesReceived.value &+ 16 &* recordBaseBytes &+ tree.partsByteCount
  }

  func takeRecordContent(_ parts: inout IncomingStream.Parts, _ before: DirectoryRecord?) throws -> [UInt8] {
    let count = try parts.count(Wire.recordBytes)
    var content: [UInt8] = []
    let source = before?.content ?? []
    recordBaseBytes &+= UInt64(source.count)
    func check() throws {
      guard recordBytes &+ UInt64(content.count) <= allowedRecordBytes else {
        throw WireError("a directory has more in it than came")
      }
    }
    _ = try instructions.read(
      stream, byteCount: UInt64(count), baseByteCount: UInt64(source.count),
      copy: { offset, count in
        content += source[source.startIndex + Int(offset)..<source.startIndex + Int(offset + count)]
        try check()
        return true
      },
      literal: {
        content += $0
        try check()
      })
    recordBytes &+= UInt64(content.count)
    return content
  }

  private func enter(_ record: DirectoryRecord, _ before: (path: [[UInt8]], record: DirectoryRecord, isMoved: Bool)?)
    throws
  {
    folder = (record, before.map { ($0.path, $0.record) })
    files = try FileCursor(record)
    directories = nil
  }

  /// Reads a file's position in the folder from a message. Returns the file's row.
  private func takeRow(_ parts: inout IncomingStream.Parts) throws -> FileRow {
    guard files != nil else { throw WireError("a file belongs to no directory") }
    var skip = try parts.integer()
    while skip > 0, files!.current != nil {
      try files!.advance()
      skip -= 1
    }
    guard let row = files!.current, row.kind == .regular else { throw WireError("a file is not in its directory") }
    try files!.advance()
    return row
  }

  private func takeFile(_ parts: inout IncomingStream.Parts) throws {
    let row = try takeRow(&parts)
    let kind = try parts.integer()
    var path: [[UInt8]]?
    switch kind {
    case 0: break
    case 1:
      guard let before = folder?.base else { throw WireError("a file's directory has no base") }
      path = before.path + [Array(folder!.record.bytes[row.name])]
    case 2: path = try parts.path()
    default: throw WireError("a file is sent in an unknown way")
    }
    let offset = try parts.integer()
    guard offset <= row.size else { throw WireError("a file goes on beyond its end") }
    var source: (file: StoredSource?, byteCount: UInt64)?
    var mayBeDamaged = false
    if let path {
      guard case .file(let before, _)? = try baseReader?.find(path), before.kind == .regular else {
        throw WireError("a file's base is no file")
      }
      let version = baseFiles?.open(path, before.size) { [progress] in progress.bytesRead.add($0, ordering: .relaxed) }
      if case .unknown = version {} else { mayBeDamaged = true }
      source = (version?.source, before.size)
    }
    let wasTried = try takeContent(row.digest, row.size, from: offset, source)
    if let path, wasTried, mayBeDamaged, !tree.hasContent(row.digest) { doubtful[row.digest] = path }
  }
}

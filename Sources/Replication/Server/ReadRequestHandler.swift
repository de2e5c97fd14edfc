internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository

/// Answers the requests that only read.
struct ReadRequestHandler {
  let channel: Channel
  let repository: Repository
  let threads: ThreadCount
  let version: ProtocolVersion
  private(set) var opened: (name: SnapshotName, catalog: OpenCatalog, lock: FileLock?)?

  func list() throws {
    let list = try repository.snapshots()
    let holds = try repository.marks.all(.held)
    let members = try repository.members(of: list)
    for snapshot in list.snapshots {
      let sets = SnapshotSet.allCases.compactMap { set in
        (members[set] ?? []).firstIndex(of: snapshot.name).map { "\(set.rawValue).\($0)" }
      }
      try channel.send(ListedSnapshot.usable(snapshot, sets: sets, hold: holds[snapshot.name]))
    }
    for snapshot in list.unusable { try channel.send(ListedSnapshot.unusable(snapshot)) }
    try channel.send(ListEnd(rotationHold: try repository.heldRotation()))
  }

  mutating func openCatalog(of name: SnapshotName) throws {
    try channel.send(CatalogSize(byteCount: try catalog(of: name).byteCount))
  }

  mutating func readCatalog(of name: SnapshotName, at offset: UInt64, byteCount: Int) throws {
    let catalog = try catalog(of: name)
    guard offset <= catalog.byteCount else { throw ProtocolViolation("a catalog is read beyond its end") }
    try channel.send(.bytes, try catalog.read(at: offset, count: byteCount))
  }

  private mutating func catalog(of name: SnapshotName) throws -> OpenCatalog {
    if let opened, opened.name == name { return opened.catalog }
    let lock = try? repository.locks.lockShared(name)
    let catalog = try repository.openCatalog(of: name)
    opened = (name, catalog, lock)
    return catalog
  }

  /// Sends the bytes of a stored file, or the reason that it cannot be opened. The client checks the bytes.
  func fetch(_ path: TreePath, of name: SnapshotName) throws {
    guard !path.isEmpty else { throw ProtocolViolation("a file has no name") }
    let stream = OutgoingStream(over: channel, windowLog: 20)
    let file: StoredSource?
    do { file = try StoredFiles(in: try repository.openTree(of: name)).openRegularFile(at: path) } catch {
      file = nil
      let problem = FetchHead.problem("\(error)")
      try stream.write { problem.encode(to: &$0) }
    }
    if let file { try send(file, to: stream) }
    try stream.finish()
    try channel.send(.end)
  }

  private func send(_ file: StoredSource, to stream: OutgoingStream) throws {
    let head = FetchHead.file(byteCount: file.byteCount)
    try stream.write { head.encode(to: &$0) }
    let buffer = LiteralBuffer()
    var instructions = InstructionWriter(to: stream)
    var done: UInt64 = 0
    while done < file.byteCount {
      let zeroCount = version.hasSparseFiles ? (try? file.zeroBytes(at: done)) ?? 0 : 0
      if zeroCount >= UInt64(ContentHasher.partBytes) {
        try instructions.write(.zeros(zeroCount))
        done += zeroCount
        continue
      }
      let want = Int(min(UInt64(buffer.bytes.count), file.byteCount - done))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<want])
      var count = (try? file.read(into: part, at: done)) ?? 0
      if count == 0 {
        // The file cannot be read, or has shrunk. Zeros replace its bytes, and the client finds a wrong digest.
        part.initializeMemory(as: UInt8.self, repeating: 0)
        count = want
      }
      try instructions.write(.literal(UnsafeRawBufferPointer(rebasing: part[..<count])))
      done += UInt64(count)
    }
    try instructions.end()
  }

  /// Shows the client that a long work goes on.
  private func keepAlives(of progress: Progress, tellsCounts: Bool = false) -> Ticker {
    Ticker(intervalMilliseconds: 1000) { [channel] in
      let (entries, bytes) = (progress.entries.value, progress.bytesRead.value)
      channel.sendKeepAlive(number: entries &+ bytes, done: tellsCounts ? (entries, bytes) : nil)
    }
  }

  func measureSpace(of names: [SnapshotName]) throws {
    let progress = Progress()
    let ticker = keepAlives(of: progress)
    defer { ticker.stop() }
    let held = try repository.heldSpace(
      of: Set(names), in: try repository.snapshots(), threads: threads, progress: progress)
    ticker.stop()
    for row in held.rows { try channel.send(row) }
    if let spare = held.spare {
      try channel.send(HeldSpace.Row(name: spare.snapshot.name, aloneBytes: spare.aloneBytes))
      try channel.send(ListedSnapshot.usable(spare.snapshot, sets: [], hold: nil))
    }
    for snapshot in held.unreadable { try channel.send(ListedSnapshot.unusable(snapshot)) }
    try channel.send(SpaceEnd(of: held))
  }

  func verify(_ request: VerifyRequest) throws {
    let names = request.names
    // The verification of each snapshot reads all its files.
    guard Set(names).count == names.count else { throw ProtocolViolation("a snapshot is to be verified twice") }
    let progress = Progress()
    let ticker = keepAlives(of: progress, tellsCounts: version.hasVerificationProgress)
    defer { ticker.stop() }
    let options = VerifyOptions(threads: threads, part: request.part, bytesPerSecond: request.bytesPerSecond)
    let result = try repository.verify(names, options: options, progress: progress) { [channel] problem in
      try? channel.send(problem)
    }
    ticker.stop()
    try channel.send(VerifyEnd(of: result, entries: progress.entries.value, bytesRead: progress.bytesRead.value))
  }
}

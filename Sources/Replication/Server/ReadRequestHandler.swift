internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Synchronization

/// Answers the requests that only read.
final class ReadingSession {
  private let channel: Channel
  private let repository: Repository
  private let threads: Int
  private let version: UInt64
  /// The snapshot that the last request read.
  private var opened: (name: SnapshotName, catalog: OpenCatalog, use: SnapshotLock?)?

  init(_ channel: Channel, _ repository: Repository, threads: Int, version: UInt64) {
    self.channel = channel
    self.repository = repository
    self.threads = threads
    self.version = version
  }

  func answer(_ frame: Channel.Frame) throws {
    var reader = MessageReader(frame.payload)
    switch frame.type {
    case .list:
      try reader.end()
      try list()
    case .openCatalog:
      let name = try reader.snapshotName()
      try reader.end()
      let catalog = try open(name)
      var message = MessageWriter()
      message.integer(catalog.byteCount)
      try channel.send(.bytes, message.bytes)
    case .readCatalog:
      let name = try reader.snapshotName()
      let offset = try reader.quantity()
      let count = try reader.count(Wire.frameBytes)
      try reader.end()
      let catalog = try open(name)
      guard offset <= catalog.byteCount else { throw WireError("a catalog is read beyond its end") }
      try channel.send(.bytes, try catalog.read(at: offset, count: count))
    case .fetch:
      let name = try reader.snapshotName()
      let path = try reader.path()
      try reader.end()
      try fetch(name, path)
    case .verify:
      var names: [SnapshotName] = []
      for _ in 0..<(try reader.count(1 << 16)) { names.append(try reader.snapshotName()) }
      try reader.end()
      // The verification of each snapshot reads all its files.
      guard Set(names).count == names.count else { throw WireError("a snapshot is to be verified twice") }
      try verify(names)
    default: throw WireError("a frame of type \(frame.type.rawValue) came where none may")
    }
  }

  private func open(_ name: SnapshotName) throws -> OpenCatalog {
    if let opened, opened.name == name { return opened.catalog }
    let use = try? repository.locks.lockShared(name)
    let catalog = try repository.openCatalog(name)
    opened = (name, catalog, use)
    return catalog
  }

  private func list() throws {
    let list = try repository.snapshots()
    let held = try repository.marks.all(.held)
    let members = try repository.members(of: list)
    for snapshot in list.snapshots {
      var message = MessageWriter()
      message.integer(1 as UInt64)
      message.text(snapshot.name.bytes)
      message.text(encoded(snapshot.summary))
      let sets = SnapshotSet.allCases.compactMap { set in
        (members[set] ?? []).firstIndex(of: snapshot.name).map { "\(set.rawValue).\($0)" }
      }
      message.integer(UInt64(sets.count))
      for set in sets { message.text(Array(set.utf8)) }
      let reason = held[snapshot.name]
      message.integer(reason == nil ? 0 : 1 as UInt64)
      message.text(Array((reason ?? "").utf8).prefix(4000))
      try channel.send(.snapshot, message.bytes)
    }
    for unusable in list.unusable {
      var message = MessageWriter()
      message.integer(unusable.isDamage ? 0 : 2 as UInt64)
      message.text(unusable.name.bytes)
      message.text(Array(unusable.reason.utf8).prefix(4000))
      try channel.send(.snapshot, message.bytes)
    }
    var message = MessageWriter()
    message.text(Array((try repository.heldRotation() ?? "").utf8).prefix(4000))
    try channel.send(.end, message.bytes)
  }

  /// The encoded summary; without its sources and mounts if they are too many for a frame.
  private func encoded(_ summary: CatalogSummary) -> [UInt8] {
    let bytes = summary.encoded
    if bytes.count <= Wire.frameBytes - 8192 { return bytes }
    var short = summary
    short.sources = []
    short.absentSources = []
    short.otherSources = []
    short.mounts = []
    return short.encoded
  }

  /// Sends the bytes of a stored file, or the reason that it cannot be opened. The client checks the bytes.
  private func fetch(_ name: SnapshotName, _ path: [[UInt8]]) throws {
    guard let last = path.last else { throw WireError("a file has no name") }
    let stream = OutgoingStream(channel, windowLog: 20)
    do throws(Errno) {
      let root: Directory
      do { root = try repository.openTree(name) } catch { throw .noSuchEntry }
      let directory = try root.directory(path: path.dropLast())
      // Opening a device can do harm, so the kind is checked first.
      guard try directory.descriptor.status(of: last.span).kind == .regular else { throw .invalid }
      let file = try directory.descriptor.openToRead(last.span)
      let status = try file.status()
      try send(StoredSource(file, status), stream)
    } catch {
      var message = MessageWriter()
      message.integer(0 as UInt64)
      message.text(Array("\(error)".utf8))
      try stream.write(message.bytes)
    }
    try stream.finish()
    try channel.send(.end)
  }

  private func send(_ file: StoredSource, _ stream: OutgoingStream) throws(Errno) {
    let size = file.byteCount
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: InstructionReader.pieceBytes, alignment: 4096)
    defer { buffer.deallocate() }
    var writer = MessageWriter()
    writer.integer(1 as UInt64)
    writer.integer(size)
    var instructions = InstructionWriter(stream)
    var failure: (any Error)?
    do { try stream.write(writer.bytes) } catch { failure = error }
    var done: UInt64 = 0
    while done < size, failure == nil {
      let zeroCount = version >= Wire.sparseVersion ? (try? file.zeroBytes(at: done)) ?? 0 : 0
      if zeroCount >= UInt64(ContentHasher.partBytes) {
        do { try instructions.write(zeros: zeroCount) } catch { failure = error }
        done += zeroCount
        continue
      }
      let want = Int(min(UInt64(buffer.count), size - done))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<want])
      var count = (try? file.read(into: part, at: done)) ?? 0
      if count == 0 {
        // The file cannot be read, or has shrunk. Zeros replace its bytes, and the client finds a wrong digest.
        part.initializeMemory(as: UInt8.self, repeating: 0)
        count = want
      }
      do { try instructions.write(.literal(UnsafeRawBufferPointer(rebasing: part[..<count]))) } catch {
        failure = error
      }
      done += UInt64(count)
    }
    do { try instructions.end() } catch { failure = failure ?? error }
    // This is a failure of the connection, so the next send fails as well.
    if failure != nil { throw .brokenPipe }
  }

  private func verify(_ names: [SnapshotName]) throws {
    let progress = Progress()
    let channel = self.channel
    let ticker = Ticker(intervalMilliseconds: 1000) {
      channel.sendAlive(progress.entries.value &+ progress.bytesRead.value)
    }
    defer { ticker.stop() }
    let result = try repository.verify(names, threads: threads, progress: progress) { problem in
      var message = MessageWriter()
      message.text(problem.snapshot.bytes)
      message.text(problem.path.prefix(Wire.frameBytes - 8192))
      message.text(Array(problem.message.utf8).prefix(4000))
      message.integer(problem.isDamage ? 1 : 0 as UInt64)
      try? channel.send(.problem, message.bytes)
    }
    ticker.stop()
    var message = MessageWriter()
    for number in [result.problems, result.damaged, result.filesRead, progress.entries.value, progress.bytesRead.value]
    {
      message.integer(number)
    }
    message.integer(UInt64(result.expired.count))
    for name in result.expired { message.text(name.bytes) }
    try channel.send(.end, message.bytes)
  }
}

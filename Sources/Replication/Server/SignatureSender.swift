internal import Catalog
internal import Delta
internal import Model
internal import Posix
internal import Repository

/// Computes signatures of the base's files on its own thread. Neither it nor the receiving thread waits for the other.
final class SignatureSender {
  private let push: IncomingPush
  private let base: PushBase?
  private let queue = PathQueue()
  private var thread: BackgroundThread?
  private var requestsLeft: UInt64

  init(for push: IncomingPush, base: PushBase?) {
    self.push = push
    self.base = base
    requestsLeft = (base?.catalog.summary.root.totals.entries ?? 0) &+ 1024
  }

  func add(_ path: TreePath) throws {
    guard let base else { throw ProtocolViolation("a signature is asked for, and there is no base") }
    guard requestsLeft > 0 else { throw ProtocolViolation("more signatures are asked for than the base has files") }
    requestsLeft -= 1
    try queue.append(path)
    guard thread == nil else { return }
    let (catalog, tree, snapshot) = (base.catalog, base.tree, base.snapshot)
    thread = try BackgroundThread { [push, queue] in
      var computer = SignatureComputer(
        push: push, snapshot: snapshot, queue: queue, reader: CatalogReader(reading: catalog),
        files: StoredFiles(in: tree), bytesLeft: 2 &* snapshot.summary.root.totals.bytes)
      while let path = queue.next() {
        do { try push.channel.send(signature: computer.signature(of: path)) } catch { return }
      }
    }
  }

  func stop() {
    queue.stop()
    thread?.join()
    thread = nil
  }
}

/// The requested paths that wait for their signatures.
private final class PathQueue: @unchecked Sendable {
  private let gate = Gate()
  private var waiting: [TreePath] = []
  private var hasStopped = false

  var isStopped: Bool { gate.locked { hasStopped } }

  func append(_ path: TreePath) throws {
    try gate.locked {
      guard waiting.count < Wire.signatures else {
        throw ProtocolViolation("too many signatures are asked for at once")
      }
      waiting.append(path)
      gate.wakeAll()
    }
  }

  /// Waits for a path; `nil` after the stop.
  func next() -> TreePath? {
    gate.locked {
      while waiting.isEmpty && !hasStopped { gate.wait() }
      return hasStopped ? nil : waiting.removeFirst()
    }
  }

  func stop() {
    gate.locked {
      hasStopped = true
      gate.wakeAll()
    }
  }
}

private struct SignatureComputer {
  let push: IncomingPush
  let snapshot: Snapshot
  let queue: PathQueue
  let reader: CatalogReader
  let files: StoredFiles
  /// The bytes of the base's files that may still be read; at first twice their total. A client may request some files
  /// twice, but cannot keep the disk busy for ever.
  var bytesLeft: UInt64

  /// The encoded signature; empty if the file cannot be read.
  mutating func signature(of path: TreePath) -> [UInt8] {
    guard case .file(let row, _)? = try? reader.find(path), row.kind == .regular, row.size <= bytesLeft,
      let salt = try? CurrentProcess.randomNumber()
    else { return [] }
    let file: StoredSource
    switch files.open(path, byteCount: row.size, onRead: push.countRead) {
    case .opened(let source): file = source
    case .unknown: return []
    case .damaged:
      push.notes.noteDamage(of: path, in: snapshot)
      return []
    }
    bytesLeft -= row.size
    let source = StoppableSource(of: file) { [queue] in queue.isStopped }
    return (try? Signature(of: source, blockBytes: BlockSize.remote(for: row.size), salt: salt))?.encoded() ?? []
  }
}

extension Channel {
  /// Sends a signature in frames. The last frame is shorter than `Wire.frameBytes`.
  fileprivate func send(signature bytes: [UInt8]) throws {
    var rest = bytes[...]
    while true {
      let part = rest.prefix(Wire.frameBytes)
      rest = rest.dropFirst(part.count)
      try send(.signature, Array(part))
      if part.count < Wire.frameBytes { return }
    }
  }
}

/// A file whose reads fail once its signature is no longer needed.
private final class StoppableSource: ByteSource {
  private let source: StoredSource
  private let isStopped: () -> Bool
  var byteCount: UInt64 { source.byteCount }

  init(of source: StoredSource, isStopped: @escaping () -> Bool) {
    self.source = source
    self.isStopped = isStopped
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    if isStopped() { throw DeltaError.shortened }
    return try source.read(into: buffer, at: offset)
  }

  func zeroBytes(at offset: UInt64) throws -> UInt64 {
    if isStopped() { throw DeltaError.shortened }
    return try source.zeroBytes(at: offset)
  }
}

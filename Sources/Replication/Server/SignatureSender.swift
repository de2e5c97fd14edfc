internal import Catalog
internal import Delta
internal import Model
internal import Posix
internal import Repository

/// Computes signatures of the base's files on its own thread. Neither it nor the receiving thread waits for the other.
final class SignatureSender {
  private let push: IncomingPush
  private let base: PushBase?
  private let queue = Guarded(PathQueue())
  private var thread: BackgroundThread?
  private var requestsLeft: UInt64

  init(for push: IncomingPush, base: PushBase?) {
    (self.push, self.base) = (push, base)
    requestsLeft = (base?.catalog.summary.root.totals.entries ?? 0) &+ 1024
  }

  func add(_ path: TreePath) throws {
    guard let base else { throw ProtocolViolation("a signature is asked for, and there is no base") }
    guard requestsLeft > 0 else { throw ProtocolViolation("more signatures are asked for than the base has files") }
    requestsLeft -= 1
    try queue.change {
      guard $0.waiting.count < Wire.signatures
      else { throw ProtocolViolation("too many signatures are asked for at once") }
      $0.waiting.append(path)
    }
    guard thread == nil else { return }
    let (catalog, tree, snapshot) = (base.catalog, base.tree, base.snapshot)
    thread = try BackgroundThread { [push, queue] in
      var computer = SignatureComputer(
        push: push, snapshot: snapshot, queue: queue, reader: CatalogReader(reading: catalog),
        files: StoredFiles(in: tree), bytesLeft: 2 &* snapshot.summary.root.totals.bytes)
      while let path = queue.locked(
        when: { !$0.waiting.isEmpty || $0.hasStopped },
        body: { $0.hasStopped ? nil : $0.waiting.removeFirst() })
      {
        do { try push.channel.send(signature: computer.signature(of: path)) } catch { return }
      }
    }
  }

  func stop() {
    queue.change { $0.hasStopped = true }
    thread?.join()
    thread = nil
  }
}

/// The requested paths that wait for their signatures.
private struct PathQueue {
  var waiting: [TreePath] = []
  var hasStopped = false
}

private struct SignatureComputer {
  let push: IncomingPush
  let snapshot: Snapshot
  let queue: Guarded<PathQueue>
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
    let source = StoppableSource(of: file) { [queue] in queue.locked { $0.hasStopped } }
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
    (self.source, self.isStopped) = (source, isStopped)
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

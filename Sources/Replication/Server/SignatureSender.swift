internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Computes signatures of the base's files on its own thread. Neither it nor the receiving thread waits for the other.
final class SignatureSender: @unchecked Sendable {
  private let gate = Gate()
  private var waiting: [[[UInt8]]] = []
  private var isStopped = false
  private var thread: BackgroundThread?
  private let channel: Channel
  private let files: StoredFiles?
  private let reader: CatalogReader?
  /// Called for a file that does not match the base's catalog.
  private let onLoss: ([[UInt8]]) -> Void
  /// The bytes of the base's files that may still be read; at first twice their total. A client may request some files
  /// twice, but cannot keep the disk busy for ever.
  private var bytesLeft: UInt64
  private var requestsLeft: UInt64
  private let onRead: @Sendable (UInt64) -> Void

  /// `onRead` gets the number of bytes of each read. `onLoss` gets the path of each damaged file.
  init(
    _ channel: Channel, _ root: Directory?, _ base: CatalogReader?, onRead: @escaping @Sendable (UInt64) -> Void,
    onLoss: @escaping ([[UInt8]]) -> Void
  ) {
    self.channel = channel
    self.onRead = onRead
    files = root.map { StoredFiles($0) }
    self.onLoss = onLoss
    // A catalog reader belongs to one thread.
    reader = base.map { CatalogReader($0.catalog) }
    let totals = base?.summary.root.totals ?? Totals()
    bytesLeft = totals.bytes.addingReportingOverflow(totals.bytes).partialValue
    requestsLeft = totals.entries &+ 1024
  }

  func add(_ path: [[UInt8]]) throws {
    guard reader != nil else { throw WireError("a signature is asked for, and there is no base") }
    guard requestsLeft > 0 else { throw WireError("more signatures are asked for than the base has files") }
    requestsLeft -= 1
    try gate.locked {
      guard waiting.count < Wire.signatures else { throw WireError("too many signatures are asked for at once") }
      waiting.append(path)
      gate.wakeAll()
    }
    if thread == nil { thread = try BackgroundThread { [self] in run() } }
  }

  func stop() {
    gate.locked {
      isStopped = true
      gate.wakeAll()
    }
    thread?.join()
    thread = nil
  }

  private func run() {
    while true {
      let path: [[UInt8]]? = gate.locked {
        while waiting.isEmpty && !isStopped { gate.wait() }
        return isStopped ? nil : waiting.removeFirst()
      }
      guard let path else { return }
      do { try send(signature(path)) } catch { return }
    }
  }

  /// The encoded signature; empty if the file cannot be read.
  private func signature(_ path: [[UInt8]]) -> [UInt8] {
    guard case .file(let row, _)? = try? reader?.find(path), row.kind == .regular, row.size <= bytesLeft,
      let salt = try? CurrentProcess.randomBytes(8)
    else { return [] }
    guard let files else { return [] }
    let file: StoredSource
    switch files.open(path, row.size, onRead: onRead) {
    case .opened(let source): file = source
    case .unknown: return []
    case .damaged:
      onLoss(path)
      return []
    }
    bytesLeft -= row.size
    let source = StoppableSource(file) { [self] in gate.locked { isStopped } }
    let number = salt.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return (try? Signature(of: source, blockBytes: BlockSize.remote(row.size), salt: number))?.encoded() ?? []
  }

  /// Sends a signature in frames. The last frame is shorter than `Wire.frameBytes`.
  private func send(_ bytes: [UInt8]) throws {
    var rest = bytes[...]
    while true {
      let part = rest.prefix(Wire.frameBytes)
      rest = rest.dropFirst(part.count)
      try channel.send(.signature, Array(part))
      if part.count < Wire.frameBytes { return }
    }
  }
}

/// A file whose reads fail once its signature is no longer needed.
private final class StoppableSource: ByteSource {
  private let source: StoredSource
  private let isStopped: () -> Bool
  var byteCount: UInt64 { source.byteCount }

  init(_ source: StoredSource, isStopped: @escaping () -> Bool) {
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

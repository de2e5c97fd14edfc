internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// The two directions of a connection. No call waits longer than its timeout.
protocol Transport: AnyObject, Sendable {
  /// Returns the number of bytes read: 0 at the end of the stream, `nil` after the timeout.
  func read(into buffer: UnsafeMutableRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int?
  /// Returns the number of bytes written; `nil` after the timeout.
  func write(_ bytes: UnsafeRawBufferPointer, timeoutMilliseconds: Int32) throws(Errno) -> Int?
}

/// Sends and receives frames over a connection.
///
/// A frame is a type byte, the payload length in four bytes, and the payload. One thread receives. Several threads may
/// send, one frame after the other.
final class Channel: @unchecked Sendable {
  typealias Frame = (type: FrameType, payload: [UInt8])

  /// The other process.
  enum Peer: String, Sendable { case client, server }

  private let transport: any Transport
  let peer: Peer
  /// The longest time in seconds that the other process may send nothing, or accept nothing.
  let timeoutSeconds: Double
  /// True if a blocked send reads frames. If neither process does so, two blocked senders wait for each other for ever.
  private let readsWhileSending: Bool
  private let limiter: RateLimiter?
  private let sending = Gate()
  /// The first send error; it is sticky. Later sends throw it at once, and `receive` waits for no answer to a request
  /// that was not sent.
  private var sendError: (any Error)?
  private let sendHasFailed = Atomic<Bool>(false)
  /// Guards the receiving state: with `readsWhileSending`, sending threads read too.
  private let receiving = Gate()
  /// The time of the last send, in seconds of the monotonic clock.
  private let lastSent = Atomic<Int64>(0)

  let bytesSent = Atomic<UInt64>(0)
  let bytesReceived = Atomic<UInt64>(0)

  private var buffer: [UInt8] = []
  private var start = 0
  private var waiting: [Frame] = []
  private var waitingBytes = 0
  private var hasEnded = false
  private var aliveNumber: UInt64 = 0
  /// The last progress number of the current work, and the sum of those of all earlier work.
  private let aliveSent = Mutex((last: UInt64(0), before: UInt64(0)))
  private var heardAt = Clock.monotonic()
  /// The time of the last transfer in either direction, keep-alives excluded.
  private var servedAt = Clock.monotonic()
  /// The longest time in seconds that the other process may only send keep-alives, even if they report progress.
  var aliveLimitSeconds = 86_400.0

  init(
    _ transport: any Transport, to peer: Peer, timeoutSeconds: Double, readsWhileSending: Bool,
    bytesPerSecond: UInt64? = nil
  ) {
    self.transport = transport
    self.peer = peer
    self.timeoutSeconds = timeoutSeconds
    self.readsWhileSending = readsWhileSending
    limiter = bytesPerSecond.map { RateLimiter(bytesPerSecond: $0) }
  }

  // MARK: Sending

  func send(_ type: FrameType, _ payload: [UInt8] = []) throws {
    try payload.withUnsafeBytes { try send(type, $0) }
  }

  func send(_ type: FrameType, _ payload: UnsafeRawBufferPointer) throws {
    guard payload.count <= Wire.frameBytes else {
      throw Failure(.remote, "something is too long to be sent: \(payload.count) bytes")
    }
    let frame = [UInt8](unsafeUninitializedCapacity: 5 + payload.count) { bytes, count in
      let raw = UnsafeMutableRawBufferPointer(bytes)
      raw[0] = type.rawValue
      raw.storeBytes(of: UInt32(payload.count).littleEndian, toByteOffset: 1, as: UInt32.self)
      UnsafeMutableRawBufferPointer(rebasing: raw[5...]).copyMemory(from: payload)
      count = 5 + payload.count
    }
    try sending.locked {
      if let sendError { throw sendError }
      do { try write(frame, isWork: type != .alive) } catch {
        sendError = error
        sendHasFailed.store(true, ordering: .releasing)
        throw error
      }
      lastSent.store(Clock.monotonic().seconds, ordering: .relaxed)
    }
  }

  private func write(_ frame: [UInt8], isWork: Bool) throws {
    var done = 0
    var since = Clock.monotonic()
    if isWork { served(since) }
    while done < frame.count {
      try checkForSignal()
      let want = min(frame.count - done, limiter?.grant() ?? frame.count)
      var written: Int?
      var failure: Errno?
      frame.withUnsafeBytes { bytes in
        do throws(Errno) {
          written = try transport.write(
            UnsafeRawBufferPointer(rebasing: bytes[done..<done + want]), timeoutMilliseconds: 20)
        } catch { failure = error }
      }
      if let failure {
        // A process that gave up may have sent the reason first.
        if readsWhileSending { try receiving.locked { try readToTheEnd() } }
        throw lost(failure)
      }
      let now = Clock.monotonic()
      if let written {
        done += written
        since = now
        if isWork { served(now) }
        limiter?.used(written)
        bytesSent.add(UInt64(written), ordering: .relaxed)
      } else {
        // A server that still sends keep-alives is busy, not dead. It will read later.
        let heard = readsWhileSending ? try hear() : since
        if now - max(since, heard) > timeoutSeconds { throw silence("takes nothing") }
      }
    }
  }

  /// Reads the available frames. Returns the last time at which the other process showed that it is alive.
  private func hear() throws -> Timestamp {
    try receiving.locked {
      try readWhatIsThere()
      return heardAt
    }
  }

  private func served(_ now: Timestamp) {
    if readsWhileSending { receiving.locked { servedAt = now } }
  }

  /// Sends a keep-alive, unless a frame was sent recently. `number` grows with the progress of one piece of work, and
  /// starts again with the next.
  func sendAlive(_ number: UInt64) {
    let total = aliveSent.withLock { sent in
      if number < sent.last { sent.before &+= sent.last }
      sent.last = number
      return sent.before &+ number
    }
    guard Clock.monotonic().seconds > lastSent.load(ordering: .relaxed) + 2 else { return }
    var message = MessageWriter()
    message.integer(total)
    try? send(.alive, message.bytes)
  }

  // MARK: Receiving

  /// The next frame; `nil` at the end of the connection. Throws the failure that the other process sent.
  func receive() throws -> Frame? {
    // No thread has read until now, so the timeouts begin here.
    receiving.locked {
      heardAt = Clock.monotonic()
      servedAt = heardAt
    }
    var sendFailedAt: Timestamp?
    while true {
      let (frame, isOver) = try receiving.locked { try next() }
      if let frame {
        if frame.type == .failure { throw try Failure(frame.payload) }
        return frame
      }
      if isOver { return nil }
      try checkForSignal()
      guard sendHasFailed.load(ordering: .acquiring) else { continue }
      // The other process gets a moment to send the reason that it reads nothing more.
      let now = Clock.monotonic()
      sendFailedAt = sendFailedAt ?? now
      if now - sendFailedAt! > Self.lastWordsSeconds { try sending.locked { if let sendError { throw sendError } } }
    }
  }

  /// The next frame; `nil` if none arrives within 100 ms. `isOver` is true at the end of the connection.
  private func next() throws -> (Frame?, isOver: Bool) {
    if waiting.isEmpty, !hasEnded {
      try read(timeoutMilliseconds: 100)
      if waiting.isEmpty, !hasEnded, Clock.monotonic() - heardAt > timeoutSeconds { throw silence("is silent") }
    }
    if waiting.isEmpty { return (nil, hasEnded) }
    let frame = waiting.removeFirst()
    waitingBytes -= frame.payload.count
    return (frame, false)
  }

  /// The next frame. Throws if it has none of these types.
  func receive(_ types: FrameType...) throws -> Frame {
    guard let frame = try receive() else { throw Self.ended }
    guard types.contains(frame.type) else {
      throw WireError("a frame of type \(frame.type.rawValue) came where none may")
    }
    return frame
  }

  static let ended = Failure(.remote, "the connection was closed before the end")

  /// Throws if the other process has failed or closed the connection. Called while sending.
  func checkForFailure() throws {
    try receiving.locked {
      if readsWhileSending { try readWhatIsThere() }
      try throwFailure()
    }
  }

  private func throwFailure() throws {
    if let index = waiting.firstIndex(where: { $0.type == .failure }) { throw try Failure(waiting[index].payload) }
    if hasEnded && waiting.isEmpty { throw Self.ended }
  }

  private func take(_ type: FrameType, _ payload: ArraySlice<UInt8>) throws {
    if type != .alive {
      heardAt = Clock.monotonic()
      servedAt = heardAt
      waiting.append((type, Array(payload)))
      waitingBytes += payload.count
      return
    }
    // A keep-alive counts only if its number has grown.
    var reader = MessageReader(Array(payload))
    let number = try reader.integer()
    let now = Clock.monotonic()
    if number > aliveNumber, now - servedAt < aliveLimitSeconds { heardAt = now }
    aliveNumber = max(number, aliveNumber)
  }

  private func readWhatIsThere() throws {
    while !hasEnded, waiting.count < 4096, waitingBytes < Wire.waitingBytes, try read(timeoutMilliseconds: 0) {}
  }

  /// Reads all frames that the other process sent before it ended. Throws its failure, if it sent one.
  private func readToTheEnd() throws {
    let start = Clock.monotonic()
    while !hasEnded, waiting.count < 4096, Clock.monotonic() - start < Self.lastWordsSeconds {
      try read(timeoutMilliseconds: 100)
    }
    try readWhatIsThere()
    try throwFailure()
  }

  /// The longest wait for the last frames of a process that reads nothing more.
  private static let lastWordsSeconds = 5.0

  @discardableResult
  private func read(timeoutMilliseconds: Int32) throws -> Bool {
    if start > 0, start == buffer.count {
      buffer.removeAll(keepingCapacity: true)
      start = 0
    } else if start > 1 << 20 {
      buffer.removeFirst(start)
      start = 0
    }
    let capacity = 64 << 10
    var count: Int?
    var failure: Errno?
    let more = [UInt8](unsafeUninitializedCapacity: capacity) { bytes, initialized in
      do throws(Errno) {
        count = try transport.read(into: UnsafeMutableRawBufferPointer(bytes), timeoutMilliseconds: timeoutMilliseconds)
        initialized = count ?? 0
      } catch { failure = error }
    }
    if let failure { throw lost(failure) }
    guard let count else { return false }
    if count == 0 {
      hasEnded = true
      return false
    }
    bytesReceived.add(UInt64(count), ordering: .relaxed)
    buffer += more
    try takeFrames()
    return true
  }

  private func takeFrames() throws {
    while buffer.count - start >= 5 {
      let length =
        Int(buffer[start + 1]) | Int(buffer[start + 2]) << 8 | Int(buffer[start + 3]) << 16
        | Int(buffer[start + 4]) << 24
      guard length <= Wire.frameBytes else { throw WireError("a frame is longer than is allowed") }
      guard let type = FrameType(rawValue: buffer[start]) else {
        throw WireError("a frame has the unknown type \(buffer[start])")
      }
      guard buffer.count - start >= 5 + length else { return }
      try take(type, buffer[start + 5..<start + 5 + length])
      start += 5 + length
    }
  }

  private func lost(_ error: Errno) -> Failure { Failure(.remote, "the connection was lost: \(error)") }

  private func silence(_ what: String) -> Failure {
    Failure(
      .remote, "the \(peer.rawValue) \(what) for \(Int(timeoutSeconds)) s", hint: "try again; what was sent is kept")
  }
}

/// Token-bucket rate limiter. The bucket holds the bytes of a quarter of a second.
private final class RateLimiter {
  private let bytesPerSecond: Double
  private var granted: Double = 0
  private var last = Clock.monotonic()

  init(bytesPerSecond: UInt64) { self.bytesPerSecond = Double(bytesPerSecond) }

  /// The number of bytes that may be written now. Waits until there is at least one.
  func grant() -> Int {
    while true {
      let now = Clock.monotonic()
      granted = min(granted + (now - last) * bytesPerSecond, max(bytesPerSecond / 4, 1))
      last = now
      if granted >= 1 { return Int(granted) }
      CurrentProcess.sleep(milliseconds: 10)
    }
  }

  func used(_ count: Int) { granted -= Double(count) }
}

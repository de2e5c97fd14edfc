internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Sends and receives frames over a connection.
///
/// One thread receives. Several threads may send, one frame after the other.
final class Channel: Sendable {
  /// The other process.
  enum Peer: String, Sendable { case client, server }

  /// The state of sending.
  private struct Outbox: Sendable {
    var limiter: RateLimiter?
    /// The first send error; it is sticky. Later sends throw it at once, and `receive` waits for no answer to a
    /// request that was not sent.
    var error: (any Error)?
  }

  /// The state of receiving.
  private struct Inbox: Sendable {
    var decoder = Frame.Decoder()
    var limiter: RateLimiter?
    var waiting: [Frame] = []
    var waitingBytes = 0
    var hasEnded = false
    var keepAliveNumber: UInt64 = 0
    /// The counts of the work that the other process does.
    var progress: Progress?
    /// The last frame that proves that the other process makes progress.
    var lastSignOfLife = Clock.monotonic()
    /// The time of the last transfer in either direction, keep-alives excluded.
    var lastTransfer = Clock.monotonic()
  }

  private let transport: any Transport
  let peer: Peer
  /// The longest time in seconds that the other process may send nothing, or accept nothing. At a low rate of receiving
  /// it has the time of a frame in addition.
  let timeoutSeconds: Double
  /// The longest time in seconds that the other process may only send keep-alives, even if they report progress.
  private let keepAliveLimitSeconds: Double
  /// The longest time in seconds that the connection may last, whatever comes; `nil` for any time.
  private let longestSeconds: Double?
  private let began = Clock.monotonic()
  /// True if a blocked send reads frames. If neither process does so, two blocked senders wait for each other for ever.
  private let readsWhileSending: Bool
  private let outbox: Mutex<Outbox>
  private let sendHasFailed = Atomic<Bool>(false)
  /// With `readsWhileSending`, sending threads read too.
  private let inbox: Mutex<Inbox>
  /// The time of the last send, in seconds of the monotonic clock.
  private let lastSent = Atomic<Int64>(0)
  /// The last progress number of the current work, and the sum of those of all earlier work.
  private let keepAliveSent = Mutex((last: UInt64(0), before: UInt64(0)))

  let bytesSent = Atomic<UInt64>(0)
  let bytesReceived = Atomic<UInt64>(0)

  init(
    over transport: any Transport, to peer: Peer, timeoutSeconds: Double, readsWhileSending: Bool,
    keepAliveLimitSeconds: Double = 86_400, longestSeconds: Double? = nil, bytesPerSecond: UInt64? = nil,
    receivedBytesPerSecond: UInt64? = nil
  ) {
    (self.transport, self.peer) = (transport, peer)
    self.timeoutSeconds = timeoutSeconds + (receivedBytesPerSecond.map { Double(Wire.frameBytes) / Double($0) } ?? 0)
    (self.keepAliveLimitSeconds, self.readsWhileSending) = (keepAliveLimitSeconds, readsWhileSending)
    self.longestSeconds = longestSeconds
    outbox = Mutex(Outbox(limiter: bytesPerSecond.map { RateLimiter(bytesPerSecond: $0) }))
    inbox = Mutex(Inbox(limiter: receivedBytesPerSecond.map { RateLimiter(bytesPerSecond: $0) }))
  }

  // MARK: Sending

  func send(_ message: some FrameMessage) throws { try send(type(of: message).type, message.payload) }

  func send(_ frame: Frame) throws { try send(frame.type, frame.payload) }

  func send(_ type: FrameType, _ payload: [UInt8] = []) throws { try payload.withUnsafeBytes { try send(type, $0) } }

  func send(_ type: FrameType, _ payload: UnsafeRawBufferPointer) throws {
    let bytes = try Frame.encoded(type: type, payload: payload)
    try outbox.withLock { outbox in
      if let error = outbox.error { throw error }
      do { try write(bytes, isWork: type != .alive, limiter: &outbox.limiter) } catch {
        outbox.error = error
        sendHasFailed.store(true, ordering: .releasing)
        throw error
      }
      lastSent.store(Clock.monotonic().seconds, ordering: .relaxed)
    }
  }

  private func write(_ frame: [UInt8], isWork: Bool, limiter: inout RateLimiter?) throws {
    var done = 0
    var lastWritten = Clock.monotonic()
    if isWork { noteTransfer(at: lastWritten) }
    while done < frame.count {
      try checkForSignal()
      try checkTime()
      let want = min(frame.count - done, limiter?.waitForTokens() ?? frame.count)
      let written: Int?
      do throws(Errno) { written = try write(frame[done..<done + want]) } catch {
        // A process that gave up may have sent the reason first.
        if readsWhileSending { try inbox.withLock { try readToTheEnd(into: &$0) } }
        throw lost(because: error)
      }
      let now = Clock.monotonic()
      if let written {
        done += written
        lastWritten = now
        if isWork { noteTransfer(at: now) }
        limiter?.consume(byteCount: written)
        bytesSent.add(UInt64(written), ordering: .relaxed)
      } else {
        // A server that still sends keep-alives is busy, not dead. It will read later.
        let lastSign = readsWhileSending ? try readSignOfLife() : lastWritten
        if now - max(lastWritten, lastSign) > timeoutSeconds { throw silence(that: "takes nothing") }
      }
    }
  }

  private func write(_ bytes: ArraySlice<UInt8>) throws(Errno) -> Int? {
    var result = Result<Int?, Errno>.success(nil)
    bytes.withUnsafeBytes { bytes in
      result = Result { () throws(Errno) in try transport.write(from: bytes, timeoutMilliseconds: 20) }
    }
    return try result.get()
  }

  /// Reads the available frames. Returns the last time at which the other process showed that it is alive.
  private func readSignOfLife() throws -> Timestamp {
    try inbox.withLock { inbox in
      try readAvailable(into: &inbox)
      return inbox.lastSignOfLife
    }
  }

  private func noteTransfer(at now: Timestamp) { if readsWhileSending { inbox.withLock { $0.lastTransfer = now } } }

  /// Sends a keep-alive, unless a frame was sent recently. `number` grows with the progress of one piece of work, and
  /// starts again with the next.
  func sendKeepAlive(number: UInt64, done: (entries: UInt64, bytes: UInt64)? = nil) {
    let total = keepAliveSent.withLock { sent in
      if number < sent.last { sent.before &+= sent.last }
      sent.last = number
      return sent.before &+ number
    }
    guard Clock.monotonic().seconds > lastSent.load(ordering: .relaxed) + 2 else { return }
    try? send(KeepAlive(number: total, done: done))
  }

  // MARK: Receiving

  /// Lets the keep-alives of the other process set the counts of a progress.
  func follow(_ progress: Progress?) { inbox.withLock { $0.progress = progress } }

  /// The next frame; `nil` at the end of the connection. Throws the failure that the other process sent.
  func receive() throws -> Frame? {
    // No thread has read until now, so the timeouts begin here.
    inbox.withLock { inbox in
      inbox.lastSignOfLife = Clock.monotonic()
      inbox.lastTransfer = inbox.lastSignOfLife
    }
    var sendFailedAt: Timestamp?
    while true {
      try checkTime()
      let (frame, isOver) = try inbox.withLock { try next(in: &$0) }
      if let frame {
        if frame.type == .failure { throw try Failure(payload: frame.payload) }
        return frame
      }
      if isOver { return nil }
      try checkForSignal()
      guard sendHasFailed.load(ordering: .acquiring) else { continue }
      // The other process gets a moment to send the reason that it reads nothing more.
      let now = Clock.monotonic()
      let failedAt = sendFailedAt ?? now
      sendFailedAt = failedAt
      if now - failedAt > Self.lastWordsSeconds, let error = outbox.withLock({ $0.error }) { throw error }
    }
  }

  /// The next frame; `nil` if none arrives within 100 ms. `isOver` is true at the end of the connection.
  private func next(in inbox: inout Inbox) throws -> (Frame?, isOver: Bool) {
    if inbox.waiting.isEmpty, !inbox.hasEnded {
      try read(into: &inbox, timeoutMilliseconds: 100)
      if inbox.waiting.isEmpty, !inbox.hasEnded, Clock.monotonic() - inbox.lastSignOfLife > timeoutSeconds {
        throw silence(that: "is silent")
      }
    }
    if inbox.waiting.isEmpty { return (nil, inbox.hasEnded) }
    let frame = inbox.waiting.removeFirst()
    inbox.waitingBytes -= frame.payload.count
    return (frame, false)
  }

  /// The next frame. Throws if it has none of these types.
  func receive(_ types: FrameType...) throws -> Frame {
    guard let frame = try receive() else { throw Self.ended }
    guard types.contains(frame.type) else { throw frame.isUnexpected }
    return frame
  }

  /// The next message. Throws if it is of another type.
  func receive<Message: FrameMessage>(_ type: Message.Type) throws -> Message {
    try Message(payload: try receive(Message.type).payload)
  }

  /// The newest version that client and server both speak, and the rest of the other process's hello.
  func receiveHello() throws -> (version: ProtocolVersion, fields: MessageReader) {
    try Hello.open(try receive(.hello).payload, of: peer.rawValue)
  }

  static let ended = Failure(.remote, "the connection was closed before the end")

  /// Throws if the other process has failed or closed the connection. Called while sending.
  func checkForFailure() throws {
    try inbox.withLock { inbox in
      if readsWhileSending { try readAvailable(into: &inbox) }
      try throwFailure(in: inbox)
    }
  }

  private func throwFailure(in inbox: Inbox) throws {
    if let frame = inbox.waiting.first(where: { $0.type == .failure }) { throw try Failure(payload: frame.payload) }
    if inbox.hasEnded && inbox.waiting.isEmpty { throw Self.ended }
  }

  private func readAvailable(into inbox: inout Inbox) throws {
    while !inbox.hasEnded, inbox.waiting.count < Wire.waitingFrames, inbox.waitingBytes < Wire.waitingBytes,
      try read(into: &inbox, timeoutMilliseconds: 0)
    {}
  }

  /// Reads all frames that the other process sent before it ended. Throws its failure, if it sent one.
  private func readToTheEnd(into inbox: inout Inbox) throws {
    let start = Clock.monotonic()
    while !inbox.hasEnded, inbox.waiting.count < Wire.waitingFrames, Clock.monotonic() - start < Self.lastWordsSeconds {
      try read(into: &inbox, timeoutMilliseconds: 100)
    }
    try readAvailable(into: &inbox)
    try throwFailure(in: inbox)
  }

  /// The longest wait for the last frames of a process that reads nothing more.
  private static let lastWordsSeconds = 5.0

  private static let readBytes = 64 << 10

  @discardableResult
  private func read(into inbox: inout Inbox, timeoutMilliseconds: Int32) throws -> Bool {
    let most = min(Self.readBytes, inbox.limiter?.availableTokens() ?? Self.readBytes)
    guard most > 0 else {
      if timeoutMilliseconds > 0 { CurrentProcess.sleep(milliseconds: 10) }
      return false
    }
    var result = Result<Int?, Errno>.success(nil)
    let more = [UInt8](unsafeUninitializedCapacity: most) { bytes, initialized in
      let target = UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(bytes)[..<most])
      result = Result { () throws(Errno) in
        try transport.read(into: target, timeoutMilliseconds: timeoutMilliseconds)
      }
      initialized = (try? result.get()) ?? 0
    }
    let count: Int?
    do throws(Errno) { count = try result.get() } catch { throw lost(because: error) }
    guard let count else { return false }
    if count == 0 {
      inbox.hasEnded = true
      return false
    }
    bytesReceived.add(UInt64(count), ordering: .relaxed)
    inbox.limiter?.consume(byteCount: count)
    inbox.decoder.append(more)
    while let frame = try inbox.decoder.next() { try add(frame, to: &inbox) }
    return true
  }

  private func add(_ frame: Frame, to inbox: inout Inbox) throws {
    let now = Clock.monotonic()
    if frame.type != .alive {
      inbox.lastSignOfLife = now
      inbox.lastTransfer = now
      inbox.waitingBytes += frame.payload.count
      inbox.waiting.append(frame)
      return
    }
    // A keep-alive counts only if its number has grown.
    let alive = try KeepAlive(payload: frame.payload)
    if let done = alive.done, let progress = inbox.progress {
      progress.entries.store(done.entries, ordering: .relaxed)
      progress.bytesRead.store(done.bytes, ordering: .relaxed)
    }
    let number = alive.number
    if number > inbox.keepAliveNumber, now - inbox.lastTransfer < keepAliveLimitSeconds { inbox.lastSignOfLife = now }
    inbox.keepAliveNumber = max(number, inbox.keepAliveNumber)
  }

  private func checkTime() throws {
    guard let longestSeconds, Clock.monotonic() - began > longestSeconds else { return }
    throw Failure(.remote, "the \(peer.rawValue) is not done in the time that it has", hint: "what was sent is kept")
  }

  private func lost(because error: Errno) -> Failure { Failure(.remote, "the connection was lost: \(error)") }

  private func silence(that what: String) -> Failure {
    Failure(
      .remote, "the \(peer.rawValue) \(what) for \(Int(timeoutSeconds)) s", hint: "try again; what was sent is kept")
  }
}

extension OutgoingStream {
  convenience init(over channel: Channel, level: Int32 = 3, windowLog: Int32 = Wire.windowLog) {
    self.init(level: level, windowLog: windowLog) { try channel.send(.stream, $0) }
  }
}

internal import Engine
internal import Model
internal import Posix
internal import Repository

/// A connection to an SFTP server through a program such as ssh(1): version 3 of the protocol, as OpenSSH has it
/// (draft-ietf-secsh-filexfer-02). One thread at a time.
///
/// Several requests may be under way. They are bounded, so that neither side waits for the other to read.
final class SFTPConnection {
  struct Status: Error {
    var code: UInt32
    var text: [UInt8]

    static let end: UInt32 = 1
    static let noSuchFile: UInt32 = 2
    static let failed: UInt32 = 4
  }

  /// An answer to a request.
  enum Answer {
    case status(Status)
    case handle([UInt8])
    case data([UInt8])
    case names([(name: [UInt8], attributes: Attributes)])
    case attributes(Attributes)
  }

  struct Attributes {
    var size: UInt64 = 0
    var permissions: UInt32 = 0
    var modified: UInt32 = 0
    var isRegular: Bool { permissions & 0o170000 == 0o100000 }
  }

  /// The types of requests.
  enum Request: UInt8 {
    case open = 3, close = 4, read = 5, write = 6, lstat = 7, opendir = 11, readdir = 12, remove = 13, mkdir = 14
    case stat = 17, rename = 18, extended = 200
  }

  /// The most requests under way.
  static let window = 64
  private static let mostPacketBytes = 1 << 20

  private let child: PipedChild
  private let displayName: String
  private let timeoutSeconds: Double
  /// False if the process was told to end, and only the last requests matter.
  private let mindsSignals: Bool
  private var received: [UInt8] = []
  private var lastError: [UInt8] = []
  private var lines = LineBuffer()
  private var nextID: UInt32 = 0
  /// The extensions that the server has.
  private(set) var extensions: Set<String> = []
  /// True after a failure. The next answer could belong to an earlier request.
  private(set) var isBroken = false

  /// Connects. `command` runs the server; its standard streams are the connection.
  init(_ command: [[UInt8]], displayName: String, timeoutSeconds: Double, mindsSignals: Bool) throws(Failure) {
    (self.displayName, self.timeoutSeconds, self.mindsSignals) = (displayName, timeoutSeconds, mindsSignals)
    do throws(Errno) { child = try PipedChild.start(command) } catch {
      throw Failure(.remote, "\(displayName): cannot start \(Model.displayName(command.first ?? [])): \(error)")
    }
    var hello = SFTPWriter()
    hello.uint32(5)
    hello.byte(1)
    hello.uint32(3)
    try send(hello.bytes)
    var packet = try receive()
    guard packet.byte() == 2, let version = packet.uint32(), version >= 3 else {
      throw broken("the server does not speak SFTP version 3")
    }
    while let name = packet.string(), packet.string() != nil {
      extensions.insert(String(decoding: name, as: UTF8.self))
    }
  }

  deinit {
    try? child.closeInput()
    if !isBroken { _ = try? child.wait(timeoutSeconds: 1) }
    child.terminate()
    _ = try? child.wait(timeoutSeconds: 1)
  }

  // MARK: Requests

  /// Sends requests, and returns their answers in the same order. At most `window` are under way.
  func answers(to requests: [(type: Request, fields: SFTPWriter)]) throws(Failure) -> [Answer] {
    let first = nextID
    nextID &+= UInt32(requests.count)
    var found = [Answer?](repeating: nil, count: requests.count)
    var (sent, done) = (0, 0)
    while done < requests.count {
      var packets: [UInt8] = []
      while sent < requests.count, sent - done < Self.window {
        let (type, fields) = requests[sent]
        var head = SFTPWriter()
        head.uint32(UInt32(fields.bytes.count + 5))
        head.byte(type.rawValue)
        head.uint32(first &+ UInt32(sent))
        packets += head.bytes + fields.bytes
        sent += 1
      }
      try send(packets)
      let (id, answer) = try receiveAnswer()
      let index = Int(id &- first)
      guard index < sent, found[index] == nil else { throw broken("the server answers what was not asked") }
      found[index] = answer
      done += 1
    }
    return found.compactMap { $0 }
  }

  func answer(to type: Request, _ fields: SFTPWriter) throws(Failure) -> Answer {
    try answers(to: [(type, fields)])[0]
  }

  private func receiveAnswer() throws(Failure) -> (id: UInt32, answer: Answer) {
    var packet = try receive()
    guard let type = packet.byte(), let id = packet.uint32(), let answer = Self.answer(type, &packet) else {
      throw broken("the server's answer is damaged")
    }
    return (id, answer)
  }

  private static func answer(_ type: UInt8, _ packet: inout SFTPReader) -> Answer? {
    switch type {
    case 101: return packet.uint32().map { .status(Status(code: $0, text: packet.string() ?? [])) }
    case 102: return packet.string().map { .handle($0) }
    case 103: return packet.string().map { .data($0) }
    case 104:
      guard let count = packet.uint32() else { return nil }
      var names: [(name: [UInt8], attributes: Attributes)] = []
      for _ in 0..<count {
        guard let name = packet.string(), packet.string() != nil, let attributes = packet.attributes() else {
          return nil
        }
        names.append((name, attributes))
      }
      return .names(names)
    case 105: return packet.attributes().map { .attributes($0) }
    default: return nil
    }
  }

  // MARK: Packets

  private func send(_ bytes: [UInt8]) throws(Failure) {
    var (done, last) = (0, Clock.monotonic())
    while done < bytes.count {
      var result = Result<Int?, Errno>.success(nil)
      bytes.withUnsafeBytes { buffer in
        result = Result { () throws(Errno) in
          try child.input.writeAvailable(UnsafeRawBufferPointer(rebasing: buffer[done...]), timeoutMilliseconds: 100)
        }
      }
      guard case .success(let written) = result else { throw lost() }
      if let written { (done, last) = (done + written, Clock.monotonic()) }
      try check(since: last)
    }
  }

  private func receive() throws(Failure) -> SFTPReader {
    while true {
      if received.count >= 4 {
        let count = received[..<4].reduce(0) { $0 << 8 | Int($1) }
        guard count <= Self.mostPacketBytes else { throw broken("the server's answer is too long") }
        if received.count >= 4 + count {
          let packet = Array(received[4..<(4 + count)])
          received.removeFirst(4 + count)
          return SFTPReader(packet)
        }
      }
      try receiveMore()
    }
  }

  private func receiveMore() throws(Failure) {
    let start = Clock.monotonic()
    while true {
      readErrors()
      var result = Result<Int?, Errno>.success(nil)
      let more = [UInt8](unsafeUninitializedCapacity: 256 << 10) { buffer, initialized in
        let target = UnsafeMutableRawBufferPointer(buffer)
        result = Result { () throws(Errno) in try child.output.readAvailable(into: target, timeoutMilliseconds: 100) }
        initialized = (try? result.get()) ?? 0
      }
      guard case .success(let count) = result, count != 0 else { throw lost() }
      if count != nil {
        received += more
        return
      }
      try check(since: start)
    }
  }

  private func check(since last: Timestamp) throws(Failure) {
    if mindsSignals { try checkForSignal() }
    if Clock.monotonic() - last > timeoutSeconds { throw broken("the server is silent") }
  }

  /// Keeps the last line of the program's errors. A full pipe would stop the program.
  private func readErrors(timeoutMilliseconds: Int32 = 0) {
    withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 1) { buffer in
      while let count = try? child.error.readAvailable(into: buffer, timeoutMilliseconds: timeoutMilliseconds),
        count > 0
      {
        lines.pass(buffer[..<count]) { lastError = $0 }
      }
    }
  }

  private func broken(_ reason: String) -> Failure {
    isBroken = true
    return Failure(.remote, "\(displayName): \(reason)")
  }

  /// The failure of a connection that has ended. The program's last line mostly has the reason.
  private func lost() -> Failure {
    isBroken = true
    if let signal = CurrentProcess.rememberedSignal, mindsSignals {
      return Failure(.interrupted(signal: signal), "interrupted")
    }
    _ = try? child.wait(timeoutSeconds: 2)
    readErrors(timeoutMilliseconds: 100)
    lines.finish { lastError = $0 }
    let reason = lastError.filter { $0 != 13 }.prefix(500)
    return broken("the connection was lost" + (reason.isEmpty ? "" : ": \(Model.displayName(Array(reason)))"))
  }
}

/// Writes the fields of a request.
struct SFTPWriter {
  private(set) var bytes: [UInt8] = []

  mutating func byte(_ value: UInt8) { bytes.append(value) }
  mutating func uint32(_ value: UInt32) { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
  mutating func uint64(_ value: UInt64) { withUnsafeBytes(of: value.bigEndian) { bytes += $0 } }
  mutating func string(_ value: some Collection<UInt8>) {
    uint32(UInt32(value.count))
    bytes += value
  }
  /// Attributes that have only permissions.
  mutating func permissions(_ mode: UInt32) {
    uint32(4)
    uint32(mode)
  }

  static func of(_ strings: [UInt8]...) -> SFTPWriter {
    var writer = SFTPWriter()
    for string in strings { writer.string(string) }
    return writer
  }
}

/// Reads the fields of an untrusted answer; `nil` if it is cut off.
struct SFTPReader {
  private var bytes: ArraySlice<UInt8>

  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }

  mutating func byte() -> UInt8? { bytes.popFirst() }
  mutating func uint32() -> UInt32? { number(bytes: 4).map { UInt32($0) } }
  mutating func uint64() -> UInt64? { number(bytes: 8) }

  private mutating func number(bytes count: Int) -> UInt64? {
    guard bytes.count >= count else { return nil }
    defer { bytes = bytes.dropFirst(count) }
    return bytes.prefix(count).reduce(0) { $0 << 8 | UInt64($1) }
  }

  mutating func string() -> [UInt8]? {
    guard let count = uint32(), count <= bytes.count else { return nil }
    defer { bytes = bytes.dropFirst(Int(count)) }
    return Array(bytes.prefix(Int(count)))
  }

  mutating func attributes() -> SFTPConnection.Attributes? {
    var attributes = SFTPConnection.Attributes()
    guard let flags = uint32() else { return nil }
    if flags & 1 != 0 {
      guard let size = uint64() else { return nil }
      attributes.size = size
    }
    if flags & 2 != 0, uint64() == nil { return nil }
    if flags & 4 != 0 {
      guard let permissions = uint32() else { return nil }
      attributes.permissions = permissions
    }
    if flags & 8 != 0 {
      guard uint32() != nil, let modified = uint32() else { return nil }
      attributes.modified = modified
    }
    if flags & 0x8000_0000 != 0 {
      guard let count = uint32() else { return nil }
      for _ in 0..<count where string() == nil || string() == nil { return nil }
    }
    return attributes
  }
}

internal import CCurl
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Sends requests to the server of a repository, and repeats those whose failure may pass. Any number of threads may
/// use it; each request has a connection of its own, which is kept.
final class HTTPClient: Sendable {
  struct Request: Sendable {
    var method = "GET"
    var url: String
    /// Secrets belong here, and never into the URL.
    var headers: [String] = []
    var body: [UInt8] = []
    var longestAnswer = 1 << 16
    /// A last request is sent even if the process was told to end; it is not repeated then.
    var isLast = false
  }

  struct Answer: Sendable {
    var status: Int
    var body: [UInt8]
    fileprivate var lines: String
    /// True if an earlier attempt may have reached the server.
    var isRepeated = false

    /// The value of a header.
    func header(_ name: String) -> String? {
      for line in lines.split(whereSeparator: { $0.isNewline }) {
        guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased() else { continue }
        return String(line[line.index(after: colon)...].drop { $0 == " " })
      }
      return nil
    }
  }

  private struct Session: @unchecked Sendable { let pointer: OpaquePointer }

  private let displayName: String
  private let authorities: String?
  private let timeoutSeconds: Double
  private let userAgent: String
  private let idle = Mutex<[Session]>([])
  private let hasAnswered = Atomic<Bool>(false)

  /// The time in which a server that never answered must answer, in seconds.
  private static let firstSeconds = 4.0
  private static let connectMilliseconds = 30_000
  private static let lastMilliseconds = 5000
  /// The largest memory for an answer that an idle session keeps.
  private static let keptBodyBytes = 1 << 20

  init(of displayName: String, options: ServerOptions) throws(Failure) {
    self.displayName = displayName
    (authorities, timeoutSeconds, userAgent) = (options.authorities, options.timeoutSeconds, options.program)
    if let trouble = tr_http_trouble() {
      throw Failure(.usage, "\(displayName) cannot be reached: \(String(cString: trouble))")
    }
  }

  deinit { for session in idle.withLock({ $0 }) { tr_http_session_free(session.pointer) } }

  /// Sends a request until an answer comes that another attempt would not change. `make` is called for each attempt.
  ///
  /// Every request of a store may be repeated: it reads, or writes the same bytes again, or removes. `mayPass` names
  /// further answers that may pass.
  func send(
    _ make: () -> Request, mayPass: (Answer) -> Bool = { _ in false }
  ) throws(Failure) -> Answer {
    // The time of the first failure. A long upload before it does not count.
    var start: Timestamp?
    var pauseSeconds = 0.25
    var isRepeated = false
    while true {
      let request = make()
      if !request.isLast { try checkForSignal() }
      let (end, answer, error) = sendOnce(request)
      if !request.isLast { try checkForSignal() }
      var wanted: Double?
      switch end {
      case TR_HTTP_ANSWERED:
        hasAnswered.store(true, ordering: .relaxed)
        guard [408, 429, 500, 502, 503, 504].contains(answer.status) || mayPass(answer) else {
          var answer = answer
          answer.isRepeated = isRepeated
          return answer
        }
        wanted = answer.header("Retry-After").flatMap { Double($0) }
        isRepeated = true
      case TR_HTTP_REFUSED: throw Failure(.remote, "\(displayName): \(error)")
      case TR_HTTP_BROKEN: isRepeated = true
      default: break
      }
      // Different machines must not repeat at the same moments.
      let random = Double((try? CurrentProcess.randomNumber()) ?? 0) / Double(UInt64.max)
      let pause = max(min(wanted ?? 0, 3600), pauseSeconds * (0.75 + random / 2))
      pauseSeconds = min(pauseSeconds * 2, 30)
      let limit = hasAnswered.load(ordering: .relaxed) ? timeoutSeconds : min(Self.firstSeconds, timeoutSeconds)
      let isEnding = CurrentProcess.rememberedSignal != nil
      let now = Clock.monotonic()
      let since = start ?? now
      start = since
      guard !isEnding, now - since + pause <= limit else {
        if end == TR_HTTP_ANSWERED { return answer }
        throw Failure(.remote, "\(displayName): \(error)")
      }
      try wait(seconds: pause, isLast: request.isLast)
    }
  }

  private func wait(seconds: Double, isLast: Bool) throws(Failure) {
    let start = Clock.monotonic()
    while true {
      let left = seconds - (Clock.monotonic() - start)
      if left <= 0 { return }
      CurrentProcess.sleep(milliseconds: Int(min(left * 1000, 200)) + 1)
      if !isLast { try checkForSignal() }
    }
  }

  private func sendOnce(_ request: Request) -> (end: tr_http_end, answer: Answer, error: String) {
    let taken = idle.withLock { $0.popLast() } ?? tr_http_session_new().map { Session(pointer: $0) }
    guard let session = taken else { return (TR_HTTP_BROKEN, Answer(status: 0, body: [], lines: ""), "out of memory") }
    defer { idle.withLock { $0.append(session) } }
    var reply = tr_http_reply()
    let headers = CStrings(strings: request.headers.map { Array($0.utf8) })
    let isEnding = request.isLast && CurrentProcess.rememberedSignal != nil
    let strings = CStrings(strings: [request.method, request.url, userAgent].map { Array($0.utf8) })
    let file = CStrings(strings: authorities.map { [Array($0.utf8)] } ?? [])
    request.body.withUnsafeBytes { body in
      var sent = tr_http_request(
        method: strings.pointers[0], url: strings.pointers[1], headers: headers.pointers, body: body.baseAddress,
        count: body.count, user_agent: strings.pointers[2], ca_file: file.pointers[0],
        connect_milliseconds: min(Self.connectMilliseconds, Int(timeoutSeconds * 1000)),
        stall_seconds: max(1, Int(timeoutSeconds)), timeout_milliseconds: isEnding ? Self.lastMilliseconds : 0,
        longest_answer: request.longestAnswer,
        should_stop: request.isLast ? nil : { CurrentProcess.rememberedSignal == nil ? 0 : 1 })
      tr_http_send(session.pointer, &sent, &reply)
    }
    withExtendedLifetime((headers, strings, file)) {}
    let body = [UInt8](UnsafeRawBufferPointer(start: reply.body, count: reply.body_count))
    tr_http_session_trim(session.pointer, Self.keptBodyBytes)
    let lines = String(
      decoding: UnsafeRawBufferPointer(start: reply.headers, count: reply.headers_count), as: UTF8.self)
    var error = reply.error
    let text = withUnsafeBytes(of: &error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    return (reply.end, Answer(status: reply.status, body: body, lines: lines), text)
  }
}

/// Facts about the way to a server.
public struct ServerOptions: Sendable {
  /// The file with the certificate authorities; `nil` for the system's.
  public var authorities: String?
  /// The longest time without data, and the longest time for all attempts of one request.
  public var timeoutSeconds: Double
  /// The name and version of this program.
  public var program: String

  public init(authorities: String?, timeoutSeconds: Double, program: String) {
    (self.authorities, self.timeoutSeconds, self.program) = (authorities, timeoutSeconds, program)
  }
}

extension HTTPClient.Answer {
  /// The bytes from `offset` on that were asked for, of an answer with status 200 or 206.
  func range(at offset: UInt64, count: Int) throws(ResticError) -> [UInt8] {
    if status == 206 {
      guard body.count <= count else { throw ResticError("the server sent more than was asked for") }
      return body
    }
    // A server may ignore the range of the whole object.
    guard offset == 0 else { throw ResticError("the server does not answer requests for a range") }
    return Array(body.prefix(count))
  }
}

/// The range that a request asks for.
func rangeHeader(at offset: UInt64, count: Int) -> String {
  "Range: bytes=\(offset)-\(offset.addingReportingOverflow(UInt64(max(count, 1)) - 1).partialValue)"
}

/// Writes each byte that a URL cannot have as it is as `%XX` (RFC 3986, section 2.3). `/` stays if it `isPath`.
func urlEscaped(_ text: some Sequence<UInt8>, isPath: Bool) -> String {
  var escaped = ""
  for byte in text {
    let isPlain = isAlphanumeric(byte) || "-._~".utf8.contains(byte) || isPath && byte == slash
    if isPlain {
      escaped.unicodeScalars.append(Unicode.Scalar(byte))
    } else {
      escaped += "%\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))"
    }
  }
  return escaped
}

extension ObjectName {
  /// The path of the file in restic's layout.
  var path: String {
    switch kind {
    case .config: "config"
    case .data: "data/\(id.description.prefix(2))/\(id)"
    default: "\(kind.rawValue)/\(id)"
    }
  }
}

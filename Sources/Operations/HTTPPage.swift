internal import CCurl
internal import Posix

/// A page that was fetched by HTTP, in one attempt and without following a redirection.
public struct HTTPPage: Sendable {
  public let status: Int
  public let body: [UInt8]

  /// The reason that no answer came, in a sentence.
  public struct Unanswered: Error {
    public let message: String
  }

  private static let longestBody = 16 << 20

  /// Waits for the answer at most `limitSeconds`, and ends at once if a signal tells the process to end.
  public init(at url: String, userAgent: String, limitSeconds: Double) throws(Unanswered) {
    if let problem = HTTPPost.problem { throw Unanswered(message: problem) }
    guard let session = tr_http_session_new() else { throw Unanswered(message: "out of memory") }
    defer { tr_http_session_free(session) }
    let milliseconds = max(1, Int(limitSeconds * 1000))
    let (headers, strings) = (CStrings(strings: []), CStrings(strings: ["GET", url, userAgent].map { Array($0.utf8) }))
    var reply = tr_http_reply()
    var request = tr_http_request(
      method: strings.pointers[0], url: strings.pointers[1], headers: headers.pointers, body: nil, count: 0,
      user_agent: strings.pointers[2], ca_file: nil, connect_milliseconds: milliseconds,
      stall_seconds: max(1, Int(limitSeconds)), timeout_milliseconds: milliseconds, longest_answer: Self.longestBody,
      should_stop: { CurrentProcess.rememberedSignal == nil ? 0 : 1 })
    tr_http_send(session, &request, &reply)
    withExtendedLifetime((headers, strings)) {}
    guard reply.end == TR_HTTP_ANSWERED else {
      var error = reply.error
      throw Unanswered(message: withUnsafeBytes(of: &error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    status = reply.status
    body = [UInt8](UnsafeRawBufferPointer(start: reply.body, count: reply.body_count))
  }
}

internal import CCurl
internal import Posix

/// Sends a body by HTTP or HTTPS, and retries if that may help, within one time limit.
///
/// Certificates and host names are always checked. The authorities are the system's, or those in the file that the
/// environment variable `SSL_CERT_FILE` names.
struct HTTPPost: Sendable {
  var url: String
  var headers: [String] = []
  var userAgent: String
  var limitSeconds: Double

  struct Answer {
    /// The longest body that the server accepts, in bytes, if it says so. Healthchecks does.
    var bodyLimit: Int?
  }

  /// The reason that a body was not delivered, in a sentence.
  struct Undelivered: Error {
    var message: String
  }

  /// The pauses before retries, in milliseconds; the last pause is repeated.
  private static let pauses = [250, 500, 1000, 2000, 4000]

  /// The time limit if a signal told the process to end before the call.
  private static let secondsAfterSignal = 0.5

  /// Sends a body. Throws `Undelivered`; at once if a signal tells the process to end in the meantime.
  func send(_ body: [UInt8]) throws(Undelivered) -> Answer {
    let isEnding = CurrentProcess.rememberedSignal != nil
    let limitSeconds = isEnding ? min(limitSeconds, Self.secondsAfterSignal) : limitSeconds
    let start = Clock.monotonic()
    var message = ""
    var attempt = 0
    while true {
      let left = limitSeconds - (Clock.monotonic() - start)
      // The first attempt gets half the time, so a server that does not answer gets a second chance.
      let share = attempt == 0 && !isEnding ? left / 2 : left
      let answer = sendOnce(body: body, milliseconds: max(1, Int(share * 1000)), isEnding: isEnding)
      var error = answer.error
      let text = withUnsafeBytes(of: &error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      switch (text.isEmpty, answer.status) {
      case (true, 200..<300): return Answer(bodyLimit: answer.body_limit < 0 ? nil : answer.body_limit)
      case (true, 429), (true, 500...): message = "the server answered \(answer.status)"
      case (true, _): throw Undelivered(message: "the server answered \(answer.status)")
      case (false, _) where answer.is_refused != 0: throw Undelivered(message: text)
      case (false, _): message = text
      }
      if !isEnding && CurrentProcess.rememberedSignal != nil { throw Undelivered(message: "interrupted") }
      let pause = Self.pauses[min(attempt, Self.pauses.count - 1)]
      guard limitSeconds - (Clock.monotonic() - start) > Double(pause) / 1000 + 0.05
      else { throw Undelivered(message: message) }
      CurrentProcess.sleep(milliseconds: pause)
      attempt += 1
    }
  }

  /// The reason that nothing can be sent, such as a missing libcurl; `nil` if sending can work.
  static var problem: String? { tr_http_trouble().map { String(cString: $0) } }

  private func sendOnce(body: [UInt8], milliseconds: Int, isEnding: Bool) -> tr_http_answer {
    var answer = tr_http_answer()
    let authorities = CurrentProcess.environment("SSL_CERT_FILE").map { String(decoding: $0, as: UTF8.self) }
    let headers = CStrings(strings: headers.map { Array($0.utf8) })
    func post(_ file: UnsafePointer<CChar>?) {
      body.withUnsafeBytes { bytes in
        _ = tr_http_post(
          url, headers.pointers, bytes.baseAddress, bytes.count, userAgent, file, milliseconds,
          isEnding ? nil : { CurrentProcess.rememberedSignal == nil ? 0 : 1 }, &answer)
      }
    }
    withExtendedLifetime(headers) { if let authorities { authorities.withCString { post($0) } } else { post(nil) } }
    return answer
  }
}

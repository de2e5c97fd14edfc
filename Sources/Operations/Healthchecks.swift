/// A dead man's switch by the protocol of <https://healthchecks.io/docs/http_api/>.
///
/// Its server gets a ping when a run begins and when the run ends. The server raises an alarm when no ping arrives.
public final class Healthchecks {
  /// A ping with the URL of the check.
  private let post: HTTPPost
  private let runID: String
  /// The longest body in bytes: at first the documented limit, then the smallest that the server has reported.
  private var bodyLimit = 100_000

  /// `url` is the URL of the check, with or without a query. All pings of one run have the same `runID`.
  public init(url: String, runID: String, userAgent: String, limitSeconds: Double) {
    self.runID = runID
    post = HTTPPost(
      url: url, headers: ["Content-Type: text/plain; charset=utf-8"], userAgent: userAgent, limitSeconds: limitSeconds)
  }

  /// The reason that no ping can be sent; `nil` if sending can work.
  public static var problem: String? { HTTPPost.problem }

  /// Reports the start of the run. Returns the reason if that failed, or `nil`.
  public func start() -> String? { ping(suffix: "start") }

  /// Reports the end of the run, with its log. Success is only ever sent for status 0.
  public func finish(exitStatus: Int32, log: [UInt8]) -> String? {
    ping(suffix: exitStatus == 0 ? "" : "\(exitStatus)", body: log)
  }

  private func ping(suffix: String, body: [UInt8] = []) -> String? {
    var post = post
    post.url = address(suffix: suffix)
    do {
      // The end of the log tells the error. It begins with a whole character.
      let end = body.suffix(bodyLimit).drop { body.count > bodyLimit && $0 & 0xC0 == 0x80 }
      if let limit = try post.send(Array(end)).bodyLimit { bodyLimit = min(bodyLimit, limit) }
      return nil
    } catch { return error.message }
  }

  /// The URL of one kind of ping. The suffix belongs to the path, the run's id to the query.
  private func address(suffix: String) -> String {
    let parts = post.url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var path = String(parts[0])
    while path.hasSuffix("/") { path.removeLast() }
    if !suffix.isEmpty { path += "/" + suffix }
    let query = parts.count > 1 && !parts[1].isEmpty ? "\(parts[1])&" : ""
    return "\(path)?\(query)rid=\(runID)"
  }
}

/// A server that receives a JSON document after each run.
public struct Webhook: Sendable {
  private let post: HTTPPost

  /// `headers` are lines such as `Authorization: Bearer …`.
  public init(url: String, headers: [String], userAgent: String, limitSeconds: Double) {
    post = HTTPPost(
      url: url, headers: ["Content-Type: application/json"] + headers, userAgent: userAgent, limitSeconds: limitSeconds)
  }

  /// Sends a document. Returns the reason if it was not delivered, or `nil`.
  public func send(_ document: String) -> String? {
    do {
      _ = try post.send(Array(document.utf8))
      return nil
    } catch { return error.message }
  }
}

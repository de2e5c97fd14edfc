/// A dead man's switch by the protocol of <https://healthchecks.io/docs/http_api/>: it hears when a run begins and
/// how it ends, and raises an alarm when it hears nothing.
public final class Healthchecks {
  private let url: String
  private let runID: String
  private let userAgent: String
  private let limitSeconds: Double
  /// What the server said last, or by its documentation takes, in bytes.
  private var bodyLimit = 100_000

  /// `url` is the check's, with or without a query; all pings of one run have the same `runID`.
  public init(url: String, runID: String, userAgent: String, limitSeconds: Double) {
    self.url = url
    self.runID = runID
    self.userAgent = userAgent
    self.limitSeconds = limitSeconds
  }

  /// Why no server can be told anything; `nil` where all is well.
  public static var trouble: String? { HTTPPost.trouble }

  /// The run begins. Returns why that could not be said, or `nil`.
  public func start() -> String? { ping("start", []) }

  /// The run ended, with what it said. Success is only ever sent for status 0.
  public func finish(exitStatus: Int32, log: [UInt8]) -> String? {
    ping(exitStatus == 0 ? "" : "\(exitStatus)", log)
  }

  private func ping(_ suffix: String, _ body: [UInt8]) -> String? {
    let post = HTTPPost(
      url: Self.address(url, suffix, runID), headers: ["Content-Type: text/plain; charset=utf-8"],
      userAgent: userAgent, limitSeconds: limitSeconds)
    do {
      // The end is what tells what went wrong; it begins with a whole character.
      let end = body.suffix(bodyLimit).drop { body.count > bodyLimit && $0 & 0xC0 == 0x80 }
      if let limit = try post.send(Array(end)).bodyLimit { bodyLimit = min(bodyLimit, limit) }
      return nil
    } catch { return error.message }
  }

  /// The address of one kind of ping: the suffix belongs to the path, the run's id to the query.
  static func address(_ url: String, _ suffix: String, _ runID: String) -> String {
    let parts = url.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
    var path = String(parts[0])
    while path.hasSuffix("/") { path.removeLast() }
    if !suffix.isEmpty { path += "/" + suffix }
    let query = parts.count > 1 && !parts[1].isEmpty ? "\(parts[1])&" : ""
    return "\(path)?\(query)rid=\(runID)"
  }
}

/// A server that is sent a JSON document after each run.
public struct Webhook: Sendable {
  public var url: String
  /// Lines such as `Authorization: Bearer …`.
  public var headers: [String]
  public var userAgent: String
  public var limitSeconds: Double

  public init(url: String, headers: [String], userAgent: String, limitSeconds: Double) {
    self.url = url
    self.headers = headers
    self.userAgent = userAgent
    self.limitSeconds = limitSeconds
  }

  /// Sends a document; returns why it was not delivered, or `nil`.
  public func send(_ document: String) -> String? {
    let post = HTTPPost(
      url: url, headers: ["Content-Type: application/json"] + headers, userAgent: userAgent,
      limitSeconds: limitSeconds)
    do {
      _ = try post.send(Array(document.utf8))
      return nil
    } catch { return error.message }
  }
}

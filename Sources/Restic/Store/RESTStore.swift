internal import Catalog
public import Model
internal import Posix
public import Repository

/// A repository at a REST server, such as restic's rest-server or `rclone serve restic`.
///
/// <https://restic.readthedocs.io/en/stable/REST_backend.html>
public final class RESTStore: ObjectStore {
  public let displayName: String
  public let connections = 5
  /// Ends with a slash.
  private let url: String
  private let headers: [String]
  private let client: HTTPClient

  /// Sends nothing yet.
  public init(
    url: String, login: (user: String, password: String)?, displayName: String, options: ServerOptions
  ) throws(Failure) {
    (self.url, self.displayName) = (url, displayName)
    headers =
      login.map { login in
        let text = String(decoding: Base64.encoded(Array("\(login.user):\(login.password)".utf8)), as: UTF8.self)
        return ["Authorization: Basic \(text)"]
      } ?? []
    client = try HTTPClient(of: displayName, options: options)
  }

  private func send(
    _ method: String, _ path: String, headers more: [String] = [], body: [UInt8] = [], longestAnswer: Int = 1 << 16,
    isLast: Bool = false
  ) throws(Failure) -> HTTPClient.Answer {
    let type = method == "POST" ? ["Content-Type: application/octet-stream"] : []
    return try client.send {
      HTTPClient.Request(
        method: method, url: url + path, headers: headers + type + more, body: body, longestAnswer: longestAnswer,
        isLast: isLast)
    }
  }

  private func path(_ name: ObjectName) -> String { name.description }

  private func failure(_ what: String, because answer: HTTPClient.Answer) -> Failure {
    var failure = Failure(
      answer.status == 507 ? .noSpace : .remote, "\(displayName): cannot \(what): the server answered \(answer.status)")
    switch answer.status {
    case 401: failure.hint = "the server wants a user and a password: see credentials_file in treering.toml(5)"
    case 403: failure.hint = "the server does not allow it; it may only append"
    case 300..<400: failure.hint = "the server is another one: correct the address"
    default: break
    }
    return failure
  }

  /// Makes the directories of a new repository.
  public func create() throws(Failure) {
    let answer = try send("POST", "?create=true")
    guard answer.status == 200 else { throw failure("make the repository", because: answer) }
  }

  private static let secondVersion = "application/vnd.x.restic.rest.v2"

  public func list(_ kind: ObjectKind) throws -> [(id: Digest, byteCount: UInt64)] {
    let answer = try send(
      "GET", "\(kind.rawValue)/", headers: ["Accept: \(Self.secondVersion)"], longestAnswer: 1 << 30)
    if answer.status == 404 { return [] }
    guard answer.status == 200 else { throw failure("list \(kind.rawValue)", because: answer) }
    var found: [(id: Digest, byteCount: UInt64)] = []
    var names: [[UInt8]] = []
    let hasSizes = answer.header("Content-Type")?.hasPrefix(Self.secondVersion) == true
    do {
      try JSONCursor.read(answer.body) { cursor in
        try cursor.elements { cursor in
          guard hasSizes else { return names.append(try cursor.string()) }
          var (name, size): ([UInt8], UInt64) = ([], 0)
          try cursor.members { cursor, key in
            switch key {
            case "name": name = try cursor.string()
            case "size": size = try cursor.unsigned()
            default: try cursor.skip()
            }
          }
          if let id = Self.id(of: name) { found.append((id, size)) }
        }
      }
    } catch {
      throw Failure(.remote, "\(displayName): cannot list \(kind.rawValue): \(error)", hint: "is it a REST server?")
    }
    // The first version of the protocol has no sizes in its lists.
    for id in names.compactMap(Self.id) {
      if let size = try byteCount(of: ObjectName(kind, id)) { found.append((id, size)) }
    }
    return found
  }

  private static func id(of name: [UInt8]) -> Digest? { name.count == 64 ? Digest(hexadecimal: name) : nil }

  public func byteCount(of name: ObjectName) throws -> UInt64? {
    let answer = try send("HEAD", path(name))
    if answer.status == 404 { return nil }
    guard answer.status == 200, let size = answer.header("Content-Length").flatMap({ UInt64($0) }) else {
      throw failure("look at \(name)", because: answer)
    }
    return size
  }

  public func read(_ name: ObjectName, at offset: UInt64, count: Int) throws -> [UInt8]? {
    let answer = try send(
      "GET", path(name), headers: [rangeHeader(at: offset, count: count)], longestAnswer: max(count, 1 << 16))
    switch answer.status {
    case 200, 206: return try answer.range(at: offset, count: count)
    case 416: return []
    case 404: return nil
    default: throw failure("read \(name)", because: answer)
    }
  }

  public func write(_ name: ObjectName, _ bytes: [UInt8]) throws {
    let answer = try send("POST", path(name), body: bytes)
    if (200..<300).contains(answer.status) { return }
    // A server that only appends refuses a file that it has. The first attempt may have arrived; so may have the same
    // pack of an earlier push.
    if answer.status == 403, let present = try? read(name, at: 0, count: bytes.count + 1), present == bytes { return }
    throw failure("write \(name)", because: answer)
  }

  public func remove(_ name: ObjectName) throws {
    let answer = try send("DELETE", path(name), isLast: name.kind == .locks)
    guard (200..<300).contains(answer.status) || answer.status == 404 else {
      throw failure("remove \(name)", because: answer)
    }
  }

  /// Asks for the removal of a pack that does not exist: a server that only appends refuses before it looks for it.
  public func probeRemoval() throws -> RemovalProbe {
    let answer = try send("DELETE", path(ObjectName(.data, Digest(words: (0, 0, 0, 0)))))
    switch answer.status {
    case 403, 405: return .refused
    case 200..<300, 404: return .allowed
    default: throw failure("ask whether removal is allowed", because: answer)
    }
  }

  // The server removes what did not arrive as a whole.
  public func removeLeftovers() throws {}
}

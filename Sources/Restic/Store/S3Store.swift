internal import Catalog
public import Model
internal import Posix
public import Repository

/// The place of a repository in a bucket.
public struct S3Place: Sendable {
  /// `https` or `http`.
  public var scheme: String
  /// The server's name, and its port unless it is the scheme's own.
  public var host: String
  public var bucket: String
  /// The start of all keys, without a slash at its ends; empty for the whole bucket.
  public var prefix: String
  public var region: String
  /// False if the bucket is a part of the host's name.
  public var hasPathStyle: Bool
  /// The storage class of packs; `nil` for that of the bucket.
  public var storageClass: String?
  /// The storage class of packs with nothing but contents of files.
  public var archiveClass: String?
  /// The lock of everything that is written.
  public var lock: ObjectLock?

  public init(scheme: String, host: String, bucket: String, prefix: String, region: String, hasPathStyle: Bool) {
    (self.scheme, self.host, self.bucket, self.prefix) = (scheme, host, bucket, prefix)
    (self.region, self.hasPathStyle) = (region, hasPathStyle)
  }
}

/// A repository in a bucket of S3, or of a server that speaks its protocol.
public final class S3Store: ObjectStore {
  public let displayName: String
  public let connections = 5
  let place: S3Place
  private let signature: S3Signature
  private let client: HTTPClient

  /// Sends nothing yet.
  public init(
    _ place: S3Place, credentials: S3Credentials, displayName: String, options: ServerOptions
  ) throws(Failure) {
    (self.place, self.displayName) = (place, displayName)
    signature = S3Signature(credentials: credentials, region: place.region)
    client = try HTTPClient(of: displayName, options: options)
  }

  struct Call {
    var method = "GET"
    /// The object's key; `nil` for the bucket.
    var key: String?
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    var longestAnswer = 1 << 16
    var isLast = false
  }

  func send(_ call: Call) throws(Failure) -> HTTPClient.Answer {
    let query = call.query.map {
      "\(urlEscaped($0.name.utf8, isPath: false))=\(urlEscaped($0.value.utf8, isPath: false))"
    }
    .joined(separator: "&")
    let bucket = urlEscaped(place.bucket.utf8, isPath: false)
    let key = call.key.map { "/" + urlEscaped($0.utf8, isPath: true) } ?? (place.hasPathStyle ? "" : "/")
    let path = place.hasPathStyle ? "/\(bucket)\(key)" : key
    let host = place.hasPathStyle ? place.host : "\(place.bucket).\(place.host)"
    return try client.send {
      let headers = signature.headers(
        of: S3Signature.Request(
          method: call.method, host: host, path: path, query: query, headers: call.headers, body: call.body),
        at: Clock.now().seconds)
      // libcurl would name a form as the type.
      let type = ["PUT", "POST"].contains(call.method) ? ["content-type: application/octet-stream"] : []
      return HTTPClient.Request(
        method: call.method, url: "\(place.scheme)://\(host)\(path)\(query.isEmpty ? "" : "?")\(query)",
        headers: headers + type, body: call.body, longestAnswer: call.longestAnswer, isLast: call.isLast)
    } mayPass: {
      $0.status == 409 && S3Document($0.body).first("Code") == "OperationAborted"
        || $0.status == 400 && S3Document($0.body).first("Code") == "RequestTimeout"
    }
  }

  func key(_ path: String) -> String { place.prefix.isEmpty ? path : "\(place.prefix)/\(path)" }

  func failure(_ what: String, because answer: HTTPClient.Answer) -> Failure {
    let document = S3Document(answer.body)
    let code = document.first("Code")
    let message = document.first("Message").map { ": " + Model.displayName(Array($0.utf8.prefix(300))) } ?? ""
    let reason = code.map { " (\(Model.displayName(Array($0.utf8.prefix(100))))\(message))" } ?? ""
    var failure = Failure(
      answer.status == 507 ? .noSpace : .remote,
      "\(displayName): cannot \(what): the server answered \(answer.status)\(reason)")
    switch code {
    case "RequestTimeTooSkewed":
      let now = CalendarTime(seconds: Clock.now().seconds).rfc3339
      failure.hint =
        "this machine's clock says \(now), and the server's \(answer.header("Date") ?? "another time"): set the clock"
    case "NoSuchBucket": failure.hint = "make the repository with: treering init -r \(displayName)"
    case "SignatureDoesNotMatch", "InvalidAccessKeyId": failure.hint = "check the credentials, and the region"
    case "AuthorizationHeaderMalformed", "PermanentRedirect":
      if let region = document.first("Region") ?? answer.header("x-amz-bucket-region") {
        failure.hint = "the bucket's region is \(Model.displayName(Array(region.utf8.prefix(100))))"
      }
    case "InvalidObjectState": failure.hint = "it is in an archive: set archive_class, and let treering restore thaw it"
    case "AccessDenied": failure.hint = "see treering-restic(7) for the rights that the key must have"
    default:
      if (300..<400).contains(answer.status) { failure.hint = "the server is another one: correct the address" }
      // OpenStack Swift says no more than this when its disks are full.
      if answer.status == 503 { failure.hint = "the server is overloaded, or may have no space left" }
    }
    return failure
  }

  /// Makes the bucket, if it is missing.
  public func create() throws(Failure) {
    let found = try send(Call(method: "HEAD"))
    // A key may be kept from the bucket itself, and have rights below the prefix only.
    if found.status != 404 {
      if place.lock != nil { try requireObjectLock() }
      return
    }
    var call = Call(method: "PUT")
    if place.lock != nil { call.headers.append(("x-amz-bucket-object-lock-enabled", "true")) }
    if place.region != "us-east-1" {
      call.body = Array(
        ("<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>"
          + "\(place.region)</LocationConstraint></CreateBucketConfiguration>").utf8)
    }
    let answer = try send(call)
    guard answer.status == 200 else { throw failure("make the bucket", because: answer) }
  }

  public func list(_ kind: ObjectKind) throws -> [(id: Digest, byteCount: UInt64)] {
    try listObjects(kind).map { ($0.id, $0.byteCount) }
  }

  public func listKeysAndSnapshots() throws -> (keys: [Digest], snapshots: [Digest]) {
    // In the order of keys, only the locks lie between the two.
    let prefix = place.prefix.isEmpty ? "" : place.prefix + "/"
    let found = try listObjects(
      [("prefix", prefix), ("start-after", key(ObjectKind.keys.rawValue))], title: "keys and snapshots",
      until: key(ObjectKind.snapshots.rawValue) + "0")
    func ids(_ kind: ObjectKind) -> [Digest] {
      found.filter { $0.key.hasPrefix(key(kind.rawValue) + "/") }.map(\.id)
    }
    return (ids(.keys), ids(.snapshots))
  }

  struct ListedObject {
    let key: String
    let id: Digest
    let byteCount: UInt64
    let storageClass: String?
  }

  func listObjects(_ kind: ObjectKind) throws -> [ListedObject] {
    try listObjects([("prefix", key(kind.rawValue) + "/")], title: kind.rawValue)
  }

  /// Lists objects in the order of their keys, which may end with any page after the key `end`.
  private func listObjects(
    _ choice: [(name: String, value: String)], title: String, until end: String? = nil
  ) throws -> [ListedObject] {
    var found: [ListedObject] = []
    var token: String?
    while true {
      let query = token.map { [("continuation-token", $0)] } ?? []
      let answer = try send(Call(query: query + [("list-type", "2")] + choice, longestAnswer: 16 << 20))
      guard answer.status == 200 else { throw failure("list \(title)", because: answer) }
      let document = S3Document(answer.body)
      for item in document.all("Contents") {
        guard let key = item.first("Key"), let size = item.first("Size").flatMap({ UInt64($0) }),
          let id = Self.id(of: key)
        else { continue }
        found.append(
          ListedObject(key: key, id: id, byteCount: size, storageClass: item.first("StorageClass")))
      }
      guard document.first("IsTruncated") == "true" else { return found }
      if let end, let last = document.all("Key").last?.text, end.utf8.lexicographicallyPrecedes(last) { return found }
      guard let next = document.first("NextContinuationToken"), next != token else {
        throw Failure(.remote, "\(displayName): cannot list \(title): the server's list has no end")
      }
      token = next
    }
  }

  private static func id(of key: String) -> Digest? {
    let name = Array(key.utf8.reversed().prefix { $0 != slash }.reversed())
    return name.count == 64 ? Digest(hexadecimal: name) : nil
  }

  public func byteCount(of name: ObjectName) throws -> UInt64? {
    let answer = try send(Call(method: "HEAD", key: key(name.path)))
    if answer.status == 404 { return nil }
    guard answer.status == 200, let size = answer.header("Content-Length").flatMap({ UInt64($0) }) else {
      throw failure("look at \(name)", because: answer)
    }
    return size
  }

  public func read(_ name: ObjectName, at offset: UInt64, count: Int) throws -> [UInt8]? {
    let answer = try send(
      Call(
        key: key(name.path), headers: [("range", String(rangeHeader(at: offset, count: count).dropFirst(7)))],
        longestAnswer: max(count, 1 << 16)))
    switch answer.status {
    case 200, 206: return try answer.range(at: offset, count: count)
    case 416: return []
    case 404 where S3Document(answer.body).first("Code") != "NoSuchBucket": return nil
    default: throw failure("read \(name)", because: answer)
    }
  }

  public func write(_ name: ObjectName, _ bytes: [UInt8]) throws {
    try write(name, bytes, as: name.kind == .data ? place.storageClass : nil)
  }

  public func writeContents(_ name: ObjectName, _ bytes: [UInt8]) throws {
    try write(name, bytes, as: place.archiveClass ?? place.storageClass)
  }

  private func write(_ name: ObjectName, _ bytes: [UInt8], as storageClass: String?) throws {
    let headers = lockHeaders + Self.digestHeaders(of: bytes)
    var call = Call(method: "PUT", key: key(name.path), headers: headers, body: bytes)
    if let storageClass { call.headers.append(("x-amz-storage-class", storageClass)) }
    let answer = try send(call)
    guard answer.status == 200 else { throw failure("write \(name)", because: answer) }
  }

  /// Sends an element of S3's name space about an object.
  func send(
    _ content: String, as element: String, to query: String, of name: ObjectName, by method: String
  ) throws(Failure) -> HTTPClient.Answer {
    let nameSpace = "http://s3.amazonaws.com/doc/2006-03-01/"
    let body = Array("<\(element) xmlns=\"\(nameSpace)\">\(content)</\(element)>".utf8)
    return try send(
      Call(
        method: method, key: key(name.path), query: [(query, "")], headers: Self.digestHeaders(of: body), body: body))
  }

  static func digestHeaders(of body: [UInt8]) -> [(name: String, value: String)] {
    S3Signature.contentMD5(of: body).map { [("content-md5", $0)] } ?? []
  }

  public func remove(_ name: ObjectName) throws {
    let answer = try send(Call(method: "DELETE", key: key(name.path), isLast: name.kind == .locks))
    guard [200, 204, 404].contains(answer.status) else { throw failure("remove \(name)", because: answer) }
  }

  // An object appears as a whole, or not at all.
  public func removeLeftovers() throws {}
}

/// The elements of an XML document of S3, found by their names. Such a document has no element within one of its name.
struct S3Document {
  fileprivate let text: ArraySlice<UInt8>

  init(_ text: [UInt8]) { self.text = text[...] }
  private init(_ text: ArraySlice<UInt8>) { self.text = text }

  /// The contents of all elements of a name.
  func all(_ name: String) -> [S3Document] {
    let (opening, closing) = (Array("<\(name)>".utf8), Array("</\(name)>".utf8))
    var found: [S3Document] = []
    var rest = text
    while let start = Self.end(of: opening, in: rest) {
      rest = text[start...]
      guard let end = Self.end(of: closing, in: rest) else { break }
      found.append(S3Document(text[start..<(end - closing.count)]))
      rest = text[end...]
    }
    return found
  }

  /// The text of the first element of a name.
  func first(_ name: String) -> String? {
    guard let start = Self.end(of: Array("<\(name)>".utf8), in: text) else { return nil }
    let content = text[start...].prefix { $0 != UInt8(ascii: "<") }
    return Self.unescaped(String(decoding: content, as: UTF8.self))
  }

  private static func end(of word: [UInt8], in text: ArraySlice<UInt8>) -> Int? {
    var place = text.startIndex
    while place + word.count <= text.endIndex {
      if text[place] == word[0], text[place..<(place + word.count)].elementsEqual(word) { return place + word.count }
      place += 1
    }
    return nil
  }

  private static func unescaped(_ text: String) -> String {
    guard text.utf8.contains(UInt8(ascii: "&")) else { return text }
    var result = ""
    var rest = text[...]
    while let ampersand = rest.firstIndex(of: "&") {
      result += rest[..<ampersand]
      rest = rest[ampersand...]
      guard let end = rest.firstIndex(of: ";") else { break }
      result += character(of: rest[rest.index(after: rest.startIndex)..<end]) ?? String(rest[...end])
      rest = rest[rest.index(after: end)...]
    }
    return result + rest
  }

  private static func character(of entity: Substring) -> String? {
    switch entity {
    case "amp": return "&"
    case "lt": return "<"
    case "gt": return ">"
    case "quot": return "\""
    case "apos": return "'"
    default:
      guard entity.first == "#" else { return nil }
      let digits = entity.dropFirst()
      let number = digits.first == "x" ? UInt32(digits.dropFirst(), radix: 16) : UInt32(digits)
      return number.flatMap(Unicode.Scalar.init).map { String($0) }
    }
  }
}

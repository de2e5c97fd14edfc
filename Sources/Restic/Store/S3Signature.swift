internal import CCodec
internal import Catalog
internal import Model

/// The signature of a request to S3: AWS Signature Version 4, by HMAC-SHA-256.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>
struct S3Signature {
  let credentials: S3Credentials
  let region: String

  /// A request as it is signed: path and query are escaped, and the query is sorted.
  struct Request {
    var method: String
    var host: String
    var path: String
    var query = ""
    /// Further headers, with names in lower case.
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
  }

  /// All headers of the request, with its signature.
  func headers(of request: Request, at seconds: Int64) -> [String] {
    let time = CalendarTime(seconds: seconds).rfc3339.filter { $0 != "-" && $0 != ":" }
    let digest = SHA256().digest(of: request.body).description
    var signed = request.headers + [("host", request.host), ("x-amz-content-sha256", digest), ("x-amz-date", time)]
    if let token = credentials.sessionToken { signed.append(("x-amz-security-token", token)) }
    signed.sort { $0.name < $1.name }
    let names = signed.map(\.name).joined(separator: ";")
    let canonical =
      ([request.method, request.path, request.query] + signed.map { "\($0.name):\($0.value)" } + ["", names, digest])
      .joined(separator: "\n")
    let scope = "\(time.prefix(8))/\(region)/s3/aws4_request"
    let toSign =
      "AWS4-HMAC-SHA256\n\(time)\n\(scope)\n\(SHA256().digest(of: Array(canonical.utf8)))"
    var key = Array("AWS4\(credentials.secretKey)".utf8)
    for part in scope.split(separator: "/") { key = Self.code(key: key, Array(part.utf8)) }
    let signature = Self.code(key: key, Array(toSign.utf8)).map { byte in
      String(decoding: [hexDigits[Int(byte >> 4)], hexDigits[Int(byte & 15)]], as: UTF8.self)
    }.joined()
    return signed.map { "\($0.name): \($0.value)" } + [
      "authorization: AWS4-HMAC-SHA256 Credential=\(credentials.accessKey)/\(scope),SignedHeaders=\(names),"
        + "Signature=\(signature)"
    ]
  }

  private static func code(key: [UInt8], _ bytes: [UInt8]) -> [UInt8] {
    var code = [UInt8](repeating: 0, count: 32)
    guard tr_hmac_sha256(&code, key, key.count, bytes, bytes.count) == 1 else { fatalError("libcrypto lacks HMAC") }
    return code
  }

  /// The value of the header Content-MD5, by which the server checks what arrived.
  static func contentMD5(of body: [UInt8]) -> String? {
    var digest = [UInt8](repeating: 0, count: 16)
    // A libcrypto that follows FIPS has no MD5. The SHA-256 of the signature is checked too.
    guard tr_md5(&digest, body, body.count) == 1 else { return nil }
    return String(decoding: Base64.encoded(digest), as: UTF8.self)
  }
}

/// The credentials for a server of S3.
public struct S3Credentials: Sendable {
  public var accessKey: String
  public var secretKey: String
  /// The token of temporary credentials.
  public var sessionToken: String?

  public init(accessKey: String, secretKey: String, sessionToken: String?) {
    (self.accessKey, self.secretKey, self.sessionToken) = (accessKey, secretKey, sessionToken)
  }
}

internal import Model

/// The location of a repository of restic's format at a server, as restic writes it.
public enum StorageAddress: Sendable, Equatable {
  /// `s3:https://host[:port]/bucket[/prefix]`; without a scheme, it is `https`.
  ///
  /// `host` has its port, unless it is the scheme's own. `prefix` has no slash at its ends, and may be empty.
  case s3(scheme: String, host: String, bucket: String, prefix: String)
  /// `rest:https://host[:port]/path`; the URL ends with a slash.
  case rest(url: String)
  /// `sftp:[user@]host:path` or `sftp://[user@]host[:port]/path`. In the second form a path of the root begins with
  /// two slashes.
  case sftp(user: [UInt8]?, host: [UInt8], port: UInt16?, path: [UInt8])

  /// The prefixes of the three forms.
  enum Scheme: String, CaseIterable { case s3, rest, sftp }

  /// Parses an address; `nil` if none of the prefixes begins it.
  init?(_ text: [UInt8]) throws(RemoteAddressError) {
    guard let scheme = Scheme.allCases.first(where: { text.starts(with: "\($0.rawValue):".utf8) }) else { return nil }
    let rest = text.dropFirst(scheme.rawValue.utf8.count + 1)
    switch scheme {
    case .s3: self = try Self.s3(rest)
    case .rest: self = try Self.rest(rest)
    case .sftp: self = try Self.sftp(rest)
    }
  }

  private static func s3(_ text: ArraySlice<UInt8>) throws(RemoteAddressError) -> Self {
    let (scheme, host, path) = try split(
      text.starts(with: "//".utf8) ? text.dropFirst(2) : text, defaultScheme: "https")
    let names = path.split(separator: slash)
    guard let bucket = names.first else { throw .missingBucket }
    let prefix = Array(names.dropFirst().joined(separator: [slash]))
    guard let bucketName = String(validating: bucket, as: UTF8.self),
      let prefixText = String(validating: prefix, as: UTF8.self)
    else { throw .impossibleURL }
    return .s3(scheme: scheme, host: host, bucket: bucketName, prefix: prefixText)
  }

  private static func rest(_ text: ArraySlice<UInt8>) throws(RemoteAddressError) -> Self {
    let (scheme, host, path) = try split(text, defaultScheme: nil)
    // The path is a part of a URL already.
    guard path.allSatisfy({ $0 > 0x20 && $0 < 0x7F && !"?#".utf8.contains($0) }) else { throw .impossibleURL }
    let names = path.split(separator: slash).map { String(decoding: $0, as: UTF8.self) + "/" }
    return .rest(url: "\(scheme)://\(host)/\(names.joined())")
  }

  /// Splits a URL into scheme, authority and path. The port that the scheme has anyway is left out.
  private static func split(
    _ text: ArraySlice<UInt8>, defaultScheme: String?
  ) throws(RemoteAddressError) -> (scheme: String, host: String, path: ArraySlice<UInt8>) {
    var scheme = defaultScheme
    var rest = text
    for known in ["https", "http"] where text.starts(with: "\(known)://".utf8) {
      scheme = known
      rest = text.dropFirst(known.utf8.count + 3)
    }
    guard let scheme else { throw .missingScheme }
    let authority = rest.prefix { $0 != slash }
    guard !authority.contains(UInt8(ascii: "@")) else { throw .loginInURL }
    guard !authority.isEmpty else { throw .empty(.host) }
    // The rest of the authority is libcurl's to judge.
    guard authority.allSatisfy({ isAlphanumeric($0) || "-._:[]".utf8.contains($0) })
    else { throw .forbiddenCharacter(.host) }
    var host = String(decoding: authority, as: UTF8.self).lowercased()
    let port = scheme == "https" ? ":443" : ":80"
    if host.hasSuffix(port) { host.removeLast(port.utf8.count) }
    return (scheme, host, rest[authority.endIndex...])
  }

  private static func sftp(_ text: ArraySlice<UInt8>) throws(RemoteAddressError) -> Self {
    let isURL = text.starts(with: "//".utf8)
    let address = isURL ? try RemoteAddress.url(text: text.dropFirst(2)) : try RemoteAddress.scp(text: Array(text))
    guard case .ssh(let user, let host, let port, var path)? = address else { throw .emptyPath }
    if isURL, path.first == slash { path.removeFirst() }
    guard !path.isEmpty else { throw .emptyPath }
    return .sftp(user: user, host: host, port: port, path: path)
  }

  /// The address in the one form in which it is recorded.
  var recorded: [UInt8] {
    switch self {
    case .s3(let scheme, let host, let bucket, let prefix):
      return Array("s3:\(scheme)://\(host)/\(bucket)\(prefix.isEmpty ? "" : "/")\(prefix)".utf8)
    case .rest(let url): return Array("rest:\(url)".utf8)
    case .sftp(let user, let host, let port, let path):
      let ssh = RemoteAddress.ssh(user: user, host: host, port: port, path: [slash] + path).recordedAuthority
      return Array("sftp://".utf8) + ssh + [slash] + RemoteAddress.escaped(RemoteAddress.tidy(path))
    }
  }
}

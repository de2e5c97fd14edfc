internal import Model

/// The address of a database server: `postgresql://role@host:port/database`, and `mysql://…` alike.
///
/// `%XX` in role and database is a byte (RFC 3986). An IPv6 address must be in brackets.
struct DatabaseAddress: Equatable {
  var role, host: String?
  var port: Int?
  var database: String?

  init(_ text: String, schemes: [String]) throws(DatabaseAddressError) {
    guard let scheme = schemes.first(where: { text.hasPrefix($0 + "://") }) else { throw .scheme(schemes[0]) }
    let rest = Array(text.utf8.dropFirst(scheme.utf8.count + 3))
    let authority = rest.prefix { $0 != slash && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
    var place = authority
    if let end = authority.lastIndex(of: UInt8(ascii: "@")) {
      let name = authority[..<end]
      guard !name.contains(UInt8(ascii: ":")) else { throw .password }
      role = try Self.text(of: name)
      place = authority[(end + 1)...]
    }
    (host, port) = try Self.hostAndPort(place)
    let path = rest[authority.endIndex...]
    guard !path.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) else { throw .query }
    if path.count > 1 { database = try Self.text(of: path.dropFirst()) }
  }

  private static func hostAndPort(
    _ place: ArraySlice<UInt8>
  ) throws(DatabaseAddressError) -> (host: String, port: Int?) {
    var host = place.prefix { $0 != UInt8(ascii: ":") }
    var rest = place[host.endIndex...]
    if place.first == UInt8(ascii: "[") {
      guard let close = place.firstIndex(of: UInt8(ascii: "]")) else { throw .host }
      host = place[(place.startIndex + 1)..<close]
      rest = place[(close + 1)...]
    }
    // A comma separates several hosts, of which libpq would choose one.
    let isRight = host.allSatisfy { isAlphanumeric($0) || "-._:%".utf8.contains($0) }
    guard isRight, let first = host.first, first != UInt8(ascii: "-") else { throw .host }
    if rest.isEmpty { return (String(decoding: host, as: UTF8.self), nil) }
    let digits = String(decoding: rest.dropFirst(), as: UTF8.self)
    guard rest.first == UInt8(ascii: ":"), let port = UInt16(digits), port > 0 else { throw .port }
    return (String(decoding: host, as: UTF8.self), Int(port))
  }

  private static func text(of bytes: ArraySlice<UInt8>) throws(DatabaseAddressError) -> String {
    guard let decoded = percentDecoded(bytes), !decoded.isEmpty, !decoded.contains(0),
      let text = String(validating: decoded, as: UTF8.self)
    else { throw .name }
    return text
  }
}

/// An error in the address of a server. Its text never has a part of the address, which may be secret.
public enum DatabaseAddressError: Error, Equatable, CustomStringConvertible {
  case scheme(String)
  case password
  case host
  case port
  case name
  case query

  public var description: String {
    switch self {
    case .scheme(let scheme): "it should begin with \(scheme)://"
    case .password:
      "a password does not belong there; put it into a file with mode 0600, and name the file as \"password_file\""
    case .host: "it should have one host; for a socket, leave \"url\" out and use \"socket\""
    case .port: "the port should be a number from 1 to 65535"
    case .name: "a %XX is no byte of a name in UTF-8"
    case .query: "options do not belong there; use \"tls\" and \"ca_file\", and leave the part after \"?\" out"
    }
  }
}

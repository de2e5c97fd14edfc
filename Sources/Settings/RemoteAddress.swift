internal import Model

/// The location of a repository: on this machine, or on a machine that ssh(1) reaches.
///
/// There are five forms: `ssh://[user@]host[:port]/path`, scp's `[user@]host:path`, `restic:path`, those of
/// `StorageAddress`, and a local path, which is any other text. An IPv6 address must be in brackets. The path of an `ssh:` address begins at its slash, or after the
/// slash if `~/` follows it. `%XX` in that path is a byte (RFC 3986). scp's path is literal, except for a leading
/// `~/`. A relative path on another machine is below the user's home directory there.
public enum RemoteAddress: Sendable, Equatable {
  case ssh(user: [UInt8]?, host: [UInt8], port: UInt16?, path: [UInt8])
  case local([UInt8])
  /// A directory on this machine that is a repository of restic's format.
  case restic([UInt8])
  /// A repository of restic's format at a server.
  case storage(StorageAddress)

  public init(_ text: String) throws(RemoteAddressError) { try self.init(Array(text.utf8)) }

  public init(_ text: [UInt8]) throws(RemoteAddressError) {
    guard !text.isEmpty else { throw .emptyPath }
    try Self.check(text)
    if text.starts(with: Self.resticPrefix) {
      let path = Array(text.dropFirst(Self.resticPrefix.count))
      guard !path.isEmpty else { throw .emptyPath }
      self = .restic(path)
    } else if let address = try StorageAddress(text) {
      self = .storage(address)
    } else if let scheme = Self.scheme(of: text) {
      guard scheme.lowercased() == "ssh" else { throw .unknownScheme(scheme) }
      self = try Self.url(text: text[(scheme.utf8.count + 3)...])
    } else {
      self = try Self.scp(text: text) ?? .local(text)
    }
  }

  static let resticPrefix = Array("restic:".utf8)

  /// The scheme before `://`, if it is a word (RFC 3986, section 3.1).
  private static func scheme(of text: [UInt8]) -> String? {
    let word = text.prefix { isAlphanumeric($0) || "+-.".utf8.contains($0) }
    guard let first = word.first, isAlphanumeric(first), text[word.endIndex...].starts(with: "://".utf8)
    else { return nil }
    return String(decoding: word, as: UTF8.self)
  }

  /// Parses the text after `ssh://`.
  static func url(text: ArraySlice<UInt8>) throws(RemoteAddressError) -> Self {
    let authority = text.prefix { $0 != slash }
    var path = text[authority.endIndex...]
    let (user, place) = try splitUser(of: authority)
    var host = place.prefix { $0 != colon }
    var rest = place[host.endIndex...]
    if place.first == openingBracket {
      guard let close = place.firstIndex(of: closingBracket) else { throw .brokenBrackets }
      host = place[(place.startIndex + 1)..<close]
      rest = place[(close + 1)...]
    }
    guard rest.isEmpty || rest.first == colon else { throw .brokenBrackets }
    let port: UInt16? = rest.isEmpty ? nil : try port(digits: rest.dropFirst())
    if path.elementsEqual("/~".utf8) || path.starts(with: "/~/".utf8) { path = path.dropFirst(3) }
    return .ssh(user: user, host: try checked(host, part: .host), port: port, path: try decoded(path))
  }

  /// `nil` if no colon precedes the first slash.
  static func scp(text: [UInt8]) throws(RemoteAddressError) -> Self? {
    let beforeSlash = text.prefix { $0 != slash }
    guard var end = beforeSlash.firstIndex(of: colon) else { return nil }
    let opening = beforeSlash[..<end].lastIndex(of: openingBracket)
    let isBracketed = opening.map { $0 == 0 || text[$0 - 1] == at } ?? false
    if let opening, isBracketed {
      guard let close = beforeSlash[opening...].firstIndex(of: closingBracket),
        beforeSlash[(close + 1)...].first == colon
      else { throw .brokenBrackets }
      end = close + 1
    }
    let (user, place) = try splitUser(of: text[..<end])
    let host = isBracketed ? place.dropFirst().dropLast() : place
    var path = text[(end + 1)...]
    if path.elementsEqual("~".utf8) || path.starts(with: "~/".utf8) { path = path.dropFirst(2) }
    guard !path.isEmpty else { throw .emptyPath }
    return .ssh(user: user, host: try checked(host, part: .host), port: nil, path: Array(path))
  }

  /// Splits at the last `@`; the user is before it.
  private static func splitUser(
    of text: ArraySlice<UInt8>
  ) throws(RemoteAddressError) -> (user: [UInt8]?, rest: ArraySlice<UInt8>) {
    guard let end = text.lastIndex(of: at) else { return (nil, text) }
    let user = text[..<end]
    guard !user.contains(colon) else { throw .password }
    return (try checked(user, part: .user), text[(end + 1)...])
  }

  private static func port(digits: ArraySlice<UInt8>) throws(RemoteAddressError) -> UInt16 {
    guard digits.allSatisfy(isDigit), let port = UInt16(String(decoding: digits, as: UTF8.self)), port > 0
    else { throw .impossiblePort }
    return port
  }

  /// Checks a host or a user by the rules of `valid_hostname` and `valid_ruser` of OpenSSH 9.6. Older versions pass
  /// shell characters to the shell that runs a `ProxyCommand`.
  private static func checked(_ name: ArraySlice<UInt8>, part: RemoteAddressError.Part) throws(RemoteAddressError)
    -> [UInt8]
  {
    guard let first = name.first else { throw .empty(part) }
    guard first != UInt8(ascii: "-") else { throw .option(part) }
    let forbidden = part == .host ? "'`\"$\\;&<>|(){},[]@" : "'`\";&<>|(){}"
    let isRight = name.allSatisfy { $0 > 0x20 && $0 != 0x7F && !forbidden.utf8.contains($0) }
    guard isRight, name.last != UInt8(ascii: "\\") else { throw .forbiddenCharacter(part) }
    return Array(name)
  }

  /// Decodes each `%XX` of a path to its byte.
  private static func decoded(_ path: ArraySlice<UInt8>) throws(RemoteAddressError) -> [UInt8] {
    guard !path.isEmpty else { throw .emptyPath }
    guard let bytes = percentDecoded(path) else { throw .impossibleEscape }
    try check(bytes)
    return bytes
  }

  private static func check(_ text: [UInt8]) throws(RemoteAddressError) {
    if text.contains(where: { $0 == 0 || $0 == UInt8(ascii: "\n") }) { throw .forbiddenByte }
  }

  private static let at = UInt8(ascii: "@")
  private static let colon = UInt8(ascii: ":")
  private static let openingBracket = UInt8(ascii: "[")
  private static let closingBracket = UInt8(ascii: "]")
}

/// An error in an address, or in the command for its connection.
public enum RemoteAddressError: Error, Sendable, Equatable, CustomStringConvertible {
  public enum Part: String, Sendable { case host, user }

  case empty(Part)
  /// The part begins with `-`, and ssh(1) would read it as an option.
  case option(Part)
  case forbiddenCharacter(Part)
  case password
  case brokenBrackets
  case notOnlyHost
  case impossiblePort
  case emptyPath
  case impossibleEscape
  case forbiddenByte
  case unknownScheme(String)
  case missingScheme
  case missingBucket
  case impossibleURL
  case loginInURL
  case emptyCommand
  case unclosedQuote

  public var description: String {
    switch self {
    case .empty(.host): "the host is missing; an IPv6 address stands in brackets, as in ssh://[::1]/path"
    case .empty(.user): "the user before \"@\" is missing"
    case .option(let part): "the \(part.rawValue) begins with \"-\", and would be read as an option"
    case .forbiddenCharacter(let part): "the \(part.rawValue) has a character that none can have"
    case .password: "a user is named without a password; ssh(1) asks for it, or takes a key"
    case .brokenBrackets: "brackets stand around an IPv6 address, as in ssh://[::1]:22/path or [::1]:path"
    case .notOnlyHost: "it should be host, user@host or ssh://user@host:port, without a path"
    case .impossiblePort: "the port should be a number from 1 to 65535"
    case .emptyPath: "the path is missing, as in ssh://host/path or host:path"
    case .impossibleEscape: "\"%\" in a path should be followed by two hexadecimal digits; write %25 for \"%\" itself"
    case .forbiddenByte: "neither NUL nor a new line can be in an address"
    case .unknownScheme(let scheme):
      "\"\(scheme.prefix(40))://\" is not understood; an address is ssh://host/path, host:path, restic:/path, s3:, rest:, sftp: or a local path"
    case .missingScheme: "after \"rest:\" a URL should follow, as in rest:https://host/path"
    case .missingBucket: "the bucket is missing, as in s3:https://host/bucket/prefix"
    case .impossibleURL: "the URL has a character that none can have; write it as \"%\" and two hexadecimal digits"
    case .loginInURL:
      "a user and a password in a URL can be seen by others; credentials_file in treering.toml(5) has them"
    case .emptyCommand: "the command is empty"
    case .unclosedQuote: "a quote is not closed"
    }
  }
}

extension RemoteAddress {
  /// The program and the arguments that run `remoteCommand` on `host`, for execve(2); no local shell reads them.
  ///
  /// The user, the port and `--` precede the host, so ssh(1) reads neither host nor command as an option. `-T`
  /// requests no terminal, because a terminal would change bytes. ssh(1) uses the first of repeated options, so a
  /// port or user in `command` overrides the address' own. The user's shell on the other machine reads
  /// `remoteCommand`, as always with ssh(1). A path therefore never belongs there. A subsystem is started by its name
  /// instead, without a shell.
  public static func sshArguments(
    command: String, user: [UInt8]?, host: [UInt8], port: UInt16?, remoteCommand: String, isSubsystem: Bool = false
  ) throws(RemoteAddressError) -> [[UInt8]] {
    var arguments = try words(of: command)
    if let port { arguments += [Array("-p".utf8), Array("\(port)".utf8)] }
    if let user { arguments += [Array("-l".utf8), user] }
    if isSubsystem { arguments.append(Array("-s".utf8)) }
    return arguments + [Array("-T".utf8), Array("--".utf8), host, Array(remoteCommand.utf8)]
  }

  /// Splits a command into words at blanks; `'` and `"` keep the text between them. Backslashes, variables and
  /// patterns have no special meaning.
  public static func words(of command: String) throws(RemoteAddressError) -> [[UInt8]] {
    var words: [[UInt8]] = []
    var quote: UInt8?
    var isInWord = false
    for byte in command.utf8 {
      guard byte != 0 else { throw .forbiddenByte }
      if byte == quote {
        quote = nil
        continue
      }
      let isQuote = quote == nil && (byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\""))
      if quote == nil, isBlank(byte) {
        isInWord = false
        continue
      }
      if !isInWord { words.append([]) }
      isInWord = true
      if isQuote { quote = byte } else { words[words.count - 1].append(byte) }
    }
    guard quote == nil else { throw .unclosedQuote }
    guard words.first?.isEmpty == false else { throw .emptyCommand }
    return words
  }
}

/// The bytes with each `%XX` decoded (RFC 3986); `nil` if two digits do not follow a `%`.
public func percentDecoded(_ text: ArraySlice<UInt8>) -> [UInt8]? {
  var bytes: [UInt8] = []
  var rest = text
  while let byte = rest.popFirst() {
    if byte == UInt8(ascii: "%") {
      let digits = rest.prefix(2)
      guard digits.count == 2, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16)
      else { return nil }
      bytes.append(value)
      rest = rest.dropFirst(2)
    } else {
      bytes.append(byte)
    }
  }
  return bytes
}

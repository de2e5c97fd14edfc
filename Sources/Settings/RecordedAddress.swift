internal import Model

extension RemoteAddress {
  /// The form in which a remote is recorded, the same for all ways to write the address.
  ///
  /// A path has no empty component and no `.`, and an address of another machine is a URL.
  public var recorded: [UInt8] {
    switch self {
    case .local(let path): return Self.tidy(path)
    case .restic(let path): return Self.resticPrefix + Self.tidy(path)
    case .storage(let address): return address.recorded
    case .ssh(_, _, _, let path):
      let text = Array("ssh://".utf8) + recordedAuthority
      let tidy = Self.tidy(path)
      if path.first != slash { return text + Array("/~/".utf8) + Self.escaped(tidy) }
      // The directory `~` of the root is not the home directory.
      let isTilde = tidy.elementsEqual("/~".utf8) || tidy.starts(with: "/~/".utf8)
      return text + (isTilde ? Array("/%7E".utf8) + Self.escaped(Array(tidy.dropFirst(2))) : Self.escaped(tidy))
    }
  }

  /// User, host and port of an address of another machine, as a URL has them.
  var recordedAuthority: [UInt8] {
    guard case .ssh(let user, let host, let port, _) = self else { return [] }
    let written = host.contains(UInt8(ascii: ":")) ? Array("[".utf8) + host + Array("]".utf8) : host
    return (user.map { $0 + Array("@".utf8) } ?? []) + written + (port.map { Array(":\($0)".utf8) } ?? [])
  }

  static func tidy(_ path: [UInt8]) -> [UInt8] {
    path.first == slash ? TreePath(parsing: path).absolute : TreePath(parsing: path).bytes
  }

  /// Writes each byte as `%XX` that a URL cannot have as it is. Valid UTF-8 stays readable.
  static func escaped(_ path: [UInt8]) -> [UInt8] {
    let isText = String(validating: path, as: UTF8.self) != nil
    return path.flatMap { byte -> [UInt8] in
      let isPlain = byte > 0x20 && byte != 0x7F && byte != UInt8(ascii: "%") && (byte < 0x80 || isText)
      if isPlain { return [byte] }
      return Array("%\(byte < 16 ? "0" : "")\(String(byte, radix: 16, uppercase: true))".utf8)
    }
  }
}

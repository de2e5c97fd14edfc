public import Model

extension Configuration.Source {
  /// The host of a source that is fetched with rsync(1) over ssh(1).
  public struct Host: Sendable, Equatable {
    /// The address as written in the file.
    public var text = ""
    public var user: [UInt8]?
    public var name: [UInt8] = []
    public var port: UInt16?
    /// The first directory of the source inside the snapshot.
    public var label = Name.localhost
    /// The program for the connection, with its options; see `RemoteAddress.words`.
    public var ssh = "ssh"
    /// rsync(1) on the host, with the words before it, such as sudo(8).
    public var rsync = ["rsync"]
    /// The place of the host in the owner's words.
    public var location: String?
    /// The program by which the source comes.
    public enum Fetch: String, Sendable, CaseIterable {
      /// treering, if the host has it, else rsync(1).
      case automatic = "auto"
      case rsync, treering
    }

    public var fetch = Fetch.automatic
    /// treering on the host, with the words before it.
    public var treering = ["treering"]

    public init() {}
  }

  /// The source's path from the snapshot's root if it is on a host, such as `web01/etc`; else its absolute path.
  public var subject: [UInt8] {
    guard let host else { return Array(path.utf8) }
    return (host.label.bytes + TreePath(parsing: path.utf8)).relative
  }

  /// The source as the operator names it: `web01:/etc`, or its path.
  public var title: String { (host.map { displayName($0.label.bytes) + ":" } ?? "") + path }

  /// True if the other source is a directory in this one, on the same host.
  public func contains(_ other: Self) -> Bool {
    guard host?.label == other.host?.label, subject != other.subject else { return false }
    return TreePath(parsing: other.path.utf8).starts(with: TreePath(parsing: path.utf8))
  }
}

extension Configuration.Source.Host {
  static let keys = ["host", "ssh", "label", "rsync", "location", "fetch", "treering"]
  /// The keys of rules that rsync(1) does not have.
  private static let localKeys = ["exclude_caches", "exclude_if_present", "exclude_nodump", "freeze"]

  /// `nil` for a source of this machine.
  init?(table: TableReader) {
    guard table.has("host") else {
      for key in Self.keys where table.has(key) {
        table.complain(key: key, message: "only a source with \"host\" has \"\(key)\"")
      }
      return nil
    }
    for key in Self.localKeys where table.has(key) {
      table.complain(key: key, message: "a source with \"host\" cannot have \"\(key)\", because rsync(1) cannot do it")
    }
    if let text = table.string(for: "host") {
      self.text = text
      do { try parse(text) } catch { table.complain(key: "host", message: "\"host\" is wrong: \(error)") }
    }
    if let text = table.string(for: "label") {
      if let name = Name(text.utf8) {
        label = name
      } else {
        table.complain(key: "label", message: "\"label\" should be the name of one directory, such as a host's name")
      }
    } else if let name = Name(self.name) {
      label = name
    }
    if let command = table.string(for: "ssh") {
      ssh = command
      do { _ = try RemoteAddress.words(of: command) } catch {
        table.complain(key: "ssh", message: "\"ssh\" is wrong: \(error)")
      }
    }
    location = table.words(for: "location")
    rsync = Self.command("rsync", of: table) ?? rsync
    treering = Self.command("treering", of: table) ?? treering
    fetch = table.choice(for: "fetch", words: Fetch.allCases.map(\.rawValue)).flatMap(Fetch.init) ?? fetch
  }

  /// The words of a program on the host.
  private static func command(_ name: String, of table: TableReader) -> [String]? {
    table.value(for: name, expecting: "an array of words, such as [\"sudo\", \"\(name)\"]") { found in
      TableReader.strings(in: found).flatMap { words in
        words.isEmpty || words.contains { $0.isEmpty || $0.utf8.contains { $0 < 0x20 } } ? nil : words
      }
    }
  }

  /// Reads `[user@]host` or `ssh://[user@]host[:port]`.
  private mutating func parse(_ text: String) throws(RemoteAddressError) {
    let isURL = text.lowercased().hasPrefix("ssh://")
    let bytes = Array(text.utf8)
    guard
      case .ssh(let user, let host, let port, let path)? = try isURL
        ? RemoteAddress(text.hasSuffix("/") ? text : text + "/") : RemoteAddress.scp(text: bytes + Array(":/".utf8)),
      path == [slash], Name(host) != nil
    else { throw .notOnlyHost }
    (self.user, name, self.port) = (user, host, port)
  }
}

internal import TOMLKit

/// Another repository, to which snapshots are pushed.
public struct RemoteConfiguration: Sendable, Equatable {
  /// What it is called on the command line: letters, digits, `-` and `_`.
  public var name = ""
  /// As it is written.
  public var url = ""
  /// What `url` means; a local path is absolute.
  public var address = RemoteAddress.local([])
  /// The newest member of this set is pushed; of all snapshots the newest, where it is `nil`.
  public var set: String?
  /// The program that connects, and its options; see `RemoteAddress.words`.
  public var ssh = "ssh"
  /// What it runs there.
  public var remoteCommand = "treering serve"
  /// Bytes in a second.
  public var limitRate: UInt64?
  /// How long nothing may come from the other side.
  public var timeoutSeconds: Int64 = 300
  /// Where it stands in the file, from 1.
  public var line = 0

  public init() {}
}

extension RemoteConfiguration {
  static let longestName = 64

  init(name: String, _ table: TableReader) {
    self.init()
    self.name = name
    line = table.line
    table.know(["url", "set", "ssh", "remote_command", "limit_rate", "timeout"])
    table.require("url")
    if let url = table.string("url") {
      self.url = url
      table.check("url") { () throws(RemoteAddressError) in address = try RemoteAddress(url) }
      if case .local(let path) = address, !path.isEmpty, path.first != slash {
        table.complain("url", "\"url\" should be ssh://host/path, host:path or an absolute path")
      }
    }
    set = table.choice("set", ["latest"] + Configuration.Retention.sets).flatMap { $0 == "latest" ? nil : $0 }
    if let command = table.string("ssh") {
      ssh = command
      table.check("ssh") { () throws(RemoteAddressError) in _ = try RemoteAddress.words(command) }
    }
    remoteCommand =
      table.value("remote_command", expecting: "a command such as \"\(remoteCommand)\"") { found in
        found.string.flatMap { $0.utf8.allSatisfy(isBlank) || $0.utf8.contains(0) ? nil : $0 }
      } ?? remoteCommand
    limitRate = table.value("limit_rate", expecting: "bytes per second, such as \"10MB/s\"") {
      $0.string.flatMap(Quantity.bytesPerSecond)
    }
    timeoutSeconds = table.duration("timeout") ?? timeoutSeconds
  }

  static func isName(_ text: String) -> Bool {
    (1...longestName).contains(text.utf8.count) && text.utf8.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
  }
}

extension TableReader {
  /// Complains of a key whose value `read` refuses.
  fileprivate func check(_ key: String, _ read: () throws(RemoteAddressError) -> Void) {
    do { try read() } catch { complain(key, "\"\(key)\" is wrong: \(error)") }
  }
}

public import Model
internal import TOMLKit

/// A remote: another repository, to which snapshots are pushed.
public struct RemoteConfiguration: Sendable, Equatable {
  /// The remote's name on the command line: letters, digits, `-` and `_`.
  public var name = ""
  /// The address as written in the file.
  public var url = ""
  /// The parsed `url`; a local path is absolute.
  public var address = RemoteAddress.local([])
  /// The set whose newest member is pushed; `nil` for the newest snapshot of all.
  public var set: SnapshotSet?
  /// The program for the connection, with its options; see `RemoteAddress.words`.
  public var ssh = "ssh"
  /// The command that the program runs on the server's machine.
  public var remoteCommand = "treering serve"
  /// The file with the password of a repository of restic's format.
  public var passwordFile: String?
  /// The command that prints the password, in words as `RemoteAddress.words` splits them.
  public var passwordCommand: String?
  /// In bytes per second.
  public var limitRate: UInt64?
  /// The remote may be absent without a failure, until `rpoSeconds` have passed.
  public var isOptional = false
  /// The greatest age of the newest snapshot there. `nil` means no limit.
  public var rpoSeconds: Int64?
  /// The longest time without data from the server.
  public var timeoutSeconds: Int64 = 300
  /// The place of the remote in the owner's words.
  public var location: String?
  /// The line number in the file, from 1.
  public var line = 0

  public init() {}
}

extension RemoteConfiguration {
  static let longestName = 64

  init(name: String, table: TableReader) {
    self.init()
    self.name = name
    line = table.line
    table.know([
      "url", "set", "ssh", "remote_command", "limit_rate", "timeout", "optional", "rpo", "password_file",
      "password_command", "location",
    ])
    table.require("url")
    if let url = table.string(for: "url") {
      self.url = url
      table.check(key: "url") { () throws(RemoteAddressError) in address = try RemoteAddress(url) }
      switch address {
      case .local(let path) where !path.isEmpty && path.first != slash,
        .restic(let path) where path.first != slash:
        table.complain(
          key: "url", message: "\"url\" should be ssh://host/path, host:path, restic:/path or an absolute path")
      default: break
      }
    }
    set = table.choice(for: "set", words: ["latest"] + SnapshotSet.allCases.map(\.rawValue))
      .flatMap(SnapshotSet.init(rawValue:))
    if let command = table.string(for: "ssh") {
      ssh = command
      table.check(key: "ssh") { () throws(RemoteAddressError) in _ = try RemoteAddress.words(of: command) }
    }
    remoteCommand =
      table.value(for: "remote_command", expecting: "a command such as \"\(remoteCommand)\"") { found in
        found.string.flatMap { $0.utf8.allSatisfy(isBlank) || $0.utf8.contains(0) ? nil : $0 }
      } ?? remoteCommand
    readPassword(from: table)
    limitRate = table.rate(for: "limit_rate")
    isOptional = table.bool(for: "optional") ?? false
    rpoSeconds = table.duration(for: "rpo")
    location = table.words(for: "location")
    timeoutSeconds = table.duration(for: "timeout") ?? timeoutSeconds
  }

  private mutating func readPassword(from table: TableReader) {
    passwordFile = table.path(for: "password_file")
    if let command = table.string(for: "password_command") {
      passwordCommand = command
      table.check(key: "password_command") { () throws(RemoteAddressError) in _ = try RemoteAddress.words(of: command) }
    }
    guard case .restic = address else {
      if passwordFile != nil || passwordCommand != nil {
        table.complain(
          key: passwordFile == nil ? "password_command" : "password_file",
          message: "only a repository of restic's format has a password; its \"url\" begins with restic:")
      }
      return
    }
    if (passwordFile == nil) == (passwordCommand == nil) {
      table.complain(
        key: "url", message: "a repository of restic's format needs either \"password_file\" or \"password_command\"")
    }
  }

  package static func isName(_ text: String) -> Bool {
    (1...longestName).contains(text.utf8.count) && text.utf8.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
  }
}

extension TableReader {
  /// Complains of a key if `read` throws for its value.
  fileprivate func check(key: String, read: () throws(RemoteAddressError) -> Void) {
    do { try read() } catch { complain(key: key, message: "\"\(key)\" is wrong: \(error)") }
  }
}

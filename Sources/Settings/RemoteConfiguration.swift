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
  /// The file with the credentials for the storage, in the form of AWS.
  public var credentialsFile: String?
  /// The section of this file.
  public var profile: String?
  /// The region of a bucket.
  public var region: String?
  /// True if the bucket is in the path of a URL, and false if it is in the host's name; `nil` for what the host takes.
  public var hasPathStyle: Bool?
  /// The storage class of packs in a bucket.
  public var storageClass: String?
  /// The storage class of packs with nothing but contents of files; they must be thawed before they can be read.
  public var archiveClass: String?
  /// The time from a write to a bucket to the end of its object lock; `nil` for no lock.
  public var lockSeconds: Int64?
  public var lockMode = LockMode.compliance
  /// The longest time between two tests of a password that is kept elsewhere; `nil` means no reminder.
  public var keyTestSeconds: Int64?
  /// True if nothing may be removed there from here.
  public var isAppendOnly = false
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
  /// The archived logs of the databases are pushed, too.
  public var logs = false
  /// The line number in the file, from 1.
  public var line = 0

  public init() {}
}

extension RemoteConfiguration {
  /// The mode of an object lock. A lock of `compliance` cannot be shortened; an account with the right to bypass it can
  /// shorten one of `governance`.
  public enum LockMode: String, CaseIterable, Sendable { case compliance, governance }

  static let longestName = 64

  init(name: String, table: TableReader) {
    self.init()
    self.name = name
    line = table.line
    table.know([
      "url", "set", "ssh", "remote_command", "limit_rate", "timeout", "optional", "rpo", "password_file",
      "password_command", "location", "credentials_file", "profile", "region", "path_style", "storage_class",
      "archive_class", "lock", "lock_mode", "key_test_every", "append_only", "logs",
    ])
    table.require("url")
    if let url = table.string(for: "url") {
      self.url = url
      table.check(key: "url") { () throws(RemoteAddressError) in address = try RemoteAddress(url) }
      switch address {
      case .local(let path) where !path.isEmpty && path.first != slash,
        .restic(let path) where path.first != slash:
        table.complain(
          key: "url",
          message: "\"url\" should be ssh://host/path, host:path, restic:/path, s3:, rest:, sftp: or an absolute path")
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
    readStorage(from: table)
    limitRate = table.rate(for: "limit_rate")
    isOptional = table.bool(for: "optional") ?? false
    logs = table.bool(for: "logs") ?? false
    if logs, address.isOfRestic {
      table.complain(key: "logs", message: "a repository of restic's format keeps no logs of databases")
    }
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
    keyTestSeconds = table.duration(for: "key_test_every")
    let appendOnly = table.bool(for: "append_only")
    isAppendOnly = appendOnly ?? false
    guard address.isOfRestic else {
      if passwordFile != nil || passwordCommand != nil || keyTestSeconds != nil || appendOnly != nil {
        table.complain(
          key: passwordFile != nil
            ? "password_file"
            : passwordCommand != nil
              ? "password_command"
              : keyTestSeconds != nil ? "key_test_every" : "append_only",
          message:
            "only a repository of restic's format has a password; its \"url\" begins with restic:, s3:, rest: or sftp:")
      }
      return
    }
    if (passwordFile == nil) == (passwordCommand == nil) {
      table.complain(
        key: "url", message: "a repository of restic's format needs either \"password_file\" or \"password_command\"")
    }
  }

  /// Storage classes whose objects must be thawed before they can be read. A repository there could not be checked.
  private static let archives = ["GLACIER", "DEEP_ARCHIVE"]

  /// The shortest object lock, in seconds. It is extended when half of it has passed.
  private static let shortestLock: Int64 = 86_400

  /// Reads the object lock. Where it is set, nothing may be removed from here.
  private mutating func readLock(from table: TableReader) {
    let mode = table.choice(for: "lock_mode", words: LockMode.allCases.map(\.rawValue))
      .flatMap(LockMode.init(rawValue:))
    guard let seconds = table.duration(for: "lock") else {
      if mode != nil { table.complain(key: "lock_mode", message: "\"lock_mode\" needs \"lock\", such as \"30d\"") }
      return
    }
    if seconds < Self.shortestLock { table.complain(key: "lock", message: "\"lock\" should be at least \"1d\"") }
    (lockSeconds, lockMode, isAppendOnly) = (seconds, mode ?? .compliance, true)
  }

  private mutating func readStorage(from table: TableReader) {
    credentialsFile = table.path(for: "credentials_file")
    profile = table.words(for: "profile")
    region = table.words(for: "region")
    hasPathStyle = table.bool(for: "path_style")
    storageClass = table.value(for: "storage_class", expecting: "a storage class that is read at once") { found in
      found.string.flatMap { name in
        let isWord = !name.isEmpty && name.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") }
        return isWord && !Self.archives.contains(name) ? name : nil
      }
    }
    archiveClass = table.choice(for: "archive_class", words: Self.archives)
    readLock(from: table)
    let (isS3, isREST): (Bool, Bool)
    switch address {
    case .storage(.s3): (isS3, isREST) = (true, false)
    case .storage(.rest): (isS3, isREST) = (false, true)
    default: (isS3, isREST) = (false, false)
    }
    if !isS3, !isREST, credentialsFile != nil || profile != nil {
      table.complain(
        key: credentialsFile == nil ? "profile" : "credentials_file", message: "only s3: and rest: have credentials")
    }
    let keysOfBuckets = [
      ("region", region != nil), ("path_style", hasPathStyle != nil), ("storage_class", storageClass != nil),
      ("archive_class", archiveClass != nil), ("lock", lockSeconds != nil),
    ]
    if !isS3, let key = keysOfBuckets.first(where: \.1)?.0 {
      table.complain(key: key, message: "only a \"url\" that begins with s3: has a bucket")
    }
  }

  package static func isName(_ text: String) -> Bool {
    (1...longestName).contains(text.utf8.count) && text.utf8.allSatisfy { isAlphanumeric($0) || "-_".utf8.contains($0) }
  }
}

extension RemoteAddress {
  /// True for a repository of restic's format.
  public var isOfRestic: Bool {
    switch self {
    case .restic, .storage: true
    case .ssh, .local: false
    }
  }
}

extension TableReader {
  /// Complains of a key if `read` throws for its value.
  fileprivate func check(key: String, read: () throws(RemoteAddressError) -> Void) {
    do { try read() } catch { complain(key: key, message: "\"\(key)\" is wrong: \(error)") }
  }
}

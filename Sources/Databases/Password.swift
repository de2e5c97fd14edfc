internal import Model
internal import Posix
internal import Settings

/// The password of a database's role, on its way from its file to the tools.
///
/// The tools get a file in memory that only their account can read. Its path names their own descriptor, so no other
/// program inherits it, and nothing of it is left after a crash.
enum Password {
  /// The path of the secret file for the tool that has it.
  static let secretPath = "/dev/fd/3"

  /// The first line of the configured file, or the password of a site's own file; `nil` if none is configured.
  static func read(of database: DatabaseConfiguration) throws(DumpFailure) -> [UInt8]? {
    guard let path = database.passwordFile else { return database.password }
    func failure(_ reason: String, _ hint: String? = nil) -> DumpFailure {
      DumpFailure(name: database.name, reason: "the password file \(path) \(reason)", hint: hint)
    }
    let text: [UInt8]
    let status: FileStatus
    let hasACL: Bool
    do {
      let file = try Descriptor.openNamed(Array(path.utf8))
      status = try file.status()
      hasACL = try file.hasAccessACL()
      text = try file.readAll(limit: 1 << 16)
    } catch { throw failure("cannot be read: \(error)") }
    let isOwn = status.user == 0 || status.user == CurrentProcess.effectiveUser
    guard isOwn, status.permissions & 0o077 == 0, !hasACL
    else { throw failure("can be read or changed by others", "chown it to this user and chmod 600 it") }
    let line = text.prefix { $0 != 10 && $0 != 13 }
    guard !line.isEmpty, !line.contains(0) else { throw failure("has no password in its first line") }
    return Array(line)
  }

  /// A file in memory that only the account can read.
  static func secretFile(
    _ text: [UInt8], of database: DatabaseConfiguration, for account: Account?
  ) throws(DumpFailure) -> SharedFile {
    do {
      let file = try Descriptor.memoryFile()
      try file.setPermissions(0o600)
      if let account { try file.setOwner(user: account.user, group: account.group) }
      try file.write(text)
      // As the input of a program, it is read from here.
      try file.seek(to: 0)
      return SharedFile(file)
    } catch {
      throw DumpFailure(name: database.name, reason: "cannot make a file in memory for the password: \(error)")
    }
  }
}

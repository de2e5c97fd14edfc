internal import Databases
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings

/// The data directory of a PostgreSQL server, restored from a base backup and made ready for a recovery.
struct RecoveryDirectory {
  let path: [UInt8]
  /// The account of the server; `nil` for that of this process.
  let account: Account?
  /// The command line that fetches a log, with `%f` and `%p`; `nil` if the backup has the log that it needs.
  let fetchCommand: String?
  /// The moment to stop at; `nil` for the end of the log.
  let seconds: Int64?
  /// The timeline to follow; `nil` for that of the base backup.
  let timeline: UInt32?
  /// The warning that the log does not reach the moment, or is not at hand.
  let shortage: String?
  /// False if the server would lack the log of the backup.
  let canStart: Bool

  /// The warning if a log, the newest of an archive, was stored before the moment of a recovery.
  static func shortage(of stored: Timestamp?, _ log: String?, at seconds: Int64) -> String? {
    func text(_ seconds: Int64) -> String { Timestamp(seconds: seconds, nanoseconds: 0).localTextWithSeconds }
    // A log that is being stored now has nothing of the future.
    let end = stored?.seconds ?? Clock.now().seconds
    guard end < seconds else { return nil }
    return "the log that is at hand ends before \(text(seconds))"
      + (log.map { ": its newest segment, \($0), was stored at \(text(end))" } ?? "")
      + "; PostgreSQL refuses to end a recovery before its time, so let the old server archive its last segment first "
      + "(SELECT pg_switch_wal()), or restore without --at"
  }

  /// The recovery without an archive, up to the end of the backup.
  init(withoutArchiveAt path: [UInt8], account: Account?, seconds: Int64?) throws(Failure) {
    (self.path, self.account, self.seconds, timeline, fetchCommand) = (path, account, seconds, nil, nil)
    do {
      let data = Directory(try Descriptor.open(path: path, [.read, .directory]))
      canStart = try data.directory(Array("pg_wal".utf8).span).names().contains { $0.count == 24 }
    } catch { throw Failure.writing("prepare the data directory", at: path, because: error) }
    let lack =
      !canStart
      ? "the backup has no log, and a server does not start without it"
      : seconds.map { _ in "no archive of the log is at hand, so the state is that of the end of the backup" }
    shortage = lack.map { $0 + "; name the archive of its log with --archive" }
  }

  init(
    path: [UInt8], account: Account?, fetchCommand: String, seconds: Int64?, timeline: UInt32?, shortage: String?
  ) {
    (self.path, self.account, self.seconds, self.timeline) = (path, account, seconds, timeline)
    (self.fetchCommand, self.shortage, canStart) = (fetchCommand, shortage, true)
  }

  /// Writes the settings and gives the directory to the account. Returns the command line that starts the
  /// server; `nil` if it would not start.
  func prepare() throws(Failure) -> String? {
    do {
      let directory = Directory(try Descriptor.open(path: path, [.read, .directory]))
      try writeSettings(in: directory)
      try moveTablespacesOut(of: directory)
      if let account { try directory.give(to: account) }
      return canStart ? try startCommand(in: directory) : nil
    } catch { throw Failure.writing("prepare the data directory", at: path, because: error) }
  }

  /// Makes an archive of all logs that were pushed to a repository, beside the data directory. Returns its path.
  static func copy(_ logs: any LogSource, beside path: [UInt8], for account: Account?) throws -> [UInt8] {
    let (parent, name) = splitLast(of: path)
    let own = name + Array("-wal".utf8)
    let place = ([own] as TreePath).bytes(below: parent)
    do {
      let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
      try above.descriptor.makeDirectory(own.span, mode: 0o700)
      let directory = try above.directory(own.span)
      try directory.descriptor.dropInheritedACLs()
      if let account { try directory.descriptor.setOwner(user: account.user, group: account.group) }
      let data = try above.directory(name.span)
      try logs.copy(try neededLogs(of: logs.names(), in: data), to: try LogArchive(directory, path: place))
    } catch { throw Failure.writing("copy the logs to", at: place, because: error) }
    return place
  }

  /// The logs from the segment on with which the recovery begins, and all histories.
  private static func neededLogs(of names: [[UInt8]], in data: Directory) throws -> [[UInt8]] {
    let label = try data.descriptor.openToRead(Array("backup_label".utf8).span).readToEnd(limit: 1 << 16)
    let line = String(decoding: label, as: UTF8.self).split(separator: "\n").first {
      $0.hasPrefix("START WAL LOCATION: ")
    }
    guard let first = line?.split(separator: " ").last?.dropLast()
    else { throw Failure(.damaged, "backup_label does not name the first segment of the log") }
    return LogPlan.from(Array(first.utf8), in: names)
  }

  /// The answer for a person.
  func lines(startingBy command: String?) -> [String] {
    guard canStart else { return [] }
    let moment =
      (seconds.map { "to \(CalendarTime(seconds: $0).rfc3339)" } ?? "to the end of the log")
      + (timeline.map { " on the timeline \($0)" } ?? "")
    return [
      fetchCommand == nil
        ? "the server will start as it was at the end of the backup" : "the server will recover \(moment)",
      "it will not archive its log until archive_mode is removed from postgresql.auto.conf; another server that still "
        + "runs needs another port: add -o '-p 5433'",
    ] + (command.map { ["start it with: \($0)"] } ?? [])
  }

  /// A test must not store its logs into the archive of the server that still runs.
  private static let noArchiving = """
    # Without this line and after a restart, the server archives its log again.
    archive_mode = 'off'

    """

  private func writeSettings(in directory: Directory) throws {
    var settings = "\n# Written by treering for the recovery.\n" + Self.noArchiving
    if let fetchCommand {
      settings += "restore_command = \(Self.quoted(fetchCommand))\n"
      settings += "recovery_target_timeline = '\(timeline.map(String.init) ?? "current")'\n"
      if let seconds {
        // PostgreSQL knows no time zone Z here.
        let time = CalendarTime(seconds: seconds).rfc3339.replacing("T", with: " ").replacing("Z", with: "+00")
        settings += "recovery_target_time = \(Self.quoted(time))\nrecovery_target_action = 'promote'\n"
      }
      try write(file: Array("recovery.signal".utf8), text: "", in: directory)
    }
    try write(file: Array("postgresql.auto.conf".utf8), text: settings, in: directory)
    // Debian keeps these elsewhere. A recovery without connections needs no setting of the old server.
    for (name, text) in [
      (
        "postgresql.conf",
        "# The snapshot has no such file. Until it is there, the server takes its defaults.\nhot_standby = off\n"
      ),
      ("pg_hba.conf", "local all all peer\n"),
    ] where try directory.descriptor.statusIfPresent(of: Array(name.utf8).span) == nil {
      try write(file: Array(name.utf8), text: text, in: directory)
    }
  }

  /// Gives each tablespace a directory beside the data directory. PostgreSQL refuses one inside.
  private func moveTablespacesOut(of directory: Directory) throws {
    let links: Directory
    do { links = try directory.directory(Array("pg_tblspc".utf8).span) } catch {
      guard error == .noSuchEntry else { throw error }
      return
    }
    let (parent, name) = splitLast(of: path)
    let above = Directory(try Descriptor.open(path: parent, [.read, .directory]))
    for id in try links.names() where try links.descriptor.status(of: id.span).kind == .directory {
      let other = name + Array("-tablespace-".utf8) + id
      try links.descriptor.rename(id.span, to: above.descriptor, as: other.span)
      try links.descriptor.makeSymbolicLink(id.span, to: ([other] as TreePath).bytes(below: parent))
      if let account { try above.directory(other.span).give(to: account) }
    }
  }

  /// Appends to a file, which may be new.
  private func write(file name: [UInt8], text: String, in directory: Directory) throws {
    let file = try directory.descriptor.open(name.span, [.write, .create, .append], mode: 0o600)
    try file.write(Array(text.utf8))
    try file.synchronize()
    try file.close()
  }

  private func startCommand(in directory: Directory) throws -> String {
    let text = try directory.descriptor.openToRead(Array("PG_VERSION".utf8).span).readToEnd(limit: 64)
    let version = String(decoding: text.prefix { isDigit($0) }, as: UTF8.self)
    let debian = "/usr/lib/postgresql/\(version)/bin/pg_ctl"
    let program = ProgramSearch.isProgram(Array(debian.utf8)) ? debian : "pg_ctl"
    let shown = shellWord(path)
    let other = account.flatMap { $0.user == CurrentProcess.effectiveUser ? nil : $0 }
    let prefix = other.map { $0.runWords.map { shellWord($0) + " " }.joined() } ?? ""
    return "\(prefix)\(program) -D \(shown) -l \(shown)/recovery.log -t 3600 start"
  }

  /// A text in a file of settings.
  private static func quoted(_ text: String) -> String {
    "'" + text.replacing("\\", with: "\\\\").replacing("'", with: "''") + "'"
  }
}

extension Directory {
  /// Gives everything below the directory to an account, and then the directory itself.
  func give(to account: Account) throws(Errno) {
    for name in try names() {
      if try descriptor.status(of: name.span).kind == .directory {
        try directory(name.span).give(to: account)
      } else {
        try descriptor.open(name.span, .pathOnly).setOwner(user: account.user, group: account.group)
      }
    }
    try descriptor.setOwner(user: account.user, group: account.group)
  }
}

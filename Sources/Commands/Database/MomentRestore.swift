internal import Catalog
internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// The state of a MySQL or MariaDB server at a moment, made of a dump and the binary logs after it.
struct MomentRestore {
  let dump: StoredDump
  private let store: any SnapshotStore
  private let command: DatabaseCommand
  private let chain: LogChain?
  /// The moment; `nil` for that of the dump.
  private let end: Int64?

  /// The archive of `database` has logs, too, or its copy at the remote of `-r`.
  init(
    of dump: StoredDump, by command: DatabaseCommand, in list: SnapshotList, of store: any SnapshotStore,
    database: DatabaseConfiguration?
  ) throws {
    (self.dump, self.command, self.store, end) = (dump, command, store, command.at)
    guard let end, dump.kind == .mysql else {
      chain = nil
      return
    }
    let archive = try command.logs(of: database, named: dump.record.name, in: store)
    let found = try LogChain(after: dump, archive: archive, in: list, of: store)
    chain = found?.isEmpty == false ? found : nil
    if chain == nil, end > dump.record.ended.seconds, try !LogChain.isUnchanged(dump, until: end, archive: archive) {
      throw LogChain.refusal(of: end, after: dump, missing: found?.lacking)
    }
  }

  /// True if logs are carried out after the dump.
  var hasLogs: Bool { chain != nil }

  /// The moment for names of new databases.
  var time: Timestamp { hasLogs ? Timestamp(seconds: end ?? 0, nanoseconds: 0) : dump.record.ended }

  /// The moment for messages. `reached` is the last second of the logs, if they end before that.
  func text(reached: Int64? = nil) -> String {
    guard let end, hasLogs else { return dump.text }
    return dump.text + ", with the binary logs up to "
      + Timestamp(seconds: reached ?? end, nanoseconds: 0).localTextWithSeconds
  }

  struct Shortage {
    var warnings: [String] = []
    /// The last second of the logs, if it is earlier than the moment.
    var reached: Int64?
  }

  /// The logs in a directory; `nil` if there are none.
  private func fetchLogs(below work: PrivateDirectory, reached: inout Int64?) throws -> MySQLRecovery.Logs? {
    guard let chain, let end else { return nil }
    let directory = try work.make("logs")
    let (names, last) = try chain.fetch(into: directory, until: end)
    reached = last
    return MySQLRecovery.Logs(
      in: directory.directory, at: directory.path, names: names, from: chain.place.position, end: end)
  }

  private func recovery(for database: DatabaseConfiguration, below work: PrivateDirectory) throws -> MySQLRecovery {
    // The private server's account passes through.
    try work.letPass()
    return try reporting {
      try MySQLRecovery(for: database, programs: .ofEnvironment, in: work.directory, at: work.path)
    }
  }

  private func shortage(reached: Int64?) -> Shortage {
    guard let reached, let chain else { return Shortage() }
    let warning = chain.shortage(reached: reached)
    Console.warn(warning)
    return Shortage(warnings: [warning], reached: reached)
  }

  // MARK: A dump of the moment

  /// Puts the dump of the moment into a directory that `work` gets.
  func stage(
    databases: [[UInt8]], for target: DatabaseConfiguration, below work: PrivateDirectory
  ) throws -> (PrivateDirectory, Shortage) {
    // Only the dump of a whole server has the server's own database. The logs of a whole server are carried out as a
    // whole: their statements may name several databases.
    let needed = hasLogs && dump.contents.contains(ServersOwn.mysql) ? dump.contents : databases
    try dump.stage(
      databases: needed, of: store, to: work.path(of: "dump"), threads: command.threads.count, common: command.common)
    let first = try work.open("dump")
    var reached: Int64?
    guard let logs = try fetchLogs(below: work, reached: &reached) else { return (first, shortage(reached: nil)) }
    let recovery = try recovery(for: target, below: work)
    let (data, new) = (try work.make("data"), try work.make("new"))
    try reporting {
      try recovery.dump(
        first.directory, at: first.path, databases: needed, after: logs, data: data.directory, at: data.path,
        dumping: databases, into: new.directory, at: new.path)
    }
    return (new, shortage(reached: reached))
  }

  // MARK: A data directory

  /// Builds a data directory at a new path, or in an empty directory. Returns the command line that starts a server on
  /// it. After a failure the directory is empty, because a part of it would pass for the whole.
  func build(
    at path: [UInt8], for database: DatabaseConfiguration, below work: PrivateDirectory
  ) throws -> (Shortage, command: [[UInt8]]) {
    let recovery = try recovery(for: database, below: work)
    var reached: Int64?
    let logs = try fetchLogs(below: work, reached: &reached)
    do {
      if dump.isPhysical {
        try buildOfFiles(at: path, logs: logs, by: recovery)
      } else {
        try buildOfStatements(at: path, logs: logs, by: recovery, below: work)
      }
    } catch {
      do throws(Errno) { try Directory(Descriptor.open(path: path, [.read, .directory])).removeContent() } catch let
        other
      {
        if !other.meansAbsence { Console.warn("this directory has a part of the data: \(other)", path: path) }
      }
      try checkForSignal()
      throw (error as? DumpFailure)?.reported ?? error
    }
    return (shortage(reached: reached), startCommand(at: path, account: recovery.account))
  }

  private func buildOfFiles(at path: [UInt8], logs: MySQLRecovery.Logs?, by recovery: MySQLRecovery) throws {
    // The logs of the dump are no part of the data.
    let databases = dump.entries.filter { $0.isDirectory && !$0.hasLogs }.map(\.object)
    try dump.stage(databases: databases, of: store, to: path, threads: command.threads.count, common: command.common)
    let data = try Directory(Descriptor.open(path: path, [.read, .directory]))
    if let account = recovery.account {
      do { try data.give(to: account) } catch {
        throw Failure.writing("change the owner of", at: path, because: error)
      }
    }
    if let logs { try recovery.rollForward(data, at: path, logs: logs) }
  }

  private func buildOfStatements(
    at path: [UInt8], logs: MySQLRecovery.Logs?, by recovery: MySQLRecovery, below work: PrivateDirectory
  ) throws {
    try dump.stage(
      databases: dump.contents, of: store, to: work.path(of: "dump"), threads: command.threads.count,
      common: command.common)
    try makeDirectory(at: path)
    let (staged, data) = (try work.open("dump"), try Directory(Descriptor.open(path: path, [.read, .directory])))
    try recovery.build(staged.directory, at: staged.path, databases: dump.contents, into: data, at: path, logs: logs)
  }

  private func makeDirectory(at path: [UInt8]) throws(Failure) {
    let (parent, name) = splitLast(of: path)
    do throws(Errno) {
      let above = try Descriptor.open(path: parent, [.read, .directory])
      if try above.statusIfPresent(of: name.span) == nil { try above.makeDirectory(name.span, mode: 0o700) }
    } catch { throw .writing("make", at: path, because: error) }
  }

  /// The command line that starts a server on the data directory.
  private func startCommand(at path: [UInt8], account: Account?) -> [[UInt8]] {
    func word(_ text: String) -> [UInt8] { Array(text.utf8) }
    let options = dump.isPhysical ? word("--defaults-file=") + path + word("/backup-my.cnf") : word("--no-defaults")
    return (account?.runWords ?? []) + [word("mariadbd"), options, word("--datadir=") + path, word("--tmpdir=") + path]
      + [word("--socket=") + path + word("/socket")]
      + [word("--skip-networking")]
  }
}

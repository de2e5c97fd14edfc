internal import Databases
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Retention
internal import Settings

/// Sends the archived logs of the configuration's databases to a remote.
struct LogPush {
  private let databases: [(name: [UInt8], archive: [UInt8])]

  init(of file: ConfigurationFile) {
    databases = file.settings.databases.compactMap { database in
      database.archive.map { (Array(database.name.utf8), Array($0.utf8)) }
    }
  }

  /// Sends the logs that the remote lacks, the oldest first.
  ///
  /// An archive that cannot be opened or a damaged log does not keep the others back. The first such failure is thrown at
  /// the end.
  func work(to target: RemoteTarget) throws -> LogPushAnswer {
    guard target.restic == nil
    else { throw Failure(.usage, "\(target.name): a repository of restic's format keeps no logs of databases") }
    var answer = LogPushAnswer(remote: target.name)
    var failures: [Failure] = []
    let connection = try Connection(options: target.options)
    for database in databases {
      let remote = try RemoteLogs(of: database.name, over: connection)
      let there = try remote.names()
      let archive: LogArchive
      let names: [[UInt8]]
      do throws(Failure) {
        archive = try LogArchive(at: database.archive)
        names = try archive.names()
        try Self.check(names, against: there, at: target.name)
      } catch {
        failures.append(error)
        continue
      }
      let sent = answer.sent
      for name in LogPlan.lacking(in: there, of: names, order: Self.order) {
        try checkForSignal()
        do throws(Failure) { if try remote.send(name, of: archive) { answer.sent += 1 } } catch {
          // A log that is damaged here has not been sent.
          guard error.kind == .damaged, error.path?.starts(with: archive.path) == true else { throw error }
          failures.append(error)
          // Later ones alone would pass for all that is needed there, and this one would never follow.
          if there.isEmpty, answer.sent == sent { break }
        }
      }
    }
    for failure in failures.dropFirst() { Console.complain(of: failure, status: ExitStatus(failure.kind)) }
    if let first = failures.first { throw first }
    answer.bytesSent = connection.bytesSent
    return answer
  }

  /// Refuses binary logs whose numbers are behind those at the remote, because equal names would hide other content.
  static func check(_ names: [[UInt8]], against there: [[UInt8]], at remote: String) throws(Failure) {
    func newest(_ names: [[UInt8]]) -> [[UInt8]: BinaryLogName] {
      Dictionary(names.compactMap { BinaryLogName($0) }.map { ($0.base, $0) }, uniquingKeysWith: max)
    }
    let own = newest(names)
    for (base, log) in newest(there) where own[base].map({ $0 < log }) ?? false {
      throw Failure(
        .refused,
        "\(remote) has the binary logs of another server: its \(displayName(log.text)) is newer than all that are here",
        hint: "give the database a new name, so that its logs have a place of their own there")
    }
  }

  private static func order(of name: [UInt8]) -> (series: [UInt8], number: UInt64)? {
    BinaryLogName(name).map { ($0.base, $0.number) }
  }
}

/// The document of `push --logs --json`.
struct LogPushAnswer: Encodable {
  let remote: String
  /// The number of logs that were sent.
  var sent = 0
  var bytesSent: UInt64 = 0

  init(remote: String) { self.remote = remote }

  var line: String { "sent \(counted(sent, "log")) to \(remote), \(byteText(bytesSent)) in all" }
}

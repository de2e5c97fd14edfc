internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct PushCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "push", abstract: "Send a snapshot to another repository, of which only what changed travels.",
    discussion: """
      REMOTE is a name from the configuration, ssh://user@host:port/path, user@host:path, or the path of another \
      repository, on a second disk for example. Over ssh treering must be installed on the remote machine, and the \
      repository there made with treering init. Without a SNAPSHOT the newest one is sent, or the newest of the \
      set that the configuration names. It keeps its name there. What was sent before a connection broke is \
      not sent again. With --all every snapshot is sent that the remote never had, the oldest first. With --logs only the \
      archived logs of databases are sent, for a timer every few minutes.

      Examples:
        treering push ssh://backup@nas.example.org/srv/treering/web01 --repository /backup/treering
        treering push /media/disk/treering --all --repository /backup/treering
      """)

  @Argument(
    help: ArgumentHelp("Where to: a name from the configuration, or an address.", valueName: "remote"),
    completion: .remote)
  var remote: String

  @Argument(
    help: ArgumentHelp("The snapshot to send; the newest, if left out.", valueName: "snapshot"), completion: .snapshot)
  var snapshot: String?

  @Flag(help: "Send all snapshots that the remote never had, the oldest first.")
  var all = false

  @Flag(help: "Send the archived logs of the configuration's databases, and no snapshot.")
  var logs = false

  @Flag(name: [.customShort("n"), .long], help: "Send nothing; say what would be sent.")
  var dryRun = false

  @OptionGroup var connection: RemoteConnectionOptions
  @OptionGroup var common: CommonOptions

  func validate() throws {
    if all, snapshot != nil { throw ValidationError("name a snapshot, or give --all") }
    if logs, all || snapshot != nil || dryRun { throw ValidationError("--logs sends no snapshot") }
  }

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    let target = try RemoteTarget(
      named: remote, in: try common.configuration(naming: remote), connection: connection, options: common)
    if logs { return try pushLogs(to: target) }
    let repository = try common.openRepository()
    let sources = try sources(of: repository)
    let run = PushJob(to: target, from: repository, sources: sources, options: common)
    if all { return try PushAllJob(run, from: repository, options: common).run(isDryRun: dryRun) }
    let list = try repository.snapshots()
    let wanted =
      try snapshot.map { try repository.resolve($0, in: list) }
      ?? newest(for: target, of: sources, in: repository, list: list)
    if let snapshot { common.noteDistance(of: wanted, from: snapshot) }
    let answer = try run.work(wanted, isDryRun: dryRun)
    common.answer(answer, isWanted: dryRun || common.speaks, lines: [answer.line])
    if target.logs, !dryRun { _ = try LogPush(of: try common.requiredConfiguration()).work(to: target) }
    return answer.status
  }

  private func pushLogs(to target: RemoteTarget) throws -> ExitStatus {
    let answer = try LogPush(of: try common.requiredConfiguration()).work(to: target)
    common.answer(answer, isWanted: common.speaks, lines: [answer.line])
    return .done
  }

  /// The configuration's sources.
  ///
  /// If the configuration was not given with `--config`, its errors must not prevent a push to an address.
  private func sources(of repository: Repository) throws(Failure) -> SourceSet? {
    if common.config != nil { return try common.configuration(of: repository)?.sourceSet }
    return (try? common.configuration(of: repository))?.sourceSet
  }

  /// The newest snapshot of the configuration's sources. A newer damaged snapshot is an error; it is never skipped
  /// silently.
  private func newest(
    for target: RemoteTarget, of sources: SourceSet?, in repository: Repository, list: SnapshotList
  ) throws -> Snapshot {
    let newest = try repository.resolve(target.set.map { "\($0.rawValue).0" } ?? "latest", in: list)
    return try repository.newest(of: sources, in: target.set, among: list) ?? newest
  }
}

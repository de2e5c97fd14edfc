internal import ArgumentParser
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Settings

struct ServeCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "Be the server of push and of remote repositories, started by ssh.",
    discussion: """
      Speaks treering-replication(7) over standard input and output. As a forced command in \
      authorized_keys it gives a key no more than one repository, and with --append-only nothing that \
      removes or replaces what is there. Where the kernel has Landlock, it can reach nothing but the \
      repository.

      Example, one line of ~/.ssh/authorized_keys:
        restrict,command="treering serve --repository /srv/treering/web01 --append-only" ssh-ed25519 AAAA…

      With --source it serves no repository: it sends directories of this machine to the backup host that asks for \
      them, and changes nothing.

        restrict,command="treering serve --source /etc --source /srv" ssh-ed25519 AAAA…
      """)

  @Option(
    name: [.customShort("r"), .long],
    help: ArgumentHelp("The only repository that is served; the one the client names, if left out.", valueName: "dir"),
    completion: .directory)
  var repository: PathArgument?

  @Flag(help: "Add snapshots, and remove or replace nothing.")
  var appendOnly = false

  @Flag(help: "Change nothing: what is there can be listed, verified and restored.")
  var readOnly = false

  @Option(
    help: ArgumentHelp("Give up if the client does nothing for so long (10m).", valueName: "duration"),
    transform: parsed(by: Quantity.seconds, or: "--timeout takes a duration such as 10m"))
  var timeout: Int64 = 600

  @Option(
    help: ArgumentHelp(
      "Refuse a push that would leave less room than this, such as 5% or 20G; what the repository's configuration says, if left out.",
      valueName: "size"),
    transform: freeSpace(for: "--minimum-free"))
  var minimumFree: MinimumFree?

  @Option(
    help: ArgumentHelp(
      "Send this directory to the machine that asks for it, and serve no repository. May be repeated.",
      valueName: "path"), completion: .directory)
  var source: [PathArgument] = []

  @OptionGroup var threads: ThreadOption

  func execute() throws -> ExitStatus {
    CurrentProcess.rememberSignals()
    guard CurrentProcess.terminalWidth(of: .output) == nil else {
      throw Failure(
        .usage, "serve speaks with a program, not with a person",
        hint: "it is started by: treering push, or as a forced command; see treering-replication(7)")
    }
    if !source.isEmpty {
      guard repository == nil, !appendOnly, !readOnly, minimumFree == nil else {
        throw Failure(.usage, "--source goes with no option for a repository")
      }
      return try SourceSending(
        sources: source.map(\.bytes), threads: threads.count, timeoutSeconds: Double(timeout)
      ).run()
    }
    var options = ServeOptions(program: "treering \(Treering.version)")
    options.repository = repository?.bytes
    options.isAppendOnly = appendOnly
    options.isReadOnly = readOnly
    options.timeoutSeconds = Double(timeout)
    options.threads = threads.count
    // The client shows notes with -v.
    options.onNote = { Console.complain($0) }
    let minimumFree = minimumFree
    options.minimumFree = { minimumFree ?? Self.configuredMinimum(for: $0) }
    do {
      try serve(options) { repository, push in
        let line = ReceptionLine(for: push)
        do { try repository.history.append(line) } catch {
          // After a failed push, the client gets a more important error.
          if push.failure == nil { Console.warn("\(error)") }
        }
      }
      return .done
    } catch let failure as Failure {
      // The client has already received the error and reports it.
      return ExitStatus(failure.kind)
    }
  }

  /// The minimum free space of this machine's configuration, if that names this repository and is readable.
  ///
  /// The environment is ignored, because the client may control a part of it.
  private static func configuredMinimum(for repository: Repository) -> MinimumFree? {
    let file = try? ConfigurationFile.once(at: ConfigurationFile.installedPath)
    return (try? file?.configuration(of: repository))?.settings.minimumFree
  }
}

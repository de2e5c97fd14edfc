internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct StatusCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Is all well? For people, monitors and scripts.",
    discussion: """
      Shows what is wrong, the age of the newest good snapshot of each source and at each remote, what is due, the \
      verification, the sets, space, and the last runs. The exit status is 0 where all is well, 6 where damage is \
      known, and else 1. What is not well is said first; where standard output is no terminal, also on standard error.

      With directories it shows all their repositories in one table, the worst first.

      Examples:
        treering status --max-age 26h --repository /backup/treering
        treering status /srv/treering/*
        treering status --prometheus > /var/lib/prometheus/node-exporter/treering.prom
      """)

  @Argument(
    help: ArgumentHelp("Repositories to show in one table, in place of --repository.", valueName: "dir"),
    completion: .directory)
  var directories: [PathArgument] = []

  @Option(
    help: ArgumentHelp(
      "How old the newest good snapshot of a source may be; else the configuration's rpo.", valueName: "time"),
    transform: seconds(for: "--max-age"))
  var maxAge: Int64?

  @Flag(help: "Print metrics in the text format of Prometheus.")
  var prometheus = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if prometheus && common.json { throw ValidationError("--prometheus and --json exclude each other") }
    if !directories.isEmpty, common.repository != nil {
      throw ValidationError("name the repositories either as arguments or with --repository")
    }
  }

  func execute() throws -> ExitStatus {
    let now = Clock.now()
    if !directories.isEmpty { return try showAll(at: now) }
    let state = try state(of: try common.openRepository(), at: now)
    if prometheus {
      Console.write(metricsText(of: [state], at: now), to: .output)
    } else {
      common.answer(state, lines: StatusPage(of: state).lines)
    }
    complain(of: state.findings)
    return state.exitStatus
  }

  private func state(of repository: Repository, at now: Timestamp) throws -> RepositoryState {
    try RepositoryState(
      of: repository, configuration: try common.configuration(of: repository), maximumAgeSeconds: maxAge, at: now)
  }

  /// Prints problems on standard error. On a terminal the page has them.
  private func complain(of findings: [String]) {
    let isShown = !prometheus && !common.json && !common.quiet && CurrentProcess.terminalWidth(of: .output) != nil
    if !isShown { for finding in findings { Console.complain(finding) } }
  }

  /// Shows several repositories. One that cannot be opened does not hide the others.
  private func showAll(at now: Timestamp) throws -> ExitStatus {
    var states: [RepositoryState] = []
    var failures: [(path: String, failure: Failure)] = []
    for directory in directories {
      do { states.append(try state(of: try Repository.open(directory.bytes), at: now)) } catch {
        let failure = error as? Failure ?? Failure(.failed, "\(error)", path: directory.bytes)
        failures.append((displayName(directory.bytes), failure))
      }
    }
    let table = RepositoryTable(of: states, failures: failures)
    if prometheus {
      Console.write(metricsText(of: states, at: now), to: .output)
    } else {
      common.answer(table.answer, lines: table.lines)
    }
    complain(of: table.findings)
    return table.exitStatus
  }
}

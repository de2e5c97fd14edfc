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

      With directories, and without any if the configuration has several repositories, it shows all of them in one \
      table, the worst first.

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
    if !directories.isEmpty { return try showAll(directories.map { (displayName($0.bytes), $0.bytes) }, at: now) }
    if let file = try common.configurationOfSeveral() {
      return try showAll(file.repositories.map { ($0.name ?? "", $0.repositoryPath ?? []) }, at: now)
    }
    let state = try state(of: try common.openRepository(), at: now)
    if prometheus {
      Console.write(metricsText(of: [(state.repository, state, nil)], at: now), to: .output)
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
  private func showAll(_ repositories: [(name: String, path: [UInt8])], at now: Timestamp) throws -> ExitStatus {
    var (states, failures): ([RepositoryTable.Named], [RepositoryTable.Failed]) = ([], [])
    for (name, path) in repositories {
      do { states.append((name, try state(of: try Repository.open(path), at: now))) } catch {
        failures.append((name, error as? Failure ?? Failure(.failed, "\(error)", path: path)))
      }
    }
    let table = RepositoryTable(of: states, failures: failures)
    if prometheus {
      Console.write(metricsText(of: states.map { ($0.state.repository, $0.state, nil) }, at: now), to: .output)
    } else {
      common.answer(table.answer, lines: table.lines)
    }
    complain(of: table.findings)
    return table.exitStatus
  }
}

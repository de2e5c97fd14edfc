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

      Examples:
        treering status --max-age 26h --repository /backup/treering
        treering status --prometheus > /var/lib/prometheus/node-exporter/treering.prom
      """)

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
  }

  func execute() throws -> ExitStatus {
    let repository = try common.openRepository()
    let file = try common.configuration(of: repository)
    let now = Clock.now()
    let state = try RepositoryState(of: repository, configuration: file, maximumAgeSeconds: maxAge, at: now)
    if prometheus {
      Console.write(metricsText(of: state, at: now), to: .output)
    } else {
      common.answer(state, lines: StatusPage(of: state).lines)
    }
    // On a terminal the page has them.
    let isShown = !prometheus && !common.json && !common.quiet && CurrentProcess.terminalWidth(of: .output) != nil
    if !isShown { for finding in state.findings { Console.complain(finding) } }
    return state.isWell ? .done : state.isDamaged ? .damaged : .warnings
  }
}

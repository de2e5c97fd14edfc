internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct ReportCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Show a period on one page: runs, growth, retention, verification, drills, audit.",
    discussion: """
      Shows the runs and failures, the changes per day, the growth of each source, the retention, the disk, the \
      verification, the drills, and the audit. --html writes one file without scripts and without anything that is \
      fetched. Every value comes from the history, the catalogs or the audit; one that was not measured says so.

      Examples:
        treering report
        treering report --since 90d --html /var/www/status/backups.html
        treering report --json
      """)

  @Option(
    help: ArgumentHelp("The beginning: an age or a time, such as 90d or 2026-11-01 (30d).", valueName: "time"),
    transform: parsed(by: { Moment.seconds(of: $0) }, or: "--since takes an age or a time, such as 90d or 2026-11-01"))
  var since: Int64?

  @Option(
    help: ArgumentHelp("Write the report to this file, as HTML.", valueName: "file"),
    completion: .file(extensions: ["html"]))
  var html: PathArgument?

  @Flag(help: "Print the report as text; that is done unless another option is given.")
  var text = false

  @OptionGroup var common: CommonOptions

  func validate() throws {
    if [html != nil, text, common.json].count(where: { $0 }) > 1 {
      throw ValidationError("--html, --text and --json exclude each other")
    }
  }

  func execute() throws -> ExitStatus {
    let file = try common.requiredConfiguration()
    let repository = try common.openRepository()
    let report = try BackupReport(of: repository, configuration: file, since: since, at: Clock.now())
    guard let html else {
      common.answer(report, lines: report.lines)
      return .done
    }
    let path = try absolutePath(of: html.bytes)
    try replaceFile(at: path, with: report.html, mode: 0o644)
    common.answer(report, isWanted: common.speaks, lines: ["wrote \(displayName(path))"])
    return .done
  }
}

extension BackupReport {
  private static let days: Int64 = 30

  /// Collects the facts. Without a beginning, the period is 30 days.
  init(
    of repository: Repository, configuration file: ConfigurationFile, since begin: Int64? = nil, at now: Timestamp
  ) throws {
    let collection = try AuditCollection(of: repository, configuration: file, at: now)
    let begin = min(begin ?? now.seconds - Self.days * 86_400, now.seconds)
    self.init(of: try collection.reportFacts(since: begin))
  }

  /// The text for a mail. A mail about trouble must not depend on the report.
  static func text(of repository: Repository, by file: ConfigurationFile) -> [String] {
    do { return try BackupReport(of: repository, configuration: file, at: Clock.now()).lines } catch {
      return ["the report cannot be made: \(error)"]
    }
  }
}

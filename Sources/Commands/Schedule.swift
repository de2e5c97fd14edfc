internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct ScheduleCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "schedule", abstract: "Run treering every hour, by cron or systemd.",
    discussion: """
      --cron and --systemd print what --install puts into its place. Root gets a job of the system, and another \
      user a job of that user's own. A file that is not from this command, or that was edited, is never replaced.

      Examples:
        treering schedule --install systemd
        treering schedule --cron > /etc/cron.d/treering      # as root
      """)

  @Flag(help: "Print a file for /etc/cron.d, or, for an ordinary user, lines for crontab -e.")
  var cron = false

  @Flag(help: "Print a service and a timer for systemd.")
  var systemd = false

  @Option(
    help: ArgumentHelp(
      "Install the job: cron, systemd, or user, which takes systemd where it runs for this user, and else cron.",
      valueName: "kind"),
    completion: .words(of: ScheduleKind.self), transform: oneOf(for: "--install"))
  var install: ScheduleKind?

  @Flag(help: "Remove what --install has installed.")
  var remove = false

  @Flag(name: [.customShort("n"), .long], help: "Change nothing; say what would be done.")
  var dryRun = false

  @Option(help: ArgumentHelp("Write units for a package to a directory.", valueName: "dir", visibility: .hidden))
  var unitsFor: PathArgument?

  @Option(help: ArgumentHelp("The program that such units run.", valueName: "file", visibility: .hidden))
  var program: PathArgument?

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if let unitsFor {
      let job = ScheduledJob(program: try plain(program?.bytes ?? Self.programPath()))
      for (name, text) in job.units {
        try replaceFile(at: unitsFor.bytes + [slash] + Array(name.utf8), with: text, mode: 0o644)
      }
      return .done
    }
    guard [cron, systemd, install != nil, remove].count(where: { $0 }) == 1
    else { throw Failure(.usage, "schedule takes one of --cron, --systemd, --install and --remove") }
    guard !dryRun || install != nil || remove
    else { throw Failure(.usage, "--dry-run goes with --install or --remove") }
    // A job without a configuration would fail every hour.
    if install != nil { _ = try common.requiredConfiguration() }
    let job = try ScheduledJob(
      program: plain(Self.programPath()),
      config: plain(absolutePath(of: common.config?.bytes ?? ConfigurationFile.defaultPath)), options: common)
    let changes = ScheduleChanges(isDryRun: dryRun)
    if remove {
      try changes.remove()
    } else if let install {
      try changes.install(job, as: install)
    } else {
      return print(job)
    }
    common.answer(ScheduleAnswer(changes: changes.done), lines: changes.lines)
    return .done
  }

  private func print(_ job: ScheduledJob) -> ExitStatus {
    let text = cron ? job.cronText.text : job.systemdText
    if common.json {
      Console.print(jsonText(ScheduleAnswer(kind: cron ? .cron : .systemd, text: text)))
    } else {
      Console.write(text, to: .output)
    }
    return .done
  }

  private static func programPath() throws(Failure) -> [UInt8] {
    do { return try CurrentProcess.programFile() } catch {
      throw Failure(.failed, "cannot find out where treering is: \(error)")
    }
  }
}

/// The value of `--install`.
enum ScheduleKind: String, CaseIterable, Encodable { case cron, systemd, user }

/// The document of `schedule --json`.
struct ScheduleAnswer: Encodable {
  var kind: ScheduleKind?
  var text: String?
  /// The changes of `--install` and `--remove`.
  var changes: [ScheduleChange]?
}

internal import Catalog
internal import Model
internal import Operations
internal import Posix
internal import Settings

/// Notifies a dead man's switch, a webhook and a program of a run. A failed notification never fails the run.
struct Notices {
  private let settings: Configuration
  private let healthchecks: Healthchecks?
  private static let userAgent = "treering/\(Treering.version)"

  /// The size limit of the document in a program's environment. A longer one is sent without steps and named warnings.
  ///
  /// The kernel limits an environment variable to 128 KiB.
  private static let longestVariable = 100_000

  init(_ settings: Configuration, runID: String) {
    self.settings = settings
    healthchecks = settings.healthchecks.map {
      Healthchecks(
        url: $0.url, runID: runID, userAgent: Self.userAgent, limitSeconds: Double(settings.notifySeconds))
    }
  }

  /// Returns a step for each failed notification.
  func runBegins() -> [RunStep] {
    tell("healthchecks start", "Healthchecks could not be told of the start") { healthchecks?.start() }
  }

  /// Returns a step for each failed notification.
  func runEnded(_ answer: RunAnswer, environment: [(name: String, value: [UInt8])]) -> [RunStep] {
    let isGood = answer.exitStatus == ExitStatus.done.code
    var steps = tell("healthchecks", "Healthchecks could not be told of the end") { sendEnd(answer) }
    if let webhook = settings.webhook, !(isGood && webhook.onlyFailures) {
      steps += tell("webhook", "the webhook could not be told") {
        Webhook(
          url: webhook.url, headers: webhook.headers, userAgent: Self.userAgent,
          limitSeconds: Double(settings.notifySeconds)
        ).send(jsonText(answer))
      }
    }
    if let command = settings.notifyCommand, !(isGood && settings.notifyCommandOnlyFailures) {
      steps += tell("notify \(command.command[0])", "the program \(command.command[0]) could not be told") {
        run(command, answer, environment)
      }
    }
    return steps
  }

  private func tell(_ step: String, _ what: String, _ trouble: () -> String?) -> [RunStep] {
    let start = Clock.monotonic()
    guard let message = trouble() else { return [] }
    Console.complain("warning: \(what): \(message)")
    return [
      RunStep(
        step: step, outcome: "failed", elapsedSeconds: Clock.monotonic() - start, message: message)
    ]
  }

  private func sendEnd(_ answer: RunAnswer) -> String? {
    var status = answer.exitStatus
    if status == ExitStatus.warnings.code && settings.warningsAreSuccess { status = ExitStatus.done.code }
    let log = (Console.lastMessages + answer.lines).joined(separator: "\n")
    return healthchecks?.finish(exitStatus: status, log: Array(log.utf8))
  }

  private func run(
    _ command: Configuration.Hook, _ answer: RunAnswer, _ environment: [(name: String, value: [UInt8])]
  ) -> String? {
    var document = jsonText(answer, isLine: true)
    if document.utf8.count > Self.longestVariable {
      var shorter = answer
      shorter.snapshot?.warningsNamed = []
      shorter.steps = []
      document = jsonText(shorter, isLine: true)
    }
    let isEnding = CurrentProcess.rememberedSignal != nil
    let limit = isEnding ? min(command.timeoutSeconds, ScheduledRun.lastSeconds) : command.timeoutSeconds
    let ended = command.run(
      environment + [("TREERING_RUN_JSON", Array(document.utf8))], limitSeconds: limit, finishes: true)
    if ended.trouble != nil { ended.complain(of: command) }
    return ended.trouble
  }
}

/// The end of a hook or notification program.
struct HookEnd {
  /// The error of the program, or `nil` if it succeeded.
  let trouble: String?
  /// The last lines of output, which explain a failure.
  let lastLines: [[UInt8]]

  /// The maximum number of lines that are kept.
  private static var keptLines: Int { 20 }

  init(_ trouble: String?, _ lines: [[UInt8]]) {
    self.trouble = trouble
    lastLines = lines.suffix(Self.keptLines)
  }

  func complain(of hook: Configuration.Hook) {
    for line in lastLines { Console.complain("\(hook.command[0]): \(displayName(line))") }
  }
}

extension Configuration.Hook {
  /// Runs the program, for at most `limitSeconds`. With `finishes`, a signal to this run does not stop it.
  func run(
    _ environment: [(name: String, value: [UInt8])], limitSeconds: Int64, finishes: Bool,
    onLine: ([UInt8]) -> Void = { _ in }
  ) -> HookEnd {
    var lines: [[UInt8]] = []
    do throws(Errno) {
      let end = try CurrentProcess.runChild(
        command.map { Array($0.utf8) }, environment: environment, timeoutSeconds: Double(limitSeconds),
        finishes: finishes
      ) { line in
        onLine(line)
        lines.append(line)
        if lines.count > 1000 { lines.removeFirst(900) }
      }
      return HookEnd(end.trouble(of: self), lines)
    } catch { return HookEnd("cannot be started: \(error)", lines) }
  }
}

extension ChildEnd {
  /// The error of the program's end, or `nil` if it succeeded.
  func trouble(of hook: Configuration.Hook) -> String? {
    switch self {
    case .exited(0): nil
    case .exited(let status): "ended with status \(status)"
    case .signalled(let signal): "was ended by signal \(signal)"
    case .timedOut: "did not end within \(durationText(Double(hook.timeoutSeconds))) and was stopped"
    case .interrupted: "was stopped, because the run was interrupted"
    }
  }
}

internal import Model
internal import Operations
internal import Posix
internal import Repository
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

  init(for settings: Configuration, runID: String) {
    self.settings = settings
    healthchecks = settings.healthchecks.map {
      Healthchecks(url: $0.url, runID: runID, userAgent: Self.userAgent, limitSeconds: Double(settings.notifySeconds))
    }
  }

  private static let startStep = "healthchecks start"
  private static let endStep = "healthchecks"
  private static let webhookStep = "webhook"
  private static let commandStep = "notify "

  /// True for the steps of notifications in the history.
  static func isNotice(_ step: String) -> Bool {
    [startStep, endStep, webhookStep, MailMessage.step].contains(step) || step.hasPrefix(commandStep)
  }

  /// Returns a step if the notification failed.
  func runBegins() -> [RunStep] {
    guard let healthchecks else { return [] }
    let step = tell(Self.startStep, failure: "Healthchecks could not be told of the start") { healthchecks.start() }
    return step.outcome == .failed ? [step] : []
  }

  /// Returns a step for each notification, delivered or not.
  func runEnded(_ answer: some RunReport, environment: [(name: String, value: [UInt8])]) -> [RunStep] {
    let isGood = answer.exitStatus == ExitStatus.done.code
    var steps: [RunStep] = []
    if let healthchecks {
      steps.append(
        tell(Self.endStep, failure: "Healthchecks could not be told of the end") { sendEnd(answer, to: healthchecks) })
    }
    if let webhook = settings.webhook, !(isGood && webhook.onlyFailures) {
      steps.append(
        tell(Self.webhookStep, failure: "the webhook could not be told") {
          Webhook(
            url: webhook.url, headers: webhook.headers, userAgent: Self.userAgent,
            limitSeconds: Double(settings.notifySeconds)
          ).send(jsonText(answer))
        })
    }
    if let command = settings.notifyCommand, !(isGood && settings.notifyCommandOnlyFailures) {
      let program = command.command[0]
      steps.append(
        tell(Self.commandStep + program, failure: "the program \(program) could not be told") {
          run(command, after: answer, environment: environment)
        })
    }
    return steps
  }

  /// Sends the mail if it is due. Returns a step for a mail, delivered or not.
  ///
  /// `last` is the time of the last delivered mail. `report` returns the end of the text.
  func sendMail(
    after answer: some RunReport, last: () throws -> Int64? = { nil }, report: () -> [String]
  ) -> [RunStep] {
    guard let mail = settings.mail else { return [] }
    do {
      let last = mail.on == .weekly ? try last() : nil
      let status = ExitStatus(code: answer.exitStatus)
      guard mail.isDue(after: status, last: last, at: Clock.now().seconds) else { return [] }
    } catch { Console.warn("\(error)") }
    let report = report()
    let step = tell(MailMessage.step, failure: "the mail could not be sent") {
      do {
        try MailMessage(to: mail.to, after: answer, report: report).send()
        return nil
      } catch { return "\(error)" }
    }
    return [step]
  }

  /// `send` returns the reason of a failure.
  private func tell(_ step: String, failure what: String, send: () -> String?) -> RunStep {
    let start = Clock.monotonic()
    let message = send()
    if let message { Console.warn("\(what): \(message)") }
    return RunStep(
      step: step, outcome: message == nil ? .done : .failed, elapsedSeconds: Clock.monotonic() - start,
      message: message)
  }

  private func sendEnd(_ answer: some RunReport, to healthchecks: Healthchecks) -> String? {
    var status = answer.exitStatus
    if status == ExitStatus.warnings.code && settings.warningsAreSuccess { status = ExitStatus.done.code }
    let log = (Console.lastMessages + answer.lines).joined(separator: "\n")
    return healthchecks.finish(exitStatus: status, log: Array(log.utf8))
  }

  private func run(
    _ command: Configuration.Hook, after answer: some RunReport, environment: [(name: String, value: [UInt8])]
  ) -> String? {
    var document = jsonText(answer, isLine: true)
    if document.utf8.count > Self.longestVariable { document = jsonText(answer.shortened, isLine: true) }
    let isEnding = CurrentProcess.rememberedSignal != nil
    let limit = isEnding ? min(command.timeoutSeconds, ScheduledRun.lastSeconds) : command.timeoutSeconds
    let ended = command.run(
      environment: environment + [("TREERING_RUN_JSON", Array(document.utf8))], limitSeconds: limit, finishes: true)
    if ended.problem != nil { ended.complain(of: command) }
    return ended.problem
  }
}

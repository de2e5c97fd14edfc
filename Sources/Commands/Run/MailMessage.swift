internal import Databases
internal import FoundationEssentials
internal import Model
internal import Posix
internal import Repository
internal import Settings

/// A mail that the system's sendmail(8) delivers.
struct MailMessage {
  let to: [String]
  let subject: String
  let lines: [String]

  /// The directories in which mail servers install the program; cron's `PATH` has neither.
  private static let directories = ["/usr/sbin", "/usr/lib"]

  /// The path of sendmail(8), or `nil` if it is not installed.
  static var program: String? {
    let path = displayName(CurrentProcess.environment("PATH") ?? [])
    return (path.split(separator: ":").map(String.init) + directories).map { "\($0)/sendmail" }.first {
      ProgramSearch.isProgram(Array($0.utf8))
    }
  }

  /// A subject beyond ASCII as encoded words (RFC 2047). Each has whole characters, and at most 75 bytes.
  static func encoded(_ subject: String) -> String {
    if subject.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) { return subject }
    var words: [[UInt8]] = []
    for scalar in subject.unicodeScalars {
      let bytes = Array(String(scalar).utf8)
      if let last = words.last, last.count + bytes.count <= encodedBytes {
        words[words.count - 1] += bytes
      } else {
        words.append(bytes)
      }
    }
    return words.map { "=?utf-8?B?\(Data($0).base64EncodedString())?=" }.joined(separator: "\n ")
  }

  /// In base64, they are the 60 bytes that fit between `=?utf-8?B?` and `?=`.
  private static let encodedBytes = 45

  /// The head and the body (RFC 5322).
  var text: String {
    let head = [
      "To: \(to.joined(separator: ", "))", "Subject: \(Self.encoded(subject))", "MIME-Version: 1.0",
      "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "Auto-Submitted: auto-generated",
    ]
    return (head + [""] + lines).joined(separator: "\n") + "\n"
  }

  func send() throws(Failure) {
    guard let program = Self.program else {
      throw Failure(.failed, "sendmail is not installed", hint: "install a mail server, such as msmtp-mta or postfix")
    }
    // -i: a line with a dot alone is no end. -t: the receivers are those of the head.
    try Tool([program, "-i", "-t"], input: Array(text.utf8)).run()
  }
}

extension Configuration.Mail {
  /// A week, less the time by which a run may begin earlier than the one before.
  private static let week: Int64 = 7 * 86_400 - 3600

  /// True if a mail is due after a run. `last` is the time of the last delivered one.
  func isDue(after status: ExitStatus, last: Int64?, at now: Int64) -> Bool {
    switch on {
    case .always: true
    case .failure: status != .done
    case .weekly: status != .done || last.map { now - $0 >= Self.week } ?? true
    }
  }
}

extension History {
  private static let searchedBytes = 32 << 20

  /// The time of the last run that delivered a mail.
  func lastMail() throws(Failure) -> Int64? {
    for line in try tail(byteCount: Self.searchedBytes).split(separator: newline).reversed() {
      guard let run = RecordedRun(json: line) else { continue }
      let isDelivered = (run.steps ?? []).contains { $0.step == MailMessage.step && $0.outcome == "done" }
      if isDelivered { return Moment.seconds(of: run.time) }
    }
    return nil
  }
}

extension MailMessage {
  /// The name of the step in a run.
  static let step = "mail"

  /// The mail about a run: its messages and steps, and then the report.
  init(to receivers: [String], after answer: some RunReport, report: [String]) {
    let state =
      answer.exitStatus == ExitStatus.done.code
      ? "all is done" : "run ended with status \(answer.exitStatus)\(answer.error.map { ": \($0)" } ?? "")"
    let said = Console.lastMessages.isEmpty ? [] : Console.lastMessages + [""]
    self.init(
      to: receivers, subject: String("treering on \(answer.host): \(state)".prefix(200)),
      lines: said + answer.lines + [""] + report)
  }
}

internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Synchronization

/// Writes answers to standard output and messages to standard error.
enum Console {
  // The lock keeps a warning of another thread from splitting a progress line.
  private static let progressIsShown = Mutex(false)

  static func print(_ line: String) { write(line + "\n", to: .output) }

  /// The latest messages, for the notices of a run.
  private static let said = Mutex<[String]>([])
  private static var keptMessages: Int { 500 }

  /// True if messages are JSON objects, one a line. It is set once, before the first message.
  static let usesJSON = Mutex(false)

  /// Prints one message to standard error. A path precedes the text.
  static func complain(
    _ text: String, level: MessageLevel = .message, path: [UInt8]? = nil, hint: String? = nil,
    exitStatus: ExitStatus? = nil, isKept: Bool = true
  ) {
    let rest = (path.map { "\(displayName($0)): " } ?? "") + text + (hint.map { "; \($0)" } ?? "")
    if isKept {
      said.withLock {
        $0.append(level.prefix + rest)
        if $0.count > keptMessages { $0.removeFirst($0.count - keptMessages) }
      }
    }
    let message = Message(level: level, message: text, path: path, hint: hint, exitStatus: exitStatus?.code)
    write(
      usesJSON.withLock { $0 } ? jsonText(message, isLine: true) + "\n" : "\(level.beginning)\(rest)\n", to: .error)
  }

  static func warn(_ text: String, path: [UInt8]? = nil) { complain(text, level: .warning, path: path) }

  static func note(_ text: String) { complain(text, level: .note) }

  /// Prints the error that decides the exit status.
  static func complain(of failure: Failure, status: ExitStatus) {
    // The sentence has the path already.
    let path = usesJSON.withLock { $0 } ? failure.path : nil
    complain(failure.message, level: .error, path: path, hint: failure.hint, exitStatus: status)
  }

  static var lastMessages: [String] { said.withLock { $0 } }

  static func write(_ text: String, to stream: StandardStream) { write(Array(text.utf8), to: stream) }

  static func write(_ bytes: [UInt8], to stream: StandardStream) {
    progressIsShown.withLock { shown in
      var bytes = bytes
      if shown {
        bytes = Array("\r\u{1B}[K".utf8) + bytes
        shown = false
      }
      do throws(Errno) { try CurrentProcess.write(bytes, to: stream) } catch {
        // A failure of standard error cannot be reported.
        if stream == .output { outputFailure.withLock { $0 = $0 ?? error } }
      }
    }
  }

  /// The first error of standard output. It is checked before the process ends, and earlier by commands with long
  /// answers.
  static let outputFailure = Mutex<Errno?>(nil)

  static func checkOutput() throws(Errno) { if let error = outputFailure.withLock({ $0 }) { throw error } }

  static func progress(_ line: String) {
    progressIsShown.withLock { shown in
      shown = true
      try? CurrentProcess.write(Array("\r\(line)\u{1B}[K".utf8), to: .error)
    }
  }

  static func clearProgress() { write("", to: .error) }

  /// Throws without a terminal, and with `--json`, because a question has no place beside a document.
  static func requireQuestions(asJSON: Bool) throws(Failure) {
    let reason = asJSON ? "--json asks nothing" : "standard input is no terminal"
    guard !asJSON, CurrentProcess.terminalWidth(of: .input) != nil else {
      throw Failure(
        .usage, "\(reason); nothing was changed", hint: "look at the plan with --dry-run, and then give --yes")
    }
  }

  /// Asks on the terminal before something is changed; false unless the answer is yes.
  static func asks(_ question: String) -> Bool {
    write("\(question) [y/N] ", to: .error)
    return ["y", "yes"].contains(readLine()?.lowercased())
  }
}

/// The kind of a message on standard error.
enum MessageLevel: String, Codable {
  /// The error that decides the exit status.
  case error
  case warning, note, excluded
  /// Other text, such as a finding, or the output of a hook or of ssh.
  case message

  /// The first words of a message for people.
  fileprivate var prefix: String { [.error, .message].contains(self) ? "" : "\(rawValue): " }

  /// The beginning of a line for people.
  fileprivate var beginning: String {
    switch self {
    case .error: Color.red.painted("treering:", on: .error) + " "
    case .warning: "treering: " + Color.yellow.painted("warning:", on: .error) + " "
    default: "treering: \(prefix)"
    }
  }
}

/// A message with `--json`. Every key is there; a value that does not apply is null.
private struct Message: Encodable {
  let level: MessageLevel
  let message: String
  let path: [UInt8]?
  let hint: String?
  let exitStatus: Int32?

  private enum Key: CodingKey { case level, message, path, hint, exitStatus }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(level, forKey: .level)
    try container.encode(message, forKey: .message)
    try container.encode(hint, forKey: .hint)
    try container.encode(exitStatus, forKey: .exitStatus)
    if let path { try JSONPath(bytes: path).encode(to: encoder) } else { try container.encodeNil(forKey: .path) }
  }
}

/// Prints warnings immediately and keeps the first ones for the history.
final class ConsoleMonitor: Monitor {
  private static var keptWarnings: Int { 100 }
  let wantsExcluded: Bool

  init(wantsExcluded: Bool = false) { self.wantsExcluded = wantsExcluded }

  func note(_ shortcoming: String) {
    Console.note("of the repository's file system: \(shortcoming); the catalog has it, and a restore is exact")
  }

  func excluded(_ path: [UInt8], by rule: String) {
    Console.complain(rule, level: .excluded, path: path, isKept: false)
  }

  private let kept = Mutex<[Warning]>([])

  func warn(_ warning: Warning) {
    Console.warn(warning.message, path: warning.path)
    kept.withLock { if $0.count < Self.keptWarnings { $0.append(warning) } }
  }

  var warnings: [Warning] { kept.withLock { $0 } }
}

/// The progress line of a long run, shown only on a terminal.
struct ProgressLine {
  private let ticker: Ticker?

  /// `verb` names the activity, such as "snapshot".
  init(for verb: String, of progress: Progress, options: CommonOptions) {
    self.init(options: options) { Self.line(for: verb, of: progress, elapsedSeconds: $0) }
  }

  /// `text` returns the line for an elapsed time in seconds.
  init(options: CommonOptions, text: @escaping @Sendable (Double) -> String) {
    let width = options.quiet || options.json ? nil : CurrentProcess.terminalWidth(of: .error)
    let start = Clock.monotonic()
    ticker = width.map { width in
      Ticker(intervalMilliseconds: 200) { Console.progress(String(text(Clock.monotonic() - start).prefix(width - 1))) }
    }
  }

  func stop() {
    guard let ticker else { return }
    ticker.stop()
    Console.clearProgress()
  }

  static func line(for verb: String, of progress: Progress, elapsedSeconds: Double) -> String {
    let entries = progress.entries.value
    let bytes = progress.bytesRead.value
    let expected = progress.expectedEntries.value
    guard expected > 0, entries > 0 else {
      let line = "\(verb): \(grouped(entries)) entries, \(byteText(bytes)) read"
      guard elapsedSeconds > 0 else { return line }
      // If no file changed, nothing is read, and the entries show the pace.
      return line
        + (bytes > 0
          ? ", \(byteText(UInt64(Double(bytes) / elapsedSeconds)))/s"
          : ", \(grouped(UInt64(Double(entries) / elapsedSeconds))) entries/s")
    }
    let expectedBytes = progress.expectedBytes.value
    let doneBytes = expectedBytes == 0 ? 0 : max(bytes, progress.bytesCopied.value)
    let allBytes = max(expectedBytes, doneBytes)
    // An entry without content costs about as much as 16 KiB of content.
    func work(entries: UInt64, bytes: UInt64) -> Double { Double(entries) * 16384 + Double(bytes) }
    let share = work(entries: entries, bytes: doneBytes) / work(entries: expected, bytes: allBytes)
    return "\(verb): " + (allBytes > 0 ? "\(byteText(doneBytes)) of \(byteText(allBytes)), " : "")
      + "\(grouped(entries)) of \(grouped(max(expected, entries))) entries"
      + remainder(share: share, elapsedSeconds: elapsedSeconds)
  }

  /// The end of a progress line: the percentage, and the time left.
  ///
  /// The first seconds and the first percent say nothing about the pace of the rest, so no time is shown for them.
  static func remainder(share: Double, elapsedSeconds: Double) -> String {
    let share = min(1, share)
    let percentage = ", \(Int(share * 100)) %"
    guard elapsedSeconds >= 5, share >= 0.01 else { return percentage }
    return percentage + ", about \(durationText(elapsedSeconds / share - elapsedSeconds)) left"
  }
}

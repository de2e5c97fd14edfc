internal import Engine
internal import Model
internal import Operations
internal import Posix
internal import Repository
internal import Settings
internal import Synchronization

/// The proof that recovered data are of use: a program is started, and checks are repeated until they pass.
struct DrillService {
  let drill: DrillConfiguration
  let namespaces: DrillNamespaces

  /// The pause between two attempts, in milliseconds.
  private static let pause = 200
  /// The longest time of one attempt, and the shortest time that is worth one.
  private static let attemptSeconds = 60.0
  private static let leastSeconds = 1.0
  private static let keptLines = 20

  /// Throws if the program ends with an error, or if a check does not pass within the time limit.
  func run(into recovery: inout DrillAnswer.Recovery) throws {
    let start = Clock.monotonic()
    let server = drill.start.isEmpty ? nil : BackgroundProgram(namespaces.program(drill.start, seconds: .infinity))
    defer { withExtendedLifetime(server) {} }
    recovery.failedStep = "start"
    for check in checks {
      var answer = DrillAnswer.Recovery.Check(check: check.name)
      recovery.checks.append(answer)
      defer { recovery.checks[recovery.checks.count - 1] = answer }
      while true {
        try checkForSignal()
        let left = Double(drill.limits.seconds) - (Clock.monotonic() - start)
        let result = check.attempt(in: namespaces, seconds: min(max(left, Self.leastSeconds), Self.attemptSeconds))
        answer.attempts += 1
        answer.message = result.problem
        if result.problem == nil { break }
        let end = server?.state.end
        let hasFailed = end.map { !$0.isSuccess } ?? false
        guard !hasFailed, left > Double(Self.pause) / 1000 + Self.leastSeconds else {
          try checkForSignal()
          if !hasFailed, recovery.startSeconds != nil { recovery.failedStep = "check" }
          recovery.output = lines(of: result, and: server)
          throw failure(of: check, because: result.problem ?? "", program: end)
        }
        CurrentProcess.sleep(milliseconds: Self.pause)
      }
      answer.passed = true
      let elapsed = Clock.monotonic() - start
      if recovery.startSeconds == nil { recovery.startSeconds = elapsed }
      recovery.checkSeconds = elapsed - (recovery.startSeconds ?? elapsed)
      recovery.failedStep = "check"
    }
    recovery.failedStep = nil
  }

  private var checks: [DrillCheck] {
    drill.checks.map { .program($0) } + (drill.http.map { [.page($0, contains: drill.contains)] } ?? [])
  }

  private func failure(of check: DrillCheck, because problem: String, program end: ProgramEnd?) -> Failure {
    let program = drill.start.joined(separator: " ")
    if let end, !end.isSuccess { return Failure(.failed, "the program \(program) \(end)") }
    let limit = durationText(Double(drill.limits.seconds))
    let running = drill.start.isEmpty || end != nil ? "" : "; the program \(program) still runs"
    return Failure(.failed, "\(check.name) did not pass within \(limit): \(problem)\(running)")
  }

  private func lines(of result: DrillCheck.Result, and server: BackgroundProgram?) -> [String] {
    let own = result.lines.suffix(Self.keptLines).map { "check: \(displayName($0))" }
    return own + (server?.state.lines.suffix(Self.keptLines) ?? []).map { "start: \(displayName($0))" }
  }
}

private enum DrillCheck {
  case program([String])
  case page(String, contains: String?)

  struct Result: Sendable {
    /// `nil` if it passed.
    var problem: String?
    var lines: [[UInt8]] = []
  }

  var name: String {
    switch self {
    case .program(let command): "the check \(command.joined(separator: " "))"
    case .page(let url, _): "the page \(url)"
    }
  }

  func attempt(in namespaces: DrillNamespaces, seconds: Double) -> Result {
    switch self {
    case .program(let command):
      var result = Result()
      let end = ProgramEnd(of: namespaces.program(command, seconds: seconds)) { line in
        result.lines.append(line)
        if result.lines.count > 1000 { result.lines.removeFirst(900) }
      }
      result.problem = end.isSuccess ? nil : "\(end)"
      return result
    case .page(let url, let text):
      // A thread has a network namespace of its own.
      let answer = Mutex(Result(problem: "no thread can be made"))
      let process = namespaces.process
      let thread = try? BackgroundThread {
        let found = Self.fetch(url, having: text, inNetworkOf: process, seconds: seconds)
        answer.withLock { $0 = found }
      }
      thread?.join()
      return answer.withLock { $0 }
    }
  }

  private static func fetch(
    _ url: String, having text: String?, inNetworkOf process: Int32, seconds: Double
  ) -> Result {
    do throws(Errno) { try CurrentProcess.enterNetwork(of: process) } catch {
      return Result(problem: "cannot enter the network of the drill: \(error)")
    }
    do throws(HTTPPage.Unanswered) {
      let page = try HTTPPage(at: url, userAgent: "treering/\(Treering.version)", limitSeconds: seconds)
      let lines = Array(page.body.prefix(64 << 10)).split(separator: newline).map(Array.init)
      guard (200..<300).contains(page.status)
      else { return Result(problem: "the server answered \(page.status)", lines: lines) }
      guard let text, !String(decoding: page.body, as: UTF8.self).contains(text) else { return Result() }
      return Result(problem: "the page does not contain \"\(text)\"", lines: lines)
    } catch { return Result(problem: error.message) }
  }
}

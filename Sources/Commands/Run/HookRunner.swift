internal import Model
internal import Posix
internal import Settings

/// The end of a hook or notification program.
struct HookEnd {
  /// The error of the program, or `nil` if it succeeded.
  let problem: String?
  /// The last lines of output, which explain a failure.
  let lastLines: [[UInt8]]

  /// The maximum number of lines that are kept.
  private static var keptLines: Int { 20 }

  init(problem: String?, lines: [[UInt8]]) {
    self.problem = problem
    lastLines = lines.suffix(Self.keptLines)
  }

  func complain(of hook: Configuration.Hook) {
    for line in lastLines { Console.complain("\(hook.command[0]): \(displayName(line))") }
  }
}

extension Configuration.Hook {
  /// Runs the program, for at most `limitSeconds`. With `finishes`, a signal to this run does not stop it.
  func run(
    environment: [(name: String, value: [UInt8])], limitSeconds: Int64, finishes: Bool,
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
      return HookEnd(problem: end.problem(of: self), lines: lines)
    } catch { return HookEnd(problem: "cannot be started: \(error)", lines: lines) }
  }
}

extension ChildEnd {
  /// The error of the program's end, or `nil` if it succeeded.
  func problem(of hook: Configuration.Hook) -> String? {
    switch self {
    case .exited(0): nil
    case .exited(let status): "ended with status \(status)"
    case .signalled(let signal): "was ended by signal \(signal)"
    case .timedOut: "did not end within \(durationText(Double(hook.timeoutSeconds))) and was stopped"
    case .interrupted: "was stopped, because the run was interrupted"
    }
  }
}

extension RunAnswer {
  /// The variables of a hook or notification program.
  func environment(of step: String, status: Int32, at repository: [UInt8]) -> [(name: String, value: [UInt8])] {
    [
      ("TREERING_REPOSITORY", repository),
      ("TREERING_RUN_ID", Array(runID.utf8)), ("TREERING_STEP", Array(step.utf8)),
      ("TREERING_EXIT_STATUS", Array("\(status)".utf8)),
      ("TREERING_SNAPSHOT", Array((snapshot?.snapshot ?? "").utf8)),
    ]
  }
}

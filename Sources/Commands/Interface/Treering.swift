internal import ArgumentParser
internal import Posix
internal import Repository
internal import Synchronization

/// The command line: parses the arguments, runs a subcommand, and converts errors.
///
/// Each error becomes one line of text and one exit status.
public enum Treering {
  public static let version = "0.1.0"

  /// Runs the program and returns its exit status. The arguments do not include the program's name.
  static func start(_ arguments: [String]) -> Int32 {
    CurrentProcess.openStandardStreams()
    CurrentProcess.clearCreationMask()
    CurrentProcess.raiseDescriptorLimit()
    CurrentProcess.ignoreFileSignals()
    return run(arguments).code
  }

  /// The state after an interruption, by command.
  static let afterInterruption = [
    "snapshot": "nothing was published, and what was copied is kept for the next run",
    "run": "nothing was published, and what was copied is kept for the next run",
    "restore": "what was restored stays",
    "database": "what was there before was not changed",
    "push": "what was sent is kept for the next push",
  ]

  private static let name = Mutex("")
  /// The name of the running command.
  static var command: String { name.withLock { $0 } }

  static func run(_ words: [String]) -> ExitStatus {
    let arguments = holdWithReason(snapshotFirst(commandFirst(words)))
    let status = status(of: arguments)
    return [.done, .warnings].contains(status) || !WalCommand.isFetch(arguments) ? status : WalCommand.stopsRecovery
  }

  private static func status(of arguments: [String]) -> ExitStatus {
    if arguments.first == "---completion" {
      answerCompletion(arguments)
      return .done
    }
    Console.usesJSON.withLock { $0 = arguments.prefix { $0 != "--" }.contains("--json") }
    do {
      try checkCommand(arguments)
      return try answer(arguments)
    } catch var failure as Failure {
      if case .interrupted = failure.kind, failure.hint == nil { failure.hint = afterInterruption[command] }
      let status = ExitStatus(failure.kind)
      Console.complain(of: failure, status: status)
      return status
    } catch let error as Errno where error == .brokenPipe {
      // The reader has closed the pipe, so it needs no more of the answer.
      return .done
    } catch let error as Errno {
      if error == .interrupted, let signal = CurrentProcess.rememberedSignal { return .interrupted(signal) }
      complain(ofAnswer: error, status: .failed)
      return .failed
    } catch {
      let isHelp = RootCommand.exitCode(for: error) == .success
      let message = RootCommand.fullMessage(for: error)
      if isHelp {
        Console.print(message)
        return .done
      }
      let usage = message.drop { !$0.isNewline }
      complain(ofUsage: unknownOptionSentence(in: arguments).map { $0 + usage } ?? message)
      return .usage
    }
  }

  /// Parses and carries out a command. Its answer is written when it returns.
  private static func answer(_ arguments: [String]) throws -> ExitStatus {
    if arguments.count == 2, arguments[0] == "--generate-completion-script",
      let shell = CompletionShell(rawValue: arguments[1])
    {
      Console.print(completionScript(for: shell))
      try Console.checkOutput()
      return .done
    }
    name.withLock { $0 = arguments.first ?? "" }
    var command = try RootCommand.parseAsRoot(arguments)
    guard let command = command as? any RunnableCommand else {
      try command.run()
      try Console.checkOutput()
      return .done
    }
    let status = try command.execute()
    do { try Console.checkOutput() } catch {
      guard type(of: command).answersForWhatIsDone, error != .brokenPipe else {
        // Damage or a refusal has priority over a failed answer.
        if status == .done || status == .warnings { throw error }
        if error != .brokenPipe { complain(ofAnswer: error, status: status) }
        return status
      }
      Console.warn("cannot write the answer: \(error)")
      return status == .done ? .warnings : status
    }
    return status
  }

  private static func complain(ofAnswer error: Errno, status: ExitStatus) {
    Console.complain("cannot write the answer: \(error)", level: .error, exitStatus: status)
  }

  /// Prints the parser's message. Its later lines explain the usage.
  private static func complain(ofUsage message: String) {
    let prefix = "Error: "
    let text = message.hasPrefix(prefix) ? String(message.dropFirst(prefix.count)) : message
    guard Console.usesJSON.withLock({ $0 }) else { return Console.complain(text, level: .error) }
    let first = text.prefix { !$0.isNewline }
    Console.complain(
      String(first), level: .error, hint: "see: treering help\(command.isEmpty ? "" : " \(command)")",
      exitStatus: .usage)
  }
}

/// The entry point for `main` in C; takes its arguments.
@_cdecl("treering_main")
public func treeringMain(_ count: Int32, _ arguments: UnsafePointer<UnsafePointer<CChar>?>) -> Int32 {
  Treering.start(CurrentProcess.strings(count, pointers: arguments).dropFirst().map(escapedArgument))
}

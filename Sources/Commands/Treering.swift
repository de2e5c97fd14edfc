internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Settings
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
    "push": "what was sent is kept for the next push",
  ]

  private static let name = Mutex("")
  /// The name of the running command.
  static var command: String { name.withLock { $0 } }

  static func run(_ arguments: [String]) -> ExitStatus {
    do {
      try checkCommand(arguments)
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
          if error != .brokenPipe { Console.complain("cannot write the answer: \(error)") }
          return status
        }
        Console.complain("warning: cannot write the answer: \(error)")
        return status == .done ? .warnings : status
      }
      return status
    } catch var failure as Failure {
      if case .interrupted = failure.kind, failure.hint == nil { failure.hint = afterInterruption[command] }
      Console.complain(failure.description)
      return ExitStatus(failure.kind)
    } catch let error as Errno where error == .brokenPipe {
      // The reader has closed the pipe, so it needs no more of the answer.
      return .done
    } catch let error as Errno {
      if error == .interrupted, let signal = CurrentProcess.rememberedSignal { return .interrupted(signal) }
      Console.complain("cannot write the answer: \(error)")
      return .failed
    } catch {
      let isHelp = RootCommand.exitCode(for: error) == .success
      let message = RootCommand.fullMessage(for: error)
      if isHelp {
        Console.print(message)
        return .done
      }
      let prefix = "Error: "
      Console.complain(
        message.hasPrefix(prefix) ? String(message.dropFirst(prefix.count)) : message)
      return .usage
    }
  }
}

/// The entry point for `main` in C; takes its arguments.
@_cdecl("treering_main")
public func treeringMain(_ count: Int32, _ arguments: UnsafePointer<UnsafePointer<CChar>?>) -> Int32 {
  Treering.start(CurrentProcess.strings(count, arguments).dropFirst().map(escapedArgument))
}

/// Command names that users know from other tools.
private let otherNames = [
  "archive": "snapshot", "backup": "snapshot", "create": "snapshot", "check": "verify", "scrub": "verify",
  "snapshots": "list", "delete": "rotate", "expire": "rotate", "forget": "rotate", "prune": "rotate",
  "extract": "restore", "copy": "push", "replicate": "push", "send": "push", "sync": "push", "receive": "serve",
  "compare": "diff", "configtest": "config", "info": "status", "stats": "status", "cron": "schedule",
  "history": "versions",
]

/// Refuses an unknown command. The parser itself would complain about the arguments instead.
private func checkCommand(_ arguments: [String]) throws(Failure) {
  let known = RootCommand.configuration.subcommands.compactMap { $0.configuration.commandName } + ["help"]
  let isHelp = arguments.first == "help"
  guard let word = isHelp ? arguments.dropFirst().first : arguments.first, !word.hasPrefix("-"), !known.contains(word)
  else { return }
  let shown = displayName(argumentBytes(word))
  let near = known.map { ($0, distance(word, $0)) }.min { $0.1 < $1.1 }
  let meant = otherNames[word] ?? near.flatMap { $0.1 <= 2 ? $0.0 : nil }
  throw Failure(
    .usage, "there is no command \"\(shown)\"",
    hint: meant.map { "did you mean \"\($0)\"?" } ?? "see: treering --help")
}

struct RootCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "treering",
    abstract: "Dated snapshots of directory trees that store only what changed.",
    discussion: """
      Every snapshot is a complete-looking directory of plain files: browse it with ls, copy from it \
      with cp. An unchanged file is a hard link to the snapshot before.

      A first session:
        treering init /backup
        treering snapshot /home /etc --repository /backup
        treering list --repository /backup
        treering restore latest /etc/fstab --to /tmp/restored --repository /backup

      The repository may also be named by the environment variable TREERING_REPOSITORY. \
      Exit status: 0 done; 1 done with warnings; 2 wrong usage; 3 failed; 4 refused; 5 locked; \
      6 damage found; 7 remote failed; 8 no space; 129, 130, 143 interrupted. See treering(1).
      """,
    version: Treering.version,
    subcommands: [
      InitCommand.self, SnapshotCommand.self, RunCommand.self, ListCommand.self, RestoreCommand.self,
      DiffCommand.self, VersionsCommand.self, VerifyCommand.self, RotateCommand.self, HoldCommand.self,
      ReleaseCommand.self,
      PushCommand.self, ServeCommand.self, StatusCommand.self, ScheduleCommand.self, ConfigCommand.self,
      ImportCommand.self,
    ])

  func run() throws { throw Failure(.usage, "no command is named", hint: "see: treering --help") }
}

/// A subcommand that returns its exit status.
protocol RunnableCommand: ParsableCommand {
  func execute() throws -> ExitStatus
  /// True if the answer reports completed changes. A failure to write the answer is then only a warning.
  static var answersForWhatIsDone: Bool { get }
}

extension RunnableCommand {
  static var answersForWhatIsDone: Bool { false }

  func run() throws { _ = try execute() }
}

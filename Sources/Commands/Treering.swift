internal import ArgumentParser
internal import Engine
internal import Posix
internal import Repository

/// The command line: parses, runs one subcommand, and turns whatever was thrown into one line and one
/// exit status.
public enum Treering {
  public static let version = "0.1.0"

  /// Runs the program on its arguments, which do not include its name, and returns the exit status.
  static func start(_ arguments: [String]) -> Int32 {
    Posix.Process.openStandardStreams()
    Posix.Process.clearCreationMask()
    Posix.Process.raiseDescriptorLimit()
    Posix.Process.ignoreFileSignals()
    return run(arguments).code
  }

  static func run(_ arguments: [String]) -> ExitStatus {
    do {
      var command = try RootCommand.parseAsRoot(arguments)
      var status = ExitStatus.done
      if let command = command as? any RunnableCommand {
        status = try command.execute()
      } else {
        try command.run()
      }
      try Console.checkOutput()
      return status
    } catch let failure as Failure {
      Console.complain(failure.description)
      return ExitStatus(failure.kind)
    } catch let error as Errno where error == .brokenPipe {
      // Whoever read the answer has read enough.
      return .done
    } catch let error as Errno {
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

/// Called by `main` in C, with the arguments of that.
@_cdecl("treering_main")
public func treeringMain(_ count: Int32, _ arguments: UnsafePointer<UnsafePointer<CChar>?>) -> Int32 {
  Treering.start(Posix.Process.strings(count, arguments).dropFirst().map(escapedArgument))
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
      DiffCommand.self, VersionsCommand.self, VerifyCommand.self, RotateCommand.self, HoldCommand.self, ReleaseCommand.self,
      PushCommand.self, ServeCommand.self, StatusCommand.self, ScheduleCommand.self, ConfigCommand.self, ImportCommand.self,
    ])

  func run() throws { throw Failure(.usage, "no command is named", hint: "see: treering --help") }
}

/// A subcommand that says how it ended.
protocol RunnableCommand: ParsableCommand {
  func execute() throws -> ExitStatus
}

extension RunnableCommand {
  func run() throws { _ = try execute() }
}

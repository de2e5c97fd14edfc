internal import ArgumentParser

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

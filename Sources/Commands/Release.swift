internal import ArgumentParser
internal import Posix
internal import Repository

struct ReleaseCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "release",
    abstract: "Let rotation go on that a guard holds.",
    discussion: """
      A snapshot in which most files have other content than before holds rotation, so that no older \
      snapshot expires while you look whether somebody encrypted your files. Run this when all is well.

      Example:
        treering release --repository /backup/treering
      """)

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let repository = try common.openRepository()
    return try repository.lock(command: "release", at: Clock.now()).hold {
      let reason = try repository.heldRotation()
      let released = try repository.releaseRotation()
      if common.json {
        Console.print(jsonText(ReleaseAnswer(released: released, reason: reason)))
      } else if !common.quiet {
        Console.print(released ? "rotation goes on" : "rotation was not held")
      }
      return .done
    }
  }
}

/// The document of `release --json`.
struct ReleaseAnswer: Encodable {
  let released: Bool
  /// Since when and why rotation was held.
  let reason: String?
}

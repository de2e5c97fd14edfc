internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository

struct InitCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a repository.",
    discussion: """
      DIR is made if it does not exist; its parent must exist. An existing DIR must be empty. The \
      repository is readable by its owner alone, because what it holds must not be more open than its \
      sources.

      Example:
        treering init /backup/treering
      """)

  @Argument(help: ArgumentHelp("The directory that will hold the snapshots.", valueName: "dir"), completion: .directory)
  var directory: PathArgument?

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if directory != nil && common.repository != nil {
      throw Failure(.usage, "the repository is named twice", hint: "leave --repository out")
    }
    var options = common
    if let directory { options.repository = directory }
    let path = try options.localRepositoryPath()
    let repository = try Repository.initialize(path, at: Clock.now())
    common.answer(
      Answer(repository: displayName(path), id: displayName(repository.id)),
      lines: ["made the repository \(displayName(path))"])
    return .done
  }

  private struct Answer: Encodable {
    let repository: String
    let id: String
  }
}

internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Settings

struct InitCommand: RunnableCommand {
  static let answersForWhatIsDone = true

  static let configuration = CommandConfiguration(
    commandName: "init", abstract: "Make a repository.",
    discussion: """
      DIR is made if it does not exist; its parent must exist. An existing DIR must be empty. The \
      repository is readable by its owner alone, because what it holds must not be more open than its \
      sources.

      With restic:/path, s3:, rest: or sftp:, an encrypted repository of restic's format is made, for pushes. Its password is needed for
      everything, and nobody can recover it: keep it in a second place.

      Examples:
        treering init /backup/treering
        treering init -r restic:/mnt/usb/backup --password-file /etc/treering/usb.password
      """)

  @Argument(help: ArgumentHelp("The directory that will hold the snapshots.", valueName: "dir"), completion: .directory)
  var directory: PathArgument?

  @Option(
    help: ArgumentHelp(
      "Cut contents as this repository of restic's format does, so that restic copy shares chunks.",
      valueName: "remote"))
  var copyParametersFrom: PathArgument?

  @Option(
    help: ArgumentHelp("The file with the password of --copy-parameters-from.", valueName: "file"), completion: .file())
  var fromPasswordFile: PathArgument?

  @OptionGroup var storage: StorageOptions
  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    if directory != nil && common.repository != nil {
      throw Failure(.usage, "the repository is named twice", hint: "leave --repository out")
    }
    var options = common
    if let directory { options.repository = directory }
    if let restic = try resticRepository(named: options.repositoryPath(), options: options) {
      let made = try restic.create(chunkerOf: try parameterSource())
      common.answer(
        Answer(repository: made.displayName, id: displayName(made.idText)),
        lines: [
          "made the encrypted repository \(made.displayName)",
          "without its password, all that it will have is lost: keep the password in a second place",
        ])
      return .done
    }
    if copyParametersFrom != nil {
      throw Failure(.usage, "only a repository of restic's format takes the parameters of another")
    }
    if storage.password.passwordFile != nil || storage.password.passwordCommand != nil {
      throw Failure(
        .usage, "only a repository of restic's format has a password",
        hint: "name it as restic:/path, s3:, rest: or sftp:")
    }
    let path = try options.localRepositoryPath()
    let repository = try Repository.initialize(path, at: Clock.now())
    common.answer(
      Answer(repository: displayName(path), id: displayName(repository.id)),
      lines: ["made the repository \(displayName(path))"])
    return .done
  }

  /// The repository of `--copy-parameters-from`.
  private func parameterSource() throws -> ResticRepository? {
    guard let copyParametersFrom else { return nil }
    var options = common
    options.repository = copyParametersFrom
    var storage = storage
    storage.password = PasswordOptions.file(fromPasswordFile)
    guard let target = try options.resticTarget(storage), let access = target.restic
    else { throw Failure(.usage, "\(copyParametersFrom) is not a repository of restic's format") }
    return try access.open()
  }

  /// The way to the repository of restic's format that is meant; `nil` for one of treering's.
  private func resticRepository(named path: [UInt8], options: CommonOptions) throws(Failure) -> ResticAccess? {
    let text = String(decoding: path, as: UTF8.self)
    if directory == nil, let file = try options.configuration(naming: text),
      let remote = file.settings.remotes.first(where: { $0.name == text })
    {
      return ResticAccess(remote.address, remote: remote, connection: storage.connection)
    }
    return ResticAccess(try CommonOptions.address(of: path), connection: storage.connection)
  }

  private struct Answer: Encodable {
    let repository, id: String
  }
}

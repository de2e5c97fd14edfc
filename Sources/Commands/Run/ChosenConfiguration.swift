internal import Model
internal import Posix
internal import Repository
internal import Settings

extension CommonOptions {
  /// The file given with `--config`, or the default one if it exists.
  private func configurationFile(allowsErrors: Bool = false) throws(Failure) -> ConfigurationFile? {
    if let config { return try ConfigurationFile.once(at: config.bytes, allowsErrors: allowsErrors) }
    let path = ConfigurationFile.defaultPath
    do throws(Errno) { _ = try Descriptor.open(path: path, .pathOnly) } catch {
      if error.meansAbsence || error == .accessDenied { return nil }
    }
    return try ConfigurationFile.once(at: path, allowsErrors: allowsErrors)
  }

  /// The file, if it has several repositories and none of them is named.
  func configurationOfSeveral(allowsErrors: Bool = false) throws(Failure) -> ConfigurationFile? {
    guard namedRepository == nil, let file = try configurationFile(allowsErrors: allowsErrors),
      !file.repositories.isEmpty
    else { return nil }
    return file
  }

  /// The repository of the command line, else of the environment. With `--config`, the environment does not count.
  var namedRepository: [UInt8]? {
    if let repository { return repository.bytes }
    guard config == nil, let path = CurrentProcess.environment("TREERING_REPOSITORY"), !path.isEmpty else { return nil }
    return path
  }

  /// The configuration. If the file has several repositories, the named one's; `nil` if that is none of them.
  func configuration(allowsErrors: Bool = false) throws(Failure) -> ConfigurationFile? {
    guard let file = try configurationFile(allowsErrors: allowsErrors) else { return nil }
    guard !file.repositories.isEmpty else { return file }
    let names = file.repositories.compactMap(\.name).joined(separator: ", ")
    guard let named = namedRepository else {
      throw Failure(
        .usage, "\(displayName(file.path)) has several repositories, and this is for one of them",
        path: file.path, hint: "name it with -r: \(names)")
    }
    if let one = file.repository(named: named) { return one }
    if let path = try? absolutePath(of: named), let one = file.repositories.first(where: { $0.repositoryPath == path })
    {
      return one
    }
    do throws(Failure) { return try file.configuration(of: Repository.open(named)) } catch {
      // The command itself reports a repository that cannot be opened.
      guard Self.isWord(named), Self.isAbsent(named) else { return nil }
      throw Failure(
        .usage, "\(displayName(file.path)) has no repository \(displayName(named))", path: file.path,
        hint: "it has: \(names)")
    }
  }

  /// The path of the table `[[repository]]` with this name; `nil` if there is none.
  ///
  /// Errors in the configuration matter for a name, or a directory could take the place of the repository. For an
  /// address or a path they must not matter.
  func pathOfRepository(named name: [UInt8]) throws(Failure) -> [UInt8]? {
    guard Self.isWord(name) else { return nil }
    return try configurationFile()?.repository(named: name)?.repositoryPath
  }

  /// True for a text that is neither a path, such as `..`, nor an address.
  private static func isWord(_ text: [UInt8]) -> Bool {
    text.first != UInt8(ascii: ".") && !text.contains(slash) && !text.contains(UInt8(ascii: ":"))
  }

  private static func isAbsent(_ path: [UInt8]) -> Bool {
    do throws(Errno) { _ = try Descriptor.open(path: path, .pathOnly) } catch { return error.meansAbsence }
    return false
  }

  /// The configuration, if it names this repository, by any path.
  func configuration(of repository: Repository) throws(Failure) -> ConfigurationFile? {
    try configurationFile()?.configuration(of: repository)
  }

  /// The configuration, if it names this repository, or has it as a remote.
  func configuration(of store: any SnapshotStore) throws(Failure) -> ConfigurationFile? {
    if let repository = store.local { return try configuration(of: repository) }
    guard let address = try remoteAddress(), let file = try configurationFile() else { return nil }
    return ([file] + file.repositories).first { $0.names(address) }
  }

  /// The configuration of a command that needs one.
  func requiredConfiguration(allowsErrors: Bool = false) throws(Failure) -> ConfigurationFile {
    if let file = try configuration(allowsErrors: allowsErrors) { return file }
    if let named = namedRepository, let file = try configurationFile() {
      throw Failure(
        .usage, "\(displayName(file.path)) has no repository \(displayName(named))", path: file.path,
        hint: "it has: \(file.repositories.compactMap(\.name).joined(separator: ", "))")
    }
    throw Failure(
      .usage, "there is no configuration: \(displayName(ConfigurationFile.defaultPath)) is not there",
      path: ConfigurationFile.defaultPath,
      hint: "make one of what this prints: treering config example; or name one with --config")
  }

  /// The names of the repositories of the file, for completion.
  var repositoryNames: [String] { (try? configurationFile())?.repositories.compactMap(\.name) ?? [] }
}

extension ConfigurationFile {
  /// True if this is the address of the configuration's repository, or of one of its remotes.
  fileprivate func names(_ address: RemoteAddress) -> Bool {
    let own = repositoryPath.flatMap { try? RemoteAddress($0) }
    return ([own].compactMap(\.self) + settings.remotes.map(\.address)).contains { $0.resolved == address }
  }

  fileprivate func repository(named name: [UInt8]) -> ConfigurationFile? {
    repositories.first { $0.name?.utf8.elementsEqual(name) == true }
  }
}

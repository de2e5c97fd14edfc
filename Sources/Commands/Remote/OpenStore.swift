internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Restic
internal import Retention
internal import Settings

extension CommonOptions {
  /// The configuration, if the text may be the name of a remote.
  ///
  /// For an address or a path, errors in the configuration must not matter.
  func configuration(naming remote: String) throws(Failure) -> ConfigurationFile? {
    remote.utf8.contains { $0 == slash || $0 == UInt8(ascii: ":") } ? nil : try configuration()
  }

  /// The location of a repository. It is local if the path exists or if it cannot be an address.
  static func address(of path: [UInt8]) throws(Failure) -> RemoteAddress {
    if exists(at: path) { return .local(path) }
    do { return try RemoteAddress(path) } catch {
      if error == .forbiddenByte || error == .emptyPath { return .local(path) }
      throw Failure(.usage, "the repository \(displayName(path)) cannot be used: \(error)", path: path)
    }
  }

  /// True if a path leads to an entry, also if it cannot be opened.
  private static func exists(at path: [UInt8]) -> Bool {
    do {
      _ = try Descriptor.open(path: path, .pathOnly)
      return true
    } catch { return !error.meansAbsence && error != .nameTooLong }
  }

  /// The remote of the configuration that `--repository` names; `nil` if it is a path or an address.
  ///
  /// A remote goes before a directory of its name, as in `push`. Throws for a word that is neither.
  func remote(named path: [UInt8]) throws(Failure) -> (file: ConfigurationFile, remote: RemoteConfiguration)? {
    let text = String(decoding: path, as: UTF8.self)
    let isPath = Self.exists(at: path)
    let configuration = isPath ? try? configuration(naming: text) : try configuration(naming: text)
    guard let file = configuration, !file.settings.remotes.isEmpty else { return nil }
    if let remote = file.settings.remotes.first(where: { $0.name == text }) { return (file, remote) }
    if isPath { return nil }
    throw Failure(
      .usage,
      "there is no directory \(displayName(path)), and no remote of this name in the configuration "
        + displayName(file.path),
      hint: "its remotes are: \(file.settings.remotes.map(\.name).joined(separator: ", "))")
  }

  /// The address of the remote that `--repository` names; `nil` for a repository that is here.
  func remoteAddress() throws(Failure) -> RemoteAddress? {
    let path = try repositoryPath()
    if let remote = try remote(named: path)?.remote { return remote.address.resolved }
    let address = try Self.address(of: path)
    if case .local = address { return nil }
    return address.resolved
  }

  /// The remote that `--repository` names.
  func remoteTarget(connection: RemoteConnectionOptions) throws(Failure) -> RemoteTarget {
    let path = try repositoryPath()
    return try RemoteTarget(
      named: String(decoding: path, as: UTF8.self), in: try remote(named: path)?.file, connection: connection,
      options: self)
  }

  /// The remote that `--repository` names, if it is a repository of restic's format.
  func resticTarget(_ storage: StorageOptions) throws(Failure) -> RemoteTarget? {
    guard try remoteAddress()?.isOfRestic == true else { return nil }
    return try remoteTarget(connection: storage.connection)
  }

  /// Opens a repository to read from, local or remote. `allowsRate` is true if a rate limits more than a
  /// connection. `fromCache` is false if the command proves the state of the repository.
  func openStore(
    connection: RemoteConnectionOptions, allowsRate: Bool = false, fromCache: Bool = true
  ) throws(Failure) -> any VerifiableStore {
    let path = try repositoryPath()
    let file = try remote(named: path)?.file
    if file == nil, case .local = try Self.address(of: path) {
      if !allowsRate { try connection.refuseRate(for: path) }
      return try Repository.open(path)
    }
    let text = String(decoding: path, as: UTF8.self)
    let target = try RemoteTarget(named: text, in: file, connection: connection, options: self)
    // Errors in a configuration do not matter for an address.
    let policy = (file ?? (try? configuration()))?.settings.retention ?? .standard
    return try Self.openStore(at: target, fromCache: fromCache, policy: policy)
  }

  /// Opens the repository of a remote to read from. The policy is that of the sets in a repository of restic's format.
  static func openStore(
    at target: RemoteTarget, fromCache: Bool = true, policy: RetentionPolicy = .standard
  ) throws(Failure) -> any VerifiableStore {
    do {
      target.restic?.usesCache = fromCache
      if let restic = target.restic { return ResticStore(try restic.open(), policy: policy) }
      return RemoteRepository(over: try Connection(options: target.options))
    } catch {
      throw error as? Failure ?? Failure(.remote, "\(target.name): \(error)")
    }
  }
}

extension SnapshotStore {
  /// The advice to run a command that changes the repository, which works only on its own machine.
  func remedy(_ command: String) -> String {
    guard local == nil, case .ssh(_, let host, _, let there)? = try? RemoteAddress(path)
    else { return "run: \(advice(command))" }
    return "run at \(displayName(host)): \(commandLine(command, repository: there))"
  }
}

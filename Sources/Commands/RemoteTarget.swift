internal import ArgumentParser
internal import Catalog
internal import Engine
internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Settings

/// The options for the connection to a remote.
struct RemoteConnectionOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The program that connects, and its options; words are split at blanks, quotes keep them together.",
      valueName: "command"))
  var ssh: String?

  @Option(
    help: ArgumentHelp(
      "The command that is run on the remote machine; \"treering serve\", unless said otherwise.", valueName: "command")
  )
  var remoteCommand: String?

  @Option(
    help: ArgumentHelp(
      "Send at most so much in a second, such as 10MB/s; what is fetched is not limited.", valueName: "rate"),
    transform: { text in
      guard let bytes = Quantity.bytesPerSecond(text) else {
        throw ValidationError("--limit-rate takes bytes per second, such as 10MB/s")
      }
      return bytes
    })
  var limitRate: UInt64?

  @Option(
    help: ArgumentHelp("Give up if the server does nothing for so long (5m).", valueName: "duration"),
    transform: { text in
      guard let seconds = Quantity.seconds(text), seconds > 0 else {
        throw ValidationError("--timeout takes a duration such as 5m")
      }
      return seconds
    })
  var timeout: Int64?
}

/// A remote from the command line or the configuration.
struct RemoteTarget {
  /// The name from the configuration, or the address.
  let name: String
  /// The set whose newest member is pushed.
  let set: String?
  let options: RemoteOptions

  /// Finds the remote of this name in the configuration, or parses an address.
  init(
    _ text: String, _ connection: RemoteConnectionOptions, _ file: ConfigurationFile?, _ common: CommonOptions
  ) throws(Failure) {
    if let remote = file?.settings.remotes.first(where: { $0.name == text }) {
      try self.init(remote, common, connection)
      return
    }
    let shown = displayName(Array(text.utf8))
    // A word without slash and colon is a name.
    guard text.contains("/") || text.contains(":") else {
      let names = (file?.settings.remotes ?? []).map(\.name)
      throw Failure(
        .usage,
        file == nil
          ? "there is no configuration with a remote \"\(shown)\""
          : "the configuration \(displayName(file!.path)) has no remote \"\(shown)\"",
        hint: names.isEmpty
          ? "name it as ssh://host/path, host:path or a path with a slash" : "it has: \(names.joined(separator: ", "))")
    }
    var remote = RemoteConfiguration()
    remote.name = shown
    remote.url = text
    do { remote.address = try RemoteAddress(text) } catch {
      throw Failure(.usage, "the remote \(shown) cannot be used: \(error)")
    }
    try self.init(remote, common, connection)
  }

  init(
    _ remote: RemoteConfiguration, _ common: CommonOptions,
    _ connection: RemoteConnectionOptions = RemoteConnectionOptions.none
  ) throws(Failure) {
    name = remote.name
    set = remote.set
    let command: [[UInt8]]
    let path: [UInt8]
    switch remote.address {
    case .local(let local):
      path = local
      let own: [UInt8]
      do { own = try CurrentProcess.programFile() } catch {
        throw Failure(.failed, "cannot find this program's own file: \(error)")
      }
      command = [own, Array("serve".utf8)]
    case .ssh(let user, let host, let port, let remotePath):
      path = remotePath
      if connection.remoteCommand?.utf8.allSatisfy({ $0 == 32 || $0 == 9 }) == true {
        throw Failure(.usage, "--remote-command is empty", hint: "leave it out for \"treering serve\"")
      }
      do {
        command = try RemoteAddress.sshArguments(
          command: connection.ssh ?? remote.ssh, user: user, host: host, port: port,
          remoteCommand: connection.remoteCommand ?? remote.remoteCommand)
      } catch { throw Failure(.usage, "the remote \(remote.name) cannot be used: \(error)") }
    }
    let shownName = remote.name
    var options = RemoteOptions(
      command: command, path: path, shown: remote.url.isEmpty ? remote.name : remote.url,
      timeoutSeconds: Double(connection.timeout ?? remote.timeoutSeconds),
      bytesPerSecond: connection.limitRate ?? remote.limitRate, program: "treering \(Treering.version)",
      onLine: { line in Console.complain("\(shownName): \(displayName(line))") })
    options.wantsAll = common.verbose
    self.options = options
  }
}

extension RemoteConnectionOptions {
  /// The options of a command line that gives none.
  static var none: RemoteConnectionOptions { (try? parse([])) ?? RemoteConnectionOptions() }
}

extension CommonOptions {
  /// The configuration, if the text may be the name of a remote.
  ///
  /// For an address or a path, errors in the configuration must not matter.
  func configuration(naming remote: String) throws(Failure) -> ConfigurationFile? {
    remote.utf8.contains { $0 == slash || $0 == UInt8(ascii: ":") } ? nil : try configuration()
  }

  /// The location of a repository. It is local if the path exists or if it cannot be an address.
  static func address(_ path: [UInt8]) throws(Failure) -> RemoteAddress {
    if (try? Descriptor.open(path: path, .pathOnly)) != nil { return .local(path) }
    do { return try RemoteAddress(path) } catch {
      if error == .forbiddenByte || error == .emptyPath { return .local(path) }
      throw Failure(.usage, "the repository \(displayName(path)) cannot be used: \(error)")
    }
  }

  /// Opens a repository to read from, local or remote.
  func openStore(_ connection: RemoteConnectionOptions) throws(Failure) -> any VerifiableStore {
    let path = try repositoryPath()
    let text = String(decoding: path, as: UTF8.self)
    let isHere = (try? Descriptor.open(path: path, .pathOnly)) != nil
    let file = isHere ? nil : try configuration(naming: text)
    if file?.settings.remotes.contains(where: { $0.name == text }) != true {
      guard case .ssh = try Self.address(path) else { return try Repository.open(path) }
    }
    let target = try RemoteTarget(text, connection, file, self)
    do { return RemoteRepository(try Connection(target.options)) } catch {
      throw error as? Failure ?? Failure(.remote, "\(target.name): \(error)")
    }
  }
}

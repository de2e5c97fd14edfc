internal import Model
internal import Posix
internal import Replication
internal import Repository
internal import Settings

/// A remote from the command line or the configuration.
struct RemoteTarget {
  /// The name from the configuration, or the recorded form of the address.
  let name: String
  /// The set whose newest member is pushed.
  let set: SnapshotSet?
  /// True if the archived logs of the databases are pushed, too.
  let logs: Bool
  let options: RemoteOptions
  let address: RemoteAddress
  /// True if nothing may be removed there from here.
  let isAppendOnly: Bool
  /// The way to a repository of restic's format; `nil` for one of treering's.
  let restic: ResticAccess?

  /// Finds the remote of this name in the configuration, or parses an address.
  init(
    named text: String, in file: ConfigurationFile?, connection: RemoteConnectionOptions, options common: CommonOptions
  ) throws(Failure) {
    if let remote = file?.settings.remotes.first(where: { $0.name == text }) {
      try self.init(remote: remote, connection: connection, options: common)
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
          ? "name it as ssh://host/path, host:path, restic:/path, s3:, rest:, sftp: or a path with a slash"
          : "it has: \(names.joined(separator: ", "))")
    }
    var remote = RemoteConfiguration()
    remote.url = text
    do { remote.address = try RemoteAddress(text) } catch {
      throw Failure(.usage, "the remote \(shown) cannot be used: \(error)")
    }
    remote.name = displayName(remote.address.resolved.recorded)
    try self.init(remote: remote, connection: connection, options: common)
  }

  init(
    remote: RemoteConfiguration, connection: RemoteConnectionOptions = .none, options common: CommonOptions
  ) throws(Failure) {
    name = remote.name
    (set, logs, isAppendOnly) = (remote.set, remote.logs, remote.isAppendOnly)
    address = remote.address
    let command: [[UInt8]]
    let path: [UInt8]
    switch remote.address {
    case .restic, .storage:
      restic = ResticAccess(remote.address, remote: remote, connection: connection)
      if case .restic(let there) = remote.address { path = there } else { path = remote.address.recorded }
      options = RemoteOptions(
        command: [], path: path, displayName: remote.url, recordedAddress: remote.address.resolved.recorded,
        timeoutSeconds: 0, bytesPerSecond: connection.limitRate ?? remote.limitRate,
        program: "treering \(Treering.version)", onLine: { _ in })
      return
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
    restic = nil
    let shownName = remote.name
    var options = RemoteOptions(
      command: command, path: path, displayName: remote.url.isEmpty ? remote.name : remote.url,
      recordedAddress: remote.address.resolved.recorded,
      timeoutSeconds: Double(connection.timeout ?? remote.timeoutSeconds),
      bytesPerSecond: connection.limitRate ?? remote.limitRate, program: "treering \(Treering.version)",
      onLine: { line in Console.complain("\(shownName): \(displayName(line))") })
    options.passesAllLines = common.verbose
    options.receivedBytesPerSecond = connection.limitRate
    self.options = options
  }

  /// Opens the remote and closes it again.
  func reach() throws { if let restic { _ = try restic.open() } else { _ = try Connection(options: options) } }

  /// The reason that a failure before the exchange of hellos is the remote's absence; `nil` if it is not.
  ///
  /// A remote on this machine is absent only if its directory has no repository.
  func absence(because failure: Failure) -> String? {
    switch address {
    case .ssh, .storage: return [.remote, .usage].contains(failure.kind) ? failure.message : nil
    case .local, .restic: return absence
    }
  }

  /// The reason that a remote on this machine is absent.
  var absence: String? { address.absence }
}

extension RemoteAddress {
  /// The address with the real path of a repository on this machine, as far as the path exists.
  var resolved: RemoteAddress {
    switch self {
    case .ssh, .storage: self
    case .local(let path): Self.resolved(path).map { .local($0) } ?? self
    case .restic(let path): Self.resolved(path).map { .restic($0) } ?? self
    }
  }

  private static func resolved(_ path: [UInt8]) -> [UInt8]? {
    guard var existing = try? absolutePath(of: path) else { return nil }
    var rest: [UInt8] = []
    while true {
      if let real = try? CurrentProcess.realPath(existing) { return real + rest }
      if existing == [slash] { return nil }
      let (parent, name) = splitLast(of: existing)
      (existing, rest) = (parent, [slash] + name + rest)
    }
  }

  /// The reason that a repository on this machine is absent, such as an empty mount point; `nil` also for an address
  /// on another machine.
  var absence: String? {
    let (path, mark): ([UInt8], String)
    switch self {
    case .ssh, .storage: return nil
    case .local(let place): (path, mark) = (place, "/.treering/repository.toml")
    case .restic(let place): (path, mark) = (place, "/config")
    }
    do throws(Errno) { _ = try Descriptor.open(path: path + Array(mark.utf8), .pathOnly) } catch {
      return error.meansAbsence ? "\(displayName(path)) has no repository" : nil
    }
    return nil
  }
}

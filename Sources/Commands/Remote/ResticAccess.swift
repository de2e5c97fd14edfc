internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Settings

/// The way to a repository of restic's format: its place, and that of its password.
final class ResticAccess {
  private let address: RemoteAddress
  private let remote: RemoteConfiguration
  private let connection: RemoteConnectionOptions
  private var opened: ResticRepository?
  /// False if every file must come from the repository itself, as a proof of its state.
  var usesCache = true
  /// True if nothing may be removed there from here.
  var isAppendOnly: Bool { remote.isAppendOnly }
  /// The file or the command; `nil` if neither is named.
  private let password: PasswordSource?

  private enum PasswordSource {
    case file([UInt8])
    case command(String)
  }

  /// `nil` for the address of a repository of treering. The command line overrides the configuration.
  init?(
    _ address: RemoteAddress, remote: RemoteConfiguration = RemoteConfiguration(), connection: RemoteConnectionOptions
  ) {
    guard address.isOfRestic else { return nil }
    (self.address, self.remote, self.connection) = (address, remote, connection)
    let options = connection.password
    if let file = options.passwordFile {
      password = .file(file.bytes)
    } else if let command = options.passwordCommand ?? remote.passwordCommand,
      remote.passwordFile == nil
        || options.passwordCommand != nil
    {
      password = .command(command)
    } else {
      password = remote.passwordFile.map { .file(Array($0.utf8)) }
    }
  }

  /// Opens the repository, once: scrypt takes a part of a second.
  func open() throws -> ResticRepository {
    if let opened { return opened }
    // A directory is opened first, so that a missing disk needs no password.
    let store = try store(isNew: false)
    let repository = try ResticRepository.open(
      store, password: try readPassword(), isAppendOnly: isAppendOnly, readBytesPerSecond: connection.limitRate,
      cache: usesCache ? cache() : nil)
    opened = repository
    return repository
  }

  /// The copies of small files; `nil` if the repository is a directory, or if there is no safe place for them.
  private func cache() -> ObjectCache? {
    guard case .storage = address, let path = CacheDirectory.path(for: address.recorded) else { return nil }
    return ObjectCache(at: path, time: Clock.now())
  }

  /// Makes the repository, with the chunker of another one.
  func create(chunkerOf other: ResticRepository? = nil) throws -> ResticRepository {
    let password = try readPassword()
    let host = CurrentProcess.hostName()
    return try ResticRepository.create(
      in: try store(isNew: true), password: password, host: host, at: Clock.now(), chunkerOf: other)
  }

  /// The place of the repository, which is made if it is new.
  func store(isNew: Bool) throws -> any ObjectStore {
    let name = displayName(address.recorded)
    let timeoutSeconds = Double(connection.timeout ?? remote.timeoutSeconds)
    let options = ServerOptions(
      authorities: StorageAccess.environment("SSL_CERT_FILE"), timeoutSeconds: timeoutSeconds,
      program: "treering \(Treering.version)")
    let access = StorageAccess(remote: remote, name: name)
    switch address {
    case .storage(.s3(let scheme, let host, let bucket, let prefix)):
      let hasPathStyle = remote.hasPathStyle ?? !host.hasSuffix(".amazonaws.com")
      var place = S3Place(
        scheme: scheme, host: host, bucket: bucket, prefix: prefix, region: try access.region(of: host),
        hasPathStyle: hasPathStyle)
      (place.storageClass, place.archiveClass) = (remote.storageClass, remote.archiveClass)
      place.lock = remote.lockSeconds.map { ObjectLock(mode: remote.lockMode.rawValue.uppercased(), seconds: $0) }
      let store = try S3Store(place, credentials: try access.s3(), displayName: name, options: options)
      if isNew { try store.create() }
      return store
    case .storage(.rest(let url)):
      let store = try RESTStore(url: url, login: try access.login(), displayName: name, options: options)
      if isNew { try store.create() }
      return store
    case .storage(.sftp(let user, let host, let port, let path)):
      let command: [[UInt8]]
      do {
        command = try RemoteAddress.sshArguments(
          command: connection.ssh ?? remote.ssh, user: user, host: host, port: port, remoteCommand: "sftp",
          isSubsystem: true)
      } catch { throw Failure(.usage, "the remote \(name) cannot be used: \(error)") }
      let store = SFTPStore(command: command, path: path, displayName: name, timeoutSeconds: timeoutSeconds)
      if isNew { try store.create() }
      return store
    case .restic(let path), .local(let path), .ssh(_, _, _, let path):
      return isNew ? try LocalStore.create(path) : try LocalStore.open(path)
    }
  }

  private func readPassword() throws(Failure) -> [UInt8] {
    let text: [UInt8]
    let place: String
    switch password {
    case nil:
      throw Failure(
        .usage, "the repository \(displayName(address.recorded)) needs a password",
        hint: "name the file that has it: --password-file FILE")
    case .file(let file): return try Self.password(in: file)
    case .command(let command):
      place = "the password command"
      text = try Self.output(of: command)
    }
    let password = Self.trimmed(text)
    guard !password.isEmpty else { throw Failure(.usage, "\(place) has no password") }
    return password
  }

  /// A password without a byte order mark and the blanks at both ends, which restic removes, too.
  static func trimmed(_ text: [UInt8]) -> [UInt8] {
    let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
    let text = text.starts(with: mark) ? Array(text.dropFirst(mark.count)) : text
    func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    return Array(text.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
  }

  static func password(in file: [UInt8]) throws(Failure) -> [UInt8] {
    let place = "the password file \(displayName(file))"
    let password = trimmed(try read(file, named: place))
    guard !password.isEmpty else { throw Failure(.usage, "\(place) has no password") }
    return password
  }

  private static let mostBytes = 1 << 16

  /// Reads a file with secrets, which must be readable by its owner alone.
  static func read(_ path: [UInt8], named place: String) throws(Failure) -> [UInt8] {
    do {
      let file = try Descriptor.openNamed(path)
      let status = try file.status()
      let isOpenToOthers = try status.permissions & 0o077 != 0 || file.hasAccessACL()
      guard status.kind != .regular || !isOpenToOthers else {
        throw Failure(
          .usage, "\(place) can be read by others", path: path, hint: "run: chmod 600 \(displayName(path))")
      }
      return try file.readAll(limit: mostBytes)
    } catch {
      throw error as? Failure ?? Failure(.usage, "cannot read \(place): \(error)", path: path)
    }
  }

  private static func output(of command: String) throws(Failure) -> [UInt8] {
    let words: [[UInt8]]
    do { words = try RemoteAddress.words(of: command) } catch {
      throw Failure(.usage, "the password command cannot be used: \(error)")
    }
    let tool = Tool(words.map { String(decoding: $0, as: UTF8.self) })
    let result = try tool.result()
    for line in result.errors { Console.complain("password command: \(displayName(line))") }
    if result.end != .exited(0) { throw tool.failure(of: result) }
    return result.output
  }
}

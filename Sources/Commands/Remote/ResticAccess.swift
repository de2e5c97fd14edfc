internal import Model
internal import Posix
internal import Repository
internal import Restic
internal import Settings

/// The way to a repository of restic's format: its directory, and the place of its password.
final class ResticAccess {
  let path: [UInt8]
  private var opened: ResticRepository?
  /// The file or the command; `nil` if neither is named.
  private let password: PasswordSource?

  private enum PasswordSource {
    case file([UInt8])
    case command(String)
  }

  /// The command line overrides the configuration.
  init(path: [UInt8], remote: RemoteConfiguration = RemoteConfiguration(), options: PasswordOptions) {
    self.path = path
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
    // The directory is opened first, so that a missing disk needs no password.
    let store = try LocalStore.open(path)
    let repository = try ResticRepository.open(store, password: try readPassword())
    opened = repository
    return repository
  }

  /// Makes the repository.
  func create() throws -> ResticRepository {
    let password = try readPassword()
    let host = CurrentProcess.hostName()
    return try ResticRepository.create(
      in: try LocalStore.create(path), password: password, host: host, at: Clock.now())
  }

  private func readPassword() throws(Failure) -> [UInt8] {
    let text: [UInt8]
    let place: String
    switch password {
    case nil:
      throw Failure(
        .usage, "the repository restic:\(displayName(path)) needs a password",
        hint: "name the file that has it: --password-file FILE")
    case .file(let file):
      place = "the password file \(displayName(file))"
      text = try Self.read(file, named: place)
    case .command(let command):
      place = "the password command"
      text = try Self.output(of: command)
    }
    // restic removes blanks at both ends, too.
    func isBlank(_ byte: UInt8) -> Bool { byte == 32 || (9...13).contains(byte) }
    let password = Array(text.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
    guard !password.isEmpty else { throw Failure(.usage, "\(place) has no password") }
    return password
  }

  private static let mostBytes = 1 << 16

  private static func read(_ path: [UInt8], named place: String) throws(Failure) -> [UInt8] {
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

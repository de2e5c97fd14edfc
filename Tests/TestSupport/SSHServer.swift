internal import Foundation

/// A real sshd(8) with keys and files of its own, and what ssh(1) needs to reach it. It knows nothing of the
/// machine's sshd, and touches nobody's `~/.ssh`.
///
/// `users` may log in with `key`; `authorize` gives other keys, each with options of its own.
public final class SSHServer {
  /// A pair of keys.
  public struct Key: Sendable {
    /// The file of the private one.
    public let file: ByteString
    /// The public one, a line of `authorized_keys`.
    public let line: String
  }

  /// The program under test, where everybody can run it.
  public let binary: ByteString
  /// What starts it on the server, where it is found by its name.
  public let remoteCommand = "treering serve"
  /// The key of the one who runs the tests.
  public let key: Key
  public let address: ByteString
  public let port: Int
  /// The directory of its files, such as `known_hosts`.
  public let files: Tree
  private let directory: TemporaryDirectory
  private let namespaces: Namespaces?
  private let process: RunningCommand

  /// On loopback, or where `namespaces` has its server.
  public init(in namespaces: Namespaces? = nil) throws {
    self.namespaces = namespaces
    directory = try TemporaryDirectory("ssh")
    address = namespaces == nil ? "127.0.0.1" : Namespaces.serverAddress
    files = Tree(directory.path)
    if geteuid() == 0 { try tool("install", ["-d", "-m", "755", "/run/sshd"]) }
    try files.makeDirectory("bin")
    binary = files.root / "bin/treering"
    try tool("install", ["-m", "755", try treeringBinary(), binary])
    try files.makeDirectory("authorized")
    let hostKey = try Self.makeKey(files.root / "host_key")
    key = try Self.makeKey(files.root / "key")
    try files.write("known_hosts", "\(Self.hostName) \(hostKey.line)\n", mode: 0o644)
    try files.write("config", Self.clientConfiguration(files.root), mode: 0o644)
    (process, port) = try Self.start(files, address, namespaces)
    for user in try Self.users() { try authorize(key, for: user) }
  }

  deinit { stop() }

  // MARK: Connecting

  /// What `ssh = ` takes: it runs ssh(1) in the namespace of the client, where there is one.
  public var sshCommand: String { sshCommand(key) }

  /// With another key, or without the port, where the address has it.
  public func sshCommand(_ key: Key, hasPort: Bool = true) -> String {
    sshWords(key, hasPort: hasPort).map(\.text).joined(separator: " ")
  }

  private func sshWords(_ key: Key, hasPort: Bool = true) -> [ByteString] {
    (namespaces.map { Namespaces.words(in: $0.client) } ?? [])
      + ["ssh", "-F", files.root / "config", "-i", key.file] + (hasPort ? ["-p", ByteString("\(port)")] : [])
  }

  /// Starts a command of the shell on the server; `input` is a file.
  public func start(
    _ command: ByteString, as user: String, key: Key? = nil, input: ByteString = "/dev/null"
  ) throws -> RunningCommand {
    let words = sshWords(key ?? self.key)
    return try RunningCommand(
      words[0], Array(words.dropFirst()) + ["-l", ByteString(user), "-T", "--", address, command], input: input)
  }

  /// Runs it to its end.
  public func run(
    _ command: ByteString, as user: String, key: Key? = nil, input: ByteString = "/dev/null"
  ) throws -> CommandResult {
    try start(command, as: user, key: key, input: input).wait()
  }

  // MARK: Keys and users

  /// Those who can log in: root and two ordinary users, who are made where they are missing; without root's rights
  /// only the one who runs the tests.
  public static func users() throws -> [String] { try madeUsers.get() }

  /// Those of them who are not root.
  public static func ordinaryUsers() throws -> [String] { try users().filter { $0 != "root" } }

  private static let madeUsers = Result<[String], any Error> { try makeUsers() }

  private static func makeUsers() throws -> [String] {
    guard geteuid() == 0 else { return [NSUserName()] }
    let names = ["trtest1", "trtest2"]
    for name in names {
      // Of tests that run at the same time one makes them; a password that nobody has, or sshd(8) has them locked.
      let script = "id -u \(name) >/dev/null 2>&1 || useradd --create-home --shell /bin/sh --password '*' \(name)"
      try tool("flock", ["/run/lock/treering-test-users", "sh", "-c", ByteString(script)])
    }
    return ["root"] + names
  }

  /// A further pair, of files that belong to `owner`, who may use them.
  public func makeKey(_ name: ByteString, owner: String? = nil) throws -> Key {
    let key = try Self.makeKey(files.root / ("key-" + name))
    if let owner { try tool("chown", [ByteString(owner), key.file]) }
    return key
  }

  private static func makeKey(_ file: ByteString) throws -> Key {
    try tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file])
    let line = String(decoding: try tool("cat", [file + ".pub"]), as: UTF8.self)
    return Key(file: file, line: line.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Lets a key in as a user, with the options of sshd(8) such as `restrict,command="treering serve --append-only"`;
  /// those that it had are replaced.
  public func authorize(_ key: Key, for user: String, options: String = "") throws {
    try deny(key, for: user)
    let line = options.isEmpty ? key.line : "\(options) \(key.line)"
    try write(authorizedLines(user) + [line], for: user)
  }

  public func deny(_ key: Key, for user: String) throws {
    try write(authorizedLines(user).filter { !$0.hasSuffix(key.line) }, for: user)
  }

  private func authorizedLines(_ user: String) throws -> [String] {
    let name = ByteString("authorized/\(user)")
    return files.exists(name) ? try files.text(name).split(separator: "\n").map(String.init) : []
  }

  private func write(_ lines: [String], for user: String) throws {
    try files.write(
      ByteString("authorized/\(user)"), lines.map { $0 + "\n" }.joined(), mode: 0o644)
  }

  // MARK: Starting and ending

  /// What sshd(8) wrote.
  public func log() throws -> String { try files.text("log") }

  /// All that runs for those who are connected; without what lost its connection.
  public func processes() throws -> [Int32] {
    // The first is the one that listens.
    Array(try Processes.descendants(of: process.identifier).dropFirst())
  }

  /// The processes on the server that run the program under test, connected or not.
  public func serving() throws -> [Int32] { try Processes.running(binary) }

  /// Breaks every connection at the server's end; what runs there is left alone, with nobody to talk to. New
  /// connections are accepted.
  public func killConnections() throws {
    for identifier in try processes() where Processes.name(of: identifier) == "sshd" { kill(identifier, SIGKILL) }
  }

  /// Ends the server and all that it runs, or left behind.
  public func stop() {
    Self.stop(process)
    for identifier in (try? serving()) ?? [] { kill(identifier, SIGKILL) }
  }

  private static func stop(_ process: RunningCommand) {
    for identifier in (try? Processes.descendants(of: process.identifier)) ?? [] { kill(identifier, SIGKILL) }
    _ = try? process.wait()
  }

  /// Starts sshd(8) and waits until it listens.
  private static func start(
    _ files: Tree, _ address: ByteString, _ namespaces: Namespaces?
  ) throws -> (process: RunningCommand, port: Int) {
    for _ in 0..<10 {
      // Somebody else may take the port before sshd(8) does.
      let port = try namespaces == nil ? freePort() : 2222
      try files.write("sshd_config", serverConfiguration(files.root, address, port))
      try files.write("log", "")
      // It ends some time, even where these tests cannot end it. sshd(8) insists on an absolute path.
      let words: [ByteString] =
        (namespaces.map { Namespaces.words(in: $0.server) } ?? [])
        + ["timeout", "--signal=KILL", "1800", "/usr/sbin/sshd", "-D", "-E", files.root / "log"]
        + ["-f", files.root / "sshd_config"]
      let process = try RunningCommand(words[0], Array(words.dropFirst()))
      let deadline = Date().addingTimeInterval(60)
      while true {
        let log = try files.text("log")
        if log.contains("Server listening on") { return (process, port) }
        if log.contains("Cannot bind any address") { break }
        let ended = try? process.wait(timeoutSeconds: 0)
        guard ended == nil, Date() < deadline else {
          stop(process)
          throw TestSupportError("sshd does not start: \(ended?.errorText ?? "") \(log)")
        }
        usleep(5000)
      }
      stop(process)
    }
    throw TestSupportError("sshd finds no free port")
  }

  /// A port of loopback that nobody has at the moment.
  public static func freePort() throws -> Int {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw TestSupportError.systemCall("socket", "") }
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, length) == 0 ? getsockname(descriptor, $0, &length) : -1
      }
    }
    guard result == 0 else { throw TestSupportError.systemCall("bind", "") }
    return Int(UInt16(bigEndian: address.sin_port))
  }

  // MARK: Configuration

  private static func serverConfiguration(_ directory: ByteString, _ address: ByteString, _ port: Int) -> String {
    """
    ListenAddress \(address)
    Port \(port)
    HostKey \(directory)/host_key
    AuthorizedKeysFile \(directory)/authorized/%u
    PidFile none
    UsePAM no
    StrictModes no
    UseDNS no
    PasswordAuthentication no
    KbdInteractiveAuthentication no
    PermitRootLogin yes
    PrintMotd no
    Subsystem sftp internal-sftp
    LogLevel VERBOSE
    MaxStartups 1000
    ClientAliveInterval 120
    SetEnv PATH=\(directory)/bin:\(pinnedEnvironment["PATH"]!) TZ=UTC LC_ALL=C.UTF-8

    """
  }

  private static func clientConfiguration(_ directory: ByteString) -> String {
    """
    HostKeyAlias \(hostName)
    UserKnownHostsFile \(directory)/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    IdentitiesOnly yes
    IdentityAgent none
    BatchMode yes
    LogLevel ERROR

    """
  }

  /// What the server is called in `known_hosts`.
  public static let hostName = "treering-test"
}

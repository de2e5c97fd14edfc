internal import Foundation

/// A real database server with a directory, a socket and a port of its own. Needs root.
///
/// The account that it runs as is its superuser, over the socket. The role `app` has the password of `passwordFile`,
/// over TCP. Its data are in memory where there is room, and it waits for no disk: a test loses servers, not machines.
public class DatabaseServer: @unchecked Sendable {
  /// Of the socket, the data and the log, and of the files of the tests.
  public let directory: ByteString
  public let port: Int
  /// With the right password of the role `app`.
  public let passwordFile: ByteString
  public let certificates: ServerCertificates
  public var data: ByteString { directory / "data" }
  private let home: TemporaryDirectory
  private let account: ByteString
  private var process: ServerProcess?

  init(account: ByteString) throws {
    self.account = account
    home = try TemporaryDirectory(account.text, below: Self.place)
    directory = home.path
    try tool("chown", [account, directory])
    port = try Self.freePort()
    certificates = try ServerCertificates(in: directory, account: account)
    try certificates.choose(.right)
    passwordFile = directory / "password"
    try Tree(directory).write("password", "right: \\ \"pass\" 'word' #\n", mode: 0o600)
  }

  // MARK: Start and end

  /// Starts the server, and waits until it answers.
  func launch(_ command: String) throws {
    process = try ServerProcess(command, account: account, in: directory)
    try Self.wait(for: "\(account)'s server") { try runCommand("runuser", client("SELECT 1", in: "")).status == 0 }
  }

  /// Ends the server as a crash does; nothing happens if it does not run.
  public func crash() throws {
    try process?.kill()
    process = nil
  }

  /// The server's log.
  public func log() throws -> String { try Tree(directory).text("log") }

  // MARK: Statements

  /// The words after `runuser` that run statements as the superuser; an empty database is the usual one.
  func client(_ sql: ByteString, in database: ByteString) -> [ByteString] { asServer(["false"]) }

  func asServer(_ command: [ByteString]) -> [ByteString] { ["-u", account, "--"] + command }

  /// Runs statements as the superuser, and returns the rows.
  @discardableResult
  public func query(_ sql: ByteString, in database: ByteString = "") throws -> String {
    let output = try tool("runuser", client(sql, in: database), in: "/")
    return String(decoding: output, as: UTF8.self).trimmingCharacters(in: .newlines)
  }

  /// Starts statements without waiting for their end.
  public func start(_ sql: ByteString, in database: ByteString = "") throws -> RunningCommand {
    try RunningCommand("runuser", client(sql, in: database), in: "/")
  }

  // MARK: Surroundings

  /// The directory above those of all servers: in memory where there is room for large tests.
  private static let place = {
    let free = try? FileManager.default.attributesOfFileSystem(forPath: "/dev/shm")[.systemFreeSize] as? Int
    return (free ?? 0) > 4 << 30 ? "/dev/shm" : "/tmp"
  }()

  /// Waits until `isReady`, at most a minute.
  public static func wait(for condition: String, until isReady: () throws -> Bool) throws {
    for _ in 0..<1200 {
      if try isReady() { return }
      usleep(50_000)
    }
    throw TestSupportError("\(condition): nothing within a minute")
  }

  /// A port of loopback that nothing listens on.
  private static func freePort() throws -> Int {
    let script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    guard let port = Int(String(decoding: try tool("python3", ["-c", ByteString(script)]), as: UTF8.self).dropLast())
    else { throw TestSupportError("there is no free port") }
    return port
  }
}

/// A server that runs, and a shell that ends it, however the tests end.
private final class ServerProcess {
  private let watchdog: RunningCommand
  private var hasEnded = false

  init(_ command: String, account: ByteString, in directory: ByteString) throws {
    let script = """
      cd /; runuser -u \(account) -- \(command) >>'\(directory)/log' 2>&1 & server=$!
      trap 'exit' TERM
      trap 'pkill -KILL -P $server; kill -KILL $server; kill -0 \(getpid()) || rm -rf "\(directory)"' EXIT
      while kill -0 \(getpid()) && kill -0 $server; do sleep 0.3; done
      """
    watchdog = try RunningCommand("sh", ["-c", ByteString(script)])
  }

  /// Kills all its processes, and waits until they are gone.
  func kill() throws {
    let all = try Processes.descendants(of: watchdog.identifier)
    for process in all { Foundation.kill(process, SIGKILL) }
    _ = try watchdog.wait()
    hasEnded = true
    try DatabaseServer.wait(for: "the server's end") { !all.contains { Foundation.kill($0, 0) == 0 } }
  }

  deinit {
    if hasEnded { return }
    watchdog.signal(SIGTERM)
    _ = try? watchdog.wait()
  }
}

/// Certificates of a server called `localhost`, made by openssl(1).
public struct ServerCertificates {
  /// The authority's certificate.
  public let authority: ByteString
  private let directory: ByteString
  private let account: ByteString

  public enum Kind: String, CaseIterable { case right, otherName, expired, otherAuthority }

  init(in directory: ByteString, account: ByteString) throws {
    self.directory = directory
    self.account = account
    authority = directory / "authority.crt"
    try makeAuthority("authority")
    try makeAuthority("other")
    for kind in Kind.allCases {
      let name = kind == .otherName ? "db.example.org" : "localhost"
      let by = kind == .otherAuthority ? "other" : "authority"
      try shell(
        """
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout \(kind).key -out \(kind).csr -subj /CN=\(name) 2>/dev/null
        echo subjectAltName=DNS:\(name) > \(kind).ext
        \(kind == .expired ? "faketime '400 days ago'" : "") openssl x509 -req -in \(kind).csr -CA \(by).crt \
          -CAkey \(by).key -CAcreateserial -days 300 -extfile \(kind).ext -out \(kind).crt 2>/dev/null
        """)
    }
  }

  /// Makes it the certificate of the next start or reload: `server.crt` and `server.key`.
  func choose(_ kind: Kind) throws {
    try shell(
      """
      cp \(kind).crt server.crt; cp \(kind).key server.key; chmod 600 server.key; chmod 644 *.crt
      chown \(account) server.*
      """)
  }

  private func makeAuthority(_ name: String) throws {
    try shell(
      """
      openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out \(name).key
      faketime '800 days ago' openssl req -x509 -key \(name).key -subj /CN=\(name) -days 2000 -out \(name).crt
      """)
  }

  private func shell(_ script: String) throws {
    try tool("sh", ["-ec", ByteString(script)], in: directory)
  }
}

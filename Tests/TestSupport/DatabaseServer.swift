internal import Foundation

/// The directory of a database server that a test starts, and the end of the server with the process of the tests.
struct ServerProcess {
  let directory: TemporaryDirectory
  private let watchdog: RunningCommand

  /// Starts `command` as the account, with the directory as its first argument.
  init(_ command: String, in directory: TemporaryDirectory, account: String) throws {
    self.directory = directory
    // The server must not outlive the tests, however they end.
    let script = """
      runuser -u \(account) -- \(command) >'\(directory.path)/log' 2>&1 & server=$!
      while kill -0 \(getpid()) 2>/dev/null && kill -0 $server 2>/dev/null; do sleep 0.5; done
      pkill -KILL -P $server; kill -KILL $server; rm -rf '\(directory.path)'
      """
    watchdog = try RunningCommand("sh", ["-c", ByteString(script)])
  }

  static func directory(_ purpose: String, account: String) throws -> TemporaryDirectory {
    let directory = try TemporaryDirectory(purpose, below: "/tmp")
    try tool("chown", [ByteString(account), directory.path])
    return directory
  }

  /// Waits until `isReady`, at most a minute.
  static func wait(for what: String, until isReady: () throws -> Bool) throws {
    for _ in 0..<600 {
      if try isReady() { return }
      usleep(100_000)
    }
    throw TestSupportError("\(what) did not start")
  }

  /// A port of loopback that nothing listens on.
  static func freePort() throws -> Int {
    let script = "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])"
    guard let port = Int(String(decoding: try tool("python3", ["-c", ByteString(script)]), as: UTF8.self).dropLast())
    else { throw TestSupportError("there is no free port") }
    return port
  }
}

/// Certificates of a server called `localhost`, made by openssl(1).
public struct ServerCertificates {
  /// The authority's certificate.
  public let authority: ByteString
  private let directory: ByteString
  private let account: String

  public enum Kind: String, CaseIterable { case right, otherName, expired, otherAuthority }

  init(in directory: ByteString, account: String) throws {
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
        openssl req -newkey rsa:2048 -nodes -keyout \(kind).key -out \(kind).csr -subj /CN=\(name) 2>/dev/null
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
      openssl genrsa -out \(name).key 2048 2>/dev/null
      faketime '800 days ago' openssl req -x509 -key \(name).key -subj /CN=\(name) -days 2000 -out \(name).crt
      """)
  }

  private func shell(_ script: String) throws {
    try tool("sh", ["-ec", ByteString(script)], in: directory)
  }
}

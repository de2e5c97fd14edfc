import Foundation
import TestSupport

/// The kinds of places that a repository of restic's format may have.
enum Storage: String, CaseIterable {
  case directory, rest, sftp, s3
  /// OpenStack Swift, by its S3 API.
  case swift
}

/// A place for a repository of restic's format, with the server that it needs, and the ways to it of both programs.
final class StorageServer {
  /// What both programs take after `-r`; a directory lacks the prefix for restic.
  let address: ByteString
  let resticAddress: ByteString
  /// Further options of treering, and those of restic.
  private(set) var options: [ByteString] = []
  private(set) var resticOptions: [ByteString] = []
  private(set) var environment: [String: String] = [:]
  /// The directory of the files, where there is one.
  let files: Tree?
  private var process: RunningCommand?
  private var ssh: SSHServer?

  /// Writes its files below `directory`. `isAppendOnly`, `certificate` and `login` are for a REST server. A server of S3
  /// checks rights after `openActions` actions. OpenStack Swift has a disk of `diskSize`.
  init(
    _ kind: Storage, in directory: ByteString, isAppendOnly: Bool = false, certificate: Certificate? = nil,
    login: (user: String, password: String)? = nil, openActions: Int? = nil, diskSize: ByteString? = nil
  ) throws {
    let tree = Tree(directory / "place")
    requestLog = directory / "requests.log"
    switch kind {
    case .directory:
      (files, resticAddress, address) = (tree, tree.root, "restic:" + tree.root)
    case .sftp:
      let server = try SSHServer()
      (files, ssh) = (tree, server)
      address = "sftp://root@\(server.address):\(server.port)/" + tree.root
      resticAddress = address
      options = ["--ssh", ByteString(server.sshCommand(server.key, hasPort: false))]
      let command = "\(server.sshCommand) -l root \(server.address) -s sftp"
      resticOptions = ["-o", ByteString("sftp.command=\(command)")]
    case .rest:
      try tool("mkdir", [tree.root])
      let scheme = certificate == nil ? "http" : "https"
      var flags: [ByteString] = isAppendOnly ? ["--append-only"] : []
      if let certificate { flags += ["--cert", certificate.file, "--key", certificate.key] }
      if let login { flags += ["--user", ByteString(login.user), "--pass", ByteString(login.password)] }
      let port = try SSHServer.freePort()
      process = try RunningCommand(
        "rclone", ["serve", "restic", "--addr", "127.0.0.1:\(port)"] + flags + [tree.root], in: directory,
        environment: ["HOME": directory.text])
      (files, address) = (tree, "rest:\(scheme)://127.0.0.1:\(port)/a/")
      let authority = (login.map { "\($0.user):\($0.password)@" } ?? "") + "127.0.0.1:\(port)"
      resticAddress = "rest:\(scheme)://\(authority)/a/"
      if let certificate { resticOptions = ["--cacert", certificate.file] }
      try Self.wait(forPort: port)
    case .s3:
      let port = try SSHServer.freePort()
      // moto takes a slash in a query for another one than the client signed. OpenStack Swift checks signatures.
      // The log has a line for each request.
      let start: ByteString = """
        import logging, sys
        logging.basicConfig(filename="requests.log", level=logging.INFO)
        from moto.iam import access_control
        from moto.server import main
        access_control.IAMRequestBase.check_signature = lambda request: None
        main(sys.argv[1:])
        """
      process = try RunningCommand(
        try Self.packageDirectory() / ".build/moto/bin/python", ["-c", start, "-H", "127.0.0.1", "-p", "\(port)"],
        in: directory, environment: openActions.map { ["INITIAL_NO_AUTH_ACTION_COUNT": "\($0)"] } ?? [:])
      (files, address) = (nil, "s3:http://127.0.0.1:\(port)/bucket/web 01")
      resticAddress = address
      environment = [
        "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": Self.secret, "AWS_DEFAULT_REGION": "us-east-1",
      ]
      try Self.wait(forPort: port)
    case .swift:
      let port = try SSHServer.freePort()
      (files, address) = (nil, "s3:http://127.0.0.1:\(port)/bucket/web 01")
      resticAddress = address
      environment = [
        "AWS_ACCESS_KEY_ID": "test:testing", "AWS_SECRET_ACCESS_KEY": Self.secret, "AWS_DEFAULT_REGION": "us-east-1",
      ]
      try tool("mkdir", [tree.root])
      if let diskSize {
        try tool("mkdir", [tree.root / "devices"])
        try tool("mount", ["-t", "tmpfs", "-o", "size=" + diskSize, "tmpfs", tree.root / "devices"])
        disk = tree.root / "devices"
      }
      swift = (tree.root, port)
      try startSwift()
    }
  }

  /// The mount point of OpenStack Swift's disk, if it has one of its own.
  private var disk: ByteString?

  /// Enlarges the disk of OpenStack Swift.
  func enlargeDisk(to size: ByteString) throws {
    if let disk { try tool("mount", ["-o", "remount,size=" + size, disk]) }
  }

  /// The directory and the port of OpenStack Swift.
  private var swift: (directory: ByteString, port: Int)?

  /// Kills OpenStack Swift at once.
  func crashSwift() throws {
    process?.signal(SIGKILL)
    _ = try process?.wait()
  }

  /// Starts OpenStack Swift, with what was stored before.
  func startSwift() throws {
    guard let swift else { return }
    let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "swift_server.py").path
    process = try RunningCommand(
      try Self.packageDirectory() / ".build/swift/bin/python",
      [ByteString(script), swift.directory, ByteString("\(swift.port)")], in: swift.directory,
      environment: ["SWIFT_SECRET": Self.secret])
    try Self.wait(forPort: swift.port)
  }

  /// The requests to the server of S3 since the last call, such as `GET /bucket/config`.
  func takeRequests() throws -> [String] {
    let file = URL(filePath: requestLog.text)
    let lines = try String(decoding: Data(contentsOf: file), as: UTF8.self).split(separator: "\n")
    defer { requestsTaken = lines.count }
    return lines.dropFirst(requestsTaken).compactMap { line in
      let parts = line.split(separator: "\"")
      return line.contains("werkzeug") && parts.count == 3 ? String(parts[1]) : nil
    }
  }

  private let requestLog: ByteString
  private var requestsTaken = 0

  static let secret = "a/secret+key/that/nobody/sees"

  deinit {
    process?.signal(SIGTERM)
    ssh?.stop()
    if let disk { _ = try? runCommand("umount", ["-l", disk]) }
  }

  func stop() { process = nil }

  static func packageDirectory() throws -> ByteString {
    let file = URL(filePath: #filePath)
    return ByteString(file.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path)
  }

  static func wait(forPort port: Int) throws {
    let deadline = Date().addingTimeInterval(60)
    while try runCommand("bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port)"]).status != 0 {
      guard Date() < deadline else { throw TestSupportError("the server does not start") }
      usleep(20_000)
    }
  }
}

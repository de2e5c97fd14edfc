import Foundation
import Posix

/// An sshd on 127.0.0.1 with its own keys; it runs until the last reference is gone.
final class SSHServer {
  /// The client program with its options.
  let command: [String]
  let host = "root@127.0.0.1"
  private let directory: String
  private let server: Foundation.Process

  init(in directory: String) throws {
    self.directory = directory
    guard getuid() == 0 else { throw Problem("jobs over ssh need root, for sshd") }
    let program = "/usr/sbin/sshd"
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw Problem("\(program) is missing; install it with: apt-get install openssh-server")
    }
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try FileManager.default.createDirectory(atPath: "/run/sshd", withIntermediateDirectories: true)
    for key in ["host", "client"] {
      try Child.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "\(directory)/\(key)"])
    }
    let port = 20_000 + Int(getpid()) % 10_000
    let publicKey = try String(contentsOfFile: "\(directory)/host.pub", encoding: .utf8)
    let words = publicKey.split(separator: " ").prefix(2).joined(separator: " ")
    try Trees.write("\(directory)/known_hosts", "[127.0.0.1]:\(port) \(words)\n")
    try Trees.write(
      "\(directory)/config",
      """
      Port \(port)
      ListenAddress 127.0.0.1
      HostKey \(directory)/host
      AuthorizedKeysFile \(directory)/client.pub
      PermitRootLogin yes
      StrictModes no
      UsePAM no
      Subsystem sftp internal-sftp

      """)
    command = [
      "ssh", "-F", "/dev/null", "-p", "\(port)", "-i", "\(directory)/client", "-o",
      "UserKnownHostsFile=\(directory)/known_hosts",
    ]
    server = Foundation.Process()
    server.executableURL = URL(fileURLWithPath: program)
    server.arguments = ["-D", "-f", "\(directory)/config"]
    server.standardError = FileHandle.nullDevice
    try server.run()
    for _ in 0..<100 where (try? Child.run(command + [host, "true"])) == nil { usleep(50_000) }
    try Child.run(command + [host, "true"])
  }

  deinit {
    server.terminate()
    server.waitUntilExit()
  }
}

import Foundation
import TestSupport
import Testing

/// Long work with a remote shows on a terminal how much is done of how much.
@Suite("progress of remotes", .waits)
struct RemoteProgressTests {
  private static let bytes = 3_000_000

  private func fill(_ world: World) throws {
    var random = SeededGenerator(seed: 3)
    for number in 0..<3 {
      let noise = (0..<Self.bytes / 3).map { _ in UInt8.random(in: 0...255, using: &random) }
      try world.source.write(ByteString("noise\(number)"), bytes: noise)
    }
    try world.snapshot()
  }

  private func expectProgress(_ verb: String, in result: CommandResult) {
    #expect(result.status == 0, "\(result.outputText)")
    let lines = result.outputText.split(separator: "\r").filter { $0.hasPrefix("\(verb): ") }
    let line = lines.last { $0.contains(" %") }
    #expect(line?.contains(" of 2.9 MiB, ") == true && line?.contains(" entries, ") == true, "\(lines)")
  }

  @Test("push to, and verify of, a repository of restic's format")
  func restic() throws {
    let restic = try ResticWorld()
    let (world, directory) = (restic.world, restic.world.directory.path)
    try fill(world)
    let rest: [ByteString] = ["--limit-rate", "1MB/s", "--password-file", restic.password]
    expectProgress(
      "push",
      in: try onTerminal(
        ["push", restic.address, "-r", world.repository.root] + rest, columns: 100, in: directory))
    expectProgress(
      "verify", in: try onTerminal(["verify", "-r", restic.address] + rest, columns: 100, in: directory))
  }

  @Test("verify of a repository over ssh")
  func ssh() throws {
    let world = try World()
    let server = try SSHServer()
    try fill(world)
    let address = ByteString("ssh://\(NSUserName())@\(server.address.text)") + world.repository.root
    // A server that works in silence says after two seconds how far it is.
    let result = try onTerminal(
      [
        "verify", "-r", address, "--ssh", ByteString(server.sshCommand), "--remote-command",
        ByteString(server.remoteCommand), "--limit-rate", "600kB/s",
      ], columns: 100, in: world.directory.path)
    expectProgress("verify", in: result)
  }
}

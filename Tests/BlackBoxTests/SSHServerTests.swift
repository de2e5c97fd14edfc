import Foundation
import TestSupport
import Testing

/// That the server which other tests rely on is one.
@Suite("A real sshd", .waits)
struct SSHServerTests {
  @Test("every user runs commands; bytes go in and come out as they are")
  func users() throws {
    let server = try SSHServer()
    let users = try SSHServer.users()
    #expect(try !SSHServer.ordinaryUsers().isEmpty)
    let bytes = (0..<1_000_003).map { _ in UInt8.random(in: .min ... .max) }
    try server.files.write("input", bytes: bytes)
    for user in users {
      let trivial = try server.run("true", as: user)
      #expect(trivial.status == 0 && trivial.output.isEmpty && trivial.errors.isEmpty, "\(trivial.errorText)")
      #expect(try server.run("exit 7", as: user).status == 7)
      #expect(try server.run("cat", as: user, input: server.files.root / "input").output == bytes)
      #expect(try server.run("id -un", as: user).outputLines == [user])
      // The program under test, by its name.
      #expect(try server.run("command -v treering", as: user).outputLines == ["\(server.binary)"])
      #expect(try server.run("treering --version", as: user).status == 0)
    }
  }

  @Test("only the host's own key is believed, and only keys that are let in")
  func keys() throws {
    let server = try SSHServer()
    let user = try #require(try SSHServer.users().last)
    let other = try server.makeKey("other")
    #expect(try server.run("true", as: user, key: other).status == 255)
    try server.authorize(other, for: user, options: "restrict,command=\"echo $SSH_ORIGINAL_COMMAND forced\"")
    #expect(try server.run("asked", as: user, key: other).outputText == "asked forced\n")
    #expect(try server.run("echo asked", as: user).outputText == "asked\n")
    try server.authorize(other, for: user)
    #expect(try server.run("echo asked", as: user, key: other).outputText == "asked\n")
    try server.deny(other, for: user)
    #expect(try server.run("true", as: user, key: other).status == 255)
    try server.files.write("known_hosts", "\(SSHServer.hostName) \(other.line)\n")
    let result = try server.run("true", as: user)
    #expect(result.status == 255 && result.errorText.contains("Host key verification failed"))
  }

  @Test("broken connections end the client, and a stopped server leaves nothing behind")
  func broken() throws {
    let server = try SSHServer()
    let user = try #require(try SSHServer.users().last)
    let client = try server.start("echo ready; exec sleep 1000", as: user)
    try waitUntil("the command runs") { try sleepers(server).count == 1 }
    let sleeper = try #require(try sleepers(server).first)
    try server.killConnections()
    #expect(try client.wait().status == 255)
    // What ran there is not ended by that.
    #expect(Processes.name(of: sleeper) == "sleep")
    kill(sleeper, SIGKILL)
    #expect(try server.run("true", as: user).status == 0)
    let second = try server.start("exec sleep 1000", as: user)
    try waitUntil("the command runs again") { try sleepers(server).count == 1 }
    let last = try #require(try sleepers(server).first)
    server.stop()
    #expect(try second.wait().status == 255)
    try waitUntil("it ends with the server") { Processes.name(of: last) != "sleep" }
    #expect(try server.run("true", as: user).status == 255)
  }

  @Test("between namespaces a cut cable lets both ends wait, and a mended one goes on")
  func namespaces() throws {
    let namespaces = try Namespaces()
    let server = try SSHServer(in: namespaces)
    let user = try #require(try SSHServer.users().last)
    #expect(try server.run("echo $SSH_CONNECTION", as: user).outputText.hasPrefix("\(Namespaces.clientAddress) "))
    let ticker = try server.start("while sleep 0.1; do echo tick; done", as: user)
    try waitUntil("ticks arrive") { try ticker.outputSoFar().count > 15 }
    try namespaces.dropPackets()
    Thread.sleep(forTimeInterval: 0.5)
    let cut = try ticker.outputSoFar().count
    Thread.sleep(forTimeInterval: 2)
    #expect(try ticker.outputSoFar().count == cut)
    #expect(throws: TestSupportError.self) { try ticker.wait(timeoutSeconds: 0) }
    try namespaces.passPackets()
    try waitUntil("ticks arrive again") { try ticker.outputSoFar().count > cut }
    try namespaces.dropPackets()
    ticker.signal(SIGKILL)
    #expect(try ticker.wait().status == 128 + SIGKILL)
  }

  private func sleepers(_ server: SSHServer) throws -> [Int32] {
    try server.processes().filter { Processes.name(of: $0) == "sleep" }
  }

  private func waitUntil(
    _ what: String, location: SourceLocation = #_sourceLocation, _ holds: () throws -> Bool
  ) throws {
    let deadline = Date().addingTimeInterval(180)
    while try !holds() {
      try #require(Date() < deadline, "\(what) in time", sourceLocation: location)
      Thread.sleep(forTimeInterval: 0.01)
    }
  }
}

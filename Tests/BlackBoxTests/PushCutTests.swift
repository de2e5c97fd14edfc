import Foundation
import TestSupport
import Testing

/// A push that does not come to its end leaves nothing that is listed and changes nothing, and the next one sends
/// only what had not arrived.
@Suite("push: cut off", .waits)
struct PushCutTests {
  /// What may be lost: the frame that was on its way, what the decompressor had not given out, and the greeting.
  private static let lost = 300_000

  private func world(_ kind: String) throws -> PushWorld {
    let push = try PushWorld("push-cut")
    let source = push.world.source
    try source.makeDirectory("d")
    switch kind {
    case "one": try source.writeNoise("big", 6_000_000)
    case "many":
      for index in 0..<400 { try source.writeNoise(ByteString("d/\(index)"), 10_000 + index, seed: index) }
    default:
      // A change of a file that the remote has.
      try source.writeNoise("big", 8_000_000)
      for index in 0..<100 { try source.writeNoise(ByteString("d/\(index)"), 10_000 + index, seed: index) }
      try push.snapshot()
      try push.push()
      try source.writeNoise("x", 1_500_000, seed: 7)
      try source.writeNoise("y", 1_500_000, seed: 8)
      let edit: ByteString = "cat x big y > z; mv z big; rm x y; mv d e; for i in 1 2 3; do echo > e/$i; done"
      try tool("sh", ["-c", edit], in: source.root)
    }
    try push.snapshot()
    return push
  }

  /// What an uncut push of the same sends, to another repository that is the same.
  private func whole(_ push: PushWorld) throws -> Int {
    let twin = push.place.root / "twin"
    try tool("cp", ["-a", push.far.root, twin])
    let keep = push.world.directory.path / "remotes"
    let remotes = push.world.repository.root / ".treering/remotes"
    let hasPushed = push.world.repository.exists(".treering/remotes")
    if hasPushed { try tool("cp", ["-a", remotes, keep]) }
    let bytes = try push.push([], to: ByteString(push.address.text.replacing("/repository", with: "/twin"))).bytesSent
    try tool("rm", ["-rf", remotes])
    if hasPushed { try tool("mv", [keep, remotes]) }
    try tool("rm", ["-rf", twin])
    return bytes
  }

  @Test(
    "after some bytes: nothing is listed, and the rest is sent by the next", arguments: ["one", "many", "change"],
    [
      "close", "kill",
    ])
  func atManyPoints(kind: String, how: String) throws {
    let push = try world(kind)
    let names = try push.names(push.far)
    let bytes = try whole(push)
    #expect(bytes > 3_000_000 && bytes < 6_300_000, "\(bytes)")
    for point in sample(2, of: [bytes * 2 / 3, 40, 0, 3, 5_000, bytes / 3, bytes - 2]) {
      try tool("rm", ["-rf", push.place.root / "before"])
      try tool("cp", ["-a", push.far.root, push.place.root / "before"])
      try push.expectFailure(7, arguments: [], ssh: push.cut(after: point, how))
      #expect(try push.passed() == point)
      #expect(try push.names(push.far) == names)
      let list = try push.there(["list", "--json"])
      #expect(list.status == 0)
      #expect(try list.decoded([ListAnswer].self).count == names.count)
      let next = try push.push()
      // A server that is killed loses what it had not written.
      let allowed = bytes - point + bytes / 100 + Self.lost + (how == "kill" ? 600_000 : 0)
      #expect(next.bytesSent <= allowed, "cut at \(point) of \(bytes): \(next.bytesSent) > \(allowed)")
      try push.expectSame()
      try tool("rm", ["-rf", push.far.root])
      try tool("mv", [push.place.root / "before", push.far.root])
      // The one here goes back as well.
      if names.isEmpty { try tool("rm", ["-rf", push.world.repository.root / ".treering/remotes"]) }
    }
  }

  @Test("again and again: each push gets on")
  func againAndAgain() throws {
    let push = try world("one")
    let bytes = try whole(push)
    var sum = 0
    var rounds = 0
    while rounds < 20 {
      rounds += 1
      let result = try push.run(["--json"], ssh: push.cut(after: 1_000_000))
      if result.status == 0 {
        sum += try result.decoded(PushAnswer.self).bytesSent
        break
      }
      #expect(result.status == 7, "\(result.errorText)")
      sum += try push.passed()
    }
    #expect(rounds >= 6 && rounds <= 9, "\(rounds)")
    #expect(sum < bytes + rounds * Self.lost)
    try push.expectSame()
  }

  @Test("in the middle of one file of 64 MiB")
  func bigFile() throws {
    let push = try PushWorld("push-cut")
    push.provesUnchanged = false
    try push.world.source.writeNoise("big", 64 << 20)
    try push.snapshot()
    let cut = 40 << 20
    try push.expectFailure(7, ssh: push.cut(after: cut))
    let next = try push.push()
    #expect(next.bytesSent <= (64 << 20) - cut + (64 << 20) / 100 + Self.lost, "\(next.bytesSent)")
    try push.expectSame()
  }

  @Test(
    "in the middle of a large file; then a newer snapshot is pushed, with a new file before it",
    arguments: ["close", "kill"])
  func cutThenNewer(how: String) throws {
    let push = try PushWorld("push-cut")
    push.provesUnchanged = false
    let source = push.world.source
    try source.writeNoise("m", 24 << 20)
    try push.snapshot()
    try push.expectFailure(7, ssh: push.cut(after: 16 << 20, how))
    try source.writeNoise("a", 12 << 20, seed: 2)
    try push.snapshot()
    // Cut again, in the middle of the new one: the beginnings of both are kept.
    try push.expectFailure(7, ssh: push.cut(after: 8 << 20, how))
    try source.write("0", "last")
    try push.snapshot()
    let next = try push.push()
    #expect(next.bytesSent < (36 - 16 - 8) << 20 + 400_000 + 2 * Self.lost, "\(next.bytesSent)")
    try push.expectSame()
    #expect(try push.far.names(".treering/pending") == [])
  }

  @Test("the client is killed in the middle of a large file; then a newer snapshot is pushed")
  func killedThenNewer() throws {
    let push = try PushWorld("push-cut")
    push.provesUnchanged = false
    let source = push.world.source
    try source.writeNoise("m", 24 << 20)
    try push.snapshot()
    let running = try push.start(["--limit-rate", "16MB/s"])
    try push.waitUntil("half has come") { try largestPart(push) > 12 << 20 }
    running.signal(SIGKILL)
    _ = try running.wait()
    try source.writeNoise("a", 100_000, seed: 2)
    try push.snapshot()
    try push.waitUntil("the server has ended") {
      try runCommand("flock", ["-n", push.far.root / ".treering/lock", "true"]).status == 0
    }
    let next = try push.push()
    #expect(next.bytesSent < 13 << 20, "\(next.bytesSent)")
    try push.expectSame()
  }

  private func largestPart(_ push: PushWorld) throws -> Int {
    let found = try runCommand(
      "sh", ["-c", "stat -c %s *.push/partial.* 2>/dev/null | sort -n | tail -n 1"],
      in: push.far.root / ".treering/pending")
    return Int(found.outputText.filter(\.isNumber)) ?? 0
  }

  @Test("a first push that never ends gets on, though each is of a newer snapshot", arguments: [1, 40])
  func newerSnapshots(files: Int) throws {
    let push = try PushWorld("push-cut")
    push.provesUnchanged = false
    let source = push.world.source
    for index in 0..<files { try source.writeNoise(ByteString("f\(index)"), 40_000_000 / files, seed: index) }
    for (round, point) in [20_000_000, 15_000_000].enumerated() {
      try source.write("other", "\(round)")
      try push.snapshot()
      try push.expectFailure(7, ssh: push.cut(after: point))
      #expect(try push.far.names(".treering/pending").count == 1)
    }
    try source.write("other", "last")
    try push.snapshot()
    let next = try push.push()
    #expect(next.bytesSent < 5_000_000 + 2 * 400_000 + 2 * Self.lost, "\(next.bytesSent)")
    try push.expectSame()
    #expect(try push.far.names(".treering/pending") == [])
  }

  @Test("another snapshot is pushed instead: what came serves it, and the rest goes")
  func anotherInstead() throws {
    let push = try world("one")
    try push.expectFailure(7, ssh: push.cut(after: 3_000_000))
    let pending = try push.far.names(".treering/pending")
    #expect(pending.count == 1)
    try push.world.source.write("other", "other")
    try push.snapshot()
    try push.push()
    try push.expectSame()
    #expect(try push.names(push.far).count == 1)
  }

  @Test("a rotation and a snapshot of the remote's own leave what came alone")
  func farSideWorks() throws {
    let push = try world("change")
    let bytes = try whole(push)
    try push.expectFailure(7, ssh: push.cut(after: bytes - 100_000))
    #expect(try push.there(["rotate", "--keep-last", "5"]).status == 0)
    let own = try Tree(making: push.place.root / "own")
    try own.write("file", "text")
    #expect(try push.there(["snapshot", own.root]).status == 0)
    #expect(try push.push().bytesSent < 100_000 + Self.lost)
    #expect(try push.there(["verify"]).status == 0)
    #expect(try push.names(push.far).count == 3)
  }

  @Test("the server is ended by a signal", arguments: [SIGTERM, SIGINT, SIGKILL])
  func serverEnds(signal: Int32) throws {
    let push = try world("one")
    let serving = push.place.root / "serving"
    try push.place.write("serve", "#!/bin/sh\necho $$ > \(serving)\nexec \(try treeringBinary()) serve\n", mode: 0o755)
    let before = try push.fingerprints()
    let running = try push.start(["--limit-rate", "2MB/s"], remoteCommand: "exec \(push.place.root)/serve")
    try push.waitUntil("it sends") { try incoming(push) > 1_500_000 }
    let identifier = try #require(Int32(push.place.text("serving").trimmingCharacters(in: .newlines)))
    kill(identifier, signal)
    let result = try running.wait(timeoutSeconds: 20)
    #expect(result.status == 7, "\(result.errorText)")
    #expect(result.errorLines.count == 1 && result.errorText.contains(push.address.text), "\(result.errorText)")
    try push.expectUnchanged(before)
    #expect(try push.names(push.far) == [])
    #expect(try push.push().bytesSent < 6_000_000 - 1_500_000 + 60_000 + Self.lost + 300_000)
    try push.expectSame()
  }

  /// Bytes of files that came to the remote.
  private func incoming(_ push: PushWorld) throws -> Int {
    let output = try runCommand("du", ["-sb", push.far.root / ".treering/pending"]).outputText
    return Int(output.prefix { $0.isNumber }) ?? 0
  }

  @Test("the client is ended by a signal", arguments: [SIGTERM, SIGINT, SIGKILL])
  func clientEnds(signal: Int32) throws {
    let push = try world("one")
    let running = try push.start(["--limit-rate", "2MB/s"])
    try push.waitUntil("it sends") { try incoming(push) > 1_500_000 }
    running.signal(signal)
    let result = try running.wait(timeoutSeconds: 20)
    #expect(result.status == 128 + signal, "\(result.errorText)")
    #expect(try push.names(push.far) == [])
    // The server notices by itself, and lets go of the repository.
    try push.waitUntil("the remote is free") { try push.there(["rotate", "--keep-last", "9"]).status == 0 }
    #expect(try push.push().bytesSent < 6_000_000 - 1_500_000 + 60_000 + Self.lost)
    try push.expectSame()
  }

  @Test("a server that does nothing is given up after --timeout, whether it reads or builds")
  func stopped() throws {
    let push = try world("one")
    let begin = Date()
    // In the middle of the stream, and where the greeting is waited for.
    for point in [10, 2_000_000] {
      try push.expectFailure(7, saying: "2 s", arguments: ["--timeout", "2s"], ssh: push.cut(after: point, "stop"))
      // Both wait where they were stopped.
      for identifier in try Processes.running(treeringBinary()) where isServing(identifier, push) {
        kill(identifier, SIGKILL)
      }
    }
    #expect(Date().timeIntervalSince(begin) < 40)
    try push.push()
    try push.expectSame()
  }

  private func isServing(_ identifier: Int32, _ push: PushWorld) -> Bool {
    let directory = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(identifier)/cwd")
    let words = (try? String(contentsOfFile: "/proc/\(identifier)/cmdline", encoding: .utf8)) ?? ""
    return directory == push.world.directory.path.text && words.contains("serve")
  }

  @Test("ssh is killed, and the server behind it; the cable is cut")
  func realConnection() throws {
    let namespaces = try Namespaces()
    let server = try SSHServer(in: namespaces)
    let push = try world("one")
    push.ssh = server.sshCommand
    push.address = ByteString("root@\(server.address):") + push.far.root
    let remote = server.remoteCommand
    func begin(_ options: [ByteString] = []) throws -> RunningCommand {
      let running = try push.start(["--limit-rate", "1500KB/s"] + options, remoteCommand: remote)
      let before = try incoming(push)
      try push.waitUntil("it sends") { try incoming(push) > before + 500_000 }
      return running
    }
    func expectEnd(_ running: RunningCommand) throws {
      let result = try running.wait(timeoutSeconds: 30)
      #expect(result.status == 7, "\(result.errorText)")
      #expect(result.errorText.contains("root@\(server.address)"), "\(result.errorText)")
      #expect(try push.names(push.far) == [])
    }
    var running = try begin()
    for child in try Processes.descendants(of: running.identifier) where Processes.name(of: child) == "ssh" {
      kill(child, SIGKILL)
    }
    try expectEnd(running)
    try push.waitUntil("the server ends") { try server.serving().isEmpty }
    running = try begin()
    try server.killConnections()
    try expectEnd(running)
    try push.waitUntil("the server ends") { try server.serving().isEmpty }
    running = try begin()
    for identifier in try server.serving() { kill(identifier, SIGKILL) }
    try expectEnd(running)
    running = try begin(["--timeout", "3s"])
    for identifier in try server.serving() { kill(identifier, SIGSTOP) }
    try expectEnd(running)
    for identifier in try server.serving() { kill(identifier, SIGKILL) }
    running = try begin(["--timeout", "3s"])
    try namespaces.dropPackets()
    try expectEnd(running)
    // Its server sits there until it gives up by itself; another push is told so.
    try namespaces.passPackets()
    let result = try push.run([], remoteCommand: remote)
    #expect(result.status == 5 || result.status == 0, "\(result.errorText)")
    for identifier in try server.serving() { kill(identifier, SIGKILL) }
    let last = try push.push([], remoteCommand: remote)
    #expect(last.bytesSent < 5_000_000)
    try push.expectSame()
  }
}

import Foundation
import TestSupport
import Testing

/// What a server lets a client do, and what it does not.
@Suite("serve", .waits)
struct PushServeTests {
  /// A world that reaches its remote by a key that may run nothing but this command.
  private func world(_ options: String) throws -> (PushWorld, SSHServer) {
    let server = try SSHServer()
    let push = try PushWorld("push-serve")
    let key = try server.makeKey("forced")
    try server.authorize(
      key, for: "root", options: "restrict,command=\"treering serve --repository \(push.far.root) \(options)\"")
    push.ssh = server.sshCommand(key)
    push.address = "root@127.0.0.1:" + push.far.root
    try push.world.source.write("file", "text")
    return (push, server)
  }

  @Test("as a forced command it serves its own repository, whatever the client names and asks to run")
  func forced() throws {
    let (push, server) = try world("--append-only")
    defer { server.stop() }
    let other = try World("other")
    try push.snapshot()
    for path in ["/", "/etc", "/no/such", other.repository.root.text, "../..", "x"] {
      try push.push([], to: ByteString("root@127.0.0.1:\(path)"))
      #expect(try push.names(push.far).count == 1)
      #expect(try other.snapshotNames() == [])
    }
    let marker = push.place.root / "marker"
    try push.push([], remoteCommand: "touch \(marker)")
    #expect(!push.place.exists("marker"))
    try push.expectSame()
  }

  @Test("read-only: nothing can be pushed, and what is there can be compared with")
  func readOnly() throws {
    let (push, server) = try world("--read-only")
    try push.snapshot()
    let before = try TreeListing(push.far.root)
    try push.expectFailure(4, saying: "read-only")
    #expect(listingDifferences(before, try TreeListing(push.far.root)) == [])
    #expect(try push.push(["--dry-run"]).result == "would_send")
    try push.push([], ssh: server.sshCommand)
    #expect(try push.push(["--dry-run"]).result == "there")
  }

  @Test("it is confined to its repository where the kernel can do that")
  func confined() throws {
    let push = try PushWorld("push-serve")
    try push.world.source.writeNoise("file", 3_000_000)
    try push.snapshot()
    let running = try push.start(["--limit-rate", "1MB/s"])
    try push.waitUntil("something has come") { try push.far.names(".treering/pending").count == 1 }
    // The stand-in for ssh(1) has become the server.
    let started = try Processes.descendants(of: running.identifier)
    let server = try #require(started.first { Processes.name(of: $0) == "treering" })
    let status = try String(contentsOfFile: "/proc/\(server)/status", encoding: .utf8)
    // The version of the kernel's Landlock; landlock_create_ruleset(2).
    let asks: ByteString = "import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))"
    let version = Int(try String(decoding: tool("python3", ["-c", asks]), as: UTF8.self).filter(\.isNumber)) ?? 0
    #expect(status.contains("NoNewPrivs:\t1") == (version >= 2))
    running.signal(SIGTERM)
    _ = try running.wait()
  }

  @Test("who has the key can add, and neither replace, remove nor crowd out what is there")
  func stolenKey() throws {
    let push = try PushWorld("push-serve")
    push.provesUnchanged = false
    let binary = try treeringBinary()
    let words = fakedClock.map { "\($0)=\($1)" }.joined(separator: " ")
    /// Serves at a time of the server's clock.
    func serve(at time: String) throws -> String {
      try push.place.write(
        "serve",
        "#!/bin/sh\nexec env \(words) faketime -f '\(time)' \(binary) serve -r \(push.far.root) --append-only\n",
        mode: 0o755)
      return "\(push.place.root)/serve"
    }
    try push.world.source.write("file", "0")
    for day in 1...8 {
      try push.world.source.write("file", "\(day)")
      try push.snapshot()
      try push.push([], remoteCommand: serve(at: "2026-12-0\(day) 03:00:00"))
    }
    let honest = try push.names(push.far)
    var prints: [ByteString: Fingerprint] = [:]
    for name in honest { prints[name] = try Fingerprint(push.far.root / name) }
    try tool("cp", ["-a", push.far.root, push.place.root / "control"])

    let thief = try PushWorld("push-thief")
    thief.provesUnchanged = false
    (thief.ssh, thief.address) = (push.ssh, push.address)
    // The same source, by its name.
    let times = [
      "2001-01-01 00:00:00", "2026-12-08 23:00:00", "2026-12-09 00:00:00", "2030-01-02 11:59:00", "2037-12-31 23:59:59",
      "2026-12-01 00:00:00",
    ]
    for (index, time) in times.enumerated() {
      try thief.world.source.write("file", "thief \(index)")
      let (source, repository) = (thief.world.source.root, thief.world.repository.root)
      let taken = try runCommand(
        "faketime", ["-f", ByteString(time), binary, "snapshot", source, "-r", repository], environment: fakedClock)
      #expect(taken.status == 0, "\(taken.errorText)")
      try thief.push(["latest"], remoteCommand: serve(at: "2026-12-08 04:0\(index):00"))
    }
    #expect(try push.names(push.far).count == honest.count + times.count)
    for (keep, now) in [("daily=5", "2026-12-08 05:00:00"), ("daily=5,weekly=2,monthly=2", "2026-12-08 06:00:00")] {
      let options = keep.split(separator: ",").flatMap { ["--keep", ByteString(String($0))] as [ByteString] }
      var kept: [[ByteString]] = []
      for repository in [push.place.root / "control", push.far.root] {
        let rotated = try runCommand(
          "faketime", ["-f", ByteString(now), binary, "rotate", "-r", repository] + options, environment: fakedClock)
        #expect(rotated.status == 0, "\(rotated.errorText)")
        kept.append(try push.names(Tree(repository)).filter { honest.contains($0) })
      }
      #expect(kept[0].count < honest.count && Set(kept[0]).isSubset(of: Set(kept[1])), "\(kept)")
      for name in kept[1] { #expect(try prints[name]!.differences(to: Fingerprint(push.far.root / name)) == []) }
    }
    #expect(try push.there(["verify"]).status == 0)
  }

  @Test("two clients at once: one waits its turn or is told, and both have theirs in the end")
  func twoClients() throws {
    let (one, two) = try (PushWorld("push-one"), PushWorld("push-two"))
    (two.ssh, two.address) = (one.ssh, one.address)
    try one.world.source.writeNoise("one", 2_000_000, seed: 1)
    try two.world.source.writeNoise("two", 2_000_000, seed: 2)
    try one.snapshot()
    try two.world.source.write("other", "day")
    try two.snapshot()
    try two.snapshot()
    let first = try one.start(["--limit-rate", "1MB/s", "--quiet"])
    try one.waitUntil("it has begun") { try !one.far.names(".treering/pending").isEmpty }
    let second = try two.run()
    #expect([0, 5].contains(second.status), "\(second.errorText)")
    if second.status == 5 { #expect(second.errorLines.count == 1 && second.errorText.contains(two.address.text)) }
    let done = try first.wait()
    #expect(done.status == 0, "\(done.errorText)")
    try two.push()
    try one.expectSound()
    #expect(try one.names(one.far).count == 2)
    #expect(try one.different(one.names(one.far)[0]) == [])

    // What was cut off of one does not go when the other comes.
    try one.world.source.writeNoise("more", 2_000_000, seed: 3)
    try one.snapshot()
    try one.snapshot()
    try one.expectFailure(7, ssh: one.cut(after: 1_500_000))
    try two.world.source.write("other", "another day")
    for _ in 0..<3 { try two.snapshot() }
    try two.push()
    #expect(try one.push().bytesSent < 900_000)
    #expect(try one.there(["verify"]).status == 0)
  }

  @Test("started by hand it says what it is for; a client that says nothing is given up")
  func byHand() throws {
    let push = try PushWorld("push-serve")
    let result = try push.there(["serve"])
    #expect(result.status == 7, "\(result.errorText)")
    let scratch = try Tree(making: push.place.root / "hand")
    try tool("mkfifo", [scratch.root / "in"])
    let silent = try runCommand(
      "sh", ["-c", "exec 3<>in; exec " + (try treeringBinary()) + " serve --timeout 1s -r " + push.far.root + " <&3"],
      in: scratch.root, timeoutSeconds: 20)
    #expect(silent.status == 7)
    for junk: ByteString in ["hello\n", "GET / HTTP/1.1\r\n\r\n", ByteString([1, 0xFF, 0xFF, 0xFF, 0xFF, 0])] {
      try scratch.write("junk", bytes: junk.bytes)
      let result = try runCommand(
        try treeringBinary(), ["serve", "-r", push.far.root], input: scratch.root / "junk", timeoutSeconds: 20)
      #expect(result.status == 7)
    }
    try push.expectSound()
  }
}

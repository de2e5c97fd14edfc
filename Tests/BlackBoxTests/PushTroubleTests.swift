import Foundation
import TestSupport
import Testing

/// What is in the way at the remote: the exit status says what sort of trouble, one line says the rest.
@Suite("push: trouble at the remote", .waits)
struct PushTroubleTests {
  private func world(far: ByteString? = nil, initialized: Bool = true) throws -> PushWorld {
    let push = try PushWorld("push-trouble", initialized: initialized, far: far)
    try push.world.source.write("file", "text")
    return push
  }

  @Test("no repository, none that can be entered, a newer one, a damaged mark")
  func noRepository() throws {
    let push = try world(initialized: false)
    try push.snapshot()
    try push.expectFailure(7, saying: "\(push.far.root)")
    try tool("mkdir", [push.far.root])
    let none = try push.expectFailure(7, saying: "not a repository")
    #expect(none.errorText.contains("treering init \(push.far.root)"), "\(none.errorText)")
    try push.far.write("file", "not a repository")
    try push.expectFailure(7, saying: "not a repository")
    try push.far.remove("file")
    try #require(push.there(["init"]).status == 0)
    let mark = try push.far.text(".treering/repository.toml")
    try push.far.write(".treering/repository.toml", mark.replacing("version = 1", with: "version = 99"))
    try push.expectFailure(7, saying: "99", "newer treering")
    try push.far.write(".treering/repository.toml", "nonsense")
    try push.expectFailure(6, saying: "repository.toml")
    try push.far.write(".treering/repository.toml", mark)
    try push.push()
    try push.expectSame()
  }

  @Test("to a path, the same is said")
  func paths() throws {
    let push = try world(initialized: false)
    (push.ssh, push.address) = ("", push.far.root)
    try push.snapshot()
    try push.expectFailure(7, saying: "\(push.far.root)")
    try tool("mkdir", [push.far.root])
    try push.expectFailure(7, saying: "treering init")
    // To itself.
    let own = push.world.repository.root
    let result = try push.run([], to: own)
    #expect([2, 4, 5, 7].contains(result.status) || result.outputText.contains("already"), "\(result.errorText)")
    #expect(try push.names(push.world.repository).count == 1)
  }

  @Test("usage: a remote that is no name and no address, a snapshot that is not there, no snapshot")
  func usage() throws {
    let push = try world()
    for (address, words) in [
      ("nas", "no configuration"), ("ftp://nas/x", "ftp"), ("ssh://-oProxyCommand=x/y", "option"), ("nas:", "path"),
    ] as [(ByteString, String)] {
      let result = try push.run([], to: address)
      #expect(result.status == 2 && result.errorLines.count == 1, "\(result.errorText)")
      #expect(result.errorText.contains(words), "\(result.errorText)")
    }
    #expect(try push.run([]).status == 2)
    try push.snapshot()
    #expect(try push.run(["2001-01-01"]).status == 2)
    #expect(try push.names(push.far) == [])
  }

  @Test("locked: status 5, and nothing is waited for")
  func locked() throws {
    let push = try world()
    try push.snapshot()
    try push.push()
    try push.world.source.write("file", "more")
    try push.snapshot()
    let unlock = try push.lock()
    try push.expectFailure(5, saying: "in use")
    try unlock()
    try push.push()
    try push.expectSame()
  }

  @Test("another snapshot of the same name is refused, and nothing is replaced; also one that is damaged")
  func sameName() throws {
    let push = try world()
    let name = try push.snapshot().name
    try push.push()
    let other = try Tree(making: push.place.root / "other-source")
    try other.write("file", "other")
    let another = try PushWorld("push-other")
    try another.world.source.write("file", "other")
    #expect(try another.snapshot().name == name)
    (another.ssh, another.address) = (push.ssh, push.address)
    let print = try Fingerprint(push.far.root / name)
    let result = try another.run()
    #expect(result.status == 4 && result.errorLines.count == 1, "\(result.errorText)")
    #expect(result.errorText.contains("\(name)") && result.errorText.contains(push.address.text), "\(result.errorText)")
    #expect(try print.differences(to: Fingerprint(push.far.root / name)) == [])
    try push.expectSame()
    // A dated directory without its catalog.
    try tool("rm", [push.far.root / ".treering/catalogs" / (name + ".catalog")])
    try push.expectFailure(4, saying: "damaged")
    #expect(try print.differences(to: Fingerprint(push.far.root / name)) == [])
  }

  @Test(
    "a full disk: status 8, nothing of the snapshot is there; with room again it arrives",
    arguments: ["ext4", "tmpfs"])
  func fullDisk(type: String) throws {
    let scratch = try TemporaryDirectory("disk")
    let disk = try LoopFileSystem(type, mebibytes: 32, at: scratch.path / "disk")
    let push = try world(far: disk.tree.root / "repository")
    let source = push.world.source
    try push.snapshot()
    try push.push()
    for index in 0..<20 { try source.writeNoise(ByteString("noise\(index)"), 1_500_000, seed: index) }
    try push.snapshot()
    try tool("dd", ["if=/dev/zero", "of=" + (disk.tree.root / "ballast"), "bs=1M", "count=15"])
    let names = try push.names(push.far)
    try push.expectFailure(8, saying: "needs about", "nothing was sent")
    #expect(try push.names(push.far) == names)
    #expect(try push.there(["verify"]).status == 0)
    try tool("rm", [disk.tree.root / "ballast"])
    if type == "ext4" { return }
    try push.push()
    try push.expectSame()
  }

  @Test("a file with a hole that is larger than the disk arrives")
  func sparseFile() throws {
    let scratch = try TemporaryDirectory("disk")
    let disk = try LoopFileSystem("ext4", mebibytes: 32, at: scratch.path / "disk")
    let push = try world(far: disk.tree.root / "repository")
    try push.world.source.writeNoise("sparse", 1_000_000)
    try tool("truncate", ["-s", "300M", push.world.source.root / "sparse"])
    try push.snapshot()
    try push.push()
    try push.expectSame()
  }

  @Test("no inode left: status 8")
  func noInodes() throws {
    let scratch = try TemporaryDirectory("disk")
    let disk = try LoopFileSystem("ext4", mebibytes: 32, at: scratch.path / "disk", options: ["-N", "200"])
    let push = try world(far: disk.tree.root / "repository")
    try push.snapshot()
    try push.push()
    for index in 0..<300 { try push.world.source.write(ByteString("f\(index)"), "text \(index)") }
    try push.snapshot()
    try push.expectFailure(8)
    #expect(try push.there(["verify"]).status == 0)
  }

  @Test("a read-only mount: nothing is pushed, and what is there can be listed")
  func readOnly() throws {
    let scratch = try TemporaryDirectory("disk")
    let disk = try LoopFileSystem("ext4", mebibytes: 16, at: scratch.path / "disk")
    let push = try world(far: disk.tree.root / "repository")
    try push.snapshot()
    try push.push()
    try push.world.source.write("file", "more")
    try push.snapshot()
    try tool("mount", ["-o", "remount,ro", disk.tree.root])
    try push.expectFailure(7, saying: "ead-only")
    #expect(try push.push(["--dry-run"]).result == "would_send")
    try tool("mount", ["-o", "remount,rw", disk.tree.root])
    try push.push()
    try push.expectSame()
  }

  @Test("over ssh: not installed, an unknown host, a wrong key, nobody listens, no such program")
  func ssh() throws {
    let server = try SSHServer()
    let push = try world()
    try push.snapshot()
    let address = ByteString("root@127.0.0.1:") + push.far.root
    (push.ssh, push.address) = (server.sshCommand, address)
    let missing = try push.expectFailure(
      7, saying: "installed", remoteCommand: "no-such-treering serve")
    #expect(missing.errorLines[0].contains("no-such-treering"), "\(missing.errorText)")
    let other = try server.makeKey("other")
    try push.expectFailure(7, saying: "Permission denied", ssh: server.sshCommand(other))
    let hosts = try server.files.text("known_hosts")
    try server.files.write("known_hosts", "")
    let unknown = try push.expectFailure(7, saying: "Host key verification failed", lines: 2)
    #expect(unknown.errorText.contains("could not connect"), "\(unknown.errorText)")
    try server.files.write("known_hosts", "\(SSHServer.hostName) \(other.line)\n")
    let changed = try push.run()
    #expect(changed.status == 7 && changed.errorText.contains("Host key verification failed"), "\(changed.errorText)")
    try server.files.write("known_hosts", hosts)
    try push.expectFailure(7, saying: "no-such-ssh", ssh: "/no-such-ssh")
    // A login that prints something first.
    let chatty = try push.run([], remoteCommand: "echo hello; treering serve")
    #expect(
      chatty.status == 7 && chatty.errorText.contains("does a start-up file of the shell print"), "\(chatty.errorText)")
    // Whatever it says on standard error is no harm.
    let said = try push.push([], remoteCommand: "echo mind the gap >&2; treering serve")
    #expect(said.result == "sent")
    server.stop()
    let refused = try push.expectFailure(7, saying: "refused")
    #expect(refused.errorText.contains("could not connect"), "\(refused.errorText)")
  }

  @Test(
    "the clock of the server is wrong: it works, and order is by sequence",
    arguments: [
      "2001-01-01 00:00:00", "2037-01-01 00:00:00",
    ])
  func wrongClock(time: String) throws {
    let push = try world()
    let words = fakedClock.map { "\($0)=\($1)" }.joined(separator: " ")
    try push.place.write(
      "serve", "#!/bin/sh\nexec env \(words) faketime -f '\(time)' \(try treeringBinary()) serve\n", mode: 0o755)
    for index in 0..<3 {
      try push.world.source.write("file", "text \(index)")
      try push.snapshot()
      try push.push([], remoteCommand: index == 1 ? nil : "\(push.place.root)/serve")
    }
    try push.expectSame()
    let list = try push.there(["list", "--json"]).decoded([ListAnswer].self)
    #expect(list.map(\.sequence) == [1, 2, 3])
    #expect(try push.far.text("latest/localhost" / push.world.source.root / "file") == "text 2")
    // Nothing that a wrong clock says makes history go.
    let rotated = try push.there(["rotate", "--keep", "daily=1"])
    #expect(rotated.status == 4 && rotated.errorText.contains("clock"), "\(rotated.errorText)")
    #expect(try push.names(push.far) == push.names(push.world.repository))
  }
}

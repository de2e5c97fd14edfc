import Foundation
import TestSupport
import Testing

/// What only reads works on a remote repository, and says the same.
@Suite("remote repositories", .waits)
struct RemoteReadingTests {
  private let world: World
  private let server: SSHServer

  init() throws {
    world = try World()
    server = try SSHServer()
  }

  /// The same command with the repository over ssh.
  private func remote(_ arguments: [ByteString], _ root: ByteString? = nil) throws -> CommandResult {
    try world.treering(arguments + connection(root), inRepository: false)
  }

  private func connection(_ root: ByteString? = nil, ssh: ByteString? = nil) -> [ByteString] {
    let address = ByteString("ssh://\(NSUserName())@\(server.address.text)") + (root ?? world.repository.root)
    return [
      "-r", address, "--ssh", ssh ?? ByteString(server.sshCommand), "--remote-command",
      ByteString(server.remoteCommand),
    ]
  }

  /// Bytes that no compression makes fewer.
  private static func noise(_ count: Int) -> [UInt8] {
    var seed: UInt64 = 7
    return (0..<count).map { _ -> UInt8 in
      seed = seed &* 6_364_136_223_846_793_005 &+ 1
      return UInt8(truncatingIfNeeded: seed >> 33)
    }
  }

  private func expectSame(_ arguments: [ByteString]) throws {
    let here = try world.treering(arguments)
    let there = try remote(arguments)
    #expect(there.status == here.status, "\(there.errorText)")
    #expect(there.outputText == here.outputText)
    #expect(there.errorText == here.errorText)
  }

  @Test("list, diff, versions say what they say on the machine itself")
  func same() throws {
    try world.source.makeEverything()
    try world.settle()
    let first = try world.snapshot()
    try world.source.write("file", "other")
    try world.source.remove("empty")
    try world.settle()
    try world.snapshot()
    #expect(try world.treering(["hold", first.name]).status == 0)
    try expectSame(["list"])
    try expectSame(["list", "--json"])
    try expectSame(["diff", "hourly.0", "latest"])
    try expectSame(["diff", first.name, "latest", "--verbose"])
    try expectSame(["versions", world.source.root / "file"])
    try expectSame(["find", "*"])
    try expectSame(["ls", "-lR", "latest"])
    try expectSame(["cat", "latest", world.source.root / "file"])
    try expectSame(["versions", world.source.root / "file", "--json"])
    let root = world.source.root
    for words in [
      ["list", root / "file"], ["find", "*", "--deleted"], ["find", "f*", "--json", "--type", "file"],
      ["find", "Empty"], ["find", "*", "--in", first.name, "--newer", "3d"], ["versions", root / "file", "--follow"],
      ["versions", root / "empty"], ["diff", first.name, "latest", "--stat"], ["diff", "--at", "today", "latest"],
      ["diff", first.name, "latest", "--patch", root / "file"], ["diff", first.name, "latest", "--name-only"],
      ["ls", "latest", root, "-l", "--acl"], ["ls", "--json", "daily.0", root], ["cat", "latest", root / "none"],
      ["export", "latest", root, "--format", "tar"], ["export", "latest", root, "--format", "mtree"],
      ["export", first.name, root / "file", "--format", "sha256"],
      ["restore", "latest", root / "file", "--in-place", "--dry-run", "-q"],
      ["restore", first.name, "--pattern", "e*", "--to", world.directory.path / "none", "--dry-run", "-q"],
    ] as [[ByteString]] { try expectSame(words) }
  }

  @Test("a restore in place changes only what differs, and can be undone")
  func inPlace() throws {
    try world.source.write("kept", "same")
    try world.source.write("file", "old")
    try world.source.write("gone", "x")
    try world.settle()
    try world.snapshot()
    let kept = try world.source.inode("kept")
    try world.source.write("file", "newer")
    try world.source.remove("gone")
    try world.source.write("added", "x")
    let plan = try remote(["restore", "latest", "--in-place", "--delete", "--dry-run"])
    let root = world.source.root
    for line in ["M \(root)/file (content, mtime)", "+ \(root)/gone", "- \(root)/added"] {
      #expect(plan.outputLines.contains(line), "\(plan.outputText)")
    }
    let done = try remote(["restore", "latest", "--in-place", "--delete", "--yes", "--json"])
    #expect(done.status == 0, "\(done.errorText)")
    #expect(try world.source.text("file") == "old" && world.source.text("gone") == "x")
    #expect(try !world.source.exists("added") && world.source.inode("kept") == kept)
    let place = try #require(try done.decoded(RestoreAnswer.self).kept.first)
    #expect(try world.treering(["restore", "--undo", ByteString(place), "--yes"]).status == 0)
    #expect(try world.source.text("file") == "newer" && world.source.exists("added") && !world.source.exists("gone"))
  }

  @Test("usage has the figures of the machine itself: holes, hard links, shared files, the spare, the disk")
  func usage() throws {
    world.provesOlderUnchanged = false
    let other = try Tree(making: world.directory.path / "other")
    for step in 0..<5 {
      try world.source.write("file\(step)", bytes: Self.noise(step * 5000 + 1))
      try world.source.write("sparse", "x")
      try world.source.truncate("sparse", to: Int64(step + 1) << 20)
      try world.source.write("two\(step)", bytes: Self.noise(9000))
      try world.source.link("two\(step)", as: "names\(step)")
      if step > 1 { try world.source.remove("names\(step - 2)") }
      try other.write("other", bytes: Self.noise(step * 3000))
      try world.settle()
      try world.snapshot(of: step == 2 ? [world.source.root, other.root] : nil)
    }
    #expect(try world.treering(["rotate", "--keep-last", "4"]).status == 0)
    let oracle = try SpaceOracle.look(at: world.repository.root, [])
    let all: UsageAnswer = try remote(["usage", "--json"]).decoded()
    #expect(all.doubts == [] && all.snapshots.count == oracle.alone.count)
    for item in all.snapshots { #expect(item.aloneBytes == oracle.alone[item.snapshot], "\(item)") }
    #expect(try all.spare?.aloneBytes == oracle.spare && #require(all.bytesFree) > 0)
    let here: UsageAnswer = try world.treering(["usage", "--json"]).decoded()
    #expect(all.largest == here.largest && all.growing == here.growing)
    let named = Array(try world.snapshotNames().prefix(2))
    let two: UsageAnswer = try remote(["usage", "--json"] + named).decoded()
    #expect(try two.togetherBytes == SpaceOracle.look(at: world.repository.root, named).together)
    #expect(two.snapshots.map(\.snapshot) == named.map(\.text) && two.doubts == [])
  }

  @Test("a comparison with the source reads it here, and the snapshot there")
  func live() throws {
    try world.source.makeEverything()
    try world.source.write("file", "old\n")
    try world.settle()
    try world.snapshot()
    try expectSame(["diff", "latest", "--live"])
    try world.source.write("file", "new\n")
    try world.source.rename("empty", to: "renamed")
    try world.source.write("added", "x")
    try world.settle()
    for end in [[], ["--stat"], ["--json"], ["--patch"], [world.source.root / "file"]] as [[ByteString]] {
      try expectSame(["diff", "latest", "--live"] + end)
    }
    // The rules of the configuration that has the repository as a remote hold, too.
    try Tree(world.directory.path).write(
      "treering.toml",
      """
      repository = "\(world.directory.path / "own")"
      [[source]]
      path = "\(world.source.root)"
      exclude = ["added"]
      [remote.disk]
      url = "\(world.repository.root)"

      """)
    let configured = try world.treering(
      ["diff", "latest", "--live", "--name-only", "-r", "disk", "-c", world.directory.path / "treering.toml"],
      inRepository: false)
    #expect(configured.status == 0 && configured.outputText.contains("/renamed"), "\(configured.errorText)")
    #expect(!configured.outputText.contains("/added"), "\(configured.outputText)")
  }

  @Test("a comparison with the source has no copy of a remote's catalog in memory, because the server tells its size")
  func liveCopy() throws {
    try world.source.write("file", "x")
    try world.snapshot()
    // The first file in memory is the catalog of the sources.
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=memfd_create", "-e", "inject=memfd_create:error=ENOMEM:when=2+",
        try treeringBinary(), "diff", "latest", "--live",
      ] + connection())
    #expect(result.status == 0, "\(result.errorText)")
  }

  @Test("a rate limits what is fetched, and is refused where nothing is")
  func rate() throws {
    try world.source.write("file", bytes: Self.noise(1_200_000))
    try world.snapshot()
    func restore(_ name: ByteString) -> [ByteString] {
      ["restore", "latest", "--to", world.directory.path / name, "--json", "--limit-rate", "500K"]
    }
    let slow = try remote(restore("out"))
    #expect(slow.status == 0, "\(slow.errorText)")
    #expect(try slow.decoded(RestoreAnswer.self).elapsedSeconds > 1.5)
    #expect(try Tree(world.directory.path / "out" / world.source.root).read("file") == Self.noise(1_200_000))
    for command in [
      restore("here"), ["ls", "latest", "--limit-rate", "1M"], ["snapshot", world.source.root, "--limit-rate", "1M"],
    ] {
      let here = try world.treering(command)
      #expect(here.status == 2 && here.errorText.contains("--limit-rate limits a connection"), "\(here.errorText)")
    }
  }

  @Test("restore brings back everything, and of one file only what it needs")
  func restore() throws {
    try world.source.makeEverything()
    let large = Self.noise(4 << 20)
    try world.source.write("large", bytes: large)
    for index in 0..<300 { try world.source.write("many\(index)", "content \(index)") }
    try world.settle()
    let snapshot = try world.snapshot()
    let out = world.directory.path / "out"
    let whole = try remote(["restore", "latest", "--to", out])
    #expect(whole.status == 0, "\(whole.errorText)")
    #expect(try differences(world.tree(of: snapshot).root, out + world.source.root) == [])
    let one = world.directory.path / "one"
    #expect(try remote(["restore", "latest", world.source.root / "large", "--to", one]).status == 0)
    #expect(try Tree(one + world.source.root).read("large") == large)
    #expect(try Tree(one + world.source.root).names() == ["large"])
  }

  @Test("verify runs there, and each damaged path comes back; a damaged file is not restored as a good one")
  func damage() throws {
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.source.write("b", "content")
    let snapshot = try world.snapshot()
    try expectSame(["verify", "-q"])
    try world.tree(of: snapshot).overwrite("a", bytes: [0])
    try world.tree(of: snapshot).remove("b")
    let here = try world.treering(["verify"])
    let there = try remote(["verify"])
    #expect((there.status, there.outputText) == (6, here.outputText))
    let out = world.directory.path / "out"
    let restored = try remote(["restore", "latest", "--to", out])
    #expect(restored.status == 6)
    #expect(restored.errorText.contains("a: is restored from a damaged copy"), "\(restored.errorText)")
    #expect(restored.errorText.contains("b: is not restored"), "\(restored.errorText)")
  }

  @Test("files that cannot be made at the destination change nothing about the others")
  func obstacles() throws {
    for index in 0..<100 { try world.source.write("file\(index)", "content \(index)") }
    try world.settle()
    try world.snapshot()
    let out = Tree(world.directory.path / "out")
    try tool("mkdir", ["-p", out.root + world.source.root])
    let tree = Tree(out.root + world.source.root)
    try tree.makeDirectory("file10")
    try tree.write("file10/mine", "mine")
    try tree.write("file30", "mine")
    let words = ["restore", "latest", "--to", out.root, "--overwrite", "always"] + connection()
    let result = try runCommand(
      "strace",
      [
        "-f", "-q", "-o", "/dev/null", "-P", "file50", "-P", "file51", "-e", "trace=renameat2",
        "-e", "inject=renameat2:error=EACCES", try treeringBinary(),
      ] + words)
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("file50: cannot be restored: Permission denied"), "\(result.errorText)")
    #expect(result.errorText.contains("file10: is a directory"), "\(result.errorText)")
    for index in 0..<100 where ![10, 50, 51].contains(index) {
      #expect(try tree.text("file\(index)") == "content \(index)")
    }
    #expect(!tree.exists("file50") && !tree.exists("file51"))
  }

  @Test("a file whose connection is lost is not left by half, and comes with the next run")
  func lostConnection() throws {
    try world.source.write("large", bytes: Self.noise(4 << 20))
    try world.settle()
    let snapshot = try world.snapshot()
    let script = world.directory.path / "ssh"
    try Tree(world.directory.path).write(
      "ssh", "#!/bin/sh\n\(server.sshCommand) \"$@\" | { head -c 2000000; sleep 30; }\n", mode: 0o755)
    let out = world.directory.path / "out"
    let cut = try world.treering(
      ["restore", "latest", "--to", out] + connection(ssh: script) + ["--timeout", "3s"], inRepository: false)
    #expect(cut.status == 7, "\(cut.errorText)")
    #expect(!Tree(out + world.source.root).exists("large"))
    let again = try remote(["restore", "latest", "--to", out])
    #expect(again.status == 0, "\(again.errorText)")
    #expect(try differences(world.tree(of: snapshot).root, out + world.source.root) == [])
  }

  @Test("a restore counts the bytes that it writes, and no holes")
  func sparse() throws {
    try world.source.write("sparse", "")
    try world.source.truncate("sparse", to: 1 << 30)
    try world.source.overwrite("sparse", at: 5 << 20, bytes: [1])
    try world.source.write("file", "content")
    try world.settle()
    try world.snapshot()
    let restore = { (to: ByteString) in ["restore", "latest", "--to", world.directory.path / to, "--json"] }
    let here = try world.treering(restore("here")).decoded(RestoreAnswer.self)
    let there = try remote(restore("there")).decoded(RestoreAnswer.self)
    #expect(there.bytes == here.bytes && here.bytes < 1 << 20, "\(there.bytes), \(here.bytes)")
  }

  @Test("advice about a remote can be followed, and a name that is no remote is not taken for a new repository")
  func advice() throws {
    try world.source.write("file", "content")
    try world.snapshot()
    try world.repository.write(".treering/rotation-held", "2026-01-01T00:00:00Z because\n")
    let listed = try remote(["list"])
    let release = "treering release --repository \(world.repository.root)"
    let since = "rotation is held since 2026-01-01T00:00:00Z: because; when all is well, "
    #expect(listed.errorText.contains("\(since)run at 127.0.0.1: \(release)"), "\(listed.errorText)")
    #expect(try world.treering(["list"]).errorText.contains("when all is well, run: \(release)"))
    let config = world.directory.path / "treering.toml"
    try Tree(world.directory.path).write(
      "treering.toml",
      """
      repository = "\(world.directory.path / "own")"
      [[source]]
      path = "\(world.source.root)"
      [remote.nas]
      url = "ssh://nas.example.org/srv/web01"
      [remote.disk]
      url = "\(world.repository.root)"

      """)
    func run(_ command: ByteString, _ remote: ByteString) throws -> CommandResult {
      try world.treering([command, "-r", remote, "-c", config], inRepository: false)
    }
    for command in ["list", "release"] as [ByteString] {
      let none = try run(command, "nosuch")
      #expect(none.status == 2 && none.errorText.contains("its remotes are: nas, disk"), "\(none.errorText)")
    }
    let elsewhere = try run("release", "nas")
    #expect(
      elsewhere.status == 2 && elsewhere.errorText.contains("ssh nas.example.org treering release … -r /srv/web01"),
      "\(elsewhere.errorText)")
    #expect(try run("list", "disk").errorText.contains("when all is well, run: \(release)"))
    #expect(try run("release", "disk").outputText == "rotation goes on\n")
  }

  @Test("what cannot be reached, or is no repository, is said in a sentence, with status 7")
  func unreachable() throws {
    let none = try remote(["list"], "/nonexistent")
    #expect(none.status == 7 && none.errorText.contains("treering init"), "\(none.errorText)")
    #expect(none.errorLines.count == 1)
    let down = try world.treering(["list", "-r", "ssh://127.0.0.1:1/x"], inRepository: false)
    #expect(down.status == 7 && down.errorText.contains("Connection refused"), "\(down.errorText)")
    let odd = try world.treering(["list", "-r", "ssh://-oProxyCommand=x/y"], inRepository: false)
    #expect(odd.status == 2, "\(odd.errorText)")
    // A command that changes something works where the repository is.
    let snapshot = try world.treering(["rotate", "-r", "ssh://127.0.0.1/x"], inRepository: false)
    #expect(snapshot.status == 2)
  }
}

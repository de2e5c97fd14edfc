import Foundation
import TestSupport
import Testing

/// Snapshots without a local repository: changed files go from the sources straight to a remote.
@Suite("direct snapshots", .waits)
struct DirectSnapshotTests {
  private func world() throws -> PushWorld {
    let push = try PushWorld("direct")
    let source = push.world.source
    try source.makeDirectory("d")
    try source.makeDirectory("d/e")
    for index in 0..<40 { try source.write(ByteString("d/\(index)"), "content \(index)") }
    try source.writeNoise("d/e/noise", 300_000)
    try source.write("file", "text")
    try source.makeSymbolicLink("link", to: "file")
    try source.link("file", as: "d/second")
    return push
  }

  @Test("the remote gets the source, and an unchanged tree is neither read nor sent")
  func unchanged() throws {
    let push = try world()
    let first = try push.direct()
    try push.expectFaithful(first)
    #expect(first.remote == push.address.text)
    #expect(try #require(first.bytesSent) > 300_000)
    let trace = push.place.root / "trace"
    try push.world.settle()
    let result = try runCommand(
      "strace",
      ["-f", "-qq", "-y", "-e", "trace=openat,read,pread64", "-o", trace, try treeringBinary()] + push.directWords(),
      in: push.world.directory.path, environment: ["XDG_CACHE_HOME": push.cache.text])
    #expect(result.status == 0, "\(result.errorText)")
    let second: SnapshotAnswer = try result.decoded()
    #expect(second.bytesRead == 0 && second.filesCopied == 0 && second.filesLinked == 44)
    #expect(try #require(second.bytesSent) < 3_000)
    let reads = try push.place.text("trace").split(separator: "\n").filter {
      $0.contains("read") && $0.contains("<\(push.world.source.root)/")
    }
    #expect(reads == [])
    try push.expectFaithful(second)
    for name in ["d/7", "d/e/noise", "file"] as [ByteString] {
      #expect(try push.farTree(first).inode(name) == push.farTree(second).inode(name))
    }
    // Nothing but catalogs is kept here.
    let size = try ByteString(tool("du", ["-sb", push.cache])).text.split(separator: "\t")[0]
    #expect(try #require(Int(size)) < 100_000)
  }

  @Test("changes, renames, hard links and deletions arrive as in a local repository")
  func changes() throws {
    let push = try world()
    let source = push.world.source
    try push.direct()
    try source.overwrite("d/e/noise", at: 150_000, bytes: [1, 2, 3])
    try source.write("d/3", "other content")
    try source.write("new", "new")
    try source.remove("d/4")
    try source.rename("d/5", to: "five")
    try source.link("d/6", as: "six")
    try source.setMode("d/7", 0o600)
    let second = try push.direct()
    #expect(second.filesMoved == 2)
    #expect(try #require(second.bytesSent) < 20_000)
    try push.expectFaithful(second)
    #expect(try push.farTree(second).inode("six") == push.farTree(second).inode("d/6"))
    try source.rename("d", to: "renamed")
    let third = try push.direct()
    #expect(third.bytesRead == 0)
    #expect(try push.farTree(third).inode("renamed/e/noise") == push.farTree(second).inode("d/e/noise"))
    try push.expectFaithful(third)
  }

  @Test("a file that was too young to be trusted is read again", arguments: [false, true])
  func racy(isCacheLost: Bool) throws {
    let push = try world()
    // To a clock that is behind, every file is too young.
    let first = try runCommand(
      "faketime", ["-f", "-1d", try treeringBinary()] + push.directWords(), in: push.world.directory.path,
      environment: fakedClock.merging(["XDG_CACHE_HOME": push.cache.text]) { $1 })
    #expect(first.status == 0, "\(first.errorText)")
    if isCacheLost { try tool("rm", ["-rf", push.cache]) }
    let second = try push.direct()
    #expect(second.bytesRead > 300_000 && second.filesCopied == 0)
    #expect(try push.direct().bytesRead == 0)
  }

  @Test("without its cache a snapshot sends nothing again")
  func lostCache() throws {
    let push = try world()
    let first = try push.direct()
    try tool("rm", ["-rf", push.cache])
    let second = try push.direct()
    #expect(try #require(second.bytesSent) < 5_000)
    #expect(second.bytesRead == 0)
    #expect(try push.farTree(first).inode("d/e/noise") == push.farTree(second).inode("d/e/noise"))
    try push.expectFaithful(second)
    try push.world.source.write("d/3", "other content")
    let third = try push.direct()
    #expect(third.bytesRead == 13)
    try push.expectFaithful(third)
  }

  @Test("two machines with labels of their own share a remote")
  func twoClients() throws {
    let push = try world()
    let other = try Tree(making: push.place.root / "other")
    try other.write("file", "of the other")
    for round in 0..<2 {
      let one = try push.direct(["--label", "one"])
      #expect(one.filesCopied == (round == 0 ? 43 : 0))
      let two = try push.direct(["--label", "two"], of: [other.root])
      #expect(two.filesCopied == (round == 0 ? 1 : 0))
      #expect(try differences(push.world.source.root, push.farTree(one, label: "one").root) == [])
      #expect(try differences(other.root, push.far.root / two.name / "two" / other.root) == [])
    }
    try push.expectSound()
  }

  @Test("a source that became empty is refused, and nothing is published")
  func guardRefuses() throws {
    let push = try world()
    try push.direct()
    for name in try push.world.source.names() { try push.world.source.remove(name) }
    let result = try push.runDirect()
    #expect(result.status == 4)
    #expect(result.errorText.contains("is empty"), "\(result.errorText)")
    #expect(try push.names(push.far).count == 1)
    // The remote judges by itself, and holds its rotation.
    let accepted = try push.direct(["--accept-changes"], status: 1)
    #expect(accepted.files == 0)
  }

  @Test("if most files changed at once, the remote holds its rotation")
  func massChange() throws {
    let push = try world()
    try push.direct()
    for index in 0..<40 { try push.world.source.write(ByteString("d/\(index)"), "encrypted \(index)") }
    let answer = try push.direct(status: 1)
    #expect(answer.warningsNamed.contains { $0.message.contains("rotation is held in") }, "\(answer.warningsNamed)")
  }

  @Test("after a broken connection nothing is listed, and the next snapshot reads and sends only the rest")
  func cutOff() throws {
    let push = try world()
    for index in 0..<8 { try push.world.source.writeNoise(ByteString("big\(index)"), 500_000, seed: index) }
    try push.world.settle()
    let result = try push.runDirect(ssh: push.cut(after: 2_500_000))
    #expect(result.status == 7, "\(result.errorText)")
    #expect(try push.names(push.far) == [])
    let answer = try push.direct()
    #expect(answer.bytesRead == 0)
    #expect(try #require(answer.bytesSent) < 2_500_000)
    try push.expectFaithful(answer)
  }

  @Test("a remote that cannot be reached is named, and nothing is read")
  func offline() throws {
    let push = try world()
    let result = try push.runDirect(ssh: "/bin/false")
    #expect(result.status == 7)
    #expect(result.errorLines.count == 1 && result.errorText.contains(push.address.text), "\(result.errorText)")
  }

  @Test("an append-only server takes direct snapshots")
  func appendOnly() throws {
    let push = try world()
    let server = try SSHServer()
    defer { server.stop() }
    let key = try server.makeKey("forced")
    try server.authorize(
      key, for: "root",
      options: "restrict,command=\"\(try treeringBinary()) serve --repository \(push.far.root) --append-only\"")
    push.ssh = server.sshCommand(key)
    push.address = "root@127.0.0.1:" + push.far.root
    try push.expectFaithful(push.direct())
    #expect(try push.direct().bytesRead == 0)
  }

  @Test("--hold is refused, because a hold is of the server's machine")
  func hold() throws {
    let push = try world()
    let result = try push.runDirect(["--hold", "why"])
    #expect(result.status == 2)
    #expect(try push.names(push.far) == [])
  }

  // MARK: Changes under way

  /// Takes a snapshot that is held for two seconds before it opens `file` to send it.
  private func heldDirect(_ push: PushWorld, change: () throws -> Void) throws -> (CommandResult, SnapshotAnswer?) {
    let trace = push.place.root / "trace"
    let twin = push.place.root / "twin"
    try tool(try treeringBinary(), ["init", twin])
    func arguments(_ injection: [ByteString], _ address: ByteString) throws -> [ByteString] {
      ["-qq", "-o", trace, "-P", push.world.source.root, "-e", "trace=openat"] + injection + [try treeringBinary()]
        + (try push.directWords(["--threads", "1"], to: address))
    }
    let environment = ["XDG_CACHE_HOME": push.cache.text]
    let scout = try runCommand(
      "strace", ["-f"] + arguments([], "ssh://far" + twin), in: push.world.directory.path, environment: environment)
    #expect(scout.status == 0, "\(scout.errorText)")
    let calls = try push.place.text("trace").split(separator: "\n")
    let index = try #require(calls.lastIndex { $0.contains("\"file\"") })
    try tool("rm", [trace])
    let run = try RunningCommand(
      "strace",
      ["-f", "-e", ByteString("inject=openat:delay_enter=2000000:when=\(index + 1)")]
        + (try arguments([], push.address)), in: push.world.directory.path, environment: environment)
    var lines = 0
    for _ in 0..<500 where lines < index {
      usleep(20_000)
      lines = (try? push.place.text("trace"))?.count { $0 == "\n" } ?? 0
    }
    usleep(300_000)
    try change()
    let result = try run.wait(timeoutSeconds: 60)
    return (result, try? result.decoded())
  }

  private func smallWorld() throws -> PushWorld {
    let push = try PushWorld("direct-torn")
    try push.world.source.write("file", "content")
    try push.world.source.write("other", "other content")
    try push.world.settle()
    return push
  }

  @Test("a file that changes before it is sent is sent as it is then")
  func torn() throws {
    let push = try smallWorld()
    let (result, answer) = try heldDirect(push) { try push.world.source.write("file", "changed") }
    #expect(result.status == 0, "\(result.errorText)")
    try push.expectFaithful(#require(answer))
    // The copy that was sent is not kept.
    #expect(
      try ByteString(tool("find", [push.cache, "-size", "-10c", "-type", "f", "-name", "????????????????*"])) == "")
    #expect(try push.direct().filesCopied == 0)
  }

  @Test("a file is not copied for a snapshot if that would fill the disk of the cache")
  func reserve() throws {
    let push = try smallWorld()
    let disk = try LoopFileSystem("ext4", mebibytes: 24, at: push.cache)
    let free = try #require(
      Int(
        ByteString(tool("stat", ["-f", "-c", "%a", disk.tree.root])).text.trimmingCharacters(
          in: .whitespacesAndNewlines)))
    let block = try #require(
      Int(
        ByteString(tool("stat", ["-f", "-c", "%S", disk.tree.root])).text.trimmingCharacters(
          in: .whitespacesAndNewlines)))
    try tool("fallocate", ["-l", ByteString("\(free * block - 800_000)"), disk.tree.root / "full"])
    let (result, answer) = try heldDirect(push) { try push.world.source.write("file", "changed") }
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("cannot be copied for that"), "\(result.errorText)")
    let tree = push.farTree(try #require(answer))
    #expect(!tree.exists("file") && tree.exists("other"))
  }

  @Test("a file that vanishes before it is sent is not in the snapshot")
  func vanished() throws {
    let push = try smallWorld()
    let (result, answer) = try heldDirect(push) { try push.world.source.remove("file") }
    #expect(result.status == 0, "\(result.errorText)")
    try push.expectFaithful(#require(answer))
  }

  @Test("a file that grows before it is sent is sent as it was")
  func grown() throws {
    let push = try smallWorld()
    let (result, answer) = try heldDirect(push) { try push.world.source.append("file", " and more") }
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try push.farTree(#require(answer)).text("file") == "content")
    try push.expectFaithful(push.direct())
  }

  @Test("a file that a link replaced is not followed")
  func replacedByLink() throws {
    let push = try smallWorld()
    try push.place.write("secret", "content")
    let (result, answer) = try heldDirect(push) {
      try push.world.source.remove("file")
      try push.world.source.makeSymbolicLink("file", to: push.place.root / "secret")
    }
    #expect(result.status == 0, "\(result.errorText)")
    try push.expectFaithful(#require(answer))
  }

  @Test("files that come and go do not hinder a snapshot")
  func spool() throws {
    let push = try smallWorld()
    try push.world.source.makeDirectory("spool")
    for index in 0..<10 { try push.world.source.writeNoise(ByteString("big\(index)"), 2_000_000, seed: index) }
    try push.world.settle()
    let spooler = try RunningCommand(
      "sh",
      [
        "-c", "i=0; while :; do i=$((i+1)); echo $i > $i; rm -f ./$((i-20)); sleep 0.02; done",
      ], in: push.world.source.root / "spool")
    defer { spooler.signal(SIGKILL) }
    let result = try push.runDirect(["--limit-rate", "10M"])
    #expect(result.status == 0, "\(result.errorText)")
    let answer: SnapshotAnswer = try result.decoded()
    #expect(try push.farTree(answer).text("other") == "other content")
    #expect(try push.farTree(answer).names("spool").count > 5)
    try push.expectSound()
    #expect(try push.far.names(".treering/pending") == [])
  }

  @Test("an old catalog that cannot be removed is only a warning after the publication")
  func untidy() throws {
    let push = try smallWorld()
    try push.direct()
    try push.world.settle()
    let catalogs = try ByteString(tool("find", [push.cache, "-name", "catalogs"])).text.split(separator: "\n")[0]
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-P", ByteString(String(catalogs)), "-e", "trace=unlinkat", "-e",
        "inject=unlinkat:error=EIO", try treeringBinary(),
      ] + push.directWords(), in: push.world.directory.path, environment: ["XDG_CACHE_HOME": push.cache.text])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("the cache cannot be tidied"), "\(result.errorText)")
    #expect(try push.names(push.far).count == 2)
    #expect(try push.direct().bytesRead == 0)
  }

  // MARK: The cache

  @Test(
    "a cache that cannot be read is made anew",
    arguments: [": > $1/.treering/repository.toml", "rm -r $1/* $1/.treering/*; : > $1/stray", "rm -r $1; : > $1"])
  func unusableCache(damage: ByteString) throws {
    let push = try smallWorld()
    try push.direct()
    let path = push.cache / "treering" / (try Tree(push.cache / "treering").names()[0])
    try tool("sh", ["-c", damage, "sh", path])
    try push.expectFaithful(push.direct())
    #expect(try push.direct().bytesRead == 0)
    #expect(try Tree(push.cache / "treering").names().count == 1)
    #expect(try Tree(path).names(".treering/trash") == [])
  }

  @Test("of several first snapshots at once one is taken, and the others find the lock")
  func firstAtOnce() throws {
    let push = try smallWorld()
    let runs = try (0..<4).map { _ in
      try RunningCommand(
        try treeringBinary(), push.directWords(), in: push.world.directory.path,
        environment: ["XDG_CACHE_HOME": push.cache.text])
    }
    let results = try runs.map { try $0.wait() }
    #expect(results.allSatisfy { $0.status == 0 || $0.status == 5 }, "\(results.map(\.errorText))")
    #expect(results.contains { $0.status == 0 })
  }
}

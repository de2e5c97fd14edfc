import Foundation
import TestSupport
import Testing

/// A host that lies to rsync(1): whatever it sends, nothing outside the fetched tree may change.
@Suite("hostile hosts", .waits)
struct FetchHostileTests {
  private static let attacks = [
    "parent", "hidden-parent", "absolute", "through-link", "link-and-directory", "root-is-link", "root-is-file",
    "twice-other-mode", "twice-other-time", "linked-to-stored", "device", "control",
  ]

  private let fetch: FetchWorld
  private let target: Tree
  private let script: ByteString

  init() throws {
    fetch = try FetchWorld("fetch-hostile")
    target = try Tree(making: fetch.world.directory.path / "target")
    try target.write("mode", "mode", mode: 0o600)
    script = ByteString(URL(filePath: #filePath).deletingLastPathComponent().appending(path: "hostile_rsync.py").path)
    try fetch.host.write("file", "evil\n", mode: 0o644)
    try fetch.host.setTime("file", seconds: 1_500_000_000)
    try fetch.host.write("other", "evil\n", mode: 0o644)
    try fetch.host.setTime("other", seconds: 1_500_000_000)
    try fetch.configure()
  }

  private func attack(_ name: String) throws -> CommandResult {
    let program = try fetch.program("exec python3 '\(script)' \(name) '\(target.root)'")
    try fetch.configure(fetch.table(keys: "rsync = [\"\(program)\"]"))
    return try fetch.world.treering(
      ["snapshot", "--accept-changes", "-c", fetch.world.directory.path / "c.toml"], inRepository: false)
  }

  @Test("the lying host speaks rsync's protocol: an honest list is fetched, and its file is the stored one")
  func honest() throws {
    let first = try fetch.snapshot()
    let result = try attack("honest")
    #expect(result.status == 1 && result.errorText.contains("has no ACLs in the snapshot"), "\(result.errorText)")
    let last = try #require(try fetch.world.snapshotNames().last)
    let tree = Tree(fetch.world.repository.root / last / "web01" / fetch.host.root)
    #expect(try tree.names() == ["file"] && tree.inode("file") == fetch.tree(of: first).inode("file"))
  }

  @Test("a stored link that the host made leads nowhere, once the host has a directory in its place")
  func throughStoredLink() throws {
    try target.write("key", "local secret", mode: 0o644)
    try target.setTime("key", seconds: 1_500_000_000)
    try fetch.host.makeSymbolicLink("a", to: target.root)
    try fetch.snapshot()
    try fetch.host.remove("a")
    try fetch.host.makeDirectory("a")
    try fetch.host.write("a/key", "text of host", mode: 0o644)
    try fetch.host.setTime("a/key", seconds: 1_500_000_000)
    let second = try fetch.snapshot()
    #expect(try fetch.tree(of: second).text("a/key") == "text of host")
    #expect(try fetch.tree(of: second).inode("a/key") != target.inode("key"))
    try fetch.expectFaithful(second)
  }

  @Test("a file in the fetched tree with a name elsewhere is never published")
  func foreignFile() throws {
    let trees = fetch.world.repository.root / ".treering/fetched"
    let program = try fetch.program(
      "rsync \"$@\"; for tree in \(trees)/*/tree; do ln '\(target.root)/mode' $tree/mine; done")
    try fetch.configure(fetch.table(keys: "rsync = [\"\(program)\"]"))
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("/mine is neither a file of the host nor a stored one"), "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().isEmpty)
  }

  @Test("an ordinary user's fetch follows no stored link, and takes a directory without write permission")
  func ordinaryUser() throws {
    let files = Tree(fetch.world.directory.path)
    try fetch.equipOrdinaryUser()
    try target.write("key", "secret", mode: 0o644)
    try target.setTime("key", seconds: 1_500_000_000)
    try fetch.host.makeSymbolicLink("a", to: target.root)
    func own(_ command: ByteString...) throws {
      try tool("chown", ["-hR", "65534:65534", fetch.host.root, target.root, files.root / "own"])
      try tool("chmod", ["711", files.root])
      try tool("chmod", ["755", target.root])
      try tool("chmod", ["555", fetch.host.root])
      try fetch.runAsOrdinaryUser(command)
    }
    try own("init", "-r", files.root / "own/r")
    try own("snapshot", "-c", files.root / "own.toml")
    try fetch.host.remove("a")
    try fetch.host.makeDirectory("a")
    try fetch.host.write("a/key", "public", mode: 0o644)
    try fetch.host.setTime("a/key", seconds: 1_500_000_000)
    try own("snapshot", "-c", files.root / "own.toml")
    // Where a link was met, all was copied once.
    try own("snapshot", "-c", files.root / "own.toml")
    let names = try files.names("own/r").filter { $0.bytes.first == UInt8(ascii: "2") }.sorted()
    let trees = names.map { Tree(files.root / "own/r" / $0 / "web01" / fetch.host.root) }
    #expect(trees.count == 3)
    #expect(try trees[1].text("a/key") == "public")
    #expect(try trees[1].inode("file") == trees[2].inode("file"))
  }

  @Test("nothing outside the fetched tree changes", arguments: attacks)
  func nothingOutside(name: String) throws {
    try fetch.snapshot()
    let before = try Fingerprint(target.root)
    let names = try Tree(fetch.world.directory.path).names()
    let control = try fetch.world.repository.names(".treering")
    // The older snapshots are compared, too.
    let result = try attack(name)
    #expect([0, 1, 3].contains(result.status), "\(result.errorText)")
    #expect(before.differences(to: try Fingerprint(target.root)) == [])
    #expect(try Set(Tree(fetch.world.directory.path).names()).subtracting(["stand-in"]) == Set(names))
    #expect(try Set(fetch.world.repository.names(".treering")) == Set(control))
    #expect(!result.errors.contains(0x1B), "\(result.errorText)")
    for snapshot in try fetch.world.snapshotNames() {
      let found = try runCommand("find", [fetch.world.repository.root / snapshot, "-name", "evil"])
      let inside = found.outputLines.filter { !$0.contains("/web01\(fetch.host.root)/") }
      #expect(inside == [])
    }
    #expect(try fetch.world.treering(["verify"]).status == 0)
  }
}

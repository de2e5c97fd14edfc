import TestSupport
import Testing

/// Sources of hosts that have only sshd and rsync.
@Suite("sources of other hosts", .waits)
struct FetchTests {
  private let fetch: FetchWorld
  private var host: Tree { fetch.host }

  init() throws {
    fetch = try FetchWorld()
    try fetch.configure()
  }

  @Test("everything that a tree can hold is fetched as it is")
  func everything() throws {
    try host.makeEverything()
    let first = try fetch.snapshot()
    try fetch.expectFaithful(first)
    #expect(try fetch.world.repository.names(".treering/fetched").isEmpty)
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    #expect(second.filesCopied == 0 && second.rootDigest == first.rootDigest)
  }

  @Test("an unchanged file is the stored inode, and a changed one is new")
  func links() throws {
    try host.write("same", "same")
    try host.write("content", "old")
    try host.write("mode", "mode")
    try host.write("gone", "gone")
    try host.write("pair", "pair")
    try host.link("pair", as: "pair2")
    let first = try fetch.snapshot()
    try host.write("content", "new")
    try host.setMode("mode", 0o600)
    try host.remove("gone")
    try host.link("pair", as: "pair3")
    try host.makeDirectory("new")
    try host.write("new/file", "file")
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    let (before, after) = (fetch.tree(of: first), fetch.tree(of: second))
    #expect(try before.inode("same") == after.inode("same"))
    #expect(try before.inode("content") != after.inode("content"))
    #expect(try before.inode("mode") != after.inode("mode"))
    #expect(try after.inode("pair") == after.inode("pair3"))
    #expect(before.exists("gone") && !after.exists("gone"))
    // A third run starts from the second.
    let third = try fetch.snapshot()
    #expect(third.filesCopied == 0)
    try fetch.expectFaithful(third)
  }

  @Test("names and paths may have any character")
  func names() throws {
    let path: ByteString = "-a b'c\"d*e?[f]\\g$h;i"
    try host.makeDirectory(path)
    for name: ByteString in ["-n", " b ", "new\nline", "q'\"", "*", "\\#012", "\u{1B}[31m", "é"] {
      try host.write(path / name, "x")
    }
    try host.write(path / ByteString([0xFF, 0xFE]), "bytes")
    try fetch.configure(fetch.table(host.root / path))
    let first = try fetch.snapshot()
    #expect(try differences(host.root / path, fetch.tree(of: first, host.root / path).root) == [])
    #expect(try fetch.snapshot().filesCopied == 0)
  }

  @Test("a source may be the root of the host; pseudo file systems stay empty")
  func root() throws {
    try fetch.configure(
      fetch.table("/", keys: "exclude = [\"/*\", \"!/proc\", \"!/etc\", \"/etc/*\", \"!/etc/hostname\"]"))
    let taken = try fetch.snapshot()
    let tree = Tree(fetch.world.repository.root / taken.name / "web01")
    #expect(try tree.names() == ["etc", "proc"] && tree.names("proc").isEmpty && tree.exists("etc/hostname"))
  }

  @Test("sources of this machine, of two hosts and directories side by side are in one snapshot")
  func several() throws {
    try fetch.world.source.write("own", "own")
    for name: ByteString in ["a", "b"] {
      try host.makeDirectory(name)
      try host.write(name / "file", name.text)
    }
    try fetch.configure(
      fetch.ownTable, fetch.table(host.root / "a"), fetch.table(host.root / "b"),
      fetch.table(host.root / "a", label: "web02", host: "ssh://root@127.0.0.1"))
    let first = try fetch.snapshot()
    #expect(fetch.tree(of: first, host.root / "b").exists("file"))
    #expect(fetch.tree(of: first, host.root / "a", label: "web02").exists("file"))
    #expect(fetch.world.tree(of: first).exists("own"))
    #expect(try fetch.snapshot().filesCopied == 0)
    let list = try fetch.treering("list").outputText
    #expect(list.contains("web01:\(host.root)/b"))
    let status = try fetch.treering("status").outputText
    #expect(status.contains("web02:\(host.root)/a") && status.contains("localhost:\(fetch.world.source.root)"))
  }

  @Test("a snapshot that is known to be damaged is not linked to")
  func damaged() throws {
    try host.write("file", "content")
    try host.write("other", "other")
    let first = try fetch.snapshot()
    let stored = fetch.tree(of: first)
    fetch.world.provesOlderUnchanged = false
    try stored.overwrite("file", bytes: Array("CONTENT".utf8))
    try tool("touch", ["-r", host.root / "file", stored.root / "file"])
    #expect(try fetch.world.treering(["verify"]).status == 6)
    let second = try fetch.snapshot()
    #expect(try fetch.tree(of: second).text("file") == "content")
    #expect(try fetch.tree(of: second).inode("other") != stored.inode("other"))
  }

  @Test("a stored file that another program has changed is found, and nothing of it is published")
  func changedInPlace() throws {
    try host.write("file", "content")
    let first = try fetch.snapshot()
    fetch.world.provesOlderUnchanged = false
    try fetch.tree(of: first).setMode("file", 0o600)
    try host.setMode("file", 0o600)
    let result = try fetch.treering("snapshot", status: 6)
    #expect(result.errorText.contains("web01\(host.root)/file is not what the catalog of the snapshot"))
  }

  @Test("a run fetches, and says so; the history has it")
  func run() throws {
    try host.write("file", "content")
    let first = try fetch.treering("run", "--now", "-v")
    #expect(first.outputText.contains("fetch web01:\(host.root)  done"))
    // The period has its snapshot.
    #expect(try fetch.treering("run", "-v").outputText.contains("nothing is due"))
    #expect(try fetch.treering("run", "--now", "--json").outputText.contains("\"files_copied\" : 0"))
  }

  @Test("the files of a host are restored into a directory")
  func restore() throws {
    try host.makeEverything()
    let taken = try fetch.snapshot()
    let target = fetch.world.directory.path / "restored"
    _ = try fetch.world.treering(["restore", taken.name, "web01" + host.root, "--to", target])
    #expect(try differences(host.root, target / host.root) == [])
    let refused = try fetch.world.treering(["restore", taken.name, "web01" + host.root, "--in-place"])
    #expect(refused.status == 4 && refused.errorText.contains("belongs to the host web01"), "\(refused.errorText)")
  }
}

import Foundation
import TestSupport
import Testing

/// Sources of hosts that have treering: the host walks and sends.
@Suite("sources of hosts with treering", .waits)
struct TreeringFetchTests {
  private let fetch: FetchWorld
  private var host: Tree { fetch.host }

  init() throws {
    fetch = try FetchWorld("fetch-treering", by: "treering")
    try fetch.configure()
  }

  @Test("everything that a tree can hold is fetched as it is, and an unchanged tree is neither read nor sent")
  func everything() throws {
    try host.makeEverything()
    try fetch.settle()
    let first = try fetch.snapshot()
    try fetch.expectFaithful(first)
    #expect(try fetch.world.repository.names(".treering/fetched").isEmpty)
    let traces = fetch.world.directory.path / "traces"
    try fetch.configure(
      fetch.table().replacing(
        "\"treering\"]",
        with:
          "\"strace\", \"-f\", \"-qq\", \"-y\", \"-e\", \"trace=read,pread64\", \"-o\", \"\(traces)\", \"treering\"]"))
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    #expect(second.filesCopied == 0 && second.rootDigest == first.rootDigest)
    let reads = try Tree(fetch.world.directory.path).text("traces").split(separator: "\n").filter {
      $0.contains("<\(host.root)/")
    }
    #expect(reads == [])
  }

  @Test("an unchanged file is the stored inode, a moved one too, and a changed one is new")
  func links() throws {
    for name: ByteString in ["same", "content", "mode", "gone", "pair", "old"] { try host.write(name, "\(name)") }
    try host.makeDirectory("d")
    try host.writeNoise("d/noise", 500_000)
    try host.link("pair", as: "pair2")
    try fetch.settle()
    let first = try fetch.snapshot()
    try host.write("content", "new")
    try host.setMode("mode", 0o600)
    try host.remove("gone")
    try host.link("pair", as: "pair3")
    try host.rename("old", to: "moved")
    try host.rename("d", to: "e")
    try host.overwrite("e/noise", at: 250_000, bytes: [1, 2, 3])
    try fetch.settle()
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    let (before, after) = (fetch.tree(of: first), fetch.tree(of: second))
    for (old, new) in [("same", "same"), ("old", "moved")] as [(ByteString, ByteString)] {
      #expect(try before.inode(old) == after.inode(new))
    }
    for name: ByteString in ["content", "mode"] { #expect(try before.inode(name) != after.inode(name)) }
    #expect(try after.inode("pair") == after.inode("pair3"))
    let third = try fetch.snapshot()
    #expect(third.filesCopied == 0)
    try fetch.expectFaithful(third)
  }

  @Test("a tree that does not change is kept in snapshot after snapshot, and is then fetched as it became")
  func kept() throws {
    try host.makeEverything()
    try fetch.settle()
    let first = try fetch.snapshot()
    for _ in 0..<3 {
      let next = try fetch.snapshot()
      #expect(next.filesCopied == 0 && next.rootDigest == first.rootDigest)
      try fetch.expectFaithful(next)
    }
    try fetch.treering("rotate", "--keep-last", "1")
    try fetch.expectFaithful(fetch.snapshot())
    try host.write("new", "new")
    try fetch.settle()
    let changed = try fetch.snapshot()
    #expect(changed.filesCopied == 1)
    try fetch.expectFaithful(changed)
    try fetch.expectFaithful(fetch.snapshot())
    let receiver = try #require(try fetch.world.repository.names(".treering/hosts").first)
    #expect(try fetch.world.repository.names(".treering/hosts" / receiver / ".treering/catalogs").count <= 2)
  }

  @Test("a stored file that another program changed is found, even if the host's is unchanged")
  func keptDamaged() throws {
    try host.write("file", "content")
    try fetch.settle()
    let first = try fetch.snapshot()
    try fetch.snapshot()
    fetch.world.provesOlderUnchanged = false
    try fetch.tree(of: first).setMode("file", 0o600)
    let result = try fetch.treering("snapshot", status: 6)
    #expect(result.errorText.contains("is not what the catalog of its snapshot says"), "\(result.errorText)")
  }

  @Test("the rules are those of a source of this machine")
  func rules() throws {
    for name: ByteString in ["a.tmp", "b", "keep.tmp"] { try host.write(name, "x") }
    try host.makeDirectory("cache")
    try host.write("cache/file", "x")
    try host.writeNoise("large", 200_000)
    try fetch.configure(
      fetch.table(keys: "exclude = [\"*.tmp\", \"!keep.tmp\", \"/cache/\"]\nmax_file_size = \"100K\""))
    #expect(try fetch.tree(of: fetch.snapshot()).names() == ["b", "keep.tmp"])
  }

  @Test("sources of this machine, of two hosts and of directories side by side are in one snapshot")
  func several() throws {
    try fetch.world.source.write("own", "own")
    for name: ByteString in ["a", "b"] {
      try host.makeDirectory(name)
      try host.write(name / "file", name.text)
    }
    try fetch.settle()
    try fetch.configure(
      fetch.ownTable, fetch.table(host.root / "a"), fetch.table(host.root / "b"),
      fetch.table(host.root / "a", label: "web02"))
    let first = try fetch.snapshot()
    #expect(fetch.tree(of: first, host.root / "b").exists("file") && fetch.world.tree(of: first).exists("own"))
    #expect(fetch.tree(of: first, host.root / "a", label: "web02").exists("file"))
    #expect(try fetch.snapshot().filesCopied == 0)
    try fetch.configure(fetch.ownTable, fetch.table(host.root / "a"))
    _ = try fetch.snapshot()
    #expect(try fetch.world.repository.names(".treering/hosts").count == 1)
  }

  @Test("a forced command restricts the key to its directories, and it can do nothing else")
  func forced() throws {
    try host.write("file", "x")
    let other = try Tree(making: fetch.world.directory.path / "other")
    try other.write("secret", "secret")
    let key = try fetch.server.makeKey("forced")
    let command = "XDG_CACHE_HOME=\(fetch.cache) treering serve --source '\(host.root)'"
    try fetch.server.authorize(key, for: "root", options: "restrict,command=\"\(command)\"")
    func table(_ path: ByteString) -> String {
      fetch.table(path).replacing("-i \(fetch.server.key.file)", with: "-i \(key.file)")
    }
    try fetch.configure(table(host.root))
    #expect(try fetch.tree(of: fetch.snapshot()).exists("file"))
    try fetch.configure(table(other.root))
    let refused = try fetch.treering("snapshot", status: 3)
    #expect(refused.errorText.contains("serve --source does not name it"), "\(refused.errorText)")
    #expect(try fetch.server.run("cat /etc/passwd", as: "root", key: key).outputText.contains("root:") == false)
  }

  @Test("a host without treering is fetched from with rsync, unless the configuration asks for treering")
  func lacking() throws {
    try host.write("file", "x")
    let none = fetch.table().replacing("\"treering\"]", with: "\"/none/treering\"]")
    try fetch.configure(none)
    let result = try fetch.treering("snapshot", status: 3)
    #expect(result.errorText.contains("the host has no treering that can send it"), "\(result.errorText)")
    try fetch.configure(none.replacing("fetch = \"treering\"", with: "fetch = \"auto\""))
    try fetch.expectFaithful(fetch.snapshot())
  }

  @Test("rsync and treering follow each other")
  func both() throws {
    try host.write("file", "x")
    try host.writeNoise("noise", 200_000)
    try fetch.settle()
    for program in ["treering", "rsync", "treering", "treering"] {
      try fetch.configure(fetch.table().replacing("fetch = \"treering\"", with: "fetch = \"\(program)\""))
      try fetch.expectFaithful(fetch.snapshot())
    }
  }

  @Test("a missing directory is absent, a host that is down is named, and an unreadable file is a warning")
  func trouble() throws {
    try fetch.world.source.write("own", "own")
    try fetch.configure(fetch.ownTable, fetch.table(host.root / "none"))
    let missing = try fetch.treering("snapshot", status: 1)
    #expect(missing.errorText.contains("it is not there on the host"), "\(missing.errorText)")
    let away = try SSHServer.freePort()
    let port = " -p \(fetch.server.port)"
    try fetch.configure(fetch.ownTable, fetch.table().replacing(port, with: " -p \(away)"))
    let down = try fetch.treering("snapshot", status: 1)
    #expect(down.errorText.contains("the host cannot be reached (ssh: connect to host"), "\(down.errorText)")
    let user = try #require(try SSHServer.ordinaryUsers().first)
    try host.write("secret", "secret", mode: 0o600)
    try host.write("open", "open", mode: 0o644)
    try tool("chmod", ["711", fetch.world.directory.path])
    try fetch.configure(
      fetch.ownTable,
      fetch.table(host: "\(user)@127.0.0.1").replacing("\(fetch.cache)", with: "/tmp/treering-cache-\(user)"))
    let unreadable = try fetch.treering("snapshot", "--json", status: 1)
    #expect(
      unreadable.errorText.contains("web01\(host.root)/secret") && unreadable.errorText.contains("Permission denied"),
      "\(unreadable.errorText)")
    #expect(try fetch.tree(of: unreadable.decoded()).names() == ["open"])
    try tool("rm", ["-rf", "/tmp/treering-cache-\(ByteString(user))"])
  }

  @Test("a host that breaks off leaves nothing, and the next fetch sends only the rest")
  func cutOff() throws {
    for index in 0..<6 { try host.writeNoise(ByteString("big\(index)"), 1_000_000, seed: index) }
    try fetch.settle()
    let script = try fetch.program(
      cutting: ["env", "XDG_CACHE_HOME=\(fetch.cache)", "treering"], after: 4_000_000)
    try fetch.configure(fetch.table(running: script))
    try fetch.treering("snapshot", status: 3)
    #expect(try fetch.world.snapshotNames().isEmpty)
    let counted = fetch.world.directory.path / "counted"
    let rest = try fetch.program(
      "env XDG_CACHE_HOME=\(fetch.cache) treering \"$@\" | tee >(wc -c > \(counted))")
    try fetch.configure(
      fetch.table(running: rest))
    try fetch.expectFaithful(fetch.snapshot())
    try fetch.settle()
    let sent = try Tree(fetch.world.directory.path).text("counted").trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(try #require(Int(sent)) < 4_000_000)
  }

  @Test("a file that keeps changing is sent as it was at one moment")
  func changing() throws {
    try host.writeNoise("steady", 3_000_000)
    let stop = host.root / "../stop"
    let writer = try RunningCommand(
      "sh",
      ["-c", ByteString("i=0; while [ ! -e '\(stop)' ]; do i=$((i+1)); echo $i > '\(host.root)/busy'; done")])
    defer {
      _ = try? runCommand("touch", [stop])
      _ = try? writer.wait()
    }
    let result = try fetch.world.treering(
      ["snapshot", "--json", "-c", fetch.world.directory.path / "c.toml"], inRepository: false)
    #expect([0, 1].contains(result.status), "\(result.errorText)")
    #expect(try fetch.tree(of: result.decoded()).exists("steady"))
  }

  @Test("the guards of the backup host hold: a source that lost its files is refused")
  func emptied() throws {
    for index in 0..<40 { try host.write(ByteString("\(index)"), "content \(index)") }
    try fetch.settle()
    try fetch.snapshot()
    for name in try host.names() { try host.remove(name) }
    let result = try fetch.treering("snapshot", status: 4)
    #expect(result.errorText.contains("web01"), "\(result.errorText)")
    #expect(try fetch.world.snapshotNames().count == 1)
    #expect(try fetch.treering("snapshot", "--accept-changes").status == 0)
  }
}

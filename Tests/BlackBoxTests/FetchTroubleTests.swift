import Foundation
import TestSupport
import Testing

/// Hosts that are down, refuse, break off, or have lost their files.
@Suite("trouble with sources of other hosts", .waits)
struct FetchTroubleTests {
  private let fetch: FetchWorld
  private var host: Tree { fetch.host }

  init() throws {
    fetch = try FetchWorld("fetch-trouble")
    try fetch.world.source.write("own", "own")
    try host.write("file", "content")
  }

  @Test("a host that is down costs the other sources nothing, and its last good tree stays", arguments: [false, true])
  func down(isOptional: Bool) throws {
    let keys = isOptional ? "optional = true" : ""
    let away = try SSHServer.freePort()
    func configure(isDown: Bool) throws {
      let host = isDown ? "ssh://root@127.0.0.1:\(away)" : "root@127.0.0.1"
      var table = fetch.table(label: "web02", host: host, keys: keys)
      if isDown { table = table.replacing(" -p \(fetch.server.port)", with: "") }
      try fetch.configure(fetch.ownTable, fetch.table(), table)
    }
    try configure(isDown: false)
    let first = try fetch.snapshot()
    try configure(isDown: true)
    try host.write("new", "new")
    let result = try fetch.treering("snapshot", "--json", status: isOptional ? 0 : 1)
    let second: SnapshotAnswer = try result.decoded()
    #expect(fetch.tree(of: second).exists("new") && fetch.world.tree(of: second).exists("own"))
    #expect(!fetch.world.repository.exists(second.name / "web02"))
    let reason = "the host cannot be reached (ssh: connect to host"
    #expect(result.errorText.contains(reason) == !isOptional, "\(result.errorText)")
    // Its newest good tree is in the first snapshot, which never expires.
    _ = try fetch.treering("rotate", "--keep-last", "1")
    #expect(try fetch.world.snapshotNames() == [first.name, second.name])
    let status = try fetch.treering("status", status: isOptional ? 0 : 1).outputText
    #expect(status.contains("web02:\(host.root)") && status.contains("absent"))
    let found = try fetch.treering("ls", "latest", "web02" + host.root)
    #expect(found.outputText.contains("file"))
    // It is back.
    try configure(isDown: false)
    let third = try fetch.snapshot()
    #expect(
      try fetch.tree(of: third, label: "web02").inode("file") == fetch.tree(of: first, label: "web02").inode("file"))
  }

  @Test("a directory that is missing on the host is absent, and other refusals name their reason")
  func refusals() throws {
    let strange = try fetch.server.makeKey("strange")
    let cases: [(table: String, words: [String])] = [
      (fetch.table(host.root / "none"), ["it is not there on the host"]),
      (fetch.table(keys: "rsync = [\"/none/rsync\"]"), ["rsync is not installed on the host", "install rsync there"]),
      (fetch.table(keys: "rsync = [\"cat\"]"), ["cannot be fetched"]),
      (
        fetch.table().replacing("-i \(fetch.server.key.file)", with: "-i \(strange.file)"),
        ["ssh could not connect", "Permission denied", "authorized_keys"]
      ),
    ]
    for (table, words) in cases {
      try fetch.configure(fetch.ownTable, table)
      let result = try fetch.treering("snapshot", status: 1)
      for word in words { #expect(result.errorText.contains(word), "\(result.errorText)") }
      #expect(result.errorText.contains("web01"))
    }
    // Alone, it is a failure.
    try fetch.configure(fetch.table(host.root / "none"))
    try fetch.treering("snapshot", status: 3)
  }

  @Test("files that the user may not read are named, and the rest is saved; sudo reads all")
  func unreadable() throws {
    let user = try #require(try SSHServer.ordinaryUsers().first)
    try host.write("secret", "secret", mode: 0o600)
    try host.makeDirectory("closed", mode: 0o700)
    try tool("chmod", ["711", fetch.world.directory.path])
    try fetch.configure(fetch.table(host: "\(user)@127.0.0.1"))
    let result = try fetch.treering("snapshot", "--json", status: 1)
    let taken: SnapshotAnswer = try result.decoded()
    #expect(taken.outcome == "warnings" && taken.warnings == 2)
    #expect(
      Set(taken.warningsNamed.map(\.path)) == ["web01\(host.root)/secret", "web01\(host.root)/closed"])
    #expect(taken.warningsNamed.allSatisfy { $0.message.hasPrefix("is not as on the host: Permission denied") })
    #expect(fetch.tree(of: taken).exists("file") && !fetch.tree(of: taken).exists("secret"))
  }

  @Test("a source that lost its files is refused; the others are saved")
  func guards() throws {
    for number in 0..<20 { try host.write("f\(number)", "x") }
    try fetch.configure(fetch.ownTable, fetch.table())
    let first = try fetch.snapshot()
    for name in try host.names() { try host.remove(name) }
    let result = try fetch.treering("snapshot", "--json", status: 1)
    #expect(result.errorText.contains("is empty, and the snapshot \(first.name) has"), "\(result.errorText)")
    let second: SnapshotAnswer = try result.decoded()
    #expect(!fetch.world.repository.exists(second.name / "web01"))
    #expect(try fetch.world.repository.names(".treering/fetched").isEmpty)
    let accepted = try fetch.treering("snapshot", "--accept-changes", "--json")
    let third: SnapshotAnswer = try accepted.decoded()
    #expect(try fetch.tree(of: third).names().isEmpty)
  }

  @Test("a small source whose entries are all gone is refused, even if its place has another entry")
  func smallSource() throws {
    try fetch.configure(fetch.ownTable, fetch.table())
    let first = try fetch.snapshot()
    try host.remove("file")
    try host.makeDirectory("lost+found")
    let result = try fetch.treering("snapshot", status: 1)
    #expect(result.errorText.contains("1 of the 2 entries that the snapshot \(first.name) has"), "\(result.errorText)")
    try fetch.treering("snapshot", "--accept-changes")
  }

  @Test("a broken connection leaves its files to the next fetch, which changes no older snapshot")
  func resumed() throws {
    try host.write("a", bytes: [UInt8](repeating: 1, count: 3_000_000))
    var generator = SeededGenerator(seed: 7)
    try host.write("b", bytes: generator.bytes(3_000_000))
    try host.write("c", bytes: generator.bytes(8_000_000))
    try fetch.configure()
    let first = try fetch.snapshot()
    for name: ByteString in ["d", "e"] { try host.write(name, bytes: generator.bytes(3_000_000)) }
    try host.setMode("a", 0o600)
    // What was sent so far: d, and a part of e.
    let cut = try fetch.program(cutting: ["rsync"], after: 5_000_000)
    try fetch.configure(fetch.table(keys: "rsync = [\"\(cut)\"]"))
    let broken = try fetch.treering("snapshot", status: 3)
    #expect(broken.errorText.contains("the connection broke"), "\(broken.errorText)")
    let place = try #require(try fetch.world.repository.names(".treering/fetched").first)
    let interrupted = Tree(fetch.world.repository.root / ".treering/fetched" / place / "interrupted")
    let inode = try interrupted.inode("d")
    #expect(try interrupted.inode("b") == fetch.tree(of: first).inode("b"))
    #expect(try interrupted.size("e") < 3_000_000)
    try fetch.configure()
    let second = try fetch.snapshot()
    try fetch.expectFaithful(second)
    #expect(try fetch.tree(of: second).inode("d") == inode)
    #expect(try fetch.tree(of: second).inode("c") == fetch.tree(of: first).inode("c"))
    #expect(try fetch.world.repository.names(".treering/fetched").isEmpty)
  }

  @Test("an interrupted run ends rsync, and leaves no snapshot")
  func interrupted() throws {
    let files = Tree(fetch.world.directory.path)
    let slow = try fetch.program("touch \(files.root)/asked; exec sleep 1000")
    try fetch.configure(fetch.table(keys: "rsync = [\"\(slow)\"]"))
    let running = try RunningCommand(
      try treeringBinary(), ["snapshot", "-c", fetch.world.directory.path / "c.toml"])
    for _ in 0..<3000 where !files.exists("asked") { usleep(10_000) }
    #expect(files.exists("asked"))
    running.signal(SIGTERM)
    #expect(try running.wait().status == 143)
    #expect(try fetch.world.snapshotNames().isEmpty)
    try fetch.configure()
    try fetch.snapshot()
  }

  @Test("a full disk fails the fetch and leaves nothing that fills it; the other sources are saved")
  func fullDisk() throws {
    let disk = try LoopFileSystem("ext4", mebibytes: 24, at: fetch.world.directory.path / "disk")
    let made = try fetch.world.treering(["init", disk.tree.root / "repository"], inRepository: false)
    #expect(made.status == 0)
    var generator = SeededGenerator(seed: 9)
    try host.write("large", bytes: generator.bytes(40_000_000))
    try fetch.configure(fetch.ownTable, fetch.table())
    let files = Tree(fetch.world.directory.path)
    try files.write(
      "c.toml",
      try files.text("c.toml").replacing("\(fetch.world.repository.root)", with: "\(disk.tree.root)/repository"))
    let result = try fetch.treering("snapshot", status: 1)
    #expect(result.errorText.contains("the repository's disk is full"), "\(result.errorText)")
    #expect(try disk.bytesUsed() < 10_000_000)
  }
}

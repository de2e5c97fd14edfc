import TestSupport
import Testing

@Suite("Everything a tree can hold", .waits)
struct EverythingATreeCanHoldTests {
  @Test("is published as it is, then linked, entry by entry", arguments: [1, 4])
  func isPublishedAndLinked(threads: Int) throws {
    let world = try World()
    try world.source.makeEverything()
    try world.settle()
    let options: [ByteString] = ["--threads", "\(threads)"]
    let first = try world.snapshot(of: nil, options)
    #expect(first.warningsNamed.map(\.message) == [])
    #expect(first.catalogOnly == 0)
    try world.expectFaithful(first)

    let second = try world.snapshot(of: nil, options)
    try world.expectFaithful(second)
    #expect(second.filesLinked == second.files)
    #expect(second.filesCopied == 0)
    #expect(second.bytesRead == 0)
    #expect(second.bytesCopied == 0)

    let before = try TreeListing(world.tree(of: first).root)
    let after = try TreeListing(world.tree(of: second).root)
    for path in before.paths where before.entries[path]?.kind != "d" {
      #expect(before.inodes[path] == after.inodes[path], "\(path) is not linked")
    }
    for path in before.paths where before.entries[path]?.kind == "d" {
      #expect(before.inodes[path] != after.inodes[path], "\(path) is a directory and shared")
    }
    #expect(second.files == before.entries.values.filter { $0.kind != "d" }.count)
    let directories = before.entries.values.filter { $0.kind == "d" }.count
    // The snapshot's and the label's directories, and those above the source.
    let above = world.source.root.bytes.filter { $0 == UInt8(ascii: "/") }.count - 1
    #expect(second.directories == directories + above + 2)
    #expect(second.entries == second.files + second.directories)
  }

  @Test("holes stay holes")
  func keepsHoles() throws {
    let world = try World()
    try world.source.makeEverything()
    let snapshot = try world.snapshot()
    let stored = world.tree(of: snapshot)
    for name: ByteString in ["hole-in-the-middle", "hole-at-the-end", "only-a-hole"] {
      let blocks = try world.source.blocks(name)
      #expect(try stored.blocks(name) <= blocks, "\(name)")
      #expect(try stored.size(name) == world.source.size(name))
    }
    #expect(try stored.blocks("only-a-hole") == 0)
  }

  @Test("several names of one symbolic link, FIFO, socket or device are one inode")
  func linksOfSpecials() throws {
    let world = try World()
    let source = world.source
    try source.makeDirectory("d")
    try source.makeSymbolicLink("link", to: "anywhere")
    try source.makeFIFO("fifo")
    try source.makeSocket("socket")
    try source.makeDevice("device", isBlock: false, major: 1, minor: 3)
    for name: ByteString in ["link", "fifo", "socket", "device"] {
      try source.link(name, as: name + "-too")
      try source.link(name, as: "d" / name)
    }
    try world.settle()
    try world.expectFaithful(try world.snapshot())
    try world.expectFaithful(try world.snapshot())
  }

  @Test("a sparse file of more than 4 GiB, with data at both ends")
  func sparseBeyond4GiB() throws {
    let world = try World()
    let size: Int64 = (4 << 30) + 12_345
    try world.source.write("disk.img", "begin")
    try world.source.overwrite("disk.img", at: size - 3, bytes: Array("end".utf8))
    try world.settle()
    let first = try world.snapshot()
    let stored = world.tree(of: first)
    #expect(first.bytes == Int(size))
    #expect(try stored.size("disk.img") == size)
    #expect(try stored.blocks("disk.img") <= world.source.blocks("disk.img"))
    let tail = try tool("tail", ["-c", "6", stored.root / "disk.img"])
    #expect(tail == [0, 0, 0] + Array("end".utf8))
    let head = try tool("head", ["-c", "6", stored.root / "disk.img"])
    #expect(head == Array("begin".utf8) + [0])
  }

  @Test("directories 200 deep, and 20,000 entries in one")
  func deepAndWide() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    var path: ByteString = ""
    for level in 0..<200 {
      path = path / ByteString("d\(level)")
      try world.source.makeDirectory(path)
    }
    try world.source.write(path / "bottom", "text")
    try world.source.makeDirectory("wide")
    for index in 0..<20_000 {
      try world.source.makeSymbolicLink("wide/\(index)", to: "x")
    }
    try world.settle()
    let first = try world.snapshot()
    #expect(first.files == 20_001)
    #expect(try rsyncDifferences(world.source.root, world.tree(of: first).root) == [])
    let second = try world.snapshot()
    #expect(second.filesLinked == 20_001)
    #expect(try rsyncDifferences(world.source.root, world.tree(of: second).root) == [])
  }

  @Test("a file with more names than ext4 lets one inode have in all snapshots together")
  func moreLinksThanTheLimit() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("first", "text")
    let names = 24_999
    for index in 0..<names { try world.source.link("first", as: "name-\(index)") }
    try world.source.setTime("first", seconds: 1_600_000_000)
    try world.settle()
    // Three times 25,000 is more than 65,000.
    for _ in 0..<3 {
      let snapshot = try world.snapshot()
      #expect(snapshot.files == names + 1)
      let inodes = try tool(
        "find", [world.tree(of: snapshot).root, "-type", "f", "-printf", "%s %T@ %i\n"])
      let lines = String(decoding: inodes, as: UTF8.self).split(separator: "\n")
      #expect(lines.count == names + 1)
      #expect(lines.allSatisfy { $0.hasPrefix("4 1600000000.0000000000 ") })
      // One inode at the source; at most one more where the limit was met.
      #expect(Set(lines).count <= 2)
    }
  }
}

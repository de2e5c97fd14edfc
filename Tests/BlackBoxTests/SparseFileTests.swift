import Foundation
import TestSupport
import Testing

/// A sparse file costs every verb its data and not its size. Of a file of 1 TiB a hash of all bytes would take longer
/// than a test may.
@Suite("Sparse files", .waits) struct SparseFileTests {
  /// The size, and each block with data and its hash, read without the holes.
  private static let mapper = """
    import hashlib, os, sys
    with open(sys.argv[1], 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        print(size)
        at = 0
        while at < size:
            try: at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError: break
            block = os.pread(file.fileno(), 4096 - at % 4096, at)
            if any(block): print(at, hashlib.sha256(block).hexdigest())
            at += len(block)
    """

  private func map(_ tree: Tree, _ name: ByteString) throws -> String {
    String(decoding: try tool("python3", ["-c", ByteString(Self.mapper), tree.root / name]), as: UTF8.self)
  }

  private func makeHuge(_ tree: Tree, _ name: ByteString) throws {
    try tree.write(name, "")
    try tree.truncate(name, to: 1 << 40)
    for offset: Int64 in [292_000, 5 << 20, 700_000_000_001, (1 << 40) - 3] {
      try tree.overwrite(name, at: offset, bytes: Array("entry".utf8.prefix(3)))
    }
  }

  private func expectHoles(_ tree: Tree, _ name: ByteString, at location: SourceLocation = #_sourceLocation) throws {
    #expect(try tree.blocks(name) < 8192, sourceLocation: location)
  }

  @Test("of 1 TiB: snapshot, again, with another mode, verify, restore, repair, adopt")
  func huge() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try makeHuge(world.source, "lastlog")
    try world.source.link("lastlog", as: "link")
    try world.settle()
    let expected = try map(world.source, "lastlog")
    let first = try world.snapshot()
    #expect(first.filesCopied == 1 && first.bytesCopied < 1 << 20)
    #expect(try map(world.tree(of: first), "lastlog") == expected)
    try expectHoles(world.tree(of: first), "lastlog")
    #expect(try world.snapshot().filesLinked == 2)
    // Its content is compared, and is the same.
    try world.source.setMode("lastlog", 0o600)
    try world.source.setMode("lastlog", 0o644)
    try world.settle()
    #expect(try world.snapshot().filesLinked == 2)
    try world.source.setMode("lastlog", 0o600)
    try world.settle()
    #expect(try world.snapshot().filesCopied == 1)
    try world.source.overwrite("lastlog", at: 5 << 30, bytes: [1])
    try world.settle()
    let last = try world.snapshot()
    #expect(last.filesCopied == 1)
    let changed = try map(world.source, "lastlog")
    #expect(try map(world.tree(of: last), "lastlog") == changed)
    #expect(try world.treering(["verify"]).status == 0)

    let out = world.directory.path / "out"
    #expect(try world.treering(["restore", "latest", "--to", out]).status == 0)
    let restored = Tree(out + world.source.root)
    #expect(try map(restored, "lastlog") == changed)
    #expect(try restored.inode("lastlog") == restored.inode("link"))
    try expectHoles(restored, "lastlog")

    let other = world.directory.path / "other"
    #expect(try world.treering(["init", other], inRepository: false).status == 0)
    #expect(try world.treering(["push", other]).status == 0)
    let tree = world.tree(of: last)
    try tree.overwrite("lastlog", at: 5 << 30, bytes: [2])
    let damaged = try world.treering(["verify"])
    #expect(damaged.status == 6 && damaged.outputText.contains("its bytes have changed"), "\(damaged.outputText)")
    #expect(try world.treering(["verify", "--repair-from", other]).status == 0)
    #expect(try map(tree, "lastlog") == changed)

    let copy = world.directory.path / "adopted"
    try tool("mkdir", ["-p", copy / "daily.0/localhost"])
    try tool("cp", ["-a", "--sparse=always", restored.root / "lastlog", copy / "daily.0/localhost/lastlog"])
    let adopting = world.directory.path / "adopting"
    #expect(try world.treering(["init", adopting], inRepository: false).status == 0)
    let imported = try world.treering(["import", "snapshots", copy, "-r", adopting], inRepository: false)
    #expect(imported.status == 0, "\(imported.errorText)")
    #expect(try world.treering(["verify", "-r", adopting], inRepository: false).status == 0)
  }

  @Test("of 1 TiB: push, a change, another base's tree is gone, restore over the connection")
  func hugePush() throws {
    let push = try PushWorld("push-sparse")
    push.provesUnchanged = false
    let source = push.world.source
    try makeHuge(source, "lastlog")
    let first = try push.snapshot()
    #expect(try push.push().bytesSent < 100_000)
    func expectThere(_ name: ByteString) throws {
      let there = Tree(push.far.root / name / "localhost" / source.root)
      #expect(try map(there, "lastlog") == map(source, "lastlog"))
      try expectHoles(there, "lastlog")
      #expect(try push.there(["verify"]).status == 0)
    }
    try expectThere(first.name)
    try source.overwrite("lastlog", at: 900_000_000_000, bytes: [1, 2, 3])
    try expectThere(
      try {
        let second = try push.snapshot()
        _ = try push.push()
        return second.name
      }())
    // Only the base's catalog is here.
    try source.overwrite("lastlog", at: 800_000_000_000, bytes: [1, 2, 3])
    let third = try push.snapshot()
    for name in try push.names(push.world.repository) where name != third.name {
      try tool(
        "rm",
        [
          "-r", push.world.repository.root / name,
          push.world.repository.root / ".treering/catalogs" / name + ".catalog",
        ])
    }
    let answer = try push.push()
    #expect(answer.base != nil && answer.bytesSent < 100_000)
    try expectThere(third.name)

    let out = push.world.directory.path / "out"
    let restored = try runCommand(
      try treeringBinary(),
      [
        "restore", "latest", "--to", out, "-r", push.address, "--ssh", ByteString(push.ssh), "--remote-command",
        ByteString("\(try treeringBinary()) serve --read-only"),
      ])
    #expect(restored.status == 0, "\(restored.errorText)")
    #expect(try map(Tree(out + source.root), "lastlog") == map(source, "lastlog"))
    try expectHoles(Tree(out + source.root), "lastlog")
  }

  /// Any layout of data, zeros and holes, changed and pushed again and again, with the base here or only its catalog.
  @Test("of any layout, pushed as a change", arguments: 1...4)
  func anyLayout(seed: UInt64) throws {
    let push = try PushWorld("push-layout")
    push.provesUnchanged = false
    let source = push.world.source
    var random = SeededGenerator(seed: seed)
    var names: [ByteString] = []
    for round in 0..<4 {
      for name in ["a", "b"] as [ByteString] {
        if round == 0 { try source.write(name, "") }
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          let offset = Int64.random(in: 0...12 << 20, using: &random)
          let count = [1, 5000, 1 << 20, 2_500_000].randomElement(using: &random)!
          let isZero = Int.random(in: 0..<3, using: &random) == 0
          try source.overwrite(
            name, at: offset, bytes: isZero ? [UInt8](repeating: 0, count: count) : random.bytes(count))
        }
        if Int.random(in: 0..<3, using: &random) == 0 {
          try tool(
            "fallocate",
            ["-p", "-o", "\(Int.random(in: 0...6 << 20, using: &random))", "-l", "3000000", source.root / name])
        }
        try source.truncate(name, to: Int64.random(in: 1 << 20...14 << 20, using: &random))
      }
      let taken = try push.snapshot()
      if Bool.random(using: &random) {
        for name in names {
          try tool(
            "rm",
            [
              "-r", push.world.repository.root / name,
              push.world.repository.root / ".treering/catalogs" / name + ".catalog",
            ])
        }
        names = []
      }
      names.append(taken.name)
      try push.push()
      #expect(try differences(source.root, push.far.root / taken.name / "localhost" / source.root) == [])
      #expect(try push.there(["verify"]).status == 0)
    }
  }

  /// A file may be larger than the other file system can hold one: ext4 with blocks of 1 KiB holds 4 TiB.
  @Test("larger than the file system of the repository, or of the destination, can hold: one warning")
  func tooLarge() throws {
    let push = try PushWorld("push-too-large", initialized: false)
    push.provesUnchanged = false
    let source = push.world.source
    let disk = try LoopFileSystem(
      "ext4", mebibytes: 64, at: push.world.directory.path / "disk", options: ["-b", "1024"])
    try source.write("huge", "beginning")
    try source.truncate("huge", to: 5 << 40)
    try source.write("thesis", "text")
    try push.world.settle()

    let small = disk.tree.root / "repository"
    let program = try treeringBinary()
    try tool(program, ["init", small])
    let local = try runCommand(program, ["snapshot", source.root, "-r", small])
    #expect(local.status == 1)
    let named = local.errorLines.filter { $0.contains("/huge: ") }
    #expect(named.count == 1 && named[0].contains("File too large"), "\(local.errorText)")
    #expect(try Tree(small / "latest" / "localhost" / source.root).text("thesis") == "text")
    #expect(try runCommand(program, ["verify", "-r", small]).status == 0)

    try tool(program, ["init", disk.tree.root / "far"])
    let taken = try push.snapshot()
    let pushed = try runCommand(program, ["push", disk.tree.root / "far", "-r", push.world.repository.root])
    #expect(pushed.status == 1, "\(pushed.errorText)")
    #expect(pushed.errorLines.count { $0.contains("/huge: ") } == 1, "\(pushed.errorText)")
    let there = Tree(disk.tree.root / "far" / taken.name / "localhost" / source.root)
    #expect(try there.text("thesis") == "text" && !there.exists("huge"))
    #expect(try runCommand(program, ["verify", "-r", disk.tree.root / "far"]).status == 0)

    let restored = try push.here(["restore", "latest", "--to", disk.tree.root / "out"])
    #expect(restored.status == 1)
    #expect(restored.errorLines.count { $0.contains("/huge: ") } == 1, "\(restored.errorText)")
    #expect(try Tree(disk.tree.root / "out" + source.root).text("thesis") == "text")
  }
}

import TestSupport
import Testing

/// ext4 allows an inode 65,000 links: then it is stored once more, and the copy is what is linked to.
@Suite("The limit of links", .waits) struct LinkLimitTests {
  private struct Setup {
    let world: World
    let disk: LoopFileSystem
    var repository: ByteString { disk.tree.root / "repository" }

    func run(_ arguments: [ByteString]) throws -> CommandResult {
      try world.treering(arguments + ["-r", repository], inRepository: false)
    }

    func snapshot(of source: ByteString) throws -> SnapshotAnswer {
      let result = try run(["snapshot", source, "--json"])
      #expect(result.status == 0, "\(result.errorText)")
      return try result.decoded()
    }

    func stored(_ answer: SnapshotAnswer, _ source: ByteString) -> Tree {
      Tree(repository / answer.name / "localhost" / source)
    }
  }

  private func setup() throws -> Setup {
    let world = try World(initialized: false)
    let disk = try LoopFileSystem("ext4", mebibytes: 200, at: world.directory.path / "disk")
    let setup = Setup(world: world, disk: disk)
    #expect(try setup.run(["init"]).status == 0)
    return setup
  }

  private func makeLinks(_ file: ByteString, in directory: ByteString, upTo count: Int) throws {
    let script = """
      import os, sys
      for i in range(int(sys.argv[3]) - os.lstat(sys.argv[1]).st_nlink):
          os.link(sys.argv[1], f'{sys.argv[2]}/{i}')
      """
    try tool("python3", ["-c", ByteString(script), file, directory, ByteString("\(count)")])
  }

  @Test("a stored inode that is full is copied once, whatever links the source has", arguments: [1, 3])
  func fullInode(names: Int) throws {
    let setup = try setup()
    let source = setup.world.source
    try source.write("file", "content")
    for index in 1..<names { try source.link("file", as: ByteString("link\(index)")) }
    try setup.world.settle()
    let first = try setup.snapshot(of: source.root)
    try setup.disk.tree.makeDirectory("links")
    try makeLinks(
      setup.stored(first, source.root).root / "file", in: setup.disk.tree.root / "links", upTo: 65_000)
    let second = try setup.snapshot(of: source.root)
    #expect(try differences(source.root, setup.stored(second, source.root).root) == [])
    #expect(second.linkLimits >= 1)
    #expect(second.filesCopied == 1)
    #expect(try setup.stored(second, source.root).linkCount("file") == names)
    let third = try setup.snapshot(of: source.root)
    #expect(try differences(source.root, setup.stored(third, source.root).root) == [])
    #expect(third.linkLimits == 0 && third.filesCopied == 0)
    #expect(
      try setup.stored(third, source.root).inode("file")
        == setup.stored(second, source.root).inode("file"))
    #expect(try setup.run(["verify"]).status == 0)
  }

  @Test("a source with more names of one inode than the repository's file system allows")
  func moreNamesThanAllowed() throws {
    let setup = try setup()
    let memory = try TemporaryDirectory("links", below: "/dev/shm")
    let source = try Tree(making: memory.path / "source")
    try source.write("file", "content")
    try makeLinks(source.root / "file", in: source.root, upTo: 66_000)
    try setup.world.settle()
    let first = try setup.snapshot(of: source.root)
    let tree = setup.stored(first, source.root)
    let inodes = Set(try tree.names().map { try tree.inode($0) })
    #expect(inodes.count == 2)
    #expect(first.files == 66_000 && first.linkLimits == 1)
    let second = try setup.snapshot(of: source.root)
    #expect(
      Set(try setup.stored(second, source.root).names().map { try setup.stored(second, source.root).inode($0) }).count
        <= 4)
    #expect(try setup.run(["verify"]).status == 0)
    let target = memory.path / "restored"
    #expect(try setup.run(["restore", "latest", "--to", target]).status == 0)
    #expect(try Tree(target / source.root).linkCount("file") == 66_000)
  }
}

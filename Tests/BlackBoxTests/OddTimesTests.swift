import TestSupport
import Testing

/// Content that changed is found whatever the clocks say.
@Suite("Odd times", .waits) struct OddTimesTests {
  private func world() throws -> World {
    let world = try World()
    try world.source.write("file", "before")
    try world.source.setTime("file", seconds: 1_600_000_000)
    try world.settle()
    try world.snapshot()
    return world
  }

  private func expectFound(_ world: World, _ text: String) throws {
    try world.settle()
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(try world.tree(of: answer).text("file") == text)
    // And found once.
    #expect(try world.snapshot().bytesRead == 0)
  }

  @Test("mtimes of the future and of the past", arguments: [0, 1, 4_000_000_000, 7_000_000_000])
  func mtimes(seconds: Int) throws {
    let world = try world()
    try world.source.overwrite("file", bytes: Array("after!".utf8))
    try world.source.setTime("file", seconds: seconds)
    try expectFound(world, "after!")
    // The same mtime, another content.
    try world.source.overwrite("file", bytes: Array("third!".utf8))
    try world.source.setTime("file", seconds: seconds)
    try expectFound(world, "third!")
    // The same content, another mtime.
    try world.source.setTime("file", seconds: seconds + 1)
    try expectFound(world, "third!")
  }

  @Test("content changed through a hard link outside the source")
  func hardLinkElsewhere() throws {
    let world = try world()
    try world.source.link("file", as: "../elsewhere")
    try expectFound(world, "before")
    let outside = Tree(world.directory.path)
    try outside.overwrite("elsewhere", bytes: Array("after!".utf8))
    try outside.setTime("elsewhere", seconds: 1_600_000_000)
    try expectFound(world, "after!")
  }

  @Test("another file of the same size and time moved over it")
  func movedOver() throws {
    let world = try world()
    try world.source.write("other", "after!")
    try world.source.setTime("other", seconds: 1_600_000_000)
    try world.settle()
    try world.snapshot()
    try world.source.rename("other", to: "file")
    try expectFound(world, "after!")
  }

  @Test("a clock that was set back before the change: the new ctime is older than the old one")
  func clockSetBack() throws {
    let world = try World()
    let disk = try LoopFileSystem("ext4", mebibytes: 16, at: world.directory.path / "disk")
    try disk.tree.write("file", "before")
    try disk.tree.setTime("file", seconds: 1_600_000_000)
    try world.settle()
    try world.snapshot(of: [disk.tree.root])
    try disk.tree.overwrite("file", bytes: Array("after!".utf8))
    try disk.tree.setTime("file", seconds: 1_600_000_000)
    try disk.unmount()
    try tool("debugfs", ["-w", "-R", "set_inode_field /file ctime 20200101000000", disk.image])
    try disk.mount()
    let answer = try world.snapshot(of: [disk.tree.root])
    #expect(try world.tree(of: answer, disk.tree.root).text("file") == "after!")
  }

  @Test("rewritten with the same size again and again, in the ticks around each snapshot")
  func withinOneTick() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    for round in 0..<12 {
      try world.source.write("file", "content \(round % 10)")
      let answer = try world.snapshot()
      try world.source.overwrite("file", bytes: Array("changed \(round % 10)".utf8))
      #expect(try world.tree(of: answer).text("file") == "content \(round % 10)")
      let next = try world.snapshot()
      #expect(try world.tree(of: next).text("file") == "changed \(round % 10)")
    }
  }
}

import Foundation
import TestSupport
import Testing

/// What a run copied before it had to end serves the next one.
@Suite("Runs that had to end", .waits) struct ResumeTests {
  private static let files = 400

  private func world() throws -> World {
    let world = try World()
    for index in 0..<Self.files {
      if index % 40 == 0 { try world.source.makeDirectory(ByteString("d\(index / 40)")) }
      try world.source.write(
        ByteString("d\(index / 40)/file\(index)"), String(repeating: "\(index) ", count: 2000))
    }
    try world.settle()
    return world
  }

  /// Takes a snapshot in which a call fails from its nth on.
  private func snapshotFailing(
    _ world: World, _ call: String, _ error: String, from nth: Int
  ) throws -> CommandResult {
    try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", ByteString("trace=\(call)"), "-e",
        ByteString("inject=\(call):error=\(error):when=\(nth)+"), try treeringBinary(), "snapshot",
        world.source.root, "--threads", "1", "-r", world.repository.root,
      ])
  }

  private func expectResumed(_ world: World, copiedAtMost: Int) throws {
    #expect(try world.snapshotNames() == [])
    #expect(try world.repository.names(".treering/pending").count == 2)
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied <= copiedAtMost, "\(answer.filesCopied)")
    #expect(answer.filesCopied + answer.filesLinked == Self.files)
    #expect(try world.treering(["verify"]).status == 0)
    #expect(try world.repository.names(".treering/pending") == [])
    #expect(try world.repository.names(".treering/trash") == [])
    // And the one after it has nothing to do.
    #expect(try world.snapshot().filesLinked == Self.files)
  }

  @Test("a full disk, an exhausted quota", arguments: ["ENOSPC", "EDQUOT"])
  func noSpace(error: String) throws {
    let world = try world()
    // The first write is the lock's; frames of the catalog are written by pwrite.
    let result = try snapshotFailing(world, "write", error, from: 300)
    #expect(result.status == 8, "\(result.errorText)")
    try expectResumed(world, copiedAtMost: Self.files - 290)
  }

  @Test("no inodes left")
  func noInodes() throws {
    let world = try world()
    let result = try snapshotFailing(world, "openat", "ENOSPC", from: 600)
    #expect(result.status == 8, "\(result.errorText)")
    #expect(try world.snapshotNames() == [])
    try world.expectFaithful(try world.snapshot())
  }

  @Test("two runs that end early, one after the other")
  func twice() throws {
    let world = try world()
    #expect(try snapshotFailing(world, "write", "ENOSPC", from: 150).status == 8)
    #expect(try snapshotFailing(world, "write", "ENOSPC", from: 120).status == 8)
    // The second links to what it met of the first, which is then given up.
    #expect(try world.repository.names(".treering/pending").count == 2)
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied <= Self.files - 240)
    #expect(try world.repository.names(".treering/pending") == [])
  }

  @Test("what changed since is copied, and what was stored for it is not mistaken for it")
  func changedSince() throws {
    let world = try world()
    #expect(try snapshotFailing(world, "write", "ENOSPC", from: 350).status == 8)
    for index in 0..<40 {
      // The same size and the old time.
      let file = ByteString("d0/file\(index)")
      try tool("cp", ["-p", world.source.root / file, world.directory.path / "reference"])
      try world.source.overwrite(file, bytes: Array("#".utf8))
      try tool("touch", ["-r", world.directory.path / "reference", world.source.root / file])
    }
    try world.source.rename("d1", to: "renamed")
    try world.settle()
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("after a restart of the machine nothing that was not made durable is trusted")
  func afterRestart() throws {
    let world = try world()
    #expect(try snapshotFailing(world, "write", "ENOSPC", from: 300).status == 8)
    let names = try world.repository.names(".treering/pending")
    let catalog = try #require(names.first { $0.text.hasSuffix(".unfinished") })
    let other = ByteString(
      catalog.text.split(separator: ".")[0] + ".00000000-0000-4000-8000-000000000000.unfinished")
    try world.repository.rename(".treering/pending" / catalog, to: ".treering/pending" / other)
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == Self.files)
    #expect(try world.repository.names(".treering/pending") == [])
  }

  @Test("a run that is refused by a guard keeps its copies, too")
  func refused() throws {
    let world = try world()
    try world.snapshot()
    for index in 1..<8 { try world.source.remove(ByteString("d\(index)")) }
    try world.source.write("new", "new")
    try world.settle()
    #expect(try world.treering(["snapshot", world.source.root]).status == 4)
    let answer = try world.snapshot(["--accept-changes"])
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0)
  }

  @Test("a source that cannot fit is refused before anything is copied")
  func doesNotFit() throws {
    let world = try World(initialized: false)
    let disk = try LoopFileSystem("ext4", mebibytes: 16, at: world.directory.path / "disk")
    let repository = disk.tree.root / "repository"
    #expect(try world.treering(["init", repository], inRepository: false).status == 0)
    try world.source.write("small", "x")
    try world.settle()
    func take() throws -> CommandResult {
      try world.treering(["snapshot", world.source.root, "-r", repository], inRepository: false)
    }
    #expect(try take().status == 0)
    let used = try disk.bytesUsed()
    try tool("dd", ["if=/dev/urandom", "of=" + (world.source.root / "large"), "bs=1M", "count=30"])
    let result = try take()
    #expect(result.status == 8)
    #expect(result.errorText.contains("large") || result.errorText.contains("needs about"))
    #expect(try disk.bytesUsed() - used < 2 << 20)
    try world.source.remove("large")
    // Many small ones: more inodes than there are.
    try world.source.makeDirectory("many")
    try tool(
      "python3",
      ["-c", "import sys\nfor i in range(6000): open(f'{sys.argv[1]}/{i}', 'w').close()", world.source.root / "many"])
    #expect(try take().status == 8)
    try world.source.remove("many")
    #expect(try take().status == 0)
  }

  @Test("changes that an interrupted run has copied count as changes: rotation is held")
  func changesOfInterruptedRun() throws {
    let world = try world()
    #expect(try world.treering(["snapshot", world.source.root]).status == 0)
    for index in 0..<280 {
      let name = ByteString("d\(index / 40)/file\(index)")
      try world.source.remove(name)
      try world.source.write(name, String(repeating: "\(index) encrypted ", count: 2000))
    }
    try world.settle()
    // Each file gets its times once.
    let interrupted = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=utimensat", "-e", "inject=utimensat:signal=SIGTERM:when=240",
        try treeringBinary(), "snapshot", world.source.root, "--threads", "1", "-r", world.repository.root,
      ])
    #expect(interrupted.status == 143, "\(interrupted.errorText)")
    #expect(try world.repository.names(".treering/pending").count == 2)
    let resumed = try world.treering(["snapshot", world.source.root, "--json"])
    #expect(resumed.status == 1 && resumed.errorText.contains("treering release"), "\(resumed.errorText)")
    #expect(try resumed.decoded(SnapshotAnswer.self).filesCopied < 100)
  }
}

import TestSupport
import Testing

/// What looks like a disaster is refused, or holds rotation; what the operator accepts is done.
@Suite("Guards", .waits) struct GuardTests {
  private func world(files: Int = 30) throws -> World {
    let world = try World()
    for index in 0..<files { try world.source.write(ByteString("file\(index)"), "content \(index)") }
    try world.settle()
    return world
  }

  private func expectRefused(_ world: World, _ text: String, _ sources: [ByteString]? = nil) throws {
    let before = try world.snapshotNames()
    let result = try world.treering(["snapshot"] + (sources ?? [world.source.root]))
    #expect(result.status == 4, "\(result.errorText)")
    #expect(result.errorLines.count == 1 && result.errorText.contains(text), "\(result.errorText)")
    #expect(result.errorText.contains("--accept-changes"))
    #expect(try world.snapshotNames() == before)
  }

  @Test("a source that is empty and was not", arguments: [1, 30])
  func empty(files: Int) throws {
    let world = try world(files: files)
    try world.snapshot()
    try tool("find", [world.source.root, "-type", "f", "-delete"])
    try expectRefused(world, "is empty")
    let answer = try world.snapshot(["--accept-changes"])
    #expect(answer.files == 0)
    try world.snapshot()
  }

  @Test("an empty source is fine where there was none")
  func emptyFirst() throws {
    let world = try World()
    try world.snapshot()
    try world.snapshot()
  }

  @Test("a source whose disk is not mounted, and one with another disk in its place")
  func anotherFileSystem() throws {
    let world = try World()
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: world.directory.path / "disk")
    try disk.tree.write("file", "x")
    try disk.unmount()
    try disk.tree.write("below", "on the disk below")
    try disk.mount()
    try world.settle()
    try world.snapshot(of: [disk.tree.root])
    try disk.unmount()
    try expectRefused(world, "another file system", [disk.tree.root])
    try disk.mount()
    try world.snapshot(of: [disk.tree.root])
    try disk.unmount()
    let other = try LoopFileSystem("ext4", mebibytes: 8, at: world.directory.path / "other")
    try other.tree.write("file", "x")
    try tool("mount", ["--bind", other.tree.root, disk.tree.root])
    defer { _ = try? tool("umount", [disk.tree.root]) }
    try expectRefused(world, "another file system", [disk.tree.root])
    try world.snapshot(of: [disk.tree.root], ["--accept-changes"])
    try world.snapshot(of: [disk.tree.root])
  }

  @Test("a disk that was mounted below the source and is not", arguments: ["ext4", "xfs", "btrfs"])
  func missingMountBelow(type: String) throws {
    let world = try world()
    let size = ["ext4": 8, "xfs": 300, "btrfs": 120][type]!
    let disk = try LoopFileSystem(type, mebibytes: size, at: world.source.root / "disk")
    try disk.tree.write("file", "x")
    try world.settle()
    try world.snapshot()
    try disk.unmount()
    try expectRefused(world, "another file system")
    // The device number is another one.
    let spare = try LoopFileSystem("ext4", mebibytes: 8, at: world.directory.path / "spare")
    try disk.mount()
    try world.snapshot()
    _ = spare
    // Taken away on purpose: accepted once, and that is that.
    try disk.unmount()
    try world.snapshot(["--accept-changes"])
    try world.snapshot()
  }

  @Test("a source is compared with the newest snapshot that has it")
  func alternatingSources() throws {
    let world = try world()
    let other = try Tree(making: world.directory.path / "other")
    try other.write("file", "x")
    try world.snapshot()
    try world.snapshot(of: [other.root])
    try world.snapshot(of: [other.root])
    try tool("find", [world.source.root, "-type", "f", "-delete"])
    try expectRefused(world, "is empty")
  }

  @Test("a new btrfs snapshot as the source each time is the same file system, and unchanged files are not read")
  func btrfsSnapshots() throws {
    let world = try World()
    let disk = try LoopFileSystem("btrfs", mebibytes: 120, at: world.directory.path / "disk")
    let data = disk.tree.root / "data"
    let frozen = disk.tree.root / "frozen"
    try tool("btrfs", ["-q", "subvolume", "create", data])
    try Tree(data).write("file", "unchanged")
    try Tree(data).link("file", as: "link")
    try tool("btrfs", ["-q", "subvolume", "snapshot", "-r", data, frozen])
    try world.settle()
    try world.snapshot(of: [frozen])
    try tool("btrfs", ["-q", "subvolume", "delete", frozen])
    try Tree(data).write("new", "new")
    try tool("btrfs", ["-q", "subvolume", "snapshot", "-r", data, frozen])
    try world.settle()
    let answer = try world.snapshot(of: [frozen])
    try world.expectFaithful(answer, frozen)
    #expect(answer.bytesRead == 3 && answer.filesLinked == 2)
    // Two subvolumes have the same inode numbers, and are not to be joined.
    let both = try world.snapshot(of: [disk.tree.root])
    #expect(try world.tree(of: both, data).linkCount("file") == 2)
    #expect(try world.tree(of: both, frozen).linkCount("file") >= 2)
    #expect(
      try world.tree(of: both, data).inode("file") != world.tree(of: both, frozen).inode("file"))
    let target = world.directory.path / "restored"
    #expect(try world.treering(["restore", ByteString(both.snapshot), "--to", target]).status == 0)
    #expect(try Tree(target / data).linkCount("file") == 2)
    #expect(try Tree(target / frozen).linkCount("file") == 2)
  }

  @Test("most entries of a source are gone")
  func gone() throws {
    let world = try world()
    try world.snapshot()
    for index in 0..<15 { try world.source.remove(ByteString("file\(index)")) }
    try world.snapshot()
    for index in 15..<26 { try world.source.remove(ByteString("file\(index)")) }
    try expectRefused(world, "are gone")
    try world.snapshot(["--gone-limit", "90%"])
    try world.snapshot()
  }

  @Test("what is moved within the source, and what is excluded from now on, is not gone")
  func movedIsNotGone() throws {
    let world = try world()
    try world.snapshot()
    try world.source.makeDirectory("new")
    for index in 0..<30 {
      try world.source.rename(ByteString("file\(index)"), to: ByteString("new/file\(index)"))
    }
    try world.snapshot()
    let answer = try world.snapshot(["--exclude", "new"])
    #expect(answer.excluded == 1)
    try world.snapshot()
    #expect(try world.snapshot(["--exclude", "file*"]).excluded == 30)
  }

  /// Makes `app` with 20 files, and puts a changed copy of it in its place; the original is at `away` then.
  private func replaceApp(_ world: World, away: ByteString) throws {
    let source = world.source
    try source.makeDirectory("app")
    for index in 0..<20 { try source.write(ByteString("app/file\(index)"), "content \(index)") }
    try world.settle()
    try world.snapshot()
    try tool("mv", [source.root / "app", away])
    try tool("cp", ["-a", away, source.root / "app"])
    try source.write("app/file1", "other")
    try world.settle()
  }

  @Test("a directory that comes back in the place of another is compared with that one by its names")
  func directoryComesBack() throws {
    let world = try World()
    let away = world.directory.path / "away"
    try replaceApp(world, away: away)
    try world.snapshot()
    try tool("mv", [world.source.root / "app", world.directory.path / "other"])
    try tool("mv", [away, world.source.root / "app"])
    try world.expectFaithful(try world.snapshot())
    // What it lacks is gone all the same.
    try tool("mv", [world.source.root / "app", away])
    try tool("mv", [world.directory.path / "other", world.source.root / "app"])
    for index in 2..<20 { try world.source.remove(ByteString("app/file\(index)")) }
    try expectRefused(world, "18 of the 22 entries")
  }

  @Test("a snapshot that came back by a push, without inode numbers, is compared by its names")
  func afterPush() throws {
    let world = try World()
    for index in 0..<20 { try world.source.write(ByteString("file\(index)"), "content \(index)") }
    let other = world.directory.path / "other"
    #expect(try world.treering(["init", other], inRepository: false).status == 0)
    try world.settle()
    try world.snapshot()
    try world.source.write("file7", "changed")
    // Another name, by another second.
    try tool("sleep", ["1"])
    let pushed = try world.treering(["snapshot", world.source.root, "-r", other], inRepository: false)
    #expect(pushed.status == 0, "\(pushed.errorText)")
    let push = try world.treering(["push", world.repository.root, "-r", other], inRepository: false)
    #expect(push.status == 0, "\(push.errorText)")
    try world.expectFaithful(try world.snapshot())
  }

  @Test("what is moved to another source of the run is not gone from where it was", arguments: [1, 2])
  func movedToAnotherSource(namesPerFile: Int) throws {
    let world = try world()
    let (source, other) = (world.source, try Tree(making: world.directory.path / "another"))
    try other.makeDirectory("sub")
    try other.write("kept", "x")
    if namesPerFile == 2 {
      for index in 0..<30 { try source.link(ByteString("file\(index)"), as: ByteString("link\(index)")) }
    }
    let sources = [source.root, other.root]
    try world.settle()
    try world.snapshot(of: sources)
    for name in try source.names() { try tool("mv", [source.root / name, other.root / "sub"]) }
    let moved = try world.snapshot(of: sources)
    try world.expectFaithful(moved, other.root)
    #expect(try world.tree(of: moved).names() == [])
    // And what leaves both is gone.
    try tool("mv", [other.root / "sub", world.directory.path / "sub"])
    let refused = try world.snapshot(of: sources, status: 1)
    #expect(refused.warningsNamed.map(\.message).contains { $0.contains("are gone") }, "\(refused.warningsNamed)")
  }

  @Test("what is deleted in a directory that got another name is gone")
  func renamedAndEmptied() throws {
    let world = try World()
    try world.source.makeDirectory("app")
    for index in 0..<20 { try world.source.write(ByteString("app/file\(index)"), "content \(index)") }
    try world.settle()
    try world.snapshot()
    try world.source.rename("app", to: "renamed")
    for index in 0..<15 { try world.source.remove(ByteString("renamed/file\(index)")) }
    try expectRefused(world, "15 of the 22 entries")
  }

  @Test("most files have another content: published, and rotation is held until it is released")
  func changed() throws {
    let world = try world()
    try world.snapshot()
    for index in 0..<16 { try world.source.write(ByteString("file\(index)"), "encrypted") }
    try world.settle()
    let answer = try world.snapshot(status: 1)
    try world.expectFaithful(answer)
    #expect(answer.outcome == "warnings")
    #expect(answer.warningsNamed.map(\.message).contains { $0.contains("treering release") })
    let listed = try world.treering(["list"])
    #expect(
      listed.errorText.contains("run: treering release --repository \(world.repository.root)"), "\(listed.errorText)")
    // Neither a policy nor the operator's word makes a snapshot of before expire now, and the policy is not kept.
    try world.settle()
    try world.snapshot()
    let before = try world.snapshotNames()
    for (arguments, words) in [
      (["rotate", "--keep", "daily=1"], "nothing expires"), (["delete", "--yes", before[0]], "nothing is deleted"),
    ] as [([ByteString], String)] {
      let refused = try world.treering(arguments)
      #expect(
        refused.status == 4 && refused.errorText.contains("\(words): rotation is held"), "\(refused.errorText)")
      #expect(refused.errorLines.count == 1, "\(refused.errorText)")
    }
    #expect(try world.snapshotNames() == before)
    #expect(try world.treering(["list"]).outputText.contains("hourly.0"))
    #expect(try world.treering(["status"]).errorText.contains("ended with status 4: rotation is held"))
    #expect(try world.treering(["release"]).outputText.hasPrefix("rotation goes on\n\(before[0]) stays held"))
    #expect(try world.treering(["release"]).outputText.hasPrefix("rotation was not held\n\(before[0]) stays held"))
    #expect(!(try world.treering(["list"]).errorText.contains("rotation")))
    // chmod is no change of content, and what is accepted holds nothing.
    for index in 0..<30 { try world.source.setMode(ByteString("file\(index)"), 0o640) }
    try world.settle()
    try world.snapshot()
    for index in 0..<30 { try world.source.write(ByteString("file\(index)"), "again") }
    try world.snapshot(["--accept-changes"])
    #expect(!(try world.treering(["list"]).errorText.contains("rotation")))
  }

  @Test("the last snapshot before an attack stays, although rotation is released, until it is released itself")
  func lastClean() throws {
    let world = try world()
    try world.snapshot()
    let clean = try world.snapshot().snapshot
    func encrypt(_ count: Int, _ text: String) throws {
      for index in 0..<count { try world.source.write(ByteString("file\(index)"), text) }
      try world.settle()
    }
    try encrypt(16, "encrypted")
    try world.snapshot(status: 1)
    // This one has no warnings, so retention takes it for good.
    try encrypt(1, "encrypted later")
    let newest = try world.snapshot().snapshot
    let released = try world.treering(["release"])
    #expect(
      released.outputText == "rotation goes on\n\(clean) stays held, as the last before a suspect change: "
        + "16 of 30 files of \(world.source.root) have another content; if that is right, let it expire with: "
        + "treering release \(clean) --repository \(world.repository.root)\n")
    let document = try world.treering(["release", "--json"])
    #expect(document.outputText.contains("\"still_held\" : [\n    \"\(clean)\"\n  ]"), "\(document.outputText)")
    let rotate: [ByteString] = ["rotate", "--keep-last", "1"]
    #expect(try world.treering(rotate).status == 0)
    #expect(try world.snapshotNames().map(\.text) == [clean, newest])
    #expect(try world.treering(["list"]).outputText.contains("the last before a suspect change: 16 of 30 files"))
    #expect(try world.treering(["release", ByteString(clean)]).outputText == "released \(clean)\n")
    #expect(try world.treering(["release"]).outputText == "rotation was not held\n")
    #expect(try world.treering(rotate).status == 0)
    #expect(try world.snapshotNames().map(\.text) == [newest])
    // The operator's own hold keeps its reason.
    #expect(try world.treering(["hold", "latest", "--reason", "mine"]).status == 0)
    try encrypt(30, "encrypted again")
    try world.snapshot(status: 1)
    #expect(try world.treering(["release"]).outputText == "rotation goes on\n")
    #expect(try world.treering(["list"]).outputText.contains(" mine "))
  }

  @Test("limits that are none are refused", arguments: ["", "x", "101%", "-1"])
  func oddLimits(limit: String) throws {
    let world = try world(files: 1)
    for option in ["--gone-limit", "--changed-limit"] as [ByteString] {
      let result = try world.treering(
        ["snapshot", world.source.root, option + "=" + ByteString(limit)])
      #expect(result.status == 2)
    }
    #expect(try world.snapshotNames() == [])
  }
}

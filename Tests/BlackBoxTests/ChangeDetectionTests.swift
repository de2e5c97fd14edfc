import TestSupport
import Testing

/// Whatever is done to a source is in the next snapshot, and in no earlier one.
@Suite("Change detection", .waits)
struct ChangeDetectionTests {
  /// A source with one old file, published.
  private func published() throws -> (World, SnapshotAnswer) {
    let world = try World()
    try world.source.write("file", "before")
    try world.source.write("other", "xxxxxx")
    try world.source.makeDirectory("directory")
    try world.source.write("directory/file", "inside")
    try world.settle()
    let snapshot = try world.snapshot()
    return (world, snapshot)
  }

  /// Requires that the next snapshot has the change, as a new inode, and the first what it had.
  private func expectNoticed(
    _ world: World, _ first: SnapshotAnswer, _ path: ByteString = "file",
    content: String = "before", at location: SourceLocation = #_sourceLocation
  ) throws {
    let second = try world.snapshot(at: location)
    try world.expectFaithful(second, at: location)
    let before = world.tree(of: first)
    let after = world.tree(of: second)
    #expect(try before.text("file") == content, sourceLocation: location)
    if path == "file" {
      #expect(try before.inode(path) != after.inode(path), sourceLocation: location)
    }
    #expect(try before.inode("other") == after.inode("other"), sourceLocation: location)
  }

  @Test("a rewrite of the same size right after the snapshot")
  func sameSizeRewrite() throws {
    let world = try World()
    try world.source.write("file", "before")
    try world.source.write("other", "xxxxxx")
    // Not settled: the snapshot reads it within the tick in which it was written.
    let first = try world.snapshot()
    try world.source.overwrite("file", bytes: Array("after!".utf8))
    try expectNoticed(world, first)
  }

  @Test("new content with the old modification time")
  func oldTimeRestored() throws {
    let (world, first) = try published()
    try world.source.write("reference", "")
    try world.source.copyTime(of: "file", to: "reference")
    try world.source.overwrite("file", bytes: Array("after!".utf8))
    try world.source.copyTime(of: "reference", to: "file")
    try expectNoticed(world, first)
  }

  @Test("another file of the same size and time moved into its place")
  func replacedByAnother() throws {
    let (world, first) = try published()
    try world.source.write("new", "after!")
    try world.source.copyTime(of: "file", to: "new")
    try world.source.rename("new", to: "file")
    try expectNoticed(world, first)
  }

  @Test("two files that swapped their names")
  func swapped() throws {
    let world = try World()
    for (name, text) in [("a", "11111"), ("b", "22222")] {
      try world.source.write(ByteString(name), text)
      try world.source.setTime(ByteString(name), seconds: 1_600_000_000)
    }
    try world.settle()
    let first = try world.snapshot()
    try world.source.rename("a", to: "c")
    try world.source.rename("b", to: "a")
    try world.source.rename("c", to: "b")
    let second = try world.snapshot()
    try world.expectFaithful(second)
    #expect(try world.tree(of: first).text("a") == "11111")
    #expect(try world.tree(of: second).text("a") == "22222")
  }

  @Test("two directories that swapped their names, with files of equal size and time inside")
  func swappedDirectories() throws {
    let world = try World()
    for (name, text) in [("a", "11111"), ("b", "22222")] {
      try world.source.makeDirectory(ByteString(name))
      try world.source.write(ByteString(name) / "file", text)
      try world.source.setTime(ByteString(name) / "file", seconds: 1_600_000_000)
      try world.source.setTime(ByteString(name), seconds: 1_600_000_000)
    }
    try world.settle()
    try world.snapshot()
    try world.source.rename("a", to: "c")
    try world.source.rename("b", to: "a")
    try world.source.rename("c", to: "b")
    let second = try world.snapshot()
    try world.expectFaithful(second)
  }

  @Test("metadata: mode, owner, time, ACL, attributes; content is not stored again when it is not new")
  func metadata() throws {
    let changes: [(Tree) throws -> Void] = [
      { try $0.setMode("file", 0o600) },
      { try $0.setMode("file", 0o4711) },
      { try $0.setOwner("file", user: 1_001, group: 1_002) },
      { try $0.setTime("file", seconds: 1_600_000_000, nanoseconds: 1) },
      { try $0.setTime("file", seconds: 1_600_000_000, nanoseconds: 2) },
      { try $0.setAttribute("file", "user.note", [1]) },
      { try $0.setAttribute("file", "user.note", [2]) },
      { try $0.removeAttribute("file", "user.note") },
      { try $0.setACL("file", "u:1234:rw") },
      { try $0.setACL("file", "u:1234:r") },
      { try tool("setfacl", ["-b", $0.root / "file"]) },
    ]
    var (world, last) = try published()
    for change in changes {
      try change(world.source)
      try world.settle()
      let next = try world.snapshot()
      try world.expectFaithful(next)
      #expect(try world.tree(of: last).inode("file") != world.tree(of: next).inode("file"))
      #expect(next.filesLinked == 2)
      last = next
    }
  }

  @Test("metadata of a directory, whose files are linked all the same")
  func directoryMetadata() throws {
    let (world, first) = try published()
    try world.source.setMode("directory", 0o2750)
    try world.source.setOwner("directory", user: 3, group: 4)
    try world.source.setACL("directory", "u:1234:rwx,d:u:1234:rwx")
    try world.source.setAttribute("directory", "user.note", [1])
    try world.source.setTime("directory", seconds: 1_600_000_000, nanoseconds: 5)
    try world.settle()
    let second = try world.snapshot()
    try world.expectFaithful(second)
    #expect(second.filesLinked == 3)
    try world.source.removeAttribute("directory", "user.note")
    try tool("setfacl", ["-b", world.source.root / "directory"])
    try world.source.setTime("directory", seconds: 1_600_000_000, nanoseconds: 5)
    try world.expectFaithful(try world.snapshot())
    #expect(try world.tree(of: first).text("directory/file") == "inside")
  }

  @Test("only the change time is new: the file is read and linked, not copied")
  func onlyTheChangeTime() throws {
    let (world, first) = try published()
    try world.source.setMode("file", 0o600)
    try world.source.setMode("file", 0o644)
    try world.settle()
    let second = try world.snapshot()
    #expect((second.filesLinked, second.filesCopied) == (3, 0))
    #expect(second.bytesRead == 6)
    #expect(second.bytesCopied == 0)
    #expect(try world.tree(of: first).inode("file") == world.tree(of: second).inode("file"))
    // What was learnt is kept: nothing is read any more.
    #expect(try world.snapshot().bytesRead == 0)
  }

  /// The source is on a disk and the repository on a tmpfs, so that the end of the first snapshot does not
  /// clean the source's pages. Whatever else synchronizes that disk meanwhile hides the defect.
  @Test("a store through a mapping into a page that was dirty before the snapshot")
  func storeThroughMapping() throws {
    let script = """
      import mmap, os, shutil, subprocess, sys, tempfile, time
      program = sys.argv[1]
      source = tempfile.mkdtemp(prefix="treering-test-", dir="/var/tmp")
      repository = tempfile.mkdtemp(prefix="treering-test-", dir="/dev/shm")
      def snapshot():
          time.sleep(1.1)
          subprocess.run([program, "snapshot", source, "-r", repository], check=True)
          return open(repository + "/latest/localhost" + source + "/file", "rb").read()
      try:
          subprocess.run([program, "init", repository], check=True)
          with open(source + "/file", "wb") as file:
              file.write(b"before")
          memory = mmap.mmap(os.open(source + "/file", os.O_RDWR), 6)
          memory[:] = b"BEFORE"
          first = snapshot()
          memory[:] = b"after!"
          second = snapshot()
          assert (first, second) == (b"BEFORE", b"after!"), (first, second)
      finally:
          shutil.rmtree(source)
          shutil.rmtree(repository)
      """
    try tool("python3", ["-c", ByteString(script), try treeringBinary()])
  }

  /// A snapshot with another test than the default's.
  @discardableResult
  private func snapshot(_ world: World, by test: String) throws -> SnapshotAnswer {
    try world.treering(["snapshot", world.source.root, "--change-detection", ByteString(test), "--json"])
      .decoded()
  }

  @Test("by content every file is read, and linked if it is the same")
  func byContent() throws {
    let (world, first) = try published()
    let second = try snapshot(world, by: "content")
    try world.expectFaithful(second)
    #expect((second.filesLinked, second.filesCopied) == (3, 0))
    #expect(second.bytesRead == 18)
    try world.source.overwrite("file", bytes: Array("after!".utf8))
    let third = try snapshot(world, by: "content")
    try world.expectFaithful(third)
    #expect((third.filesLinked, third.filesCopied) == (2, 1))
    #expect(try world.tree(of: first).text("file") == "before")
  }

  @Test("by mtime a file with another inode is linked unread; what the default reads, it reads again")
  func byModificationTime() throws {
    let (world, first) = try published()
    try tool("cp", ["-p", world.source.root / "file", world.source.root / "copy"])
    try world.source.rename("copy", to: "file")
    try world.source.setMode("other", 0o600)
    try world.settle()
    let second = try snapshot(world, by: "mtime")
    try world.expectFaithful(second)
    #expect(second.bytesRead == 6)
    #expect((second.filesLinked, second.filesCopied) == (2, 1))
    #expect(try world.tree(of: first).inode("file") == world.tree(of: second).inode("file"))
    #expect(try world.tree(of: first).inode("other") != world.tree(of: second).inode("other"))

    // The weaker test misses what it says it misses, and the default finds it.
    try world.source.write("reference", "")
    try world.source.copyTime(of: "file", to: "reference")
    try world.source.overwrite("file", bytes: Array("after!".utf8))
    try world.source.copyTime(of: "reference", to: "file")
    try world.settle()
    let third = try snapshot(world, by: "mtime")
    #expect(try world.tree(of: third).text("file") == "before")
    let fourth = try world.snapshot()
    try world.expectFaithful(fourth)
    #expect(try world.tree(of: fourth).text("file") == "after!")
  }

  @Test("by mtime new hard links and other links' targets are noticed all the same")
  func linksByModificationTime() throws {
    let (world, _) = try published()
    try world.source.makeSymbolicLink("link", to: "old")
    try world.source.setTime("link", seconds: 1_600_000_000)
    try world.settle()
    try snapshot(world, by: "mtime")
    // The first name keeps its mtime, and so does the link that is made anew.
    try world.source.link("file", as: "zzz")
    try world.source.remove("link")
    try world.source.makeSymbolicLink("link", to: "new")
    try world.source.setTime("link", seconds: 1_600_000_000)
    try world.settle()
    try world.expectFaithful(try snapshot(world, by: "mtime"))
    try world.source.link("zzz", as: "directory/third")
    try world.settle()
    try world.expectFaithful(try snapshot(world, by: "mtime"))
    try world.source.remove("directory/third")
    try world.source.remove("zzz")
    try world.settle()
    try world.expectFaithful(try snapshot(world, by: "mtime"))
  }

  @Test("an unknown test is refused, and nothing is done")
  func unknownTest() throws {
    let (world, _) = try published()
    let result = try world.treering(["snapshot", world.source.root, "--change-detection", "size"])
    #expect(result.status == 2)
    #expect(result.errorText.contains("change-detection"))
    #expect(try world.snapshotNames().count == 1)
  }

  @Test("one kind in the place of another", arguments: ["file", "directory"])
  func anotherKind(path: ByteString) throws {
    let makers: [(Tree, ByteString) throws -> Void] = [
      { try $0.makeSymbolicLink($1, to: "other") },
      { try $0.makeSymbolicLink($1, to: "others") },
      { try $0.makeFIFO($1) },
      { try $0.makeSocket($1) },
      { try $0.makeDevice($1, isBlock: false, major: 1, minor: 3) },
      { try $0.makeDevice($1, isBlock: true, major: 1, minor: 3) },
      { try $0.makeDevice($1, isBlock: true, major: 1, minor: 4) },
      { try $0.makeDirectory($1) },
      { try $0.write($1, "a file again") },
    ]
    let (world, _) = try published()
    for maker in makers {
      try world.source.remove(path)
      try maker(world.source, path)
      try world.source.setTime(path, seconds: 1_600_000_000)
      try world.expectFaithful(try world.snapshot())
    }
  }

  @Test("an entry that is gone is gone, and one that came back is there")
  func goneAndBack() throws {
    let (world, first) = try published()
    try world.source.rename("directory", to: "elsewhere")
    try world.source.remove("file")
    let second = try world.snapshot()
    try world.expectFaithful(second)
    #expect(!world.tree(of: second).exists("file"))
    try world.source.rename("elsewhere", to: "directory")
    try world.source.write("file", "again")
    try world.expectFaithful(try world.snapshot())
    #expect(try world.tree(of: first).text("file") == "before")
  }

  @Test("hard links that are made, parted with equal content, and joined again")
  func hardLinks() throws {
    let (world, first) = try published()
    try world.source.link("file", as: "directory/linked")
    try world.settle()
    let joined = try world.snapshot()
    try world.expectFaithful(joined)
    #expect(try world.tree(of: joined).inode("file") == world.tree(of: first).inode("file"))

    // The copy is the same in everything but the inode.
    try tool(
      "cp", ["-p", world.source.root / "file", world.source.root / "copy"])
    try world.source.rename("copy", to: "directory/linked")
    try world.settle()
    try world.expectFaithful(try world.snapshot())

    try world.source.remove("directory/linked")
    try world.source.link("file", as: "directory/linked")
    try world.settle()
    try world.expectFaithful(try world.snapshot())
  }

  @Test("a file that is written to all the time is stored, and found out")
  func writtenToAllTheTime() throws {
    let world = try World()
    try world.source.write("file", String(repeating: "0", count: 200_000))
    let writer = try RunningCommand(
      "sh",
      [
        "-c",
        "i=0; while :; do i=$((i+1)); printf %0200000d $i | dd of=file conv=notrunc bs=200000 2>&-; done",
      ], in: world.source.root)
    let result = try world.treering(["snapshot", world.source.root, "--json"])
    let answer: SnapshotAnswer = try result.decoded()
    // Either it held still once, or the operator was told.
    #expect(result.status == (answer.warnings == 0 ? 0 : 1))
    #expect(answer.warningsNamed.allSatisfy { $0.path.hasSuffix("/file") })
    #expect(try world.tree(of: answer).size("file") == 200_000)
    writer.signal(9)
    _ = try writer.wait()
    try tool("sync", [world.source.root / "file"])
    let last = try world.snapshot()
    try world.expectFaithful(last)
    try world.expectFaithful(try world.snapshot())
  }
}

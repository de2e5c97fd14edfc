import TestSupport
import Testing

/// What must be refused, reported or left alone, lest a snapshot be lost or falsified in silence.
@Suite("Nothing by half", .waits)
struct NothingByHalfTests {
  @Test("a restore into the repository is refused, by whatever path", arguments: ["", "/localhost", "/new"])
  func restoreIntoTheRepository(below: String) throws {
    let world = try World()
    try world.source.write("a", "one")
    let first = try world.snapshot()
    try world.source.write("a", "two")
    let second = try world.snapshot()
    let before = try world.fingerprints()
    let inside = world.repository.root / first.name + ByteString(below)
    try tool("ln", ["-s", world.repository.root, world.directory.path / "alias"])
    let aliased = world.directory.path / "alias" / first.name + ByteString(below)
    for destination in [inside, aliased] {
      let result = try world.treering(
        ["restore", second.name, "--to", destination, "--overwrite", "always"])
      #expect(result.status == 2)
      #expect(result.errorText.contains("is in a repository"))
    }
    try world.expectUnchanged(before)
  }

  @Test("half a snapshot is reported, and never stands for the newest")
  func halves() throws {
    let world = try World()
    try world.source.write("a", "one")
    _ = try world.snapshot()
    let newest = try world.snapshot()
    let catalog = ".treering/catalogs" / (newest.name + ".catalog")
    let good = try world.repository.read(catalog)
    for damage in [nil, Array(good.dropLast(3))] as [[UInt8]?] {
      try world.repository.remove(catalog)
      if let damage { try world.repository.write(catalog, bytes: damage) }
      for command in [["list"], ["verify"], ["verify", "latest"]] as [[ByteString]] {
        #expect(try world.treering(command).status == 6, "\(command)")
      }
      let restored = try world.treering(
        ["restore", "latest", "--to", world.directory.path / "to"])
      #expect(restored.status == 6)
      #expect(restored.errorText.contains(newest.snapshot))
    }
    try world.repository.write(catalog, bytes: good)
    try world.repository.rename(newest.name, to: "elsewhere")
    #expect(try world.treering(["list"]).status == 6)
    #expect(try world.treering(["verify"]).status == 6)
  }

  @Test("a damaged copy replaces no good file")
  func damagedReplacesNothing() throws {
    let world = try World()
    try world.source.write("a", "good")
    let snapshot = try world.snapshot()
    let to = world.directory.path / "to"
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0)
    let restored = Tree(to / world.source.root)
    try restored.setTime("a", seconds: 5)
    try world.tree(of: snapshot).overwrite("a", bytes: Array("evil".utf8))
    let result = try world.treering(["restore", "latest", "--to", to, "--overwrite", "always"])
    #expect(result.status == 6)
    #expect(try restored.text("a") == "good")
    #expect(try restored.names() == ["a"])
  }

  @Test("one file that cannot be replaced does not end a restore, and leaves nothing behind")
  func oneFileThatCannotBeReplaced() throws {
    let world = try World()
    for name in ["a", "b", "c"] as [ByteString] { try world.source.write(name, "new") }
    _ = try world.snapshot()
    let to = world.directory.path / "to"
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0)
    let restored = Tree(to / world.source.root)
    for name in ["a", "b", "c"] as [ByteString] { try restored.write(name, "old") }
    try tool("chattr", ["+i", restored.root / "b"])
    defer { _ = try? tool("chattr", ["-i", restored.root / "b"]) }
    let result = try world.treering(["restore", "latest", "--to", to, "--overwrite", "always"])
    #expect(result.status == 1)
    #expect(try restored.text("a") == "new" && restored.text("c") == "new")
    #expect(try restored.text("b") == "old")
    #expect(try restored.names() == ["a", "b", "c"])
  }

  @Test("everything is restored for the path /, and for the label")
  func everythingByRoot() throws {
    let world = try World()
    try world.source.write("a", "one")
    _ = try world.snapshot()
    for path in ["/", "localhost"] as [ByteString] {
      let to = world.directory.path / ("to-" + ByteString(path.bytes.filter { $0 != 0x2F }))
      #expect(try world.treering(["restore", "latest", path, "--to", to]).status == 0)
      #expect(try Tree(to / world.source.root).text("a") == "one")
    }
  }

  @Test("an answer that cannot be written is a failure")
  func fullOutput() throws {
    let world = try World()
    try world.source.write("a", "one")
    _ = try world.snapshot()
    for option in ["--json", "--verbose"] {
      let result = try runCommand(
        "sh",
        ["-c", "exec \"$0\" list -r \"$1\" \(ByteString(option)) > /dev/full", treeringBinary(), world.repository.root])
      #expect(result.status == 3)
      #expect(result.errorText.contains("cannot write the answer"))
    }
  }

  @Test("an attribute that the repository refuses to root costs a copy once and not every run")
  func refusedAttributes() throws {
    let world = try World()
    try world.source.write("a", "content")
    // ext4 keeps all attributes of a file in one block; tmpfs gives a value of its own size.
    let other = try Tree(making: "/dev/shm" / ByteString(world.directory.path.bytes.map { $0 == 0x2F ? 0x5F : $0 }))
    defer { _ = try? tool("rm", ["-rf", other.root]) }
    try other.write("big", "content")
    try other.setAttribute("big", "user.large", [UInt8](repeating: 7, count: 9000))
    try world.settle()
    func copied() throws -> UInt64 {
      let result = try world.treering(["snapshot", other.root, "--json"])
      let answer: SnapshotAnswer = try result.decoded()
      #expect(answer.catalogOnly <= 1)
      return UInt64(answer.filesCopied)
    }
    #expect(try copied() == 1)
    #expect(try copied() == 0)
    #expect(try copied() == 0)
  }

  @Test("a publication that failed stays withdrawn, even if the catalog could not be moved back")
  func withdrawn() throws {
    let world = try World()
    try world.source.write("a", "one")
    let first = try world.snapshot()
    try world.source.write("a", "two")
    // The second fsync(2) is that of the repository; the sixth rename is that of the catalog, back to `pending`.
    let failed = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,renameat2", "-e", "inject=fsync:error=EIO:when=2", "-e",
        "inject=renameat2:error=EIO:when=6", try treeringBinary(), "snapshot", world.source.root, "-r",
        world.repository.root,
      ])
    #expect(failed.status == 3 && failed.errorText.contains("cannot publish the snapshot"), "\(failed.errorText)")
    #expect(try world.snapshotNames() == [first.name])
    try world.expectFaithful(try world.snapshot())
  }
}

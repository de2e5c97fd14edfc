import TestSupport
import Testing

@Suite("restore", .waits)
struct RestoreTests {
  private func answer(
    _ world: World, _ arguments: [ByteString], status: Int32 = 0,
    at location: SourceLocation = #_sourceLocation
  ) throws -> RestoreAnswer {
    let result = try world.treering(["restore"] + arguments + ["--json"], at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  /// A destination that does not exist yet.
  private func destination(_ world: World) -> Tree { Tree(world.directory.path / "to") }

  private func makeDestination(_ world: World) throws -> Tree {
    try Tree(making: destination(world).root)
  }

  @Test("everything comes back as it was, into a new directory", arguments: [1, 4])
  func everything(threads: Int) throws {
    let world = try World()
    try world.source.makeEverything()
    let snapshot = try world.snapshot()
    try world.source.remove("large")
    let to = destination(world)
    let answer = try answer(
      world, ["latest", "--to", to.root, "--threads", "\(threads)"])
    #expect(answer.snapshot == snapshot.snapshot)
    #expect(answer.to == to.root.text)
    #expect(answer.files == snapshot.files)
    #expect((answer.left, answer.damaged, answer.warnings) == (0, 0, 0))
    #expect(answer.dryRun == false)
    let restored = to.root / world.source.root
    #expect(try differences(world.tree(of: snapshot).root, restored) == [])
    // Nothing that is restored may share an inode with the repository.
    let stored = Set(try TreeListing(world.repository.root).inodes.values)
    #expect(stored.isDisjoint(with: try TreeListing(to.root).inodes.values))
    #expect(try Tree(restored).blocks("only-a-hole") == 0)
    #expect(try Tree(restored).blocks("hole-in-the-middle") < 64)
    #expect(try Tree(restored).linkCount("linked") == 4)
    #expect(try Tree(to.root).names() == [ByteString(world.source.root.bytes.dropFirst().prefix { $0 != 0x2F })])
  }

  @Test("an existing directory keeps its own metadata, and what was in it")
  func intoAnExistingDirectory() throws {
    let world = try World()
    try world.source.makeEverything()
    let snapshot = try world.snapshot()
    let to = try makeDestination(world)
    try to.write("bystander", "mine")
    try to.setMode("", 0o710)
    try to.setTime("bystander", seconds: 5)
    let result = try world.treering(["restore", snapshot.name, "--to", to.root])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try differences(world.tree(of: snapshot).root, to.root / world.source.root) == [])
    #expect(try to.text("bystander") == "mine")
    #expect(try TreeListing(to.root).entries[""]?.mode == "710")
  }

  @Test("one file of many, one directory of many, and nothing else")
  func singlePaths() throws {
    let world = try World()
    try world.source.makeEverything()
    try world.snapshot()
    let root = world.source.root
    let to = destination(world)
    let file = try answer(world, ["latest", root / "text", "--to", to.root])
    #expect(file.files == 1)
    let restored = Tree(to.root / root)
    #expect(try restored.names() == ["text"])
    let expected = try TreeListing(root).entries
    #expect(try TreeListing(restored.root).entries["text"] == expected["text"])

    let more = try answer(
      world, ["latest", root / "a", "localhost" / root / "capable", "--to", to.root])
    #expect(more.left == 0)
    #expect(try restored.names() == ["a", "capable", "text"])
    #expect(try rsyncDifferences(root / "a", restored.root / "a") == [])
    #expect(try attributeDump(root / "a") == attributeDump(restored.root / "a"))
  }

  @Test("an older snapshot gives what was then")
  func olderSnapshot() throws {
    let world = try World()
    try world.source.write("file", "then")
    let first = try world.snapshot()
    try world.source.write("file", "now")
    try world.source.write("new", "text")
    try world.snapshot()
    let to = destination(world)
    _ = try answer(world, [first.name, "--to", to.root])
    #expect(try Tree(to.root / world.source.root).names() == ["file"])
    #expect(try to.text(world.source.root / "file") == "then")
  }

  /// A destination that holds other things under the snapshot's names.
  private func occupied() throws -> (World, Tree, Tree) {
    let world = try World()
    try world.source.write("same", "text")
    try world.source.write("other", "good")
    try world.source.makeDirectory("directory")
    try world.source.write("directory/inside", "good")
    try world.source.makeSymbolicLink("link", to: "good")
    try world.source.write("free", "good")
    for name: ByteString in ["same", "other"] {
      try world.source.setTime(name, seconds: 1_600_000_000)
    }
    try world.snapshot()
    let to = destination(world)
    _ = try answer(world, ["latest", "--to", to.root])
    let tree = Tree(to.root / world.source.root)
    try tree.write("other", "bad!!")
    try tree.remove("directory")
    try tree.write("directory", "a file where a directory should be")
    try tree.remove("link")
    try tree.makeSymbolicLink("link", to: "bad")
    try tree.remove("free")
    try tree.write("extra", "mine")
    return (world, to, tree)
  }

  @Test("what exists is left and reported, and the rest is restored")
  func neverOverwrites() throws {
    let (world, to, tree) = try occupied()
    let inode = try tree.inode("same")
    let result = try world.treering(["restore", "latest", "--to", to.root])
    #expect(result.status == 1)
    for name in ["other", "directory", "link"] {
      #expect(result.errorText.contains("\(tree.root)/\(name)"), "\(result.errorText)")
    }
    #expect(!result.errorText.contains("\(tree.root)/same"), "it is right already")
    #expect(try tree.text("other") == "bad!!")
    #expect(try tree.text("directory") == "a file where a directory should be")
    #expect(try TreeListing(tree.root).entries["link"]?.target == "bad")
    #expect(try tree.text("free") == "good")
    #expect(try tree.inode("same") == inode)
    #expect(try tree.text("extra") == "mine")
    #expect(try answer(world, ["latest", "--to", to.root], status: 1).left == 4, "the directory too")
  }

  @Test("what differs is replaced on request, and what does not keeps its inode")
  func overwritesIfChanged() throws {
    let (world, to, tree) = try occupied()
    let inode = try tree.inode("same")
    let answer = try answer(world, ["latest", "--to", to.root, "--overwrite", "if-changed"])
    #expect(answer.left == 0)
    #expect(try tree.inode("same") == inode)
    #expect(try tree.text("extra") == "mine")
    try tree.remove("extra")
    try tree.copyTime(of: "free", to: "free")
    #expect(try contentHashes(tree.root) == contentHashes(world.source.root))
    #expect(try TreeListing(tree.root).entries["link"]?.target == "good")
    #expect(try tree.text("directory/inside") == "good")
  }

  @Test("everything is replaced on request, by new inodes")
  func overwritesAlways() throws {
    let (world, to, tree) = try occupied()
    // Another name of a file that is replaced is not written to.
    try tree.link("same", as: "keep")
    let inode = try tree.inode("same")
    let answer = try answer(world, ["latest", "--to", to.root, "--overwrite", "always"])
    #expect(answer.left == 0)
    #expect(try tree.inode("same") != inode)
    #expect(try tree.inode("keep") == inode)
    #expect(try contentHashes(tree.root)["other"] == contentHashes(world.source.root)["other"])
    #expect(try tree.names().filter { $0.hasPrefix(".treering") } == [])
  }

  @Test("a directory in the place of a file stays, whatever was asked for")
  func directoryInThePlaceOfAFile() throws {
    let (world, to, tree) = try occupied()
    try tree.remove("same")
    try tree.makeDirectory("same")
    try tree.write("same/precious", "mine")
    let result = try world.treering(
      ["restore", "latest", "--to", to.root, "--overwrite", "always"])
    #expect(result.status == 1)
    #expect(result.errorText.contains("\(tree.root)/same"))
    #expect(try tree.text("same/precious") == "mine")
    #expect(try tree.text("other") == "good")
  }

  @Test("a dry run says the same and changes nothing")
  func dryRun() throws {
    let (world, to, _) = try occupied()
    let before = try Fingerprint(to.root)
    for mode: ByteString in ["never", "if-changed", "always"] {
      let options: [ByteString] = ["latest", "--to", to.root, "--overwrite", mode, "--dry-run"]
      let answer = try answer(world, options, status: mode == "never" ? 1 : 0)
      #expect(answer.dryRun)
      #expect(answer.left == (mode == "never" ? 4 : 0))
    }
    #expect(before.differences(to: try Fingerprint(to.root)) == [])
    let absent = world.directory.path / "absent"
    let answer = try answer(world, ["latest", "--to", absent, "--dry-run"])
    #expect(answer.files == 5)
    #expect(!Tree(absent).exists(""))
  }

  @Test("an existing link group is rebuilt in full when it is replaced")
  func replacesHardLinks() throws {
    let world = try World()
    try world.source.makeEverything()
    let snapshot = try world.snapshot()
    let to = destination(world)
    _ = try answer(world, ["latest", "--to", to.root])
    _ = try answer(world, ["latest", "--to", to.root, "--overwrite", "always"])
    #expect(try differences(world.tree(of: snapshot).root, to.root / world.source.root) == [])
  }

  @Test("a restore that was cut short is completed with its hard links")
  func completesHardLinks() throws {
    let world = try World()
    try world.source.write("one", "linked")
    try world.source.link("one", as: "two")
    try world.source.makeDirectory("d")
    try world.source.link("one", as: "d/three")
    let snapshot = try world.snapshot()
    let to = destination(world)
    _ = try answer(world, ["latest", "--to", to.root])
    let tree = Tree(to.root / world.source.root)
    try tree.remove("two")
    try tool("cp", ["-a", tree.root / "one", tree.root / "copy"])
    try tool("mv", [tree.root / "copy", tree.root / "d/three"])
    _ = try answer(world, ["latest", "--to", to.root, "--overwrite", "if-changed"])
    #expect(try differences(world.tree(of: snapshot).root, tree.root) == [])
    #expect(try tree.inode("two") == tree.inode("one"))
    #expect(try tree.inode("d/three") == tree.inode("one"))
  }

  @Test(
    "symbolic links that lie in the destination never lead outside",
    arguments: [
      "never", "if-changed", "always",
    ])
  func staysInside(overwrite: String) throws {
    let world = try World()
    try world.source.makeDirectory("d")
    try world.source.makeDirectory("d/e")
    try world.source.write("d/e/file", "from the snapshot")
    try world.source.write("file", "from the snapshot")
    try world.snapshot()
    let outside = try Tree(making: world.directory.path / "outside")
    try outside.makeDirectory("e")
    try outside.write("file", "precious")
    try outside.write("e/file", "precious")
    let before = try Fingerprint(outside.root)
    let to = try makeDestination(world)
    try tool("mkdir", ["-p", to.root / world.source.root])
    let tree = Tree(to.root / world.source.root)
    try tree.makeSymbolicLink("d", to: outside.root)
    try tree.makeSymbolicLink("file", to: outside.root / "file")
    let options: [ByteString] = [
      "restore", "latest", "--to", to.root, "--overwrite", ByteString(overwrite),
    ]
    // A link is never replaced by a directory, and nothing is restored beside it.
    try world.expectRefusal(options, status: 4, naming: "\(tree.root)/d is a symbolic link to")
    #expect(try TreeListing(tree.root).entries["d"]?.kind == "l")
    #expect(try tree.text("file") == "precious")
    try tree.remove("d")
    let result = try world.treering(options)
    #expect(result.status == (overwrite == "never" ? 1 : 0), "\(result.errorText)")
    #expect(before.differences(to: try Fingerprint(outside.root)) == [])
    if overwrite != "never" { #expect(try tree.text("file") == "from the snapshot") }
    // The same further up: a directory above the source.
    let first = ByteString(world.source.root.bytes.dropFirst().prefix { $0 != 0x2F })
    try to.remove(first)
    try to.makeSymbolicLink(first, to: outside.root)
    try world.treering(options)
    #expect(before.differences(to: try Fingerprint(outside.root)) == [])
  }

  @Test("damaged bytes are restored as they are, named, and give status 6")
  func damagedContent() throws {
    let world = try World()
    try world.source.write("bad", "0123456789")
    try world.source.write("good", "0123456789")
    let snapshot = try world.snapshot()
    let stored = world.tree(of: snapshot)
    try stored.overwrite("bad", at: 5, bytes: [0x7E])
    let to = destination(world)
    let answer = try answer(world, ["latest", "--to", to.root], status: 6)
    #expect(answer.damaged == 1)
    #expect(try to.text(world.source.root / "good") == "0123456789")
    let result = try world.treering(
      ["restore", "latest", "--to", to.root, "--overwrite", "always"])
    #expect(result.status == 6)
    #expect(result.errorText.contains("/bad"))
    #expect(!result.errorText.contains("/good"))
  }

  @Test("destinations that are none, and a damaged catalog")
  func refusals() throws {
    let world = try World()
    try world.source.write("file", "text")
    let snapshot = try world.snapshot()
    for to in [
      world.source.root / "file", world.directory.path / "no/such", world.repository.root,
    ] {
      try world.expectRefusal(["restore", "latest", "--to", to], status: 2, naming: to.text)
    }
    try world.expectRefusal(
      ["restore", "latest", world.source.root / "../x", "--to", world.directory.path / "to"],
      status: 2)
    let inside = world.repository.root / snapshot.name
    try world.expectRefusal(["restore", "latest", "--to", inside], status: 2, naming: inside.text)
    let control = world.repository.root / ".treering"
    try world.expectRefusal(["restore", "latest", "--to", control], status: 2)
    try world.repository.truncate(".treering/catalogs" / (snapshot.name + ".catalog"), to: 100)
    try world.expectRefusal(
      ["restore", snapshot.name, "--to", world.directory.path / "to"], status: 6,
      naming: snapshot.snapshot)
  }
}

import TestSupport
import Testing

/// What the operator leaves out is left out, counted and named, and nothing else is.
@Suite("Excludes", .waits) struct ExcludeTests {
  private func world() throws -> World {
    let world = try World()
    for directory in ["src", "src/build", "cache", "home", "home/.cache"] as [ByteString] {
      try world.source.makeDirectory(directory)
    }
    for file in [
      "a.tmp", "a.txt", "src/b.tmp", "src/keep.tmp", "src/build/x.o", "src/y.c", "cache/data",
      "home/.cache/page", "home/letter",
    ] as [ByteString] { try world.source.write(file, "content of \(file)") }
    try world.settle()
    return world
  }

  /// All paths below the source in a snapshot.
  private func paths(_ world: World, _ answer: SnapshotAnswer) throws -> [String] {
    let tree = world.tree(of: answer).root
    let output = try tool("find", [tree, "-mindepth", "1", "-printf", "%P\n"])
    return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init).sorted()
  }

  @Test("patterns of the command line and of a file")
  func patterns() throws {
    let world = try world()
    let rules = Tree(world.directory.path)
    try rules.write("rules", "# comment\n*.tmp\n!keep.tmp\n/src/build/\n\n")
    let answer = try world.snapshot([
      "--exclude-from", rules.root / "rules", "--exclude", ".cache", "--exclude", "/letter",
    ])
    #expect(
      try paths(world, answer) == [
        "a.txt", "cache", "cache/data", "home", "home/letter", "src", "src/keep.tmp", "src/y.c",
      ])
    #expect(answer.excluded == 4)
    // The catalog has none of it, and a later snapshot without the patterns has all.
    #expect(try world.treering(["verify"]).status == 0)
    try world.expectFaithful(try world.snapshot())
  }

  @Test("--verbose names each with its rule")
  func verbose() throws {
    let world = try world()
    let rules = Tree(world.directory.path)
    try rules.write("rules", "\n*.tmp\n")
    let result = try world.treering([
      "snapshot", world.source.root, "-v", "--exclude-from", rules.root / "rules",
      "--exclude", "cache/", "--max-file-size", "20",
    ])
    #expect(result.status == 0)
    let source = world.source.root
    #expect(
      result.errorLines.filter { $0.contains("excluded") }.sorted() == [
        "treering: excluded: \(source)/a.tmp: *.tmp of \(rules.root / "rules"):2",
        "treering: excluded: \(source)/cache: cache/ of --exclude",
        "treering: excluded: \(source)/home/.cache/page: --max-file-size",
        "treering: excluded: \(source)/home/letter: --max-file-size",
        "treering: excluded: \(source)/src/b.tmp: *.tmp of \(rules.root / "rules"):2",
        "treering: excluded: \(source)/src/build/x.o: --max-file-size",
        "treering: excluded: \(source)/src/keep.tmp: *.tmp of \(rules.root / "rules"):2",
      ])
    #expect(result.outputText.contains("7 entries excluded"))
  }

  @Test("caches with their tag, directories with a file of a name, and neither without it")
  func tagged() throws {
    let world = try world()
    try world.source.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# x\n")
    try world.source.write("home/CACHEDIR.TAG", "Signature: something else")
    try world.source.write("src/.nobackup", "")
    try world.source.makeDirectory("cache/deep")
    let all = try world.snapshot()
    try world.expectFaithful(all)
    let answer = try world.snapshot(["--exclude-caches", "--exclude-if-present", ".nobackup"])
    #expect(
      try paths(world, answer) == [
        "a.tmp", "a.txt", "cache", "cache/CACHEDIR.TAG", "home", "home/.cache", "home/.cache/page",
        "home/CACHEDIR.TAG", "home/letter", "src", "src/.nobackup",
      ])
    #expect(answer.excluded == 2)
  }

  @Test("a tag that strayed into a source's own directory leaves nothing out")
  func tagInRoot() throws {
    let world = try world()
    try world.source.write("CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")
    try world.source.write(".nobackup", "")
    let inner = try Tree(making: world.source.root / "inner")
    try inner.write(".nobackup", "")
    try inner.write("file", "x")
    let answer = try world.snapshot(
      of: [world.source.root, inner.root], ["--exclude-caches", "--exclude-if-present", ".nobackup"])
    #expect(answer.excluded == 0)
    try world.expectFaithful(answer)
  }

  @Test("sizes, with their units")
  func sizes() throws {
    let world = try world()
    try world.source.truncate("a.txt", to: 2048)
    try world.source.truncate("a.tmp", to: 2049)
    for size in ["2K", "2KiB", "2kb", "2048"] as [ByteString] {
      let answer = try world.snapshot(["--max-file-size", size])
      #expect(try paths(world, answer).contains("a.txt"))
      #expect(!(try paths(world, answer).contains("a.tmp")))
      #expect(answer.excluded == 1)
    }
    for odd in ["", "2X", "K", "-1", "99999999999T", "2KK"] as [ByteString] {
      let result = try world.treering(["snapshot", world.source.root, "--max-file-size=" + odd])
      #expect(result.status == 2, "\(odd)")
    }
  }

  @Test("the attribute nodump, of files and directories")
  func noDump() throws {
    let world = try World()
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: world.source.root / "disk")
    try disk.tree.write("file", "x")
    try disk.tree.write("other", "x")
    try disk.tree.makeDirectory("directory")
    try disk.tree.write("directory/inside", "x")
    try tool("chattr", ["+d", disk.tree.root / "file", disk.tree.root / "directory"])
    try world.settle()
    let all = try world.snapshot()
    #expect(try paths(world, all).contains("disk/directory/inside"))
    let answer = try world.snapshot(["--exclude-nodump"])
    #expect(try paths(world, answer) == ["disk", "disk.img", "disk/lost+found", "disk/other"])
    #expect(answer.excluded == 2)
  }

  @Test("--one-file-system keeps the directory of a mount and not its content")
  func oneFileSystem() throws {
    let world = try world()
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: world.source.root / "disk")
    try disk.tree.write("file", "x")
    try world.settle()
    let answer = try world.snapshot(["-x"])
    #expect(try paths(world, answer).filter { $0.hasPrefix("disk") } == ["disk", "disk.img"])
    #expect(answer.excluded == 1)
    try disk.unmount()
    try world.snapshot(["-x"])
  }

  @Test("a file of patterns that cannot be read is an error, and nothing is done")
  func missingPatterns() throws {
    let world = try world()
    let result = try world.treering([
      "snapshot", world.source.root, "--exclude-from", "/nonexistent/rules",
    ])
    #expect(result.status == 2)
    #expect(result.errorText.contains("/nonexistent/rules"))
    #expect(try world.snapshotNames() == [])
  }
}

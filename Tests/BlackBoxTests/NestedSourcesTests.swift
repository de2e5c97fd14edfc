import TestSupport
import Testing

/// A source below another has rules of its own, whatever the outer one's say of it and of what leads to it.
@Suite("sources below sources", .waits)
struct NestedSourcesTests {
  private func world(_ outer: String, _ sources: String) throws -> World {
    let world = try World()
    for path in ["skip/deep/inner", "plain/inner", "cache/inner"] {
      try tool("mkdir", ["-p", world.source.root / ByteString(path)])
      try world.source.write(ByteString(path) / "x.tmp", "temporary")
      try world.source.write(ByteString(path) / "x.txt", "text")
      try world.source.write(ByteString(path).parent / "beside.txt", "text")
    }
    try world.source.write("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n")
    try world.source.write("x.tmp", "temporary")
    try configure(world, outer, sources)
    return world
  }

  private func configure(_ world: World, _ outer: String, _ sources: String) throws {
    try Tree(world.directory.path).write(
      "c.toml",
      """
      repository = "\(world.repository.root)"
      [retention]
      keep_last = 9
      [[source]]
      path = "\(world.source.root)"
      \(outer)
      \(sources.replacing("SOURCE", with: world.source.root.description))
      """)
  }

  /// Runs, and returns the paths of all that is no directory in the newest snapshot, below the outer source.
  private func stored(_ world: World, _ options: [ByteString] = []) throws -> [String] {
    let result = try world.treering(["run", "-c", world.directory.path / "c.toml"] + options, inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.treering(["verify"]).status == 0)
    let tree = try TreeListing(world.repository.root / "latest/localhost" / world.source.root)
    return tree.paths.filter { tree.entries[$0]!.kind != "d" }.map(\.description).sorted()
  }

  @Test("patterns, also where what leads to the inner one is left out")
  func patterns() throws {
    let world = try world(
      "exclude = [\"/skip/\", \"*.tmp\"]",
      "[[source]]\npath = \"SOURCE/skip/deep/inner\"\n[[source]]\npath = \"SOURCE/plain/inner\"\nexclude = [\"*.txt\"]")
    let expected = [
      "cache/CACHEDIR.TAG", "cache/beside.txt", "cache/inner/x.txt", "plain/beside.txt", "plain/inner/x.tmp",
      "skip/deep/inner/x.tmp", "skip/deep/inner/x.txt",
    ]
    #expect(try stored(world) == expected)
    try world.settle()
    // The next one is linked to it, and so is one that is made of a spare.
    let newest = Tree(world.repository.root / "latest/localhost" / world.source.root)
    let inode = try newest.inode("skip/deep/inner/x.txt")
    for _ in 0..<3 {
      #expect(try stored(world) == expected)
      #expect(try newest.inode("skip/deep/inner/x.txt") == inode)
      try world.treering(["rotate", "--keep-last", "1"])
    }
    let status = try world.treering(["status", "-c", world.directory.path / "c.toml"], inRepository: false)
    #expect(status.status == 0 && status.outputText.contains("/skip/deep/inner "), "\(status.outputText)")
  }

  @Test("a directory that marks itself as one to leave out is left out but for the inner source")
  func tags() throws {
    let world = try world("exclude_caches = true", "[[source]]\npath = \"SOURCE/cache/inner\"")
    let files = try stored(world)
    #expect(
      files.filter { $0.hasPrefix("cache/") } == ["cache/CACHEDIR.TAG", "cache/inner/x.tmp", "cache/inner/x.txt"])
    #expect(files.contains("plain/beside.txt"))
  }

  @Test("another file system below a source that keeps to one is a source of its own")
  func mounts() throws {
    let world = try world(
      "one_file_system = true", "[[source]]\npath = \"SOURCE/mounted/below\"\n[[source]]\npath = \"SOURCE/whole\"")
    let mounted = try LoopFileSystem("tmpfs", mebibytes: 4, at: world.source.root / "mounted")
    let whole = try LoopFileSystem("tmpfs", mebibytes: 4, at: world.source.root / "whole")
    try mounted.tree.makeDirectory("below")
    try mounted.tree.write("below/file", "below")
    try mounted.tree.write("beside", "beside")
    try whole.tree.write("file", "whole")
    let files = try stored(world)
    #expect(files.contains("mounted/below/file") && files.contains("whole/file") && !files.contains("mounted/beside"))
    // The same without a configuration.
    let taken = try world.snapshot(of: [world.source.root, whole.tree.root], ["--one-file-system"])
    #expect(try world.tree(of: taken).text("whole/file") == "whole")
    #expect(!world.tree(of: taken).exists("mounted/below"))
    // Both are guarded: a file system that is gone is no empty directory.
    try whole.unmount()
    let refused = try world.treering(["run", "-c", world.directory.path / "c.toml"], inRepository: false)
    #expect(refused.status == 1 && refused.errorText.contains("/whole: is left out"), "\(refused.errorText)")
  }

  @Test("what leads to an inner source is never a symbolic link, and must be there")
  func symbolicLinks() throws {
    let world = try world("", "[[source]]\npath = \"SOURCE/alias/inner\"")
    try tool("ln", ["-s", "plain", world.source.root / "alias"])
    let before = try TreeListing(world.repository.root).paths.filter { !$0.hasPrefix(".treering") }
    let refused = try world.treering(["run", "-c", world.directory.path / "c.toml"], inRepository: false)
    #expect(refused.status == 3 && refused.errorText.contains("/alias: inside another source"), "\(refused.errorText)")
    #expect(try TreeListing(world.repository.root).paths.filter { !$0.hasPrefix(".treering") } == before)
  }

  @Test("the root is a source like any other, also with another below it")
  func root() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("file", "text")
    let only: [ByteString] = [
      "--exclude", "/*", "--exclude", "!/etc/", "--exclude", "/etc/*", "--exclude", "!/etc/hostname",
    ]
    let first = try world.snapshot(of: ["/"], only)
    let stored = Tree(world.repository.root / first.name / "localhost")
    #expect(try stored.names() == ["etc"] && stored.names("etc") == ["hostname"])
    let second = try world.snapshot(of: ["/", world.source.root], only)
    let both = Tree(world.repository.root / second.name / "localhost")
    #expect(both.exists("etc/hostname"))
    // The options of the command hold for each source, relative to it.
    #expect(try Tree(both.root / world.source.root).names() == [])
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("the order of the sources does not matter, and neither does the number of threads")
  func order() throws {
    let world = try world("exclude = [\"*.tmp\"]", "[[source]]\npath = \"SOURCE/plain/inner\"")
    let first = try stored(world)
    let text = """
      repository = "\(world.repository.root)"
      threads = 1
      [retention]
      keep_last = 9
      [[source]]
      path = "\(world.source.root)/plain/inner"
      [[source]]
      path = "\(world.source.root)"
      exclude = ["*.tmp"]
      """
    try Tree(world.directory.path).write("c.toml", text)
    #expect(try stored(world) == first)
    #expect(first.contains("plain/inner/x.tmp") && !first.contains("x.tmp"))
  }
}

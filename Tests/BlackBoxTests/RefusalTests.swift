import TestSupport
import Testing

/// What is wrong on the command line is said in one line, and nothing is touched.
@Suite("Bad input", .waits)
struct RefusalTests {
  @Test("sources that are none")
  func badSources() throws {
    let world = try World()
    try world.source.write("file", "text")
    let absent = world.directory.path / "absent"
    try world.expectRefusal(["snapshot", absent], status: 2, naming: absent.text)
    try world.expectRefusal(
      ["snapshot", world.source.root / "file"], status: 2, naming: "not a directory")
    try world.expectRefusal(["snapshot", ""], status: 2)
    try world.expectRefusal(
      ["snapshot", world.source.root / "file/.."], status: 2, naming: "source/file")
  }

  @Test("a source inside the repository, or the repository itself, by whatever name")
  func sourceInsideTheRepository() throws {
    let world = try World()
    try world.source.write("file", "text")
    let snapshot = try world.snapshot()
    try tool("ln", ["-s", world.repository.root, world.directory.path / "alias"])
    for path in [
      world.repository.root, world.repository.root + "/", world.repository.root / ".treering",
      world.repository.root / snapshot.name, world.repository.root / "latest/localhost",
      world.directory.path / "alias", world.directory.path / "alias/.treering/pending",
    ] {
      try world.expectRefusal(
        ["snapshot", path], status: 2, naming: "inside the repository")
    }
  }

  @Test("labels that are no name of one directory", arguments: ["", ".", "..", "a/b", "/"])
  func badLabels(label: String) throws {
    let world = try World()
    try world.expectRefusal(
      ["snapshot", world.source.root, "--label", ByteString(label)], status: 2, naming: "--label")
  }

  @Test("what the parser does not know")
  func unknownOptions() throws {
    let world = try World()
    let wrong: [[ByteString]] = [
      ["snapshot", world.source.root, "--nonsense"], ["snapshot"], ["nonsense"],
      ["snapshot", world.source.root, "--threads", "0"],
      ["snapshot", world.source.root, "--threads", "many"],
      ["restore", "latest"], ["restore", "--to", "x"], ["diff", "latest"],
      ["restore", "latest", "--to", "x", "--overwrite", "sometimes"], ["list", "extra", "more"],
    ]
    for arguments in wrong {
      try world.expectRefusal(arguments, status: 2, mayExplainUsage: true)
    }
  }

  @Test("snapshots that do not exist, in every command that takes one")
  func unknownSnapshots() throws {
    let world = try World()
    let to = world.directory.path / "to"
    let commands: [[ByteString]] = [
      ["diff", "latest", "latest"], ["restore", "latest", "--to", to], ["verify", "latest"],
    ]
    for arguments in commands {
      try world.expectRefusal(arguments, status: 2, naming: "no snapshot yet")
    }
    try world.snapshot()
    let unknown: [[ByteString]] = [
      ["diff", "latest", "1999"], ["restore", "1999", "--to", to], ["verify", "latest", "1999"],
    ]
    for arguments in unknown { try world.expectRefusal(arguments, status: 2, naming: "1999") }
    try world.expectRefusal(
      ["restore", "latest", "/no/such/path", "--to", to], status: 2, naming: "/no/such/path")
  }

  @Test("a repository that an ordinary user may not enter")
  func noPermission() throws {
    let world = try World()
    try world.source.write("file", "text")
    try world.snapshot()
    let commands: [[ByteString]] = [
      ["snapshot", world.source.root], ["list"], ["verify"],
      ["restore", "latest", "--to", world.directory.path / "to"],
    ]
    for arguments in commands {
      let before = try TreeListing(world.directory.path)
      let result = try world.treeringAsOrdinaryUser(arguments)
      #expect(result.status == 2)
      #expect(result.errorLines.count == 1)
      #expect(result.errorText.hasPrefix("treering: cannot open the repository"))
      // The program's own copy for that user may be new.
      let after = try TreeListing(world.repository.root)
      for (path, entry) in after.entries where !path.bytes.isEmpty {
        #expect(before.entries["repository" / path]?.modified == entry.modified, "\(path)")
      }
    }
  }

  @Test("help and version are answers")
  func helpIsAnAnswer() throws {
    let world = try World()
    for arguments: [ByteString] in [["--help"], ["help", "snapshot"], ["restore", "--help"]] {
      let result = try world.treering(arguments, inRepository: false)
      #expect(result.status == 0)
      #expect(result.errorText == "")
      #expect(result.outputText.contains("USAGE"))
    }
    let version = try world.treering(["--version"], inRepository: false)
    #expect(version.status == 0)
    #expect(version.outputText.contains(#/^\d+\.\d+\.\d+\n$/#))
  }
}

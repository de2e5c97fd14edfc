import TestSupport
import Testing

@Suite("diff", .waits)
struct DiffTests {
  /// Two snapshots between which one thing of each sort has happened.
  private func twoSnapshots() throws -> (World, SnapshotAnswer, SnapshotAnswer) {
    let world = try World()
    let source = world.source
    for name in ["same", "content", "mode", "owner", "mtime", "xattr", "gone", "kind"] {
      try source.write(ByteString(name), "before")
      try source.setTime(ByteString(name), seconds: 1_700_000_000, nanoseconds: 7)
    }
    try source.makeSymbolicLink("target", to: "before")
    try source.setTime("target", seconds: 1_700_000_000)
    try source.makeDirectory("directory")
    try source.write("directory/inside", "text")
    try source.makeDirectory("untouched")
    try source.write("untouched/file", "text")
    try world.settle()
    let first = try world.snapshot()

    try source.write("content", "after!!")
    try source.setTime("content", seconds: 1_700_000_000, nanoseconds: 7)
    try source.setMode("mode", 0o600)
    try source.setOwner("owner", user: 12, group: 34)
    try source.setTime("mtime", seconds: 1_700_000_000, nanoseconds: 8)
    try source.setAttribute("xattr", "user.note", [1, 2])
    try source.remove("gone")
    try source.remove("kind")
    try source.makeDirectory("kind")
    try source.remove("target")
    try source.makeSymbolicLink("target", to: "after!")
    try source.setTime("target", seconds: 1_700_000_000)
    try source.write("new", "text")
    try source.rename("directory", to: "moved")
    return (world, first, try world.snapshot())
  }

  /// The lines that must come, with paths below the source.
  private let expected = [
    "M /content  (content +1 B)", "- /gone", "- /kind", "M /mode  (mode)", "M /mtime  (mtime)",
    "+ /new", "M /owner  (owner)", "M /target  (target)", "M /xattr  (attributes)",
    "+ /kind/", "R /directory/ -> /moved/  (1 below)",
  ]

  @Test("names every change and its aspects, and nothing else")
  func namesEveryChange() throws {
    let (world, first, second) = try twoSnapshots()
    let result = try world.treering(["diff", first.name, second.name])
    #expect(result.status == 0)
    #expect(result.errorText == "")
    let lines = result.changeLines.map { $0.replacing(world.source.root.text, with: "") }
    #expect(lines.sorted() == expected.sorted())
    #expect(result.outputLines.last == "6 changed, 1 renamed with 1 below it, 2 added, 2 removed, -7 B")
  }

  @Test("the other way round, what was added is removed")
  func isSymmetric() throws {
    let (world, first, second) = try twoSnapshots()
    let result = try world.treering(["diff", second.name, first.name])
    let lines = result.changeLines.map { $0.replacing(world.source.root.text, with: "") }
    let reversed = expected.map {
      switch $0.first {
      case "+": "-" + $0.dropFirst()
      case "-": "+" + $0.dropFirst()
      case "R": "R /moved/ -> /directory/  (1 below)"
      default: $0.replacing("+1 B", with: "-1 B")
      }
    }
    #expect(lines.sorted() == reversed.sorted())
  }

  @Test("JSON has the same changes with kinds and sizes, and the counts")
  func answersInJSON() throws {
    let (world, first, second) = try twoSnapshots()
    let answer: DiffAnswer = try world.treering(["diff", first.name, "latest", "--json"]).decoded()
    #expect(answer.from == first.snapshot)
    #expect(answer.to == second.snapshot)
    // The times of directories are in JSON, too.
    let named = answer.changes.filter { !($0.kind == "directory" && $0.aspects == ["mtime"]) }
    #expect(named.count == expected.count)
    #expect(answer.added == answer.changes.filter { $0.change == "added" }.count)
    #expect(answer.removed == answer.changes.filter { $0.change == "removed" }.count)
    #expect(answer.changed == answer.changes.filter { $0.change == "changed" }.count)
    let moved = try #require(answer.changes.first { $0.change == "renamed" })
    #expect(
      moved.pathBefore == world.source.root.text + "/directory" && moved.path == world.source.root.text + "/moved")
    #expect(answer.renamed == 1 && moved.entriesBelow == 1 && answer.entriesBelow == 1 && answer.bytes == -7)
    let content = try #require(named.first { $0.path.hasSuffix("/content") })
    #expect(content.change == "changed")
    #expect(content.kind == "file")
    #expect(content.aspects == ["content"])
    #expect(content.sizeBefore == 6)
    #expect(content.sizeAfter == 7)
  }

  @Test("a path limits the comparison to what is below it")
  func limitsToAPath() throws {
    let (world, first, second) = try twoSnapshots()
    let root = world.source.root
    func lines(_ path: ByteString) throws -> [String] {
      let result = try world.treering(["diff", first.name, second.name, path])
      #expect(result.status == 0, "\(result.errorText)")
      return result.changeLines
    }
    #expect(try lines(root / "mode") == ["M \(root)/mode  (mode)"])
    #expect(try lines(root / "moved") == ["+ \(root)/moved/", "+ \(root)/moved/inside"])
    #expect(try lines("localhost" / root / "gone") == ["- \(root)/gone"])
    #expect(try world.treering(["diff", first.name, second.name, root / "untouched"]).outputText == "")
    try world.expectRefusal(
      ["diff", first.name, second.name, "/no/such/path"], status: 2, naming: "/no/such/path")
  }

  @Test("a snapshot and itself, and two of an unchanged tree, do not differ")
  func findsNothing() throws {
    let world = try World()
    try world.source.write("a", "1")
    try world.settle()
    let first = try world.snapshot()
    let second = try world.snapshot()
    for pair in [[first.name, second.name], [first.name, first.name]] {
      // What lies above the source may well change meanwhile.
      let result = try world.treering(["diff"] + pair + [world.source.root, "-v"])
      #expect(result.status == 0)
      #expect(result.outputText == "")
    }
  }

  @Test("hard links that were joined or parted are a change")
  func namesLinkChanges() throws {
    let world = try World()
    try world.source.write("a", "text")
    try world.source.link("a", as: "b")
    try world.source.setTime("a", seconds: 1_700_000_000)
    try world.settle()
    let first = try world.snapshot()
    try tool("cp", ["-p", world.source.root / "b", world.source.root / "copy"])
    try world.source.rename("copy", to: "b")
    let second = try world.snapshot()
    let result = try world.treering(["diff", first.name, second.name, world.source.root / "b"])
    #expect(result.changeLines == ["M \(world.source.root)/b  (hard links)"])
  }

  @Test("names are escaped so that none can forge a line")
  func escapesNames() throws {
    let world = try World()
    let first = try world.snapshot()
    try world.source.write(ByteString(Array("a\n+ forged".utf8)), "text")
    try world.source.write(ByteString([0xFF, 0x1B, 0x5C]), "text")
    let second = try world.snapshot()
    let result = try world.treering(["diff", first.name, second.name])
    let root = world.source.root
    #expect(
      result.changeLines == [
        "+ \(root)/a\\n+ forged", "+ \(root)/\\xff\\x1b\\\\",
      ])
    let answer: DiffAnswer = try world.treering(
      ["diff", first.name, second.name, "--json"]
    ).decoded()
    let files = answer.changes.filter { $0.change == "added" }
    #expect(files.first?.path == "\(root)/a\n+ forged")
    #expect(files.last?.pathBase64 != nil)
  }

  @Test("the beginning of a name means the newest that begins so")
  func resolvesReferences() throws {
    let world = try World()
    let first = try world.snapshot()
    try world.source.write("new", "text")
    try world.snapshot()
    let year = ByteString(first.name.bytes.prefix(4))
    let result = try world.treering(["diff", first.name, year])
    #expect(result.changeLines == ["+ \(world.source.root)/new"])
    try world.expectRefusal(["diff", first.name, "1999-01-01"], status: 2, naming: "1999-01-01")
    try world.expectRefusal(["diff", first.name, ""], status: 2)
  }

  @Test("a damaged catalog gives status 6")
  func reportsDamage() throws {
    let (world, first, second) = try twoSnapshots()
    let catalog = ".treering/catalogs" / (first.name + ".catalog")
    var bytes = try world.repository.read(catalog)
    bytes[bytes.count / 4] ^= 0x10
    try world.repository.overwrite(catalog, bytes: bytes)
    try world.expectRefusal(["diff", first.name, second.name], status: 6)
  }

  @Test("a source that only one of the snapshots has is no change of it, and that is said")
  func otherSources() throws {
    let world = try World()
    let other = try Tree(making: world.directory.path / "other")
    try world.source.write("file", "x")
    try other.write("file", "x")
    let both = try world.snapshot(of: [world.source.root, other.root])
    let one = try world.snapshot()
    let note = "\(one.name) has only \(world.source.root); what else the other has counts as"
    #expect(try world.treering(["diff", both.name, one.name]).errorText.contains("\(note) gone\n"))
    #expect(try world.treering(["diff", one.name, both.name]).errorText.contains("\(note) new\n"))
    #expect(try world.treering(["diff", both.name, one.name, world.source.root]).errorText == "")
  }
}

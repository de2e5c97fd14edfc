import TestSupport
import Testing

@Suite("list", .waits)
struct ListTests {
  @Test("an empty repository has nothing to show and says so on standard error")
  func emptyRepository() throws {
    let world = try World()
    let result = try world.treering(["list"])
    #expect(result.status == 0)
    #expect(result.outputText == "")
    #expect(result.errorText == "treering: the repository has no snapshot yet\n")
    #expect(try world.treering(["list", "--json"]).decoded([ListAnswer].self).isEmpty)
  }

  @Test("shows one row for each snapshot, oldest first, with the figures of its run")
  func listsSnapshots() throws {
    let world = try World()
    try world.source.write("a", "12345")
    try world.settle()
    let first = try world.snapshot()
    try world.source.write("b", "123")
    let second = try world.snapshot(of: nil, ["--label", "web1"])
    let result = try world.treering(["list"])
    #expect(result.status == 0)
    #expect(result.errorText == "")
    #expect(result.outputLines.count == 3)
    #expect(result.outputLines[1].hasPrefix(first.snapshot))
    #expect(result.outputLines[2].hasPrefix(second.snapshot))

    let rows = try world.treering(["list", "--json"]).decoded([ListAnswer].self)
    #expect(rows.map(\.name) == [first.snapshot, second.snapshot])
    #expect(rows.map(\.sequence) == [1, 2])
    #expect(rows.map(\.label) == ["localhost", "web1"])
    #expect(rows.map(\.sources) == [[world.source.root.text], [world.source.root.text]])
    #expect(rows.map(\.bytes) == [5, 8])
    #expect(rows.map(\.entries) == [first.entries, second.entries])
    #expect(rows.map(\.outcome) == ["complete", "complete"])
    #expect(rows.map(\.rootDigest) == [first.rootDigest, second.rootDigest])
    #expect(rows.allSatisfy { $0.time.hasSuffix("Z") && $0.time.contains("T") })
  }

  @Test("a snapshot whose directory or catalog is gone is named and not listed")
  func listsOnlyWhatIsWhole() throws {
    let world = try World()
    try world.source.write("a", "1")
    let first = try world.snapshot()
    let second = try world.snapshot()
    let third = try world.snapshot()
    try world.repository.remove(first.name)
    try world.repository.remove(".treering/catalogs" / (second.name + ".catalog"))
    let result = try world.treering(["list", "--json"])
    #expect(result.status == 6)
    #expect(try result.decoded([ListAnswer].self).map(\.name) == [third.snapshot])
    #expect(result.errorLines.count == 2)
    #expect(result.errorText.contains("\(first.snapshot) is damaged: its directory is missing"))
    #expect(result.errorText.contains("\(second.snapshot) is damaged: its catalog is missing"))
  }

  @Test("a damaged catalog is named and gives status 6; the other snapshots are still listed")
  func namesADamagedCatalog() throws {
    let world = try World()
    try world.source.write("a", "1")
    let first = try world.snapshot()
    let second = try world.snapshot()
    try world.repository.truncate(".treering/catalogs" / (first.name + ".catalog"), to: 40)
    let result = try world.treering(["list"])
    #expect(result.status == 6)
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.hasPrefix("treering: "))
    #expect(result.errorText.contains(first.snapshot))
    #expect(result.outputLines.last?.hasPrefix(second.snapshot) == true)
  }

  @Test("the option -r, the environment and a wrong directory")
  func findsTheRepository() throws {
    let world = try World()
    let result = try world.treering(
      ["list", "--json"], inRepository: false,
      environment: ["TREERING_REPOSITORY": world.repository.root.text])
    #expect(result.status == 0)
    try world.expectRefusal(
      ["list"], status: 2, inRepository: false, naming: "TREERING_REPOSITORY")
    try world.expectRefusal(
      ["list", "-r", world.source.root], status: 2, inRepository: false,
      naming: "not a repository")
    try world.expectRefusal(
      ["list", "-r", world.directory.path / "absent"], status: 2, inRepository: false,
      naming: "absent")
  }

  @Test("a repository of a newer format is refused, one with a broken mark is damaged")
  func refusesANewerFormat() throws {
    let world = try World()
    try world.repository.write(".treering/repository.toml", "version = 99\n")
    try world.expectRefusal(["list"], status: 2, naming: "99")
    try world.expectRefusal(["snapshot", world.source.root], status: 2, naming: "99")
    try world.repository.write(".treering/repository.toml", "version = = 1\n")
    try world.expectRefusal(["list"], status: 6, naming: "repository.toml")
  }

  @Test("shows the sources, and of a path only the snapshots that have it")
  func pathsAndSources() throws {
    let world = try World()
    let other = try Tree(making: world.directory.path / "other")
    try world.source.write("kept", "one")
    try other.write("other", "one")
    let first = try world.snapshot()
    try world.snapshot(of: [other.root])
    try world.source.write("later", "two")
    let third = try world.snapshot()
    func names(_ path: ByteString) throws -> [String] {
      try world.treering(["list", path, "--json"]).decoded([ListAnswer].self).map(\.name)
    }
    #expect(try names(world.source.root / "kept") == [first.snapshot, third.snapshot])
    #expect(try names(world.source.root / "later") == [third.snapshot])
    // A directory above the source is in all of them, and in a source of none.
    #expect(try names(world.directory.path / "other/other").count == 1)
    let none = try world.treering(["list", "/nowhere"])
    #expect(none.status == 0 && none.errorText.contains("no snapshot has /nowhere"), "\(none.errorText)")
    let lines = try world.treering(["list"]).outputText.split(separator: "\n")
    #expect(lines[0].hasSuffix("  SOURCES") && lines[2].hasSuffix("  \(other.root.text)"), "\(lines)")
  }

}

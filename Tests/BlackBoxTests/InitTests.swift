import TestSupport
import Testing

@Suite("init", .waits)
struct InitTests {
  @Test("makes a private directory with a mark that names format and identity")
  func makesARepository() throws {
    let world = try World(initialized: false)
    let result = try world.treering(["init", world.repository.root], inRepository: false)
    #expect(result.status == 0)
    #expect(result.errorText == "")
    #expect(result.outputLines == ["made the repository \(world.repository.root)"])
    let listing = try TreeListing(world.repository.root)
    #expect(listing.entries[""]?.mode == "700")
    #expect(listing.entries[".treering"]?.mode == "700")
    for name in ["catalogs", "pending", "trash"] {
      #expect(listing.entries[".treering" / ByteString(name)]?.kind == "d")
    }
    let mark = try world.repository.text(".treering/repository.toml")
    #expect(mark.contains("version = 1\n"))
    #expect(mark.contains(#/id = "[0-9a-f]{32}"/#))
  }

  @Test("answers in JSON, and draws another identity each time")
  func answersInJSON() throws {
    struct Answer: Decodable {
      let repository: String
      let id: String
    }
    let world = try World(initialized: false)
    var ids: Set<String> = []
    for name in ["a", "b"] {
      let path = world.directory.path / ByteString(name)
      let answer: Answer = try world.treering(["init", path, "--json"], inRepository: false)
        .decoded()
      #expect(answer.repository == path.text)
      #expect(answer.id.utf8.count == 32)
      ids.insert(answer.id)
    }
    #expect(ids.count == 2)
  }

  @Test("takes an empty directory, closes it to others, and lets lost+found be")
  func takesAnEmptyDirectory() throws {
    let world = try World(initialized: false)
    try Tree(world.directory.path).makeDirectory("repository", mode: 0o2777)
    try world.repository.makeDirectory("lost+found", mode: 0o700)
    let result = try world.treering(["init", world.repository.root], inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    let listing = try TreeListing(world.repository.root)
    #expect(listing.entries[""]?.mode == "700")
    #expect(listing.entries["lost+found"]?.kind == "d")
  }

  @Test("finds the repository in the environment")
  func readsTheEnvironment() throws {
    let world = try World(initialized: false)
    let result = try world.treering(
      ["init", "--quiet"], inRepository: false,
      environment: ["TREERING_REPOSITORY": world.repository.root.text])
    #expect(result.status == 0)
    #expect(result.outputText == "")
    #expect(world.repository.exists(".treering/repository.toml"))
  }

  @Test("refuses a directory that holds something, and names it")
  func refusesAFullDirectory() throws {
    let world = try World(initialized: false)
    try Tree(world.directory.path).makeDirectory("repository")
    try world.repository.write("thesis.tex", "text")
    try world.expectRefusal(
      ["init", world.repository.root], status: 2, inRepository: false, naming: "thesis.tex")
  }

  @Test("refuses a repository, a file, and a path whose parent is missing")
  func refusesWhatIsNoPlaceForOne() throws {
    let world = try World()
    try world.expectRefusal(
      ["init", world.repository.root], status: 2, inRepository: false,
      naming: "already a repository")
    try world.source.write("file", "text")
    try world.expectRefusal(
      ["init", world.source.root / "file"], status: 2, inRepository: false, naming: "source/file")
    try world.expectRefusal(
      ["init", world.directory.path / "no/such"], status: 2, inRepository: false, naming: "no/such")
  }

  @Test("completes what an interrupted init left")
  func completesAHalfMadeRepository() throws {
    let world = try World()
    try world.repository.remove(".treering/repository.toml")
    try world.repository.remove(".treering/trash")
    let result = try world.treering(["init", world.repository.root], inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
    try world.source.write("file", "text")
    try world.expectFaithful(try world.snapshot())
  }

  @Test("an ordinary user without permission is refused in one line")
  func refusesWithoutPermission() throws {
    let world = try World(initialized: false)
    let result = try world.treeringAsOrdinaryUser(["init"])
    #expect(result.status == 2)
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.hasPrefix("treering: "))
    #expect(!world.repository.exists(""))
  }
}

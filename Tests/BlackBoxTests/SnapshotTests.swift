import TestSupport
import Testing

@Suite("snapshot", .waits)
struct SnapshotTests {
  @Test("answers with every figure of the run")
  func answersInJSON() throws {
    let world = try World()
    try world.source.write("a", "12345")
    try world.source.makeDirectory("d")
    try world.source.write("d/b", "123")
    try world.source.makeSymbolicLink("d/l", to: "b")
    try world.settle()
    let first = try world.snapshot()
    #expect(first.snapshot.contains(#/^20\d\d-\d\d-\d\dT\d\d-\d\d-\d\dZ$/#))
    #expect(first.previous == nil)
    #expect(first.sequence == 1)
    #expect(first.outcome == "complete")
    #expect(first.files == 3)
    #expect(first.bytes == 8)
    #expect((first.filesLinked, first.filesCopied) == (0, 3))
    #expect((first.bytesCopied, first.bytesRead) == (8, 8))
    #expect((first.filesVanished, first.catalogOnly, first.directoriesSkipped) == (0, 0, 0))
    #expect(first.warnings == 0 && first.warningsNamed.isEmpty)
    #expect(first.rootDigest.utf8.count == 64)
    #expect(first.elapsedSeconds > 0)

    try world.source.write("a", "1234567")
    let second = try world.snapshot()
    #expect(second.previous == first.snapshot)
    #expect(second.sequence == 2)
    #expect((second.filesLinked, second.filesCopied) == (2, 1))
    #expect((second.bytesCopied, second.bytesRead) == (7, 7))
    #expect(second.bytes == 10)
    #expect(second.rootDigest != first.rootDigest)
  }

  @Test("a good run says nothing, a verbose one sums up, a quiet one is quiet")
  func speaksAsAsked() throws {
    let world = try World()
    try world.source.write("a", "text")
    let silent = try world.treering(["snapshot", world.source.root])
    #expect((silent.status, silent.outputText, silent.errorText) == (0, "", ""))
    let verbose = try world.treering(["snapshot", world.source.root, "-v"])
    #expect(verbose.status == 0)
    #expect(verbose.outputText.contains("linked"))
    let quiet = try world.treering(["snapshot", world.source.root, "-q"])
    #expect((quiet.status, quiet.outputText, quiet.errorText) == (0, "", ""))
  }

  @Test("publishes a plain tree, its catalog and latest, and leaves pending empty")
  func publishes() throws {
    let world = try World()
    try world.source.write("a", "text")
    var last: SnapshotAnswer?
    for _ in 0..<2 {
      let snapshot = try world.snapshot()
      let listing = try TreeListing(world.repository.root)
      #expect(listing.entries["latest"]?.target == snapshot.name)
      #expect(listing.entries[snapshot.name]?.mode == "755")
      #expect(listing.entries[snapshot.name / "localhost"]?.mode == "755")
      let catalog = listing.entries[".treering/catalogs" / (snapshot.name + ".catalog")]
      #expect(catalog?.mode == "600")
      #expect(try world.repository.names(".treering/pending") == [])
      #expect(try world.repository.names(".treering/trash") == [])
      #expect(last?.snapshot != snapshot.snapshot)
      last = snapshot
    }
    let history = try world.repository.text(".treering/history.jsonl").split(separator: "\n")
    #expect(history.count == 2)
    #expect(history.allSatisfy { $0.contains("\"exit_status\":0") })
  }

  @Test("two runs in one second make two snapshots, in order")
  func twoRunsInOneSecond() throws {
    let world = try World()
    try world.source.write("a", "text")
    let names = try (0..<3).map { _ in
      try runCommand(
        treeringBinary(), ["snapshot", world.source.root, "-r", world.repository.root, "--json"],
        environment: ["TREERING_TEST_NAMES_AHEAD": ""]
      ).decoded(SnapshotAnswer.self).snapshot
    }
    #expect(Set(names).count == 3)
    #expect(names == names.sorted())
    #expect(try world.snapshotNames().map(\.text) == names)
    // The later runs have waited: no name is of the future.
    let now = try runCommand("date", ["-u", "+%Y-%m-%dT%H-%M-%SZ"]).outputText
    #expect(names.last! <= now)
  }

  @Test("several sources, a source inside another, and links between two of them")
  func severalSources() throws {
    let world = try World()
    let other = try Tree(making: world.directory.path / "other")
    try world.source.makeDirectory("inner")
    try world.source.write("inner/file", "text")
    try world.source.link("inner/file", as: "inner/same")
    try tool("ln", [world.source.root / "inner/file", other.root / "across"])
    try world.settle()
    let sources = [world.source.root, world.source.root / "inner", other.root + "/"]
    let first = try world.snapshot(of: sources)
    #expect(first.files == 3)
    try world.expectFaithful(first)
    try world.expectFaithful(first, other.root)
    let inode = try world.tree(of: first).inode("inner/file")
    #expect(try world.tree(of: first, other.root).inode("across") == inode)
    let second = try world.snapshot(of: sources.reversed())
    #expect(second.filesLinked == 3)
    #expect(try world.tree(of: second, other.root).inode("across") == inode)
  }

  @Test("a source by relative path, through a symbolic link, and with a label")
  func namesSources() throws {
    let world = try World()
    try world.source.write("file", "text")
    let relative = try world.snapshot(of: ["./source/../source//."])
    try world.expectFaithful(relative)
    try tool("ln", ["-s", "source", world.directory.path / "alias"])
    let alias = try world.snapshot(of: ["alias"])
    let tree = Tree(world.repository.root / alias.name / "localhost" / world.directory.path)
    #expect(try tree.text("alias/file") == "text")
    let labelled = try world.snapshot(of: nil, ["--label", "web1"])
    let root = world.repository.root / labelled.name
    #expect(try Tree(root).names() == ["web1"])
    #expect(try differences(world.source.root, root / "web1" / world.source.root) == [])
  }

  @Test("the directories above the source keep their metadata and nothing else")
  func directoriesAbove() throws {
    let world = try World()
    let above = Tree(world.directory.path)
    try above.makeDirectory("above", mode: 0o750)
    try above.write("above/not-a-source", "text")
    try above.makeDirectory("above/in")
    try above.setACL("above", "u:4711:rx")
    try above.setOwner("above", user: 9, group: 10)
    try above.setTime("above", seconds: 1_234_567_890, nanoseconds: 1)
    let snapshot = try world.snapshot(of: [above.root / "above/in"])
    let stored = world.tree(of: snapshot, above.root)
    #expect(try stored.names("above") == ["in"])
    let kept = try TreeListing(stored.root).entries["above"]
    #expect(kept == (try TreeListing(above.root).entries["above"]))
    let acl = try tool("getfacl", ["-n", "-c", "-p", stored.root / "above"])
    #expect(acl == (try tool("getfacl", ["-n", "-c", "-p", above.root / "above"])))
  }

  @Test("the repository inside the source is kept as an empty directory")
  func repositoryInsideTheSource() throws {
    let world = try World(initialized: false)
    try world.source.makeDirectory("backup")
    try world.source.write("file", "text")
    let repository = world.source.root / "backup/repository"
    #expect(try world.treering(["init", repository], inRepository: false).status == 0)
    for _ in 0..<2 {
      let answer: SnapshotAnswer = try world.treering(
        ["snapshot", world.source.root, "-r", repository, "--json"], inRepository: false
      ).decoded()
      #expect(answer.directoriesSkipped == 1)
      #expect(answer.warnings == 0)
      let stored = Tree(repository / answer.name / "localhost" / world.source.root)
      #expect(try stored.names("backup/repository") == [])
      #expect(try stored.text("file") == "text")
    }
  }

  @Test("a default ACL and setgid bit above or in the repository do not leak into snapshots")
  func nothingLeaksIn() throws {
    let world = try World(initialized: false)
    let above = Tree(world.directory.path)
    try above.makeDirectory("shared")
    try above.setOwner("shared", user: 0, group: 7_777)
    try above.setMode("shared", 0o2775)
    try above.setACL("shared", "d:u:1234:rwx,d:g:55:rx,d:o::rwx")
    let repository = above.root / "shared/repository"
    #expect(try world.treering(["init", repository], inRepository: false).status == 0)
    for path: ByteString in ["", ".treering", ".treering/pending"] {
      try Tree(repository).setACL(path, "d:u:4321:rwx")
    }
    try world.source.makeEverything()
    for _ in 0..<2 {
      let answer: SnapshotAnswer = try world.treering(
        ["snapshot", world.source.root, "-r", repository, "--json"], inRepository: false
      ).decoded()
      let stored = repository / answer.name
      #expect(try differences(world.source.root, stored / "localhost" / world.source.root) == [])
      let acl = try tool("getfacl", ["-c", "-n", "-p", "--skip-base", stored, stored / "localhost"])
      #expect(ByteString(acl).text == "")
      #expect(try TreeListing(stored).entries["localhost"]?.mode == "755")
    }
  }

  @Test("a repository that was copied elsewhere goes on linking")
  func copiedRepository() throws {
    let world = try World()
    try world.source.makeEverything()
    try world.settle()
    try world.snapshot()
    let copy = world.directory.path / "copy"
    try tool("cp", ["-a", world.repository.root, copy])
    for _ in 0..<2 {
      let answer: SnapshotAnswer = try world.treering(
        ["snapshot", world.source.root, "-r", copy, "--json"], inRepository: false
      ).decoded()
      #expect(answer.filesLinked == answer.files)
      let stored = copy / answer.name / "localhost" / world.source.root
      #expect(try differences(world.source.root, stored) == [])
    }
    #expect(try world.treering(["verify", "-r", copy], inRepository: false).status == 0)
  }
}

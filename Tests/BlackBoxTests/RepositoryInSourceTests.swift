import TestSupport
import Testing

/// The repository is never backed up into itself, whatever path leads to it.
@Suite("The repository inside the source", .waits) struct RepositoryInSourceTests {
  @Test(
    "bind mounts of it and of what is in it are kept as empty directories",
    arguments: ["", ".treering", "SNAPSHOT", "SNAPSHOT/localhost"])
  func bindMounts(_ place: String) throws {
    let world = try World()
    try world.source.write("file", "x")
    try world.source.makeDirectory("seen elsewhere")
    try world.settle()
    let first = try world.snapshot()
    let inside = ByteString(place.replacing("SNAPSHOT", with: first.snapshot))
    try tool("mount", ["--bind", world.repository.root / inside, world.source.root / "seen elsewhere"])
    defer { _ = try? tool("umount", [world.source.root / "seen elsewhere"]) }
    let answer = try world.snapshot()
    #expect(try world.tree(of: answer).names("seen elsewhere") == [])
    #expect(answer.directoriesSkipped == 1)
  }

  @Test(
    "seen through another file system, from a directory above it, it is kept as an empty directory",
    arguments: ["bindfs", "overlay"])
  func otherView(_ kind: String) throws {
    let world = try World()
    try world.source.makeDirectory("seen")
    let above = try Tree(making: world.directory.path / "above")
    try above.makeDirectory("other")
    try above.write("other/file", "x")
    try tool("mv", [world.repository.root, above.root / "repository"])
    let repository = Tree(above.root / "repository")
    func snapshot(_ sources: [ByteString]) throws -> CommandResult {
      try world.treering(["snapshot", "--json", "-r", repository.root] + sources, inRepository: false)
    }
    #expect(try snapshot([world.source.root]).status == 0)
    // A copy is no view, not even of the same names and ids.
    try tool("cp", ["-a", repository.root, world.source.root / "copy"])
    let seen = world.source.root / "seen"
    if kind == "bindfs" {
      try tool("bindfs", [above.root, seen])
    } else {
      try tool("mkdir", [world.directory.path / "empty"])
      try tool(
        "mount",
        ["-t", "overlay", "overlay", "-o", "lowerdir=" + above.root + ":" + world.directory.path / "empty", seen])
    }
    defer { _ = try? tool("umount", [seen]) }
    let result = try snapshot([world.source.root])
    #expect(result.status == 0, "\(result.errorText)")
    let answer: SnapshotAnswer = try result.decoded()
    let stored = Tree(repository.root / answer.name / "localhost" / world.source.root)
    #expect(try stored.names("seen/repository") == [])
    #expect(try stored.names("seen/other") == ["file"])
    #expect(try stored.names("copy").contains("latest"))
    #expect(answer.directoriesSkipped == 1)
    // As a source of its own it is none.
    let refused = try snapshot([seen / "repository"])
    #expect(refused.status == 4 && refused.errorText.contains("the repository itself"), "\(refused.errorText)")
  }

  @Test("a bind mount of a directory that is not in it is read like any other")
  func otherBindMount() throws {
    let world = try World()
    let other = try Tree(making: world.directory.path / "repository-not")
    try other.write("inside", "x")
    try world.source.makeDirectory("seen")
    try tool("mount", ["--bind", other.root, world.source.root / "seen"])
    defer { _ = try? tool("umount", [world.source.root / "seen"]) }
    let answer = try world.snapshot()
    #expect(try world.tree(of: answer).names("seen") == ["inside"])
    #expect(answer.directoriesSkipped == 0)
  }

  @Test("the file systems of the kernel are not read, and the summary says so")
  func pseudoFileSystems() throws {
    let world = try World()
    try world.source.makeDirectory("proc")
    try tool("mount", ["-t", "proc", "proc", world.source.root / "proc"])
    defer { _ = try? tool("umount", [world.source.root / "proc"]) }
    let result = try world.treering(["snapshot", world.source.root, "-v"])
    #expect(result.status == 0 && result.outputText.contains("pseudo file systems were left out"))
    let answer = try world.snapshot()
    #expect(try world.tree(of: answer).names("proc") == [])
    #expect(answer.directoriesSkipped == 1)
  }
}

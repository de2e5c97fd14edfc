import TestSupport
import Testing

/// The repository is never backed up into itself, whatever path leads to it.
@Suite("The repository inside the source") struct RepositoryInSourceTests {
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

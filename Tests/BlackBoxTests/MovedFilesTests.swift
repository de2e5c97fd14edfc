import TestSupport
import Testing

/// What was renamed, moved or is back is linked to what is stored; nothing is written for it.
@Suite("Moved files", .waits) struct MovedFilesTests {
  /// A world with one snapshot of a few directories, whose files are older than it.
  private func published() throws -> World {
    let world = try World()
    for directory in ["a", "a/inner", "b"] as [ByteString] {
      try world.source.makeDirectory(directory)
      for index in 0..<20 {
        try world.source.write(directory / ByteString("file\(index)"), "\(directory) \(index)")
      }
      try world.source.makeSymbolicLink(directory / "link", to: "file1")
      try world.source.makeFIFO(directory / "fifo")
    }
    try world.source.write("single", "content of a single file")
    try world.settle()
    try world.snapshot()
    return world
  }

  @Test("a renamed file is read once and linked")
  func renamedFile() throws {
    let world = try published()
    try world.source.rename("single", to: "b/other name")
    try world.source.rename("a/link", to: "a/renamed link")
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0 && answer.bytesCopied == 0)
    #expect(answer.filesMoved == 2)
    #expect(answer.bytesRead == 24)
  }

  @Test("a renamed directory is linked unread", arguments: ["c", "b/c", "b/deeper/c"])
  func renamedDirectory(_ place: String) throws {
    let world = try published()
    try world.source.makeDirectory("b/deeper")
    try world.source.rename("a", to: ByteString(place))
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0 && answer.bytesRead == 0)
    let again = try world.snapshot()
    try world.expectFaithful(again)
    #expect(again.filesCopied == 0 && again.bytesRead == 0 && again.filesMoved == 0)
    #expect(again.rootDigest != "" && again.filesLinked == answer.filesLinked)
  }

  @Test("every file of a directory moved into another")
  func movedOneByOne() throws {
    let world = try published()
    try world.source.makeDirectory("new")
    for index in 0..<20 {
      try world.source.rename(ByteString("a/file\(index)"), to: ByteString("new/\(index)"))
    }
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0 && answer.bytesCopied == 0 && answer.filesMoved == 20)
  }

  @Test("two directories that changed places")
  func swapped() throws {
    let world = try published()
    try world.source.rename("a", to: "x")
    try world.source.rename("b", to: "a")
    try world.source.rename("x", to: "b")
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0)
  }

  @Test("a copy in the place of what was moved does not become its hard link")
  func copyInPlace() throws {
    let world = try published()
    try world.source.rename("a", to: "moved")
    try tool("cp", ["-a", world.source.root / "moved", world.source.root / "a"])
    try world.source.rename("single", to: "zzz")
    try tool("cp", ["-a", world.source.root / "zzz", world.source.root / "single"])
    try world.settle()
    try world.expectFaithful(try world.snapshot())
    try world.expectFaithful(try world.snapshot())
  }

  @Test("a file moved out of the sources and back some snapshots later", arguments: [1, 4])
  func movedAwayAndBack(_ snapshotsBetween: Int) throws {
    let world = try published()
    let outside = world.directory.path / "outside"
    try world.source.rename("single", to: "../outside")
    try world.source.rename("a", to: "../outside-a")
    for index in 0..<snapshotsBetween {
      try world.source.write("other", "\(index)")
      try world.expectFaithful(try world.snapshot(["--accept-changes"]))
    }
    try tool("mv", [outside, world.source.root / "single"])
    try tool("mv", [outside + "-a", world.source.root / "b/a"])
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0 && answer.bytesRead == 24)
  }

  @Test("a snapshot without a directory between two with it costs no copy")
  func gap() throws {
    let world = try published()
    let other = try Tree(making: world.directory.path / "other")
    try other.write("file", "x")
    try world.snapshot(of: [other.root])
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 0 && answer.bytesRead == 0)
  }

  @Test("a renamed file that was changed is copied, and its new hard links are kept")
  func renamedAndChanged() throws {
    let world = try published()
    try world.source.rename("single", to: "z")
    try world.source.append("z", " and more")
    try world.source.rename("a/file1", to: "a/renamed")
    try world.source.link("a/renamed", as: "b/another")
    try world.settle()
    let answer = try world.snapshot()
    try world.expectFaithful(answer)
    #expect(answer.filesCopied == 1)
  }
}

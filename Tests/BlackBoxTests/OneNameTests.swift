import TestSupport
import Testing

/// A file system that does not tell case apart has one name for `A` and `a`: the second of them cannot be made, and the
/// first must stay. Where the kernel has no such file system, strace answers as it does.
@Suite("Names that are one to the repository's file system", .waits) struct OneNameTests {
  @Test(
    "an entry that cannot be made because its name is taken removes nothing",
    arguments: ["symlinkat", "mknodat", "mkdirat", "openat"])
  func takenName(_ call: String) throws {
    let world = try World()
    switch call {
    case "symlinkat": try world.source.makeSymbolicLink("a", to: "x")
    case "mknodat": try tool("mkfifo", [world.source.root / "a"])
    case "mkdirat": try world.source.makeDirectory("a")
    default: try world.source.write("a", "x")
    }
    let parent = world.pendingTree / "localhost" / world.source.root
    // In no other way is anything there opened or made.
    let (result, log) = try world.snapshotWithFailingCalls(
      ["\(call):error=EEXIST"], on: [parent], logging: ["unlinkat", "renameat2"])
    #expect([0, 1].contains(result.status), "\(result.errorText)")
    #expect(log.contains { $0.contains("EEXIST") && $0.contains("INJECTED") }, "\(log)")
    #expect(!log.contains { $0.contains("unlinkat") || $0.contains("renameat2") }, "\(log)")
  }

  @Test("names that differ in case alone are restored, each for itself, where the file system tells them apart")
  func twoNames() throws {
    let world = try World()
    try world.source.write("README", "old")
    try world.source.write("readme", "old")
    try world.source.makeDirectory("TEMP")
    try world.source.write("TEMP/file", "old")
    try world.source.makeDirectory("temp")
    try world.source.write("temp/file", "old")
    try world.snapshot()
    let expected = try TreeListing(world.source.root)
    for path: ByteString in ["README", "readme", "TEMP/file", "temp/file"] { try world.source.write(path, "newer") }
    let result = try world.treering(["restore", "latest", "--in-place", "--yes"])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try listingDifferences(expected, TreeListing(world.source.root)) == [])
  }
}

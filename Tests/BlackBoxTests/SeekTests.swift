import TestSupport
import Testing

/// The order of reads on a rotating disk. The number of seeks is that of one thread; the order of names needs several
/// times as many.
@Suite("the order of reads", .waits)
struct SeekTests {
  /// Names in an order that has nothing to do with that of the inodes.
  private static func name(_ index: Int) -> ByteString {
    ByteString("d\(index % 8)/\(UInt64(index) &* 0x9E37_79B9_7F4A_7C15)")
  }

  @Test("entries of a directory are looked at in the order of their inodes")
  func statuses() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let fileSystem = try LoopFileSystem("xfs", mebibytes: 320, at: world.directory.path / "disk")
    for directory in 0..<8 { try fileSystem.tree.makeDirectory(ByteString("d\(directory)")) }
    for index in 0..<10_000 { try fileSystem.tree.write(Self.name(index), "") }
    try fileSystem.unmount()
    let disk = try SeekingDisk(fileSystem.image, at: world.directory.path / "fuse", mountedAt: fileSystem.tree.root)
    func snapshot() throws {
      let result = try world.treering(["snapshot", fileSystem.tree.root, "--threads", "1"])
      #expect(result.status == 0, "\(result.errorText)")
    }
    try snapshot()
    let seeks = try disk.seeks(snapshot)
    #expect(seeks < 150)
  }

  @Test("a verification reads the files of a directory in the order of their inodes")
  func verification() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let fileSystem = try LoopFileSystem("xfs", mebibytes: 320, at: world.directory.path / "disk")
    let repository = fileSystem.tree.root / "repository"
    func treering(_ words: [ByteString]) throws {
      let result = try runCommand(treeringBinary(), words + ["-r", repository])
      #expect(result.status == 0, "\(result.errorText)")
    }
    try treering(["init"])
    for directory in 0..<8 { try world.source.makeDirectory(ByteString("d\(directory)")) }
    // The files of each snapshot are in another part of the disk.
    for age in 0..<4 {
      for index in stride(from: age, to: 4000, by: age == 0 ? 1 : 5) {
        try world.source.write(Self.name(index), "\(age) \(index) \(String(repeating: "text ", count: 400))")
      }
      try treering(["snapshot", world.source.root])
    }
    try fileSystem.unmount()
    let disk = try SeekingDisk(fileSystem.image, at: world.directory.path / "fuse", mountedAt: fileSystem.tree.root)
    let seeks = try disk.seeks { try treering(["verify", "latest", "--threads", "1"]) }
    #expect(seeks < 800)
  }
}

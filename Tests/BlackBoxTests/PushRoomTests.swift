import Foundation
import TestSupport
import Testing

/// A push that does not fit is refused before it begins, with numbers; one that runs out of room leaves nothing.
@Suite("push: room", .waits)
struct PushRoomTests {
  private func world(_ mebibytes: Int, type: String = "ext4") throws -> (PushWorld, LoopFileSystem, TemporaryDirectory)
  {
    let scratch = try TemporaryDirectory("room")
    let disk = try LoopFileSystem(type, mebibytes: mebibytes, at: scratch.path / "disk")
    let push = try PushWorld("push-room", far: disk.tree.root / "repository")
    push.provesUnchanged = false
    return (push, disk, scratch)
  }

  private func received(_ result: CommandResult, _ push: PushWorld) throws -> Int {
    struct Line: Decodable {
      let command: String
      let bytesReceived: Int
    }
    let lines = try push.far.read(".treering/history.jsonl").split(separator: 10)
    return try snakeCaseDecoder().decode(Line.self, from: Data(lines.last!)).bytesReceived
  }

  @Test("what does not fit is refused with numbers, and nothing is written", arguments: ["ext4", "xfs", "btrfs"])
  func refused(type: String) throws {
    let (push, disk, scratch) = try world(type == "ext4" ? 32 : type == "xfs" ? 320 : 128, type: type)
    defer { withExtendedLifetime((scratch, disk)) {} }
    let size = type == "ext4" ? 40 : type == "xfs" ? 320 : 130
    for index in 0..<size { try push.world.source.writeNoise(ByteString("f\(index)"), 1 << 20, seed: index) }
    try push.snapshot()
    let before = try disk.bytesUsed()
    let result = try push.expectFailure(8, saying: "needs about \(size) MiB", "free", "nothing was sent")
    #expect(try received(result, push) < 100_000)
    #expect(try disk.bytesUsed() - before < 1_000_000)
  }

  @Test("what fits by its blocks fits: holes, other names of an inode, what came earlier, and what the base has")
  func fits() throws {
    let (push, disk, scratch) = try world(48)
    defer { withExtendedLifetime((scratch, disk)) {} }
    let source = push.world.source
    try source.writeNoise("large", 12 << 20)
    for index in 0..<4 { try tool("ln", [source.root / "large", source.root / ByteString("name\(index)")]) }
    try source.writeNoise("sparse", 1 << 20, seed: 2)
    try tool("truncate", ["-s", "1G", source.root / "sparse"])
    try push.snapshot()
    try push.expectFailure(7, ssh: push.cut(after: 10 << 20))
    try push.push()
    // Of 24 MiB that are free now, the second large file takes 12.
    try tool("mv", [source.root / "large", source.root / "moved"])
    try source.writeNoise("other", 12 << 20, seed: 3)
    try push.snapshot()
    try push.push()
    try push.expectSame()
    // Another owner of every inode: the server has to store all of them once more.
    try tool("sh", ["-c", "chown 3:4 *"], in: source.root)
    try push.snapshot()
    try push.expectFailure(8, saying: "needs about 25 MiB")
  }

  @Test("`--minimum-free` of the server is kept")
  func minimumFree() throws {
    let (push, disk, scratch) = try world(64)
    defer { withExtendedLifetime((scratch, disk)) {} }
    try push.world.source.writeNoise("file", 20 << 20)
    try push.snapshot()
    let serve = "\(try treeringBinary()) serve --minimum-free"
    try push.expectFailure(8, saying: "of which 40 MiB must stay free", remoteCommand: "\(serve) 40M")
    try push.expectFailure(8, saying: "must stay free", remoteCommand: "\(serve) 80%")
    try push.push(remoteCommand: "\(serve) 10M")
  }

  @Test("so is `minimum_free` of the configuration there, where it is that of this repository")
  func configuredMinimumFree() throws {
    let (push, disk, scratch) = try world(64)
    defer { withExtendedLifetime((scratch, disk)) {} }
    try tool("chown", ["-R", "1000:1000", push.far.root])
    try push.world.source.writeNoise("file", 20 << 20)
    try push.snapshot()
    func configure(_ repository: ByteString) throws {
      try tool("mkdir", ["-p", push.place.root / ".config/treering"])
      try push.place.write(
        ".config/treering/treering.toml",
        "repository = \"\(repository)\"\n[[source]]\npath = \"/usr\"\n[retention]\ndaily = 7\nminimum_free = \"40M\"\n")
    }
    let serve =
      "setpriv --reuid 1000 --regid 1000 --clear-groups env HOME=\(push.place.root) \(try treeringBinary()) serve"
    try tool("chmod", ["-R", "a+rX", push.world.directory.path, disk.tree.root])
    try configure(push.far.root)
    try push.expectFailure(8, saying: "of which 40 MiB must stay free", remoteCommand: serve)
    try configure("/elsewhere")
    try push.push(remoteCommand: serve)
  }

  @Test("a push that runs out of room all the same frees what it had written")
  func runsOut() throws {
    let (push, disk, scratch) = try world(64)
    defer { withExtendedLifetime((scratch, disk)) {} }
    for index in 0..<10 { try push.world.source.writeNoise(ByteString("f\(index)"), 4 << 20, seed: index) }
    try push.snapshot()
    let running = try push.start(["--limit-rate", "16MB/s"])
    try push.waitUntil("something has come") { try disk.bytesUsed() > 8 << 20 }
    _ = try runCommand("dd", ["if=/dev/zero", "of=" + (disk.tree.root / "ballast"), "bs=1M"])
    let result = try running.wait()
    #expect(result.status == 8, "\(result.errorText)")
    try tool("rm", [disk.tree.root / "ballast"])
    #expect(try disk.bytesUsed() < 3 << 20)
    #expect(try push.far.names(".treering/pending") == [])
    try push.push()
    try push.expectSame()
  }
}

import Foundation
import TestSupport
import Testing

/// A disk whose room is less than it promises, for a while: writing back fails there and then, and who asked for it
/// was told long ago that the bytes were written.
private final class LosingDisk {
  private let memory: LoopFileSystem
  let disk: LoopFileSystem

  init(at directory: ByteString) throws {
    memory = try LoopFileSystem("tmpfs", mebibytes: 120, at: directory)
    disk = try LoopFileSystem(
      "ext4", mebibytes: 2000, at: memory.tree.root / "disk",
      options: ["-F", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard"])
  }

  deinit { try? disk.unmount() }

  func heal() throws { try tool("mount", ["-o", "remount,size=2G", memory.tree.root]) }

  /// What is only in memory is gone.
  func forget() throws {
    try disk.unmount()
    try disk.mount()
  }
}

@Suite("a disk that loses what was written", .waits)
struct LostWritesTests {
  private static let total = 300_000_000

  private func fill(_ source: Tree, _ files: Int) throws {
    for index in 0..<files {
      try source.writeNoise(ByteString("file\(index)"), Self.total / files, seed: index + 1)
    }
  }

  private func arrived(_ repository: Tree) throws -> Int {
    let text = try runCommand("du", ["-s", "-B1", repository.root / ".treering/pending"]).outputText
    return text.split(separator: "\t").first.flatMap { Int($0) } ?? 0
  }

  @Test("what was lost of a push that was cut off is in no snapshot of a later one", arguments: [1, 12])
  func push(files: Int) throws {
    let place = try World("lost")
    let losing = try LosingDisk(at: place.directory.path / "memory")
    let push = try PushWorld("lost-push", far: losing.disk.tree.root / "repository")
    (push.ssh, push.address) = ("", push.far.root)
    try fill(push.world.source, files)
    try push.snapshot()
    let first = try push.start(["--limit-rate", "60MB/s"])
    try push.waitUntil("more came than there is room for") { try arrived(push.far) > 160_000_000 }
    try losing.heal()
    try push.waitUntil("most came") { try arrived(push.far) > 200_000_000 }
    first.signal(SIGKILL)
    _ = try first.wait()
    var result = try push.run()
    // It may have to say that the disk fails, once.
    if result.status != 0 { result = try push.run() }
    #expect(result.status == 0, "\(result.errorText)")
    try losing.forget()
    let verification = try push.there(["verify"])
    #expect(verification.status == 0, "\(verification.outputText) \(verification.errorText)")
    try push.expectSame()
  }

  @Test("what was lost of an interrupted snapshot is in no later one, though only the next run hears of it")
  func snapshot() throws {
    let world = try World("lost-snapshot")
    let losing = try LosingDisk(at: world.directory.path / "memory")
    let repository = losing.disk.tree.root / "repository"
    let program = try treeringBinary()
    try tool(program, ["init", repository])
    try fill(world.source, 12)
    let snapshot: [ByteString] = ["snapshot", world.source.root, "--threads", "1", "-r", repository]
    let first = try RunningCommand(program, snapshot, in: world.directory.path)
    let deadline = Date().addingTimeInterval(60)
    while try arrived(Tree(repository)) < 200_000_000, Date() < deadline {}
    first.signal(SIGTERM)
    #expect(try first.wait().status == 128 + SIGTERM)
    try tool("sync", [])
    try losing.heal()
    let second = try runCommand(program, snapshot)
    #expect(second.status != 0, "it says what the disk said")
    let third = try runCommand(program, snapshot)
    #expect(third.status == 0, "\(third.errorText)")
    try losing.forget()
    let verification = try runCommand(program, ["verify", "-r", repository])
    #expect(verification.status == 0, "\(verification.outputText) \(verification.errorText)")
  }
}

import Foundation
import TestSupport
import Testing

@Suite("push: a disk that loses what was written")
struct PushLostWritesTests {
  /// The disk's room is less than it promises, for a while: writing back fails there and then, and who asked for the
  /// bytes has been told long ago that they were written.
  @Test("what the disk lost of a push that was cut off is in no snapshot of a later one", arguments: [1, 12])
  func cutOff(files: Int) throws {
    let place = try World("push-lost")
    let memory = try LoopFileSystem("tmpfs", mebibytes: 120, at: place.directory.path / "memory")
    defer { withExtendedLifetime(memory) {} }
    let disk = try LoopFileSystem(
      "ext4", mebibytes: 2000, at: memory.tree.root / "disk",
      options: ["-F", "-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard"])
    defer { try? disk.unmount() }
    let push = try PushWorld("push-lost-source", far: disk.tree.root / "repository")
    (push.ssh, push.address) = ("", push.far.root)
    let total = 300_000_000
    for index in 0..<files {
      try push.world.source.writeNoise(ByteString("file\(index)"), total / files, seed: index + 1)
    }
    try push.snapshot()

    let first = try push.start(["--limit-rate", "60MB/s"])
    func arrived() throws -> Int {
      let text = try runCommand("du", ["-s", "--apparent-size", "-B1", push.far.root / ".treering/pending"]).outputText
      return text.split(separator: "\t").first.flatMap { Int($0) } ?? 0
    }
    try push.waitUntil("more came than there is room for") { try arrived() > 160_000_000 }
    try tool("mount", ["-o", "remount,size=2G", memory.tree.root])
    try push.waitUntil("most came") { try arrived() > 200_000_000 }
    first.signal(SIGKILL)
    _ = try first.wait()

    var result = try push.run()
    // It may have to say that the disk fails, once.
    if result.status != 0 { result = try push.run() }
    #expect(result.status == 0, "\(result.errorText)")
    // What is only in memory is not asked.
    try disk.unmount()
    try disk.mount()
    let verification = try push.there(["verify"])
    #expect(verification.status == 0, "\(verification.outputText) \(verification.errorText)")
    try push.expectSame()
  }
}

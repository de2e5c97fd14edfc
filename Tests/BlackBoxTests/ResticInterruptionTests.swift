import Foundation
import TestSupport
import Testing

@Suite("Pushes to restic's format that do not come through at once", .waits)
struct ResticInterruptionTests {
  /// Writes noise, which does not compress.
  private func grow(_ world: World, _ name: ByteString, mebibytes: Int) throws {
    try tool("dd", ["if=/dev/urandom", "of=" + world.source.root / name, "bs=1M", ByteString("count=\(mebibytes)")])
  }

  @Test("a push that is killed at any write leaves a right repository, and the next one finishes")
  func kills() throws {
    let world = try ResticWorld()
    try grow(world.world, "first", mebibytes: 3)
    let first = try world.world.snapshot()
    let copy = try world.copyOfSource()
    try world.push()
    let whole = world.destination()
    try tool("cp", ["-a", world.place.root, whole])
    try grow(world.world, "second", mebibytes: 40)
    let second = try world.world.snapshot()
    let kinds = ["locks", "data", "index", "snapshots"] as [ByteString]
    // strace counts for each thread by itself, and packs are written by several.
    let moments: [[ByteString]] =
      (1...3).map { ["-e", ByteString("inject=/rename.*:signal=KILL:when=\($0)")] }
      + (1...3).map { ["-e", ByteString("inject=fsync,fdatasync:signal=KILL:when=\($0)")] }
      + kinds.map { ["-P", world.place.root / $0, "-e", "inject=/rename.*,unlinkat:signal=KILL:when=1"] }
    var kills = 0
    for moment in moments {
      try tool("rm", ["-rf", world.place.root])
      try tool("cp", ["-a", whole, world.place.root])
      try world.world.repository.remove(".treering/remotes")
      let killed = try runCommand(
        "strace",
        ["-f", "-qq", "-o", "/dev/null", "-e", "trace=/rename.*,unlinkat,fsync,fdatasync"] + moment + [
          try treeringBinary(), "push", world.address, "-r", world.world.repository.root, "--password-file",
          world.password,
        ], in: world.world.directory.path)
      if killed.status != 0 { kills += 1 }
      try world.restic(["unlock", "--remove-all"])
      try world.check()
      let out = world.destination()
      try world.there(["restore", first.name, "--to", out])
      #expect(try differences(copy, out / world.world.source.root) == [])
      try world.push()
      try world.check()
      try world.there(["verify", second.name])
    }
    #expect(kills >= 6)
  }

  @Test(
    "a full disk at the server fails the push, and the next one goes on", arguments: [Storage.directory, .sftp, .rest])
  func fullDisk(storage: Storage) throws {
    let world = try ResticWorld(at: storage)
    let data = world.place.root / (storage == .rest ? "a/data" : "data")
    try tool("mkdir", ["-p", data])
    try tool("mount", ["-t", "tmpfs", "-o", "size=24M", "tmpfs", data])
    defer { _ = try? runCommand("umount", ["-l", data]) }
    try pushAndGrow(world, mebibytes: 60)
    let failed = try world.treering(["push", world.address, "--timeout", "2s"], inRepository: true)
    #expect(failed.status == (storage == .directory ? 8 : 7), "\(failed.status): \(failed.errorText)")
    #expect(try world.there(["list"]).outputLines.count == 2)
    try tool("mount", ["-o", "remount,size=200M", data])
    try world.check()
    #expect(try world.push().result == "sent")
    try world.check()
    try world.there(["verify"])
  }

  @Test("a full disk of OpenStack Swift fails the push, and the next one uses what arrived")
  func fullSwift() throws {
    let world = try ResticWorld(at: .swift, diskSize: "50M")
    try pushAndGrow(world, mebibytes: 70)
    let failed = try world.treering(["push", world.address, "--timeout", "2s"], inRepository: true)
    #expect(failed.status == 7 && failed.errorText.contains("may have no space left"), "\(failed.errorText)")
    #expect(try world.there(["list"]).outputLines.count == 2)
    try world.storage.enlargeDisk(to: "300M")
    // Swift needs space for a removal, too, so the lock has stayed.
    try expectRest(of: world, atMost: 60 << 20)
  }

  @Test("a killed push to OpenStack Swift shows nothing, and the next one uses what arrived")
  func killedAtSwift() throws {
    let world = try ResticWorld(at: .swift)
    try pushAndGrow(world, mebibytes: 70)
    let push = try startSlowPush(world, rate: "4MB/s")
    // Until a pack is there.
    let devices = world.world.directory.path / "place/devices"
    var waits = 0
    while waits < 600, try mebibytes(in: devices) < 18 {
      usleep(100_000)
      waits += 1
    }
    push.signal(SIGKILL)
    _ = try push.wait()
    #expect(try world.there(["list"]).outputLines.count == 2)
    try expectRest(of: world, atMost: 60 << 20)
  }

  /// Pushes a snapshot, and takes one with a large file.
  private func pushAndGrow(_ world: ResticWorld, mebibytes: Int) throws {
    try world.world.source.write("file", "x")
    try world.world.snapshot()
    try world.push()
    try grow(world.world, "large", mebibytes: mebibytes)
    try world.world.snapshot()
  }

  /// The push after one that was cut off completes it, and nothing is damaged before or after.
  private func expectRest(of world: ResticWorld, atMost bytes: Int = .max) throws {
    try world.restic(["unlock", "--remove-all"])
    try world.check()
    let next = try world.push()
    #expect(next.result == "sent" && next.bytesSent < bytes)
    try world.check()
    try world.there(["verify"])
  }

  private func mebibytes(in directory: ByteString) throws -> Int {
    // Files go while they are counted.
    Int(try runCommand("du", ["-sm", directory]).outputText.prefix { $0.isNumber }) ?? 0
  }

  private func startSlowPush(_ world: ResticWorld, rate: ByteString) throws -> RunningCommand {
    try RunningCommand(
      try treeringBinary(),
      [
        "push", world.address, "-r", world.world.repository.root, "--password-file", world.password, "--timeout", "2s",
        "--limit-rate", rate,
      ], in: world.world.directory.path, environment: world.storage.environment)
  }

  @Test("two pushes at once both arrive", arguments: [Storage.directory, .s3])
  func twoAtOnce(storage: Storage) throws {
    let world = try ResticWorld(at: storage)
    let other = try World("other")
    for (index, source) in [world.world, other].enumerated() {
      try grow(source, "own", mebibytes: 20)
      // Both have the same file, too.
      try source.source.write("shared", bytes: (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 9) })
      try source.source.write("name", "\(index)")
      try source.snapshot()
    }
    let pushes = try [world.world, other].map { source in
      try RunningCommand(
        try treeringBinary(),
        ["push", world.address, "-r", source.repository.root, "--password-file", world.password]
          + world.storage.options, in: source.directory.path, environment: world.storage.environment)
    }
    for push in pushes {
      let result = try push.wait()
      #expect(result.status == 0, "\(result.errorText)")
    }
    #expect(try world.there(["list"]).outputLines.count == 3)
    try world.there(["verify"])
    try world.check()
  }

  @Test("a server that loses its power during a push loses nothing that it took")
  func powerLoss() throws {
    let world = try ResticWorld(at: .swift)
    try pushAndGrow(world, mebibytes: 50)
    let push = try startSlowPush(world, rate: "20MB/s")
    usleep(1_500_000)
    try world.storage.crashSwift()
    let failed = try push.wait()
    #expect(failed.status == 7, "\(failed.errorText)")
    try world.storage.startSwift()
    try expectRest(of: world)
  }
}

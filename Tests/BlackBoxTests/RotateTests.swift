import Foundation
import TestSupport
import Testing

/// The document of `rotate --json`.
private struct RotationAnswer: Decodable {
  struct Item: Decodable {
    let snapshot: String
    let expires: Bool
    let reasons: [String]
  }
  let dryRun: Bool
  let snapshots: [Item]
  let expired: Int
  let obstacle: String?
  let freedBytes: Int?
  let missingBytes: Int
}

@Suite("rotate, hold, release", .waits)
struct RotateTests {
  /// Runs the program at one instant of another time and zone.
  @discardableResult
  private func at(
    _ time: String, _ world: World, _ arguments: [ByteString], zone: String = "UTC", status: Int32? = 0,
    location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try runCommand(
      "faketime", ["-f", ByteString(time), try treeringBinary()] + arguments + ["-r", world.repository.root],
      environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": zone])
    if let status { #expect(result.status == status, "\(result.errorText)", sourceLocation: location) }
    return result
  }

  private func world(_ times: [String], zone: String = "UTC") throws -> World {
    let world = try World()
    world.provesOlderUnchanged = false
    for time in times {
      try world.source.write("file", time)
      try at(time, world, ["snapshot", world.source.root], zone: zone)
    }
    return world
  }

  private func links(_ world: World, _ set: ByteString) throws -> [ByteString] {
    guard world.repository.exists(set) else { return [] }
    return try world.repository.names(set)
  }

  @Test("what is in no set expires, the links follow, and references find the members")
  func sets() throws {
    let world = try world([
      "2026-03-01 10:00:00", "2026-03-02 10:00:00", "2026-03-02 10:30:00", "2026-03-02 11:00:00",
    ])
    let plan = try at(
      "2026-03-02 11:10:00", world, ["rotate", "--keep", "hourly=2", "--keep", "daily=2", "--dry-run", "--json"]
    )
    .decoded(RotationAnswer.self)
    #expect(plan.dryRun && plan.snapshots.map(\.expires) == [false, false, true, false])
    #expect(
      plan.snapshots.map(\.reasons) == [
        ["daily.1"], ["hourly.1", "daily.0"], ["in_no_set"], ["newest", "newest_good", "hourly.0"],
      ])
    #expect(try world.snapshotNames().count == 4)
    let done = try at("2026-03-02 11:10:00", world, ["rotate", "--keep", "hourly=2", "--keep", "daily=2"])
    #expect(done.outputText == "" && done.errorText == "")
    let left: [ByteString] = ["2026-03-01T10-00-00Z", "2026-03-02T10-00-00Z", "2026-03-02T11-00-00Z"]
    #expect(try world.snapshotNames() == left)
    #expect(try links(world, "hourly") == Array(left[1...]))
    #expect(try links(world, "daily") == Array(left[..<2]))
    #expect(try links(world, "weekly") == [])
    let target = try tool("readlink", [world.repository.root / "daily" / left[0]])
    #expect(target == Array("../2026-03-01T10-00-00Z\n".utf8))
    #expect(
      try tool("cat", [world.repository.root / "daily" / left[0] / "localhost" / world.source.root / "file"])
        == Array("2026-03-01 10:00:00".utf8))
    // The same sets for the next snapshot, and for references.
    try at("2026-03-02 12:00:00", world, ["snapshot", world.source.root])
    #expect(try links(world, "hourly") == [left[2], "2026-03-02T12-00-00Z"])
    let difference = try at("2026-03-02 12:01:00", world, ["diff", "daily.1", "hourly.0", "--json"])
    #expect(difference.outputText.contains("\"from\" : \"2026-03-01T10-00-00Z\""))
    #expect(difference.outputText.contains("\"to\" : \"2026-03-02T12-00-00Z\""))
    try at("2026-03-02 12:01:00", world, ["diff", "daily.2", "hourly.0"], status: 2)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("links that somebody broke are mended, and what is no link of ours stays")
  func brokenLinks() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 11:00:00"])
    try tool(
      "bash",
      [
        "-c",
        "cd hourly; rm 2026-03-01T10*; ln -s /etc 2020-01-01T00-00-00Z; ln -sfn /etc 2026-03-01T11-00-00Z; echo x > note",
      ],
      in: world.repository.root)
    try at("2026-03-01 11:30:00", world, ["rotate"])
    #expect(try links(world, "hourly") == ["2026-03-01T10-00-00Z", "2026-03-01T11-00-00Z", "note"])
    #expect(
      try tool("readlink", [world.repository.root / "hourly/2026-03-01T11-00-00Z"])
        == Array("../2026-03-01T11-00-00Z\n".utf8))
  }

  @Test("a held snapshot stays until it is released")
  func held() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 11:00:00", "2026-03-01 12:00:00"])
    try at("2026-03-01 12:01:00", world, ["hold", "2026-03-01T10", "--reason", "before the upgrade"])
    #expect(try at("2026-03-01 12:01:00", world, ["list"]).outputText.contains("Z before the upgrade"))
    try at("2026-03-01 12:02:00", world, ["rotate", "--keep-last", "1"])
    #expect(try world.snapshotNames() == ["2026-03-01T10-00-00Z", "2026-03-01T12-00-00Z"])
    let refused = try at("2026-03-01 12:03:00", world, ["delete", "--yes", "2026-03-01T10"], status: 4)
    #expect(refused.errorText.contains("must stay: held"))
    #expect(try world.snapshotNames().count == 2)
    try at("2026-03-01 12:03:00", world, ["release", "2026-03-01T10"])
    try at("2026-03-01 12:04:00", world, ["rotate"])
    #expect(try world.snapshotNames() == ["2026-03-01T12-00-00Z"])
  }

  @Test("held rotation expires nothing and says so, not even what the operator names")
  func heldRotation() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 10:01:00", "2026-03-01 10:02:00"])
    try tool(
      "sh", ["-c", "echo '2026-03-01T10:02:00Z looks encrypted' > .treering/rotation-held"], in: world.repository.root)
    let result = try at("2026-03-01 10:03:00", world, ["rotate", "--keep-last", "1"], status: 4)
    #expect(result.errorText.contains("looks encrypted"))
    #expect(try world.snapshotNames().count == 3)
    try at("2026-03-01 10:03:00", world, ["delete", "--yes", "2026-03-01T10-01"], status: 4)
    #expect(try world.snapshotNames().count == 3)
    try at("2026-03-01 10:04:00", world, ["release"])
    try at("2026-03-01 10:05:00", world, ["delete", "--yes", "2026-03-01T10-01"])
    #expect(try world.snapshotNames() == ["2026-03-01T10-00-00Z", "2026-03-01T10-02-00Z"])
    try at("2026-03-01 10:06:00", world, ["rotate", "--keep-last", "1"])
    #expect(try world.snapshotNames() == ["2026-03-01T10-02-00Z"])
  }

  @Test("a clock that is set back, or ahead: nothing expires")
  func clock() throws {
    let world = try world(["2026-03-02 10:00:00", "2026-03-02 10:10:00", "2026-03-02 10:20:00"])
    let back = try at("2026-03-01 10:00:00", world, ["rotate", "--keep-last", "1"], status: 4)
    #expect(back.errorText.contains("from the future"))
    try at("2036-03-02 10:00:00", world, ["rotate", "--keep-last", "1"], status: 4)
    try at("2036-03-02 10:00:00", world, ["snapshot", world.source.root])
    try at("2036-03-02 10:01:00", world, ["rotate", "--keep-last", "1"], status: 4)
    // That stays so until somebody has looked.
    try at("2036-03-02 11:00:00", world, ["snapshot", world.source.root])
    try at("2036-03-02 11:01:00", world, ["rotate", "--keep-last", "1"], status: 4)
    #expect(try world.snapshotNames().count == 5)
    try at("2036-03-02 11:02:00", world, ["release"])
    try at("2036-03-02 11:03:00", world, ["rotate", "--keep-last", "1"])
    #expect(try world.snapshotNames() == ["2036-03-02T11-00-00Z"])
  }

  @Test("a clock that leaps ahead, and several snapshots before the next rotation: nothing expires until release")
  func clockForwardBetweenRotations() throws {
    let world = try world([
      "2026-11-01 10:00:00", "2026-11-08 10:00:00", "2026-11-15 10:00:00", "2040-06-01 10:00:00", "2040-06-01 11:00:00",
    ])
    let words: [ByteString] = ["rotate", "--keep-within", "30d"]
    let refused = try at("2040-06-01 11:30:00", world, words, status: 4)
    #expect(refused.errorText.contains("2026-11-15T10-00-00Z and 2040-06-01T10-00-00Z"), "\(refused.errorText)")
    try at("2040-06-01 11:30:00", world, ["release"])
    // Also where the snapshot that was the newest then is gone.
    try at("2040-06-01 12:00:00", world, ["snapshot", world.source.root])
    try at("2040-06-01 12:01:00", world, ["delete", "--yes", "2040-06-01T11-00-00Z"])
    try at("2040-06-01 12:02:00", world, words)
    #expect(try world.snapshotNames() == ["2040-06-01T10-00-00Z", "2040-06-01T12-00-00Z"])
  }

  @Test("a rotation killed at any rename or removal is finished by the next run", arguments: 1...6)
  func killed(_ nth: Int) throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 10:01:00", "2026-03-01 10:02:00", "2026-03-01 10:03:00"])
    for call in ["renameat2", "unlinkat", "fsync"] {
      _ = try runCommand(
        "strace",
        [
          "-f", "-qq", "-o", "/dev/null", "-e", "trace=none", "-e",
          ByteString("inject=\(call):signal=SIGKILL:when=\(nth)"),
          try treeringBinary(), "rotate", "--keep-last", "2", "-r", world.repository.root,
        ])
      #expect(try world.treering(["list"]).status == 0)
      #expect(try world.treering(["verify"]).status == 0)
    }
    try at("2026-03-01 10:05:00", world, ["rotate", "--keep-last", "2"])
    #expect(try world.snapshotNames() == ["2026-03-01T10-02-00Z", "2026-03-01T10-03-00Z"])
    #expect(try world.repository.names(".treering/catalogs").count == 2)
    #expect(try world.repository.names(".treering/trash") == [])
    #expect(try world.repository.names(".treering/pending") == [])
    #expect(try world.repository.names(".treering/spare").count <= 1)
  }

  @Test("space: the oldest that nothing protects go, as many as needed, and what they free was known before")
  func minimumFree() throws {
    let world = try World(initialized: false)
    world.provesOlderUnchanged = false
    let disk = try LoopFileSystem("ext4", mebibytes: 64, at: world.repository.root, options: ["-m", "0"])
    try tool("rmdir", [disk.tree.root / "lost+found"])
    try at("2026-03-01 09:00:00", world, ["init"])
    for minute in 10..<16 {
      try world.source.write("file", bytes: [UInt8](repeating: UInt8(minute), count: 4 << 20))
      try world.source.write(ByteString("small\(minute)"), "s")
      try at("2026-03-01 \(minute):00:00", world, ["snapshot", world.source.root])
    }
    try at("2026-03-01 16:00:00", world, ["hold", "2026-03-01T10"])
    let used = try disk.bytesUsed()
    let free = Int(
      String(decoding: try tool("sh", ["-c", "df --output=avail -B1 . | tail -1"], in: disk.tree.root), as: UTF8.self)
        .trimmingCharacters(in: .whitespacesAndNewlines))!
    // Two of them are needed.
    let wanted = ByteString("\(free + (6 << 20))B")
    let plan = try at("2026-03-01 16:00:00", world, ["rotate", "--minimum-free", wanted, "--dry-run", "--json"])
      .decoded(RotationAnswer.self)
    #expect(plan.snapshots.map(\.expires) == [false, true, true, false, false, false])
    #expect(plan.snapshots[1].reasons == ["space"])
    let freed = try #require(plan.freedBytes)
    try at("2026-03-01 16:00:00", world, ["rotate", "--minimum-free", wanted])
    #expect(try world.snapshotNames().map(\.description) == [10, 13, 14, 15].map { "2026-03-01T\($0)-00-00Z" })
    let really = used - (try disk.bytesUsed())
    #expect(abs(really - freed) <= 64 << 10, "\(freed) were foretold, \(really) came free")
    // Nothing is given up for what cannot be reached.
    let short = try at("2026-03-01 16:01:00", world, ["rotate", "--minimum-free", "99%"], status: 8)
    #expect(short.errorText.contains("nothing expired for space"))
    #expect(try world.snapshotNames().count == 4)
    // Never below what protects itself.
    let most = ByteString("\(free + (14 << 20))B")
    try at("2026-03-01 16:02:00", world, ["rotate", "--minimum-free", most])
    #expect(try world.snapshotNames().map(\.description) == [10, 15].map { "2026-03-01T\($0)-00-00Z" })
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test(
    "a policy that was remembered and is damaged expires nothing, and is said anew",
    arguments: [
      "truncate -s 0 retention", "truncate -s 12 retention", "sed -i s/daily/dahly/ retention",
      "sed -i s/=[0-9]*/=0/g retention",
      "sed -i s/daily=30/daily=3O/ retention",
    ])
  func damagedPolicy(_ damage: String) throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-02 10:00:00", "2026-03-03 10:00:00"])
    try at("2026-03-03 11:00:00", world, ["rotate", "--keep", "daily=30"])
    try tool("sh", ["-c", ByteString(damage)], in: world.repository.root / ".treering")
    let refused = try at("2026-03-03 11:00:00", world, ["rotate"], status: 6)
    #expect(refused.errorText.contains(".treering/retention"))
    #expect(try world.snapshotNames().count == 3)
    // A snapshot is taken all the same.
    try at("2026-03-03 12:00:00", world, ["snapshot", world.source.root], status: 1)
    #expect(try world.snapshotNames().count == 4)
    try at("2026-03-03 13:00:00", world, ["rotate", "--keep", "daily=2"])
    try at("2026-03-03 13:00:00", world, ["rotate"])
    #expect(try world.snapshotNames().count == 3)
  }

  @Test("what a wrong clock made, and the last of a source that is backed up no longer, can be deleted")
  func deleteProtected() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-09-01 10:00:00"])
    let advice = try at("2026-03-01 11:00:00", world, ["rotate"], status: 4)
    #expect(advice.errorText.contains("treering delete 2026-09-01T10-00-00Z"))
    try at("2026-03-01 11:00:00", world, ["delete", "--yes", "2026-09-01T10-00-00Z"])
    #expect(try world.snapshotNames() == ["2026-03-01T10-00-00Z"])
    #expect(try tool("readlink", [world.repository.root / "latest"]) == Array("2026-03-01T10-00-00Z\n".utf8))
    // It alone has the source.
    try at("2026-03-01 11:00:00", world, ["delete", "--yes", "latest"], status: 4)
    let other = try Tree(making: world.directory.path / "other")
    try at("2026-03-01 12:00:00", world, ["snapshot", other.root])
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    let configured: [ByteString] = ["-c", world.directory.path / "c.toml"]
    let stays = try at("2026-03-01 13:00:00", world, ["delete", "--yes", "2026-03-01T10"] + configured, status: 4)
    #expect(stays.errorText.contains("the newest good one of a source"))
    try at("2026-03-01 13:00:00", world, ["delete", "--yes", "2026-03-01T10"])
    #expect(try world.snapshotNames() == ["2026-03-01T12-00-00Z"])
  }

  @Test("a snapshot of some sources takes no place in a set from one of all")
  func partialFirst() throws {
    let world = try world([])
    let other = try Tree(making: world.directory.path / "other")
    for day in 1...3 {
      try at("2026-03-0\(day) 10:00:00", world, ["snapshot", other.root])
      try at("2026-03-0\(day) 10:05:00", world, ["snapshot", world.source.root, other.root])
      try at("2026-03-0\(day) 10:10:00", world, ["snapshot", world.source.root])
    }
    try at("2026-03-03 11:00:00", world, ["rotate", "--keep", "daily=2"])
    #expect(
      try world.snapshotNames().map(\.description) == [
        "2026-03-02T10-00-00Z", "2026-03-02T10-05-00Z", "2026-03-03T10-00-00Z", "2026-03-03T10-05-00Z",
        "2026-03-03T10-10-00Z",
      ])
    #expect(try links(world, "daily").count == 4)
  }

  @Test("two sources that are taken by turns do not push each other out")
  func byTurns() throws {
    let world = try world([])
    let other = try Tree(making: world.directory.path / "other")
    try other.write("file", "other")
    for day in 1...4 {
      try at("2026-03-0\(day) 10:00:00", world, ["snapshot", world.source.root])
      try at("2026-03-0\(day) 10:05:00", world, ["snapshot", other.root])
    }
    try at("2026-03-04 11:00:00", world, ["rotate", "--keep", "daily=3"])
    #expect(
      try world.snapshotNames().map(\.description)
        == (2...4).flatMap { day in
          ["00", "05"].map { "2026-03-0\(day)T10-\($0)-00Z" }
        })
  }

  @Test("what somebody has mounted in an expired tree is neither changed nor deleted", arguments: [true, false])
  func mounted(_ keepsSpare: Bool) throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 11:00:00"])
    try world.source.makeDirectory("sub")
    try at("2026-03-01 12:00:00", world, ["snapshot", world.source.root])
    try at("2026-03-01 13:00:00", world, ["snapshot", world.source.root])
    let live = try Tree(making: world.directory.path / "live")
    try live.write("precious", "data")
    let place = world.repository.root / "2026-03-01T12-00-00Z/localhost" / world.source.root / "sub"
    try tool("mount", ["--bind", live.root, place])
    defer {
      let find = "grep -o \"$0/[^ ]*/sub\" /proc/self/mounts | xargs -r -n1 umount"
      _ = try? runCommand("sh", ["-c", ByteString(find), world.repository.root])
    }
    let before = try Fingerprint(live.root)
    let spare: [ByteString] = keepsSpare ? [] : ["--no-spare"]
    let rotated = try at(
      "2026-03-01 14:00:00", world, ["rotate", "--keep-last", "1"] + spare, status: keepsSpare ? 0 : 1)
    if !keepsSpare { #expect(rotated.errorText.contains("it is a mount point; unmount it")) }
    try at("2026-03-01 15:00:00", world, ["snapshot", world.source.root], status: nil)
    try at("2026-03-01 16:00:00", world, ["rotate", "--keep-last", "1"], status: nil)
    #expect(before.differences(to: try Fingerprint(live.root)) == [])
    #expect(try world.treering(["verify"]).status == 0)
    #expect(try differences(world.source.root, world.repository.root / "latest/localhost" / world.source.root) == [])
  }

  @Test("a gap longer than what is kept by its age holds rotation, until somebody has looked")
  func gap() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-02 10:00:00", "2026-11-01 10:00:00"])
    let held = try at("2026-11-01 11:00:00", world, ["rotate", "--keep-within", "14d"], status: 4)
    #expect(held.errorText.contains("treering release"))
    #expect(try world.snapshotNames().count == 3)
    try at("2026-11-01 11:00:00", world, ["release"])
    try at("2026-11-01 11:00:00", world, ["rotate", "--keep-within", "14d"])
    #expect(try world.snapshotNames().map(\.description) == ["2026-11-01T10-00-00Z"])
  }

  @Test("who expired what is in the history")
  func recorded() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 11:00:00"])
    try at("2026-03-01 12:00:00", world, ["rotate", "--keep-last", "1"])
    let lines = String(decoding: try tool("cat", [world.repository.root / ".treering/history.jsonl"]), as: UTF8.self)
      .split(separator: "\n")
    #expect(
      lines.last?.contains("\"command\":\"rotate\"") == true
        && lines.last?.contains("[\"2026-03-01T10-00-00Z\"]") == true)
  }

  @Test("one file that cannot be deleted keeps nothing else from being deleted")
  func undeletable() throws {
    let world = try world([])
    for name in ["a", "b/c", "d/e"] {
      try tool("sh", ["-c", "mkdir -p $(dirname \(name)); echo x > \(name)"], in: world.source.root)
    }
    try at("2026-03-01 10:00:00", world, ["snapshot", world.source.root])
    try tool("sh", ["-c", "rm -r *; echo y > z"], in: world.source.root)
    try at("2026-03-01 11:00:00", world, ["snapshot", world.source.root, "--accept-changes"])
    let doomed = world.repository.root / "2026-03-01T10-00-00Z/localhost" / world.source.root / "b/c"
    try tool("chattr", ["+i", doomed])
    let result = try at("2026-03-01 12:00:00", world, ["rotate", "--keep-last", "1", "--no-spare"], status: 1)
    #expect(result.errorText.contains("/b/c: "))
    let left = try TreeListing(world.repository.root / ".treering/trash").paths.map(\.description)
      .filter { $0.hasSuffix("/c") || $0.hasSuffix("/a") || $0.hasSuffix("/e") }
    #expect(left.count == 1)
    try tool("sh", ["-c", "chattr -i $(find .treering/trash -name c)"], in: world.repository.root)
    try at("2026-03-01 13:00:00", world, ["rotate"])
    #expect(try world.repository.names(".treering/trash") == [])
  }

  @Test("one of which nobody can tell whether it is gone stays, and the others expire")
  func unknowable() throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 11:00:00", "2026-03-01 12:00:00"])
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-P", "2026-03-01T11-00-00Z.catalog", "-e", "trace=statx,renameat,renameat2",
        "-e", "inject=statx,renameat,renameat2:error=EIO", try treeringBinary(), "rotate", "--keep-last", "1", "-r",
        world.repository.root,
      ])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(try world.snapshotNames() == ["2026-03-01T11-00-00Z", "2026-03-01T12-00-00Z"])
    try at("2026-03-01 13:00:00", world, ["rotate"])
    #expect(try world.snapshotNames() == ["2026-03-01T12-00-00Z"])
  }

  @Test(
    "wrong words are refused, and nothing is done",
    arguments: [
      ["--keep", "hourly"], ["--keep", "fortnightly=3"], ["--keep", "hourly=-1"], ["--keep", "hourly=0"],
      ["--keep-within", "3"], ["--keep-within", "3y"], ["--minimum-free", "120%"], ["--minimum-free", "much"],
      ["--keep-last", "-1"], ["--expire", "latest"],
    ] as [[ByteString]])
  func refusals(_ arguments: [ByteString]) throws {
    let world = try world(["2026-03-01 10:00:00", "2026-03-01 10:01:00"])
    let result = try world.treering(["rotate"] + arguments)
    #expect(result.status == 2 || arguments.last == "-1" && result.status == 2, "\(result.errorText)")
    #expect(try world.snapshotNames().count == 2)
  }
}

import Foundation
import TestSupport
import Testing

@Suite("Remotes of restic's format", .waits)
struct ResticRemoteTests {
  @Test("everything is pushed, and both programs restore it", arguments: [false, true])
  func everything(madeByRestic: Bool) throws {
    let world = try ResticWorld(madeByRestic: madeByRestic)
    try world.world.source.makeEverything()
    let snapshot = try world.world.snapshot()
    let copy = try world.copyOfSource()
    let answer = try world.push()
    #expect(answer.result == "sent")
    try world.check()
    try world.expectRestored(snapshot.name, is: copy, resticID: "latest")
    // Once more, nothing is sent.
    #expect(try world.push().result == "there")
    #expect(try world.there(["verify"]).status == 0)
    let list = try world.there(["list"])
    #expect(list.outputText.contains(snapshot.snapshot))
    #expect(try world.there(["cat", "latest", world.world.source.root / "text"]).outputText == "the quick brown fox\n")
    #expect(try world.there(["find", "setuid"]).outputText.contains("setuid"))
  }

  @Test("contents are cut as restic cuts them")
  func chunks() throws {
    let world = try ResticWorld()
    var random = SeededGenerator(seed: 23)
    let noise = (0..<6_000_000).map { _ in UInt8.random(in: 0...255, using: &random) }
    try world.world.source.write("noise", bytes: noise)
    try world.world.source.write("zeros", bytes: [UInt8](repeating: 0, count: 3_000_000))
    try world.world.source.write("hole", "x")
    try world.world.source.truncate("hole", to: 20_000_000)
    try world.world.source.write("limit", bytes: Array(noise[..<(512 << 10)]))
    try world.world.snapshot()
    #expect(try world.push().result == "sent")
    let result = try world.restic(["backup", "--verbose", world.world.source.root])
    #expect(result.outputText.contains("Data Blobs:      0 new"), "\(result.outputText)")
    try world.check()
  }

  @Test("the next push costs the change")
  func change() throws {
    let world = try ResticWorld()
    for number in 0..<300 { try world.world.source.write("file\(number)", String(repeating: "\(number) ", count: 500)) }
    try world.world.source.makeDirectory("large")
    try world.world.source.write("large/image", bytes: (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) })
    try world.world.snapshot()
    let first = try world.push()
    try world.world.source.overwrite("large/image", at: 2_900_000, bytes: [1, 2, 3])
    try world.world.snapshot()
    let second = try world.push()
    // The file, its directory, and the directories above.
    #expect(second.base == first.snapshot && second.entriesChanged <= 8)
    #expect(second.bytesSent < 1_500_000)
    try world.world.snapshot()
    // Only the snapshot itself is new.
    #expect(try world.push().bytesSent < 1000)
    try world.check()
  }

  @Test("restic may prune, and the next push sends again what is gone")
  func prune() throws {
    let world = try ResticWorld()
    try world.world.source.makeDirectory("deep")
    try world.world.source.write("deep/file", "content that is pruned")
    try world.world.snapshot()
    let copy = try world.copyOfSource()
    try world.push()
    try world.restic(["forget", "latest", "--prune"])
    #expect(try world.there(["list"]).outputText.isEmpty)
    let again = try world.world.snapshot()
    #expect(try world.push().result == "sent")
    try world.check()
    try world.expectRestored(again.name, is: copy, resticID: "latest")
  }

  @Test("packs that an interrupted push left behind are used")
  func leftPacks() throws {
    let world = try ResticWorld()
    try world.world.source.write("file", bytes: (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 7919 >> 5) })
    try world.world.snapshot()
    try world.push()
    for kind in ["snapshots", "index"] as [ByteString] {
      for name in try world.place.names(kind) { try world.place.remove(kind / name) }
    }
    try world.world.repository.remove(".treering/remotes")
    let packs = try tool("find", [world.place.root / "data", "-type", "f"])
    #expect(try world.push().result == "sent")
    #expect(try tool("find", [world.place.root / "data", "-type", "f"]) == packs)
    try world.check()
  }

  @Test("restic's exclusive lock is respected, and ours are gone")
  func locks() throws {
    let world = try ResticWorld()
    try world.world.source.write("file", "x")
    try world.world.snapshot()
    try world.push()
    #expect(try world.place.names("locks") == [])
  }

  @Test("a wrong password, an open password file and no password are refused")
  func passwords() throws {
    let world = try ResticWorld()
    let wrong = world.world.directory.path / "wrong"
    try Tree(world.world.directory.path).write("wrong", "wrong", mode: 0o600)
    try world.world.expectRefusal(
      ["list", "-r", world.address, "--password-file", wrong], status: 2, inRepository: false, naming: "password")
    try Tree(world.world.directory.path).setMode("wrong", 0o644)
    try world.world.expectRefusal(
      ["list", "-r", world.address, "--password-file", wrong], status: 2, inRepository: false, naming: "chmod 600")
    try world.world.expectRefusal(
      ["list", "-r", world.address], status: 2, inRepository: false, naming: "--password-file")
    let result = try world.world.treering(
      ["list", "-r", world.address, "--password-command", "cat \(world.password.text)"], inRepository: false)
    #expect(result.status == 0, "\(result.errorText)")
  }

  @Test("a damaged object is named and never trusted", arguments: ["flip", "truncate", "remove", "swap"])
  func damage(how: String) throws {
    let world = try ResticWorld()
    try world.world.source.makeDirectory("sub")
    try world.world.source.write("sub/file", bytes: (0..<800_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
    try world.world.snapshot()
    try world.push()
    let listing = try tool("find", [world.place.root, "-type", "f", "-printf", "%P\\n"])
    let files = String(decoding: listing, as: UTF8.self).split(separator: "\n").map { ByteString(String($0)) }
    for file in files {
      let backup = world.destination()
      try tool("cp", ["-a", world.place.root, backup])
      try tool("chmod", ["u+w", world.place.root / file])
      switch how {
      case "flip":
        var bytes = try world.place.read(file)
        bytes[bytes.count / 2] ^= 1
        try world.place.write(file, bytes: bytes)
      case "truncate": try world.place.truncate(file, to: try world.place.size(file) / 2)
      case "remove": try world.place.remove(file)
      default:
        let other = files.first { $0 != file }!
        try world.place.write(file, bytes: try world.place.read(other))
      }
      let result = try world.world.treering(
        ["verify", "-r", world.address, "--password-file", world.password], inRepository: false)
      // Without the snapshot's file, there is no snapshot.
      let isGone = how == "remove" && file.hasPrefix("snapshots/")
      #expect(result.status != 0 || isGone, "\(how) \(file): \(result.outputText)")
      // No crash, and the object is named. One that is gone is known by its blobs only.
      let said = result.outputText + result.errorText
      let name = String(file.text.split(separator: "/").last ?? "")
      #expect(result.status < 128 && (how == "remove" || said.contains(name)), "\(how) \(file): \(said)")
      let restored = world.destination()
      _ = try world.world.treering(
        ["restore", "latest", "--to", restored, "-r", world.address, "--password-file", world.password],
        inRepository: false)
      if Tree(restored).exists(""), let found = try? Tree(restored / world.world.source.root).read("sub/file") {
        #expect(try found == world.world.source.read("sub/file"), "\(how) \(file)")
      }
      try tool("rm", ["-rf", world.place.root])
      try tool("mv", [backup, world.place.root])
    }
  }

  @Test("random histories, with restic's backups between", arguments: [UInt64(1), 2, .random(in: 100...99_999)])
  func histories(seed: UInt64) throws {
    print("restic history: seed \(seed)")
    let world = try ResticWorld()
    world.world.provesOlderUnchanged = false
    var editor = RandomEditor(world.world.source, seed: seed)
    for _ in 0..<25 { try editor.edit() }
    var moments: [(copy: ByteString, name: ByteString)] = []
    for step in 0..<4 {
      let snapshot = try world.world.snapshot(of: nil, ["--accept-changes"])
      moments.append((try world.copyOfSource(), snapshot.name))
      let pushed = try world.world.treering(["push", world.address, "--password-file", world.password])
      #expect(pushed.status <= 1, "seed \(seed): \(pushed.errorText)")
      if step == 1 { try world.restic(["backup", "--host", "restic", world.world.source.root]) }
      if step == 2 { try world.restic(["forget", "latest", "--host", "restic", "--prune"]) }
      for _ in 0..<8 { try editor.edit() }
    }
    try world.check()
    for moment in moments {
      let own = world.destination()
      try world.there(["restore", moment.name, "--to", own])
      #expect(try differences(moment.copy, own / world.world.source.root) == [], "seed \(seed)")
    }
  }
}

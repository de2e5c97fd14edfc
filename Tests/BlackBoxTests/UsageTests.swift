import Foundation
import TestSupport
import Testing

/// The document of `usage --json`.
struct UsageAnswer: Decodable {
  struct Item: Decodable {
    let snapshot: String
    let bytes: Int
    let aloneBytes: Int
  }
  struct Directory: Decodable, Equatable {
    let path: String
    let bytes: Int
    let snapshot: String
    let since: String?
    let growthBytes: Int?
    let growthBytesPerDay: Int?
  }
  let snapshots: [Item]
  let spare: Item?
  let togetherBytes: Int?
  let doubts: [String]
  let largest: [Directory]
  let growing: [Directory]
  let growthBytesPerDay: Int?
  let bytesFree: Int?
  let fullOn: String?
}

/// The figures of space that a walk of all trees finds.
struct SpaceOracle: Decodable {
  let alone: [String: Int]
  let spare: Int
  let together: Int

  private static let script = ByteString("\(#filePath)").parent / "space_of_trees.py"

  static func look(at repository: ByteString, _ named: [ByteString] = []) throws -> SpaceOracle {
    try tool("sync", ["-f", repository])
    return try JSONDecoder().decode(
      SpaceOracle.self, from: Data(try tool("python3", [Self.script, repository] + named)))
  }
}

/// A world whose repository has a file system of its own.
func worldOnDisk(_ type: String = "ext4") throws -> (World, LoopFileSystem) {
  let world = try World("space", initialized: false)
  world.provesOlderUnchanged = false
  let disk = try LoopFileSystem(
    type, mebibytes: type == "xfs" ? 400 : 160, at: world.repository.root, options: type == "ext4" ? ["-m", "0"] : [])
  try tool("rm", ["-rf", disk.tree.root / "lost+found"])
  #expect(try world.treering(["init"]).status == 0)
  return (world, disk)
}

@Suite("usage", .waits)
struct UsageTests {
  private func expectRight(_ world: World, _ named: [ByteString] = [], comment: Comment) throws {
    let answer: UsageAnswer = try world.treering(["usage", "--json"] + named).decoded()
    let oracle = try SpaceOracle.look(at: world.repository.root, named)
    for item in answer.snapshots { #expect(item.aloneBytes == oracle.alone[item.snapshot], comment) }
    if named.isEmpty { #expect(answer.snapshots.count == oracle.alone.count) }
    #expect(answer.spare?.aloneBytes ?? 0 == oracle.spare, comment)
    if !named.isEmpty { #expect(answer.togetherBytes == oracle.together, comment) }
    #expect(answer.doubts == [], comment)
  }

  @Test("random histories on a disk of its own: the figures are those of a walk", arguments: [21, 22] as [UInt64])
  func history(seed: UInt64) throws {
    let (world, disk) = try worldOnDisk(seed % 2 == 0 ? "xfs" : "ext4")
    defer { withExtendedLifetime(disk) {} }
    var editor = RandomEditor(try Tree(making: world.source.root / "edited"), seed: seed)
    for _ in 0..<30 { try editor.edit() }
    for step in 0..<8 {
      try world.source.write("changes", "\(step)")
      try world.source.write("sparse\(step % 3)", "x")
      try world.source.truncate("sparse\(step % 3)", to: Int64(step + 1) << 20)
      try world.source.write("two\(step)", bytes: [UInt8](repeating: 1, count: 9000))
      try world.source.link("two\(step)", as: "names\(step)")
      if step > 1 { try world.source.rename("two\(step - 2)", to: "renamed\(step)") }
      if step > 3 { try world.source.remove("names\(step - 3)") }
      for _ in 0..<5 { try editor.edit() }
      try world.settle()
      try world.snapshot(["--accept-changes"])
      if step == 3 { #expect(try world.treering(["hold", "latest"]).status == 0) }
      // This leaves a spare, which the next snapshot recycles.
      if step > 4 { #expect(try world.treering(["rotate", "--keep-last", "\(step - 1)"]).status == 0) }
      if step == 6 {
        // A name outside the snapshots keeps the space.
        let outside = world.repository.root / ".treering/outside"
        try tool("ln", [world.repository.root / "latest/localhost" / world.source.root / "changes", outside])
      }
      try expectRight(world, comment: "seed \(seed), step \(step)")
      let names = try world.snapshotNames()
      try expectRight(world, Array(names.dropFirst().prefix(2)), comment: "seed \(seed), step \(step), two")
      try expectRight(world, Array(names.prefix(3)), comment: "seed \(seed), step \(step), three")
      try expectRight(world, names, comment: "seed \(seed), step \(step), all")
    }
  }

  @Test("snapshots of different sources, and equal files with other inodes")
  func sources() throws {
    let (world, disk) = try worldOnDisk()
    defer { withExtendedLifetime(disk) {} }
    let other = try Tree(making: world.directory.path / "other")
    for step in 0..<4 {
      try world.source.write("file", bytes: [UInt8](repeating: UInt8(step), count: 50_000))
      try other.write("kept", bytes: [UInt8](repeating: 7, count: 80_000))
      try world.settle()
      try world.snapshot(of: step == 1 ? [other.root] : step == 2 ? [world.source.root, other.root] : nil)
    }
    try expectRight(world, comment: "sources")
  }

  @Test("equal files with other inodes: copies of one tree share nothing, although their catalogs are equal")
  func copies() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let trees = world.directory.path / "trees"
    try tool("sh", ["-c", "mkdir -p $0/daily.0/host/etc && seq 9999 > $0/daily.0/host/etc/file", trees])
    try tool("cp", ["-a", trees / "daily.0", trees / "daily.1"])
    try tool("touch", ["-d", "yesterday", trees / "daily.1"])
    let adopted = try world.treering(["import", "snapshots", trees, "--label", "host"])
    #expect(adopted.status <= 1, "\(adopted.errorText)")
    #expect(try world.snapshotNames().count == 2)
    try expectRight(world, comment: "copies")
  }

  @Test("a repository that was copied to another disk: what is not known is said")
  func copied() throws {
    let world = try World()
    for step in 0..<3 {
      try world.source.write("file\(step)", "\(step)")
      try world.settle()
      try world.snapshot()
    }
    let disk = try LoopFileSystem("ext4", mebibytes: 64, at: world.directory.path / "disk")
    let copy = disk.tree.root / "repository"
    try tool("cp", ["-a", world.repository.root, copy])
    try world.source.write("file4", "4")
    try world.settle()
    #expect(try world.treering(["snapshot", world.source.root, "-r", copy], inRepository: false).status == 0)
    let answer: UsageAnswer = try world.treering(["usage", "--json", "-r", copy], inRepository: false).decoded()
    #expect(answer.doubts == ["copied_repository"])
    // The directories of the new snapshot were made here.
    let oracle = try SpaceOracle.look(at: copy)
    #expect(answer.snapshots.last.map { $0.aloneBytes == oracle.alone[$0.snapshot] } == true)
    let text = try world.treering(["usage", "-r", copy], inRepository: false)
    #expect(text.errorText.contains("the figures are not exact"), "\(text.errorText)")
  }

  @Test("the largest and the fastest growing directories, and the day when the disk is full")
  func growth() throws {
    let (world, disk) = try worldOnDisk()
    defer { withExtendedLifetime(disk) {} }
    func snapshot(_ time: ByteString) throws {
      let result = try runCommand(
        "faketime",
        ["-f", time, try treeringBinary(), "snapshot", world.source.root, "-r", world.repository.root],
        environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"])
      #expect(result.status == 0, "\(result.errorText)")
    }
    func fill(_ path: ByteString, kibibytes: Int) throws {
      try world.source.write(path, bytes: [UInt8](repeating: 1, count: kibibytes << 10))
    }
    for name in ["a", "a/b", "a/b/c", "log", "new"] as [ByteString] { try world.source.makeDirectory(name) }
    try fill("a/b/c/large", kibibytes: 2000)
    try fill("log/one", kibibytes: 100)
    try snapshot("2026-01-01 12:00:00")
    try fill("log/two", kibibytes: 400)
    try snapshot("2026-01-05 12:00:00")
    try fill("new/file", kibibytes: 600)
    try snapshot("2026-01-11 12:00:00")
    let prefix = world.source.root.text
    let answer: UsageAnswer = try world.treering(["usage", "--json"]).decoded()
    #expect(answer.largest.map(\.path) == ["", "/a/b/c", "/new", "/log"].map { prefix + $0 })
    #expect(answer.largest.map(\.bytes) == [3100, 2000, 600, 500].map { $0 << 10 })
    #expect(answer.growing.map(\.path) == ["", "/new", "/log"].map { prefix + $0 })
    #expect(answer.growing.map(\.growthBytes) == [1000, 600, 400].map { $0 << 10 })
    #expect(answer.growing[0].since == "2026-01-01T12-00-00Z")
    #expect(answer.growthBytesPerDay == 100 << 10)
    let days = Double(try #require(answer.bytesFree)) / Double(100 << 10)
    let full = try #require(answer.fullOn.flatMap { try? Date($0, strategy: .iso8601) })
    #expect(abs(full.timeIntervalSinceNow - days * 86_400) < 3600)
    // The first of the last seven days is that of the second snapshot.
    let recent: UsageAnswer = try world.treering(["usage", "--json", "--days", "7"]).decoded()
    #expect(recent.growthBytesPerDay == 100 << 10 && recent.growing.map(\.path) == [prefix + "/new"])
    let text = try world.treering(["usage"])
    #expect(text.outputText.contains("the files grow by 100 KiB a day"), "\(text.outputText)")
    #expect(try world.treering(["usage", "--days", "0"]).status == 2)
    #expect(try world.treering(["usage", "1999"]).status == 2)
  }

  @Test("a damaged catalog is named, and the others are compared without it")
  func damage() throws {
    let (world, disk) = try worldOnDisk()
    defer { withExtendedLifetime(disk) {} }
    for step in 0..<4 {
      for index in 0..<400 { try world.source.write("file\(index)", "\(index) \(step)") }
      try world.settle()
      try world.snapshot(["--accept-changes"])
    }
    let second = try world.snapshotNames()[1]
    let catalogs = Tree(world.repository.root / ".treering/catalogs")
    try catalogs.setMode(second + ".catalog", 0o600)
    try catalogs.overwrite(second + ".catalog", at: 200, bytes: [1, 2, 3, 4])
    let result = try world.treering(["usage", "--json"])
    #expect(result.status == 6 && result.errorText.contains(second.text), "\(result.errorText)")
    let answer = try result.decoded(UsageAnswer.self)
    let oracle = try SpaceOracle.look(at: world.repository.root)
    for item in answer.snapshots where item.snapshot != second.text {
      #expect(item.aloneBytes == oracle.alone[item.snapshot])
    }
  }

  private struct FreeingAnswer: Decodable {
    let delete: [String]
    let freedBytes: Int
    let spareBytes: Int
    let enough: Bool
    let doubts: [String]
  }

  @Test("the snapshots to delete for some space: the oldest that suffice, exactly, and none that must stay")
  func freeing() throws {
    let (world, disk) = try worldOnDisk()
    func answer(_ size: ByteString, status: Int32 = 0) throws -> FreeingAnswer {
      let result = try world.treering(["usage", "--free", size, "--json"])
      #expect(result.status == status, "\(result.errorText)")
      return try result.decoded()
    }
    // Only the second, third and fourth snapshot have much. The first is in the sets, so it goes last.
    for kibibytes in [10, 400, 900, 300, 20, 30] {
      try world.source.write("file", bytes: (0..<kibibytes << 10).map { UInt8(truncatingIfNeeded: $0 &* kibibytes) })
      try world.settle()
      try world.snapshot(["--accept-changes"])
    }
    let names = try world.snapshotNames()
    #expect(try answer("300K").delete == [names[1].text])
    #expect(try answer("800K").delete == [names[2].text])
    let both = try answer("1200K")
    #expect(both.delete == names[1...2].map(\.text) && both.enough && both.doubts == [])
    let oracle = try SpaceOracle.look(at: world.repository.root, Array(names[1...2]))
    #expect(both.freedBytes == oracle.together && both.spareBytes == 0)
    #expect(try world.treering(["hold", names[2]]).status == 0)
    #expect(try answer("600K").delete == [names[1].text, names[3].text])
    let most = try answer("1M", status: 8)
    #expect(!most.enough && most.delete == [1, 3, 4, 0].map { names[$0].text })
    let text = try world.treering(["usage", "--free", "600K"])
    let advice = "delete \(names[1]) \(names[3])"
    #expect(text.outputText.contains("delete with: treering \(advice) --repository"), "\(text.outputText)")
    try tool("sync", ["-f", world.repository.root])
    let used = try disk.bytesUsed()
    let foretold = try answer("600K").freedBytes
    #expect(try world.treering(["delete", names[1], names[3], "--yes"]).status == 0)
    try tool("sync", ["-f", world.repository.root])
    // The history and the links take a few blocks.
    #expect(abs(used - (try disk.bytesUsed()) - foretold) <= 16 << 10)
    #expect(try world.treering(["usage", "--free", "1M", "latest"]).status == 2)
  }

  @Test("an empty repository has nothing to show")
  func empty() throws {
    let world = try World()
    let result = try world.treering(["usage"])
    #expect(result.status == 0 && result.outputText.contains("the growth is not known yet"), "\(result.errorText)")
  }
}

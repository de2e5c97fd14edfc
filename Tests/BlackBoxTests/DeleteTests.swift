import Foundation
import TestSupport
import Testing

/// The document of `delete --json`.
private struct DeletionAnswer: Decodable {
  struct File: Decodable {
    let path: String
    let snapshot: String
    let bytes: Int
  }
  let dryRun: Bool
  let deleted: [String]
  let freedBytes: Int
  let spareBytes: Int
  let doubts: [String]
  let lostFiles: Int
  let lostBytes: Int
  let lost: [File]
}

@Suite("delete", .waits)
struct DeleteTests {
  /// The space of the history, the policy and the links.
  private static let ownBlocks = 8 << 10

  /// A world with snapshots of a changing file, and of files that come and go.
  private func world(snapshots count: Int) throws -> World {
    let world = try World()
    for step in 0..<count {
      try world.source.write("file", "\(step)")
      try world.source.write("large\(step)", bytes: [UInt8](repeating: UInt8(step), count: (step + 1) * 10_000))
      if step > 0 { try world.source.remove("large\(step - 1)") }
      try world.settle()
      try world.snapshot(["--accept-changes"])
    }
    return world
  }

  @Test("the space that comes free is exactly what was foretold, with and without a spare", arguments: [1, 2, 3])
  func space(seed: UInt64) throws {
    let (world, disk) = try worldOnDisk()
    var editor = RandomEditor(try Tree(making: world.source.root / "edited"), seed: seed)
    for _ in 0..<30 { try editor.edit() }
    for step in 0..<7 {
      try world.source.write("changes", bytes: [UInt8](repeating: UInt8(step), count: 20_000))
      for _ in 0..<6 { try editor.edit() }
      try world.settle()
      try world.snapshot(["--accept-changes"])
    }
    if seed > 1 {
      let used = try disk.bytesUsed()
      struct Rotation: Decodable {
        let freedBytes: Int
        let spareBytes: Int
      }
      let plan: Rotation = try world.treering(["rotate", "--keep-last", "5", "-n", "--json"]).decoded()
      #expect(try world.treering(["rotate", "--keep-last", "5"]).status == 0)
      // The catalog of the spare stays, too. The policy and the history take a few blocks.
      let freed = used - (try disk.bytesUsed())
      #expect(abs(freed - (plan.freedBytes - plan.spareBytes)) <= Self.ownBlocks)
    }
    let names = try world.snapshotNames()
    let victims = seed == 2 ? [names[0]] : [names[0], names[1], names[3]]
    let oracle = try SpaceOracle.look(at: world.repository.root, victims)
    let plan: DeletionAnswer = try world.treering(["delete", "-n", "--json"] + victims).decoded()
    #expect(plan.dryRun && plan.freedBytes == oracle.together + oracle.spare && plan.doubts == [])
    #expect(try world.snapshotNames() == names)
    let used = try disk.bytesUsed()
    let answer: DeletionAnswer = try world.treering(["delete", "--yes", "--json"] + victims).decoded()
    #expect(answer.deleted == victims.map(\.text) && answer.freedBytes == plan.freedBytes)
    let freed = used - (try disk.bytesUsed())
    #expect(abs(freed - plan.freedBytes) <= Self.ownBlocks)
    #expect(try world.snapshotNames() == names.filter { !victims.contains($0) })
    #expect(try world.repository.names(".treering/spare") == [])
    #expect(try world.treering(["verify"]).status == 0)
    try world.source.write("after", "after")
    try world.expectFaithful(try world.snapshot())
  }

  @Test("the files that no other snapshot has are named, the largest first")
  func lostFiles() throws {
    let world = try world(snapshots: 4)
    let names = try world.snapshotNames()
    let plan: DeletionAnswer = try world.treering(["delete", "-n", "--json", names[1], names[2]]).decoded()
    let prefix = world.source.root.text
    #expect(plan.lost.map(\.path) == ["/large2", "/large1", "/file", "/file"].map { prefix + $0 })
    #expect(plan.lost.map(\.bytes) == [30_000, 20_000, 1, 1])
    #expect(plan.lost.map(\.snapshot).prefix(2) == [names[2].text, names[1].text])
    #expect(plan.lostFiles == 4 && plan.lostBytes == 50_002)
    let text = try world.treering(["delete", "-n", names[1]])
    #expect(text.outputText.contains("would free") && text.outputText.contains("2 files of 20 KiB are in no other"))
    // More than ten are named only with --verbose.
    for index in 0..<12 { try world.source.write("more\(index)", "more") }
    try world.settle()
    let crowd = try world.snapshot()
    try tool("sh", ["-c", "rm more*"], in: world.source.root)
    try world.settle()
    try world.snapshot(["--accept-changes"])
    let short = try world.treering(["delete", "-n", crowd.name])
    #expect(short.outputText.contains("and 2 more; see them with --verbose"), "\(short.outputText)")
    let long = try world.treering(["delete", "-n", "-v", crowd.name])
    #expect(long.outputLines.count { $0.contains("/more") } == 12)
  }

  @Test("nothing else expires, whatever the policy and the minimum of free space")
  func nothingElse() throws {
    let world = try world(snapshots: 5)
    try Tree(world.directory.path).write(
      "c.toml",
      "repository = \"\(world.repository.root)\"\n[retention]\nkeep_last = 1\nminimum_free = \"99%\"\n"
        + "[[source]]\npath = \"\(world.source.root)\"\n")
    let names = try world.snapshotNames()
    let result = try world.treering(["delete", "--yes", names[2], "-c", world.directory.path / "c.toml"])
    #expect(result.status == 0 && result.errorText == "", "\(result.errorText)")
    #expect(result.outputText.contains(names[2].text) && result.outputText.contains("\nfrees "), "\(result.outputText)")
    #expect(try world.snapshotNames() == names.filter { $0 != names[2] })
    #expect(!world.repository.exists(".treering/retention"))
    let history = try world.repository.text(".treering/history.jsonl").split(separator: "\n").last ?? ""
    #expect(history.contains("\"command\":\"delete\"") && history.contains(names[2].text), "\(history)")
    #expect(history.contains("\"freed_bytes\":"))
  }

  @Test("one protected snapshot among those that are named: none is deleted")
  func protected() throws {
    let world = try world(snapshots: 4)
    let names = try world.snapshotNames()
    for victim in [names[3], "latest"] {
      let refused = try world.treering(["delete", "--yes", names[1], victim])
      #expect(refused.status == 4 && refused.errorText.contains("take a newer"), "\(refused.errorText)")
    }
    #expect(try world.treering(["hold", names[0]]).status == 0)
    let held = try world.treering(["delete", "-n", names[0], names[1]])
    #expect(held.status == 4 && held.errorText.contains("treering release \(names[0])"), "\(held.errorText)")
    #expect(try world.snapshotNames() == names)
    #expect(try world.treering(["release", names[0]]).status == 0)
    #expect(try world.treering(["delete", "-y", names[0], names[1], names[1]]).status == 0)
    #expect(try world.snapshotNames() == Array(names[2...]))
    for words in [["1999"], ["now"], ["3d"], ["yesterday"], []] as [[ByteString]] {
      #expect(try world.treering(["delete", "--yes"] + words).status == 2)
    }
  }

  @Test("a snapshot in use stays, and is named")
  func inUse() throws {
    let world = try world(snapshots: 3)
    let names = try world.snapshotNames()
    let catalog = world.repository.root / ".treering/catalogs" / (names[0] + ".catalog")
    let result = try runCommand(
      "flock", ["--shared", catalog, try treeringBinary(), "delete", "-y", names[0], "-r", world.repository.root])
    #expect(result.status == 4 && result.errorText.contains("it is being read"), "\(result.errorText)")
    #expect(try world.snapshotNames() == names)
  }

  @Test("it asks at a terminal, and only there")
  func question() throws {
    let world = try world(snapshots: 3)
    let names = try world.snapshotNames()
    try world.expectRefusal(["delete", names[0]], status: 2, naming: "--yes")
    let silent = try world.treering(["delete", names[0], "--json"])
    #expect(silent.status == 2 && silent.errorText.contains("--yes"), "\(silent.errorText)")
    #expect(try world.snapshotNames() == names)
    let script: ByteString = """
      import os, pty, sys
      answer, words = sys.argv[1], sys.argv[2:]
      process, terminal = pty.fork()
      if process == 0: os.execv(words[0], words)
      text = b""
      while b"[y/N]" not in text: text += os.read(terminal, 4096)
      os.write(terminal, answer.encode() + b"\\n")
      try:
          while more := os.read(terminal, 4096): text += more
      except OSError: pass
      print(text.decode())
      sys.exit(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
      """
    func answer(_ word: ByteString) throws -> CommandResult {
      try runCommand(
        "python3", ["-c", script, word, try treeringBinary(), "delete", names[0], "-r", world.repository.root])
    }
    for word in ["", "n", "x"] as [ByteString] {
      let kept = try answer(word)
      #expect(kept.status == 4 && kept.outputText.contains("nothing was deleted"), "\(kept.outputText)")
    }
    #expect(try world.snapshotNames() == names)
    let deleted = try answer("y")
    #expect(deleted.status == 0 && deleted.outputText.contains("2 files of"), "\(deleted.outputText)")
    #expect(try world.snapshotNames() == Array(names[1...]))
  }

  @Test("a remote repository's snapshots are deleted on its own host")
  func remote() throws {
    let world = try World(initialized: false)
    try world.expectRefusal(
      ["delete", "latest", "--yes", "-r", "ann@nas:/backup"], status: 2, inRepository: false,
      naming: "run it there: ssh ann@nas treering delete")
  }
}

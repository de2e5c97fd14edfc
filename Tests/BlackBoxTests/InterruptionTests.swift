import Foundation
import TestSupport
import Testing

/// A run that is cut off publishes nothing, and the next one cleans up.
@Suite("Interruptions and locks", .waits)
struct InterruptionTests {
  /// A source that takes long enough to be caught in the middle of.
  private func largeWorld() throws -> World {
    let world = try World()
    for directory in 0..<10 {
      try world.source.makeDirectory("\(directory)")
      for file in 0..<400 {
        try world.source.write("\(directory)/\(file)", "\(directory) \(file)")
      }
    }
    return world
  }

  /// Starts a snapshot and stops it while its tree is being made.
  private func startAndStop(_ world: World) throws -> RunningCommand {
    let run = try world.start(["snapshot", world.source.root, "--threads", "1"])
    let pending = world.repository.root / ".treering/pending"
    let deadline = Date().addingTimeInterval(20)
    while try runCommand("find", [pending, "-name", "100"]).output.isEmpty {
      if Date() > deadline { throw TestSupportError("the snapshot has not begun in 20 s") }
      usleep(500)
    }
    run.signal(SIGSTOP)
    try run.waitUntilStopped()
    #expect(try world.repository.names(".treering/pending").count == 2)
    return run
  }

  private func expectNothingPublished(_ world: World) throws {
    #expect(try world.snapshotNames() == [])
    #expect(!world.repository.exists("latest"))
    #expect(try world.repository.names(".treering/catalogs") == [])
    #expect(try world.treering(["list", "--json"]).decoded([ListAnswer].self).isEmpty)
  }

  private func expectNextRunIsGood(_ world: World) throws {
    let snapshot = try world.snapshot()
    try world.expectFaithful(snapshot)
    #expect(try world.snapshotNames() == [snapshot.name])
    #expect(try world.repository.names(".treering/pending") == [])
    #expect(try world.repository.names(".treering/trash") == [])
  }

  @Test("SIGKILL in the middle of copying leaves no snapshot; the next run is good and cleans up")
  func killed() throws {
    let world = try largeWorld()
    let run = try startAndStop(world)
    run.signal(SIGKILL)
    #expect(try run.wait().status == 128 + SIGKILL)
    #expect(try world.repository.names(".treering/pending").count == 2)
    try expectNothingPublished(world)
    try expectNextRunIsGood(world)
  }

  @Test(
    "SIGTERM, SIGINT and SIGHUP end the run with their status and publish nothing",
    arguments: [SIGTERM, SIGINT, SIGHUP])
  func signalled(signal: Int32) throws {
    let world = try largeWorld()
    let run = try startAndStop(world)
    run.signal(signal)
    run.signal(SIGCONT)
    let result = try run.wait()
    #expect(result.status == 128 + signal)
    #expect(result.outputText == "")
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.hasPrefix("treering: "))
    // What it copied is kept for the next run.
    #expect(try world.repository.names(".treering/pending").count == 2)
    let history = try world.repository.text(".treering/history.jsonl")
    #expect(history.contains("\"exit_status\":\(128 + signal)"))
    try expectNothingPublished(world)
    try expectNextRunIsGood(world)
  }

  @Test("SIGTERM ends a run at once, even in the middle of a file of 16 GiB")
  func signalledInALargeFile() throws {
    let world = try World()
    try world.source.makeSlowFile("disk.img", mebibytes: 16 << 10)
    let run = try world.start(["snapshot", world.source.root])
    let pending = world.repository.root / ".treering/pending"
    let deadline = Date().addingTimeInterval(20)
    while try runCommand("find", [pending, "-name", "disk.img"]).output.isEmpty {
      if Date() > deadline { throw TestSupportError("the snapshot has not begun in 20 s") }
      usleep(500)
    }
    run.signal(SIGTERM)
    #expect(try run.wait(timeoutSeconds: 20).status == 128 + SIGTERM)
    try expectNothingPublished(world)
  }

  @Test("a second run is refused with status 5 and one line that names the first")
  func lockedOut() throws {
    let world = try largeWorld()
    let run = try startAndStop(world)
    let result = try world.treering(["snapshot", world.source.root])
    #expect(result.status == 5)
    #expect(result.outputText == "")
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.hasPrefix("treering: "))
    #expect(result.errorText.contains("process \(run.identifier)"))
    run.signal(SIGCONT)
    #expect(try run.wait().status == 0)
    #expect(try world.snapshotNames().count == 1)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("commands that only read go on while a snapshot is taken")
  func readersAreNotLockedOut() throws {
    let world = try largeWorld()
    let small = try Tree(making: world.directory.path / "small")
    try small.write("file", "text")
    let first = try world.snapshot(of: [small.root])
    let run = try startAndStop(world)
    #expect(try world.treering(["list"]).status == 0)
    #expect(try world.treering(["diff", first.name, first.name]).status == 0)
    #expect(try world.treering(["verify"]).status == 0)
    let to = world.directory.path / "to"
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0)
    run.signal(SIGCONT)
    #expect(try run.wait().status == 0)
  }

  @Test("a crash between the two renames of publication is completed, whichever came first")
  func halfPublished() throws {
    let world = try World()
    try world.source.write("file", "text")
    let first = try world.snapshot()
    let second = try world.snapshot()
    let control = world.repository.root / ".treering"
    let catalog = second.name + ".catalog"
    for half in [second.name, ".treering/catalogs" / catalog] {
      try tool("mv", [world.repository.root / half, control / "pending" / half.lastComponent])
      try tool("ln", ["-sfn", first.name, world.repository.root / "latest"])
      let rows = try world.treering(["list", "--json"]).decoded([ListAnswer].self)
      #expect(rows.map(\.name) == [first.snapshot])
      // A refused run does not clean up, a real one does.
      let third = try world.snapshot()
      let listed = try world.treering(["list", "--json"]).decoded([ListAnswer].self)
      #expect(listed.map(\.name) == [first.snapshot, second.snapshot, third.snapshot])
      #expect(try world.treering(["verify"]).status == 0)
      #expect(try world.repository.names(".treering/pending") == [])
      try world.repository.remove(third.name)
      try world.repository.remove(".treering/catalogs" / (third.name + ".catalog"))
    }
  }

  @Test("what lies in pending and trash, whatever it is, is removed by the next run")
  func cleansUp() throws {
    let world = try World()
    try world.source.write("file", "text")
    let outside = try Tree(making: world.directory.path / "outside")
    try outside.write("precious", "text")
    for place: ByteString in [".treering/pending", ".treering/trash"] {
      let tree = Tree(world.repository.root / place)
      try tree.makeDirectory("2020-01-01T00-00-00Z")
      try tree.makeDirectory("2020-01-01T00-00-00Z/closed")
      try tree.write("2020-01-01T00-00-00Z/closed/file", "text")
      try tree.makeSymbolicLink("2020-01-01T00-00-00Z/closed/out", to: outside.root)
      try tree.setMode("2020-01-01T00-00-00Z/closed", 0o000)
      try tree.write("2020-01-01T00-00-00Z.catalog", "nonsense")
      try tree.makeSymbolicLink("out", to: outside.root)
      try tree.makeSymbolicLink("latest", to: "nowhere")
    }
    try expectNextRunIsGood(world)
    #expect(try outside.text("precious") == "text")
  }
}

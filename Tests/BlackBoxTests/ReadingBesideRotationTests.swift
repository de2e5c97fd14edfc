import Foundation
import TestSupport
import Testing

/// Whoever reads a snapshot has it to the end, and what a rotation took before is no damage.
@Suite("reading beside a rotation", .waits) struct ReadingBesideRotationTests {
  private struct Status: Decodable { let damagedSnapshots: [String] }

  /// Three snapshots of a file that takes a while to be read.
  private func world() throws -> (world: World, names: [ByteString]) {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "a")
    try world.source.makeSlowFile("disk.img", mebibytes: 400)
    return (world, try (0..<3).map { _ in try world.snapshot().name })
  }

  /// Starts what reads, and stops it where it has `name` in use.
  private func stopped(_ world: World, _ arguments: [ByteString], using name: ByteString) throws -> RunningCommand {
    let running = try RunningCommand(try treeringBinary(), arguments, in: world.directory.path)
    let catalog = world.repository.root / ".treering/catalogs" / (name + ".catalog")
    let deadline = Date().addingTimeInterval(20)
    while try runCommand("flock", ["-n", "-x", catalog, "true"]).status == 0 {
      if Date() > deadline { throw TestSupportError("\(name) was not taken into use in 20 s") }
    }
    running.signal(SIGSTOP)
    try running.waitUntilStopped()
    return running
  }

  @Test("a restore has its snapshot to the end")
  func restore() throws {
    let (world, names) = try world()
    let out = world.directory.path / "out"
    let running = try stopped(
      world, ["restore", names[0], "--to", out, "-r", world.repository.root], using: names[0])
    let rotation = try world.treering(["rotate", "--keep-last", "1"])
    #expect(rotation.status == 0, "\(rotation.errorText)")
    #expect(try world.snapshotNames() == [names[0], names[2]])
    running.signal(SIGCONT)
    #expect(try running.wait().status == 0)
    #expect(try differences(world.source.root, out + world.source.root) == [])
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.snapshotNames() == [names[2]])
  }

  @Test("a verification finds no damage in what expires before it comes to it", arguments: [false, true])
  func verify(remotely: Bool) throws {
    let (world, names) = try world()
    var arguments: [ByteString] = ["verify", "--json", "-r"]
    if remotely {
      try Tree(world.directory.path).write("ssh", PushWorld.standIn, mode: 0o755)
      arguments += [
        ByteString("host:") + world.repository.root, "--ssh", world.directory.path / "ssh", "--remote-command",
        try treeringBinary() + " serve",
      ]
    } else {
      arguments += [world.repository.root]
    }
    let running = try stopped(world, arguments, using: names[0])
    let children = try Processes.descendants(of: running.identifier)
    for child in children { kill(child, SIGSTOP) }
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.snapshotNames() == [names[0], names[2]])
    for child in children { kill(child, SIGCONT) }
    running.signal(SIGCONT)
    let result = try running.wait()
    #expect(result.status == 0, "\(result.outputText) \(result.errorText)")
    let answer = try result.decoded(VerifyAnswer.self)
    #expect(answer.snapshots == [names[0].text, names[2].text] && answer.problems.isEmpty)
    #expect(answer.expired == [names[1].text])
  }

  @Test("what expires while snapshots are listed is not called damaged", arguments: ["list", "status"])
  func listing(_ command: ByteString) throws {
    let (world, names) = try world()
    let trace = world.directory.path / "trace"
    // Held before it opens the first catalog.
    let running = try RunningCommand(
      "strace",
      [
        "-f", "-qq", "-o", trace, "-P", world.repository.root / ".treering/catalogs", "-e", "trace=openat,getdents64",
        "-e", "inject=openat:delay_enter=3000000:when=2", try treeringBinary(), command, "--json", "-r",
        world.repository.root,
      ])
    let deadline = Date().addingTimeInterval(20)
    while try !Tree(world.directory.path).exists("trace") || tool("cat", [trace]).count(where: { $0 == 10 }) < 2 {
      if Date() > deadline { throw TestSupportError("the catalogs were not listed in 20 s") }
    }
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    let result = try running.wait()
    #expect(result.status == 0, "\(result.errorText)")
    #expect(!result.outputText.contains("cannot read") && result.errorText == "", "\(result.outputText)")
    #expect(result.outputText.contains(names[2].text))
    if command == "status" { #expect(try result.decoded(Status.self).damagedSnapshots == []) }
  }

  @Test("a snapshot whose tree is still on its way is none yet, and not damaged")
  func arriving() throws {
    let (world, names) = try world()
    let away = world.repository.root / ".treering/pending" / names[2]
    try tool("mv", [world.repository.root / names[2], away])
    let list = try world.treering(["list", "--json"])
    #expect(try list.decoded([ListAnswer].self).map(\.name) == names[..<2].map(\.text))
    #expect(list.status == 0 && list.errorText == "", "\(list.errorText)")
  }
}

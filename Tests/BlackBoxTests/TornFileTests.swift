import Foundation
import TestSupport
import Testing

/// Files that change, vanish or turn into something else under the reader.
@Suite("Torn files", .waits) struct TornFileTests {
  /// A snapshot that is held for two seconds before it opens a name of the source's root.
  private func heldSnapshot(
    _ world: World, beforeOpening name: String, _ change: () throws -> Void
  ) throws -> (result: CommandResult, answer: SnapshotAnswer?) {
    // Which of the calls relative to the source it is, a snapshot into another repository tells.
    let scratch = world.directory.path / "scratch"
    let trace = world.directory.path / "trace"
    #expect(try world.treering(["init", scratch], inRepository: false).status == 0)
    func arguments(_ injection: [ByteString], _ repository: ByteString) throws -> [ByteString] {
      ["-f", "-qq", "-o", trace, "-P", world.source.root, "-e", "trace=openat"] + injection
        + [
          try treeringBinary(), "snapshot", world.source.root, "--json", "--threads", "1", "-r",
          repository,
        ]
    }
    try tool("strace", try arguments([], scratch))
    let calls = String(decoding: try tool("cat", [trace]), as: UTF8.self).split(separator: "\n")
    let index = try #require(calls.firstIndex { $0.contains("\"\(name)\"") })
    try tool("rm", [trace])
    let run = try RunningCommand(
      "strace",
      try arguments(
        ["-e", ByteString("inject=openat:delay_enter=2000000:when=\(index + 1)")],
        world.repository.root))
    // strace has written the calls before it, and waits.
    var lines = 0
    for _ in 0..<200 where lines < index {
      usleep(20_000)
      lines = (try? tool("cat", [trace]))?.count { $0 == UInt8(ascii: "\n") } ?? 0
    }
    usleep(300_000)
    try change()
    let result = try run.wait(timeoutSeconds: 60)
    return (result, try? result.decoded())
  }

  private func world() throws -> World {
    let world = try World()
    for name in ["aaa", "file", "zzz"] as [ByteString] { try world.source.write(name, "content of \(name)") }
    try world.settle()
    return world
  }

  private func expectRest(_ world: World, _ answer: SnapshotAnswer?) throws {
    let answer = try #require(answer)
    let tree = world.tree(of: answer)
    #expect(try tree.text("aaa") == "content of aaa" && tree.text("zzz") == "content of zzz")
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test(
    "replaced between the look and the opening",
    arguments: ["link", "fifo", "directory", "socket", "device", "nothing"])
  func replaced(by what: String) throws {
    let world = try world()
    let outside = Tree(world.directory.path)
    try outside.write("secret", "the secret")
    let (result, answer) = try heldSnapshot(world, beforeOpening: "file") {
      try world.source.remove("file")
      switch what {
      case "link": try world.source.makeSymbolicLink("file", to: outside.root / "secret")
      case "fifo": try world.source.makeFIFO("file")
      case "directory": try world.source.makeDirectory("file")
      case "socket": try world.source.makeSocket("file")
      case "device": try tool("mknod", [world.source.root / "file", "c", "1", "5"])
      default: break
      }
    }
    #expect(result.status == (what == "nothing" ? 0 : 1), "\(result.errorText)")
    try expectRest(world, answer)
    let stored = try #require(answer)
    #expect(!world.tree(of: stored).exists("file"))
    #expect(stored.filesVanished == (what == "nothing" ? 1 : 0))
    if what != "nothing" {
      #expect(stored.warningsNamed.map(\.path) == [(world.source.root / "file").text])
    }
    try world.expectFaithful(try world.snapshot())
  }

  @Test("a directory that is replaced by a link to another is not followed")
  func directoryReplaced() throws {
    let world = try world()
    try world.source.makeDirectory("directory")
    try world.source.write("directory/inside", "x")
    let outside = try Tree(making: world.directory.path / "outside")
    try outside.write("secret", "the secret")
    let (result, answer) = try heldSnapshot(world, beforeOpening: "directory") {
      try world.source.remove("directory")
      try world.source.makeSymbolicLink("directory", to: outside.root)
    }
    #expect(result.status == 1 || result.status == 0)
    try expectRest(world, answer)
    // A link, if it came before the listing; else nothing. Never what it leads to.
    let tree = world.tree(of: try #require(answer)).root
    #expect(try tool("find", [tree, "-name", "secret"]) == [])
  }

  /// A file that a child process changes all the time while it is read.
  private func changing(_ script: String, _ body: (World) throws -> Void) throws {
    let world = try world()
    try tool("dd", ["if=/dev/zero", "of=" + (world.source.root / "file"), "bs=1M", "count=16"])
    let writer = try RunningCommand(
      "python3", ["-c", ByteString("import os, sys\np = sys.argv[1]\n" + script), world.source.root / "file"])
    defer {
      writer.signal(SIGKILL)
      _ = try? writer.wait()
    }
    usleep(300_000)
    try body(world)
  }

  @Test(
    "one that grows, shrinks or is overwritten all the time is stored, named, and ends the run with 1",
    arguments: [
      "import time\nf = open(p, 'ab', buffering=0)\nwhile True:\n  f.write(b'x' * 4096)\n  time.sleep(0.0002)",
      "while True:\n  for n in range(15 << 20, 14 << 20, -4096): os.truncate(p, n)\n  os.truncate(p, 15 << 20)",
      "f = open(p, 'r+b', buffering=0)\nwhile True:\n  f.seek(0)\n  f.write(os.urandom(65536))",
    ])
  func changesAllTheTime(_ script: String) throws {
    try changing(script) { world in
      let result = try runCommand(
        try treeringBinary(),
        ["snapshot", world.source.root, "--json", "-r", world.repository.root], timeoutSeconds: 60)
      #expect(result.status == 1, "\(result.errorText)")
      let answer: SnapshotAnswer = try result.decoded()
      #expect(answer.warningsNamed.map(\.path) == [(world.source.root / "file").text])
      #expect(answer.warningsNamed.first?.message.contains("changed each time") == true)
      try expectRest(world, answer)
    }
  }
}

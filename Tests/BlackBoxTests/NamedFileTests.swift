import Foundation
import TestSupport
import Testing

/// Files that the operator names need not be files: pipes, FIFOs, /dev/stdin.
@Suite("Files that the operator names", .waits)
struct NamedFileTests {
  private func shell(_ script: String, _ world: World) throws -> CommandResult {
    try runCommand(
      "bash", ["-c", ByteString(script)], in: world.directory.path, environment: ["T": try treeringBinary().text])
  }

  private func world() throws -> World {
    let world = try World()
    try world.source.write("keep", "text")
    try world.source.write("leave", "text")
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    return world
  }

  @Test(
    "patterns come from a pipe, a FIFO or the standard input",
    arguments: [
      "--exclude-from <(sleep 0.1; echo /leave)", "--exclude-from /dev/stdin <<</leave", "--exclude-from fifo",
    ])
  func patterns(option: String) throws {
    let world = try world()
    let result = try shell(
      "mkfifo fifo; (sleep 0.1; echo /leave > fifo) & $T snapshot source -r repository \(option)", world)
    #expect(result.status == 0, "\(result.errorText)")
    let name = try #require(try world.snapshotNames().first)
    #expect(try Tree(world.repository.root / name / "localhost" / world.source.root).names() == ["keep"])
  }

  @Test("a configuration comes from a pipe, and is read once")
  func configuration() throws {
    let world = try world()
    for command in ["run -c <(cat c.toml)", "status -c /dev/stdin < c.toml", "config check -c <(cat c.toml)"] {
      let result = try shell("$T \(command)", world)
      #expect(result.status == 0, "\(command): \(result.errorText)")
    }
    #expect(try world.snapshotNames().count == 1)
  }

  @Test("a signal ends the wait for a writer", arguments: ["TERM", "INT", "HUP"])
  func signalled(signal: String) throws {
    let world = try world()
    // A shell ignores SIGINT for what it starts in the background.
    let result = try shell(
      """
      mkfifo fifo
      python3 -c 'import os, signal, sys
      signal.signal(signal.SIGINT, signal.SIG_DFL)
      os.execv(sys.argv[1], sys.argv[1:])' $T snapshot source -r repository --exclude-from fifo &
      sleep 0.5; kill -\(signal) $!; wait $!; echo $?
      """, world)
    let number = ["TERM": SIGTERM, "INT": SIGINT, "HUP": SIGHUP][signal]!
    #expect(result.outputLines == ["\(128 + number)"], "\(result.errorText)")
    #expect(try world.snapshotNames() == [])
  }

  @Test("a signal ends the wait for a reader of the answer")
  func stuckReader() throws {
    let world = try world()
    for number in 0..<300 { try world.source.write(ByteString("\(number)-" + String(repeating: "x", count: 240)), "") }
    let result = try shell(
      """
      mkfifo out; sleep 1000 < out & R=$!; exec 3<>out
      python3 -c 'import fcntl, os; fcntl.fcntl(3, 1031, 4096); os.set_blocking(3, False)
      try: os.write(3, b"x" * 4096)
      except BlockingIOError: pass
      os.set_blocking(3, True)'
      $T snapshot source -r repository -v >&3 &
      P=$!; until ls repository | grep -q 20; do sleep 0.1; done; kill -TERM $P; wait $P; echo $?; kill $R
      """, world)
    #expect(result.outputLines == ["1"], "\(result.errorText)")
    #expect(try world.snapshotNames().count == 1)
  }

  @Test("what is not text for a configuration is refused before the parser sees it")
  func hostile() throws {
    let world = try world()
    let place = Tree(world.directory.path)
    try place.write("many.toml", Array(repeating: "a", count: 200_000).joined(separator: ".") + " = 1\n")
    try place.write("nul.toml", "repository = \"/a\\u0000b\"\n")
    for (file, message) in [("many.toml", "a key has more than 64 parts"), ("nul.toml", "a string cannot have a NUL")] {
      let start = Date()
      let result = try world.treering(["config", "check", "-c", ByteString(file)], inRepository: false)
      #expect(result.status == 2 && result.errorText.contains(message), "\(result.errorText)")
      #expect(Date().timeIntervalSince(start) < 10)
    }
  }

  @Test("root uses no configuration that others can change")
  func permissions() throws {
    let world = try world()
    let file = world.directory.path / "c.toml"
    func expect(_ status: Int32, _ what: String) throws {
      let result = try world.treering(["config", "check", "-c", file], inRepository: false)
      #expect(result.status == status, "\(what): \(result.errorText)")
      if status != 0 { #expect(result.errorText.contains("can be changed by others"), "\(what): \(result.errorText)") }
    }
    try tool("chmod", ["664", file])
    try expect(0, "the group of root")
    try tool("chgrp", ["12", file])
    try expect(2, "another group")
    try tool("chmod", ["644", file])
    try expect(0, "another group that may read")
    try tool("chgrp", ["0", file])
    try tool("setfacl", ["-m", "u:65534:rw", file])
    try expect(2, "an ACL")
  }
}

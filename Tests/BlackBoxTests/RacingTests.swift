import Foundation
import TestSupport
import Testing

/// The owner of a tree swaps its files and directories for links to what is not his, while root works on it.
@Suite("A hostile owner", .waits) struct RacingTests {
  private static let secret = "the-secret-of-another-user"
  private static let seconds = 20.0

  /// Exchanges, as fast as it can, each component of a path with a link to outside, and back.
  private static let attacker = """
    import ctypes, os, sys
    libc = ctypes.CDLL(None, use_errno=True)
    root, outside = sys.argv[1].encode(), sys.argv[2].encode()
    places = [b'a', b'a/b', b'a/b/c', b'a/b/c/file', b'a/b/file', b'a/file', b'file']
    for place in places:
        evil = root + b'/' + place + b'.evil'
        if not os.path.lexists(evil):
            os.symlink(outside + (b'/secret' if place.endswith(b'file') else b''), evil)
    while True:
        for place in places:
            path = root + b'/' + place
            # AT_FDCWD, RENAME_EXCHANGE
            libc.renameat2(-100, path, -100, path + b'.evil', 2)
    """

  private struct Arena {
    let world: World
    let outside: Tree
    let before: [UInt8]

    func state() throws -> [UInt8] {
      try tool(
        "sh",
        [
          "-c",
          "find \"$1\" -printf '%p %y %m %U %G %s %T@ %C@ %l\\n' | sort; getfattr -R -h -d -m - --absolute-names \"$1\"; cat \"$1\"/secret",
          "sh", outside.root,
        ])
    }
  }

  private func arena() throws -> Arena {
    let world = try World()
    world.provesOlderUnchanged = false
    let outside = try Tree(making: world.directory.path / "outside")
    try outside.write("secret", Self.secret, mode: 0o600)
    try outside.write("file", Self.secret, mode: 0o600)
    try outside.makeDirectory("only-outside", mode: 0o700)
    try outside.makeDirectory("b", mode: 0o700)
    try outside.write("b/file", Self.secret, mode: 0o600)
    let arena = Arena(world: world, outside: outside, before: [])
    return Arena(world: world, outside: outside, before: try arena.state())
  }

  private func fill(_ tree: Tree) throws {
    for directory in ["a", "a/b", "a/b/c"] as [ByteString] { try tree.makeDirectory(directory) }
    for file in ["file", "a/file", "a/b/file", "a/b/c/file"] as [ByteString] {
      try tree.write(file, "mine, \(file)")
    }
    for index in 0..<30 { try tree.write(ByteString("a/b/c/other\(index)"), "\(index)") }
    try tool("setfacl", ["-m", "u:1234:rwx", tree.root / "a/b/file"])
    try tool("chown", ["-R", "1234:1234", tree.root])
  }

  /// A run that may refuse its work is counted only if it does not.
  private func race(
    _ arena: Arena, in tree: ByteString, mayRefuse: Bool = false, _ body: () throws -> Int32
  ) throws {
    let attacker = try RunningCommand(
      "setpriv",
      [
        "--reuid", "1234", "--regid", "1234", "--clear-groups", "python3", "-c",
        ByteString(Self.attacker), tree, arena.outside.root,
      ])
    defer {
      attacker.signal(SIGKILL)
      _ = try? attacker.wait()
    }
    let end = Date().addingTimeInterval(Self.seconds)
    var runs = 0
    while Date() < end {
      let status = try body()
      #expect([0, 1, 2, 3].contains(status) || mayRefuse && status == 4, "status \(status)")
      if status != 4 { runs += 1 }
    }
    #expect(runs >= 3)
  }

  /// The attacker is an ordinary user, who must be let in to his own tree.
  private func open(_ arena: Arena) throws { try tool("chmod", ["755", arena.world.directory.path]) }

  private func expectNothingHappened(_ arena: Arena) throws {
    #expect(try arena.state() == arena.before)
    let found = try runCommand("grep", ["-r", "-l", "-a", ByteString(Self.secret), arena.world.repository.root])
    #expect(found.outputText == "", "read from outside")
    let names = try tool("find", [arena.world.repository.root, "-name", "only-outside"])
    #expect(names == [], "a directory outside was listed")
    #expect(try arena.world.treering(["verify"]).status == 0)
  }

  @Test("a snapshot reads nothing outside the source")
  func snapshot() throws {
    let arena = try arena()
    try open(arena)
    try fill(arena.world.source)
    try race(arena, in: arena.world.source.root) {
      try arena.world.treering(
        ["snapshot", arena.world.source.root, "--accept-changes", "--threads", "2"]
      ).status
    }
    try expectNothingHappened(arena)
  }

  @Test("a restore writes, chowns and marks nothing outside the destination")
  func restore() throws {
    let arena = try arena()
    try open(arena)
    try fill(arena.world.source)
    try arena.world.settle()
    #expect(try arena.world.treering(["snapshot", arena.world.source.root]).status == 0)
    let target = try Tree(making: arena.world.directory.path / "target")
    try tool("chown", ["1234:1234", target.root])
    let inner = target.root / arena.world.source.root
    #expect(try arena.world.treering(["restore", "latest", "--to", target.root]).status == 0)
    try tool("chown", ["-R", "1234:1234", target.root])
    // A run that sees a link first changes nothing, and ends with 4. One that is to follow links goes on.
    var follows: [ByteString] = []
    try race(arena, in: inner, mayRefuse: true) {
      defer { follows = follows.isEmpty ? ["--follow-destination-links"] : [] }
      return try arena.world.treering(
        ["restore", "latest", "--to", target.root, "--overwrite", "always"] + follows
      ).status
    }
    try expectNothingHappened(arena)
  }

  @Test("a verify reads nothing outside the repository, and finds what was swapped")
  func verify() throws {
    let arena = try arena()
    try open(arena)
    try fill(arena.world.source)
    try arena.world.settle()
    let answer = try arena.world.snapshot()
    let tree = arena.world.tree(of: answer)
    // As nobody but root could: the owner is let in to the repository.
    try tool("chmod", ["-R", "a+rwX", arena.world.repository.root])
    try tool("chown", ["-R", "1234:1234", tree.root])
    let trace = arena.world.directory.path / "trace"
    try race(arena, in: tree.root) {
      let result = try runCommand(
        "strace",
        ["-f", "-qq", "-o", trace, "-e", "trace=openat", "-P", arena.outside.root / "secret"]
          + [try treeringBinary(), "verify", "-r", arena.world.repository.root])
      #expect(try tool("cat", [trace]) == [], "the secret was opened")
      return result.status == 6 ? 0 : result.status
    }
    #expect(try arena.state() == arena.before)
  }
}

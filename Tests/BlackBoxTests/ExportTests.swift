import Foundation
import TestSupport
import Testing

@Suite("export", .waits)
struct ExportTests {
  /// Writes an export to a file, and returns its path.
  private func export(
    _ world: World, _ arguments: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> ByteString {
    let file = world.directory.path / ByteString("exported-\(arguments.last!.bytes.count)")
    let result = try world.treering(["export"] + arguments)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    try Tree(file).write("", bytes: result.output)
    return file
  }

  private static let extractors: [[ByteString]] = [
    ["tar", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "-xpf"],
    ["bsdtar", "--numeric-owner", "--acls", "--xattrs", "-xpf"],
  ]

  @Test("tar and bsdtar restore everything that a tree can hold, but sockets", arguments: extractors)
  func extracted(_ extractor: [ByteString]) throws {
    let world = try World()
    try world.source.makeEverything()
    try world.source.write("ü\u{1F600}", "text")
    try world.source.write(ByteString([0x61, 0xFF, 0x0A]), "text")
    let long = ByteString(String(repeating: "n", count: 250))
    try world.source.makeDirectory(long)
    try world.source.write(long / long, "text")
    try world.source.setACL("text", "u:1234:rwx,g:55:r")
    try world.source.setACL("a", "d:u:77:rx")
    try world.snapshot()
    let to = try Tree(making: world.directory.path / "to")
    let archive = try export(world, ["latest", world.source.root])
    let result = try runCommand(extractor[0], Array(extractor.dropFirst()) + [archive, "-C", to.root])
    #expect(result.status == 0, "\(result.errorText)")
    let restored = Tree(to.root / world.source.root)
    for name in try TreeListing(world.source.root).entries where name.value.kind == "s" {
      try world.source.remove(name.key)
    }
    // GNU tar reads a fraction of a second before 1970 wrongly.
    try tool(
      "sh",
      [
        "-c",
        "cd \"$1\" && find . -print0 | xargs -0 touch -h -d @1000000000; cd \"$2\" && find . -print0 | xargs -0 touch -h -d @1000000000",
        "sh", world.source.root, restored.root,
      ])
    #expect(try differences(world.source.root, restored.root) == [])
    #expect(try restored.blocks("only-a-hole") == 0)
    #expect(try restored.blocks("hole-at-the-end") < 64)
  }

  @Test("times arrive with their nanoseconds", arguments: extractors)
  func times(_ extractor: [ByteString]) throws {
    let world = try World()
    for (name, seconds) in [("old" as ByteString, -86400), ("new", 1_700_000_000), ("late", 8_835_955_200)] {
      try world.source.write(name, "x")
      try world.source.setTime(name, seconds: seconds, nanoseconds: name == "old" ? 0 : 123_456_789)
    }
    try world.snapshot()
    let to = try Tree(making: world.directory.path / "to")
    let archive = try export(world, ["latest"])
    _ = try runCommand(extractor[0], Array(extractor.dropFirst()) + [archive, "-C", to.root])
    #expect(try differences(world.source.root, to.root / world.source.root) == [])
  }

  @Test("sha256sum and mtree verify the source by the lists, and find what changed")
  func lists() throws {
    let world = try World()
    try world.source.makeEverything()
    try world.source.write(ByteString([0x61, 0xFF, 0x0A, 0x5C]), "text")
    try world.source.link("hole-at-the-end", as: "hole-again")
    try world.snapshot()
    let sums = try export(world, ["latest", world.source.root, "--format", "sha256"])
    func check() throws -> CommandResult { try runCommand("sha256sum", ["--check", "--quiet", sums], in: "/") }
    #expect(try check().status == 0)
    let count = try runCommand("find", [world.source.root, "-type", "f", "-printf", "x"]).output.count
    #expect(try tool("cat", [sums]).filter { $0 == 0x0A }.count == count)
    let tree = try export(world, ["latest", world.source.root, "--format", "mtree"])
    func compare() throws -> CommandResult { try runCommand("mtree", ["-e", "-p", "/", "-f", tree]) }
    let same = try compare()
    #expect(same.status == 0 && same.outputText == "", "\(same.outputText)\(same.errorText)")
    let listed = try runCommand("bsdtar", ["-tf", tree])
    #expect(listed.status == 0, "\(listed.errorText)")
    try world.source.write("text", "the quick brown cat\n")
    #expect(try check().outputText.contains("text: FAILED"))
    #expect(try compare().outputText.contains("text"))
  }

  @Test("paths, a remote, and one name for what is named twice")
  func paths() throws {
    let world = try World()
    for path: ByteString in ["a", "a/b", "c"] { try world.source.makeDirectory(path) }
    for path: ByteString in ["a/file", "a/b/file", "c/file"] { try world.source.write(path, "text") }
    try world.snapshot()
    let root = world.source.root
    let archive = try export(world, ["latest", root / "a/b", root / "a", root / "c/file"])
    let names = try runCommand("tar", ["-tf", archive]).outputText.split(separator: "\n").map(String.init)
    let below = String(root.text.dropFirst())
    #expect(
      names == ["a/", "a/file", "a/b/", "a/b/file", "c/file"].map { "\(below)/\($0)" })
    let server = try SSHServer()
    let remote = try world.treering(
      [
        "export", "latest", root, "-r",
        ByteString("ssh://\(NSUserName())@\(server.address.text)") + world.repository.root,
        "--ssh", ByteString(server.sshCommand), "--remote-command", ByteString(server.remoteCommand),
      ], inRepository: false)
    #expect(remote.status == 0, "\(remote.errorText)")
    #expect(try remote.output == world.treering(["export", "latest", root]).output)
    try world.expectRefusal(["export", "latest", "/nowhere"], status: 2, naming: "/nowhere")
  }

  @Test("an interrupted archive has no end")
  func interrupted() throws {
    let world = try World()
    try world.source.write("big", bytes: (0..<20_000_000).map { UInt8(truncatingIfNeeded: $0 &* 7 ^ $0 >> 9) })
    try world.source.write("last", "x")
    try world.snapshot()
    let script = """
      mkfifo pipe; "$1" export latest -r "$2" >pipe & exec 3<pipe
      head -c 1000000 <&3 >archive; kill -TERM $!; cat <&3 >>archive; wait $!
      """
    let result = try runCommand(
      "bash", ["-c", ByteString(script), "sh", treeringBinary(), world.repository.root], in: world.directory.path)
    #expect(result.status == 143, "\(result.errorText)")
    let listed = try runCommand("tar", ["-tf", world.directory.path / "archive"])
    #expect(listed.status != 0, "\(listed.outputText)")
  }

  @Test("a damaged file is named, the archive goes on, and the status is 6")
  func damaged() throws {
    let world = try World()
    for name: ByteString in ["a", "b", "c"] { try world.source.write(name, "text") }
    try world.source.write("first", "linked")
    for name: ByteString in ["second", "third"] { try world.source.link("first", as: name) }
    let snapshot = try world.snapshot()
    world.provesOlderUnchanged = false
    let stored = world.tree(of: snapshot)
    try tool("sh", ["-c", "printf damn > \"$1\"/b", "sh", stored.root])
    let result = try world.treering(["export", "latest"])
    #expect(result.status == 6 && result.errorText.contains("\(world.source.root)/b: is damaged in"))
    try stored.remove("b")
    try stored.remove("first")
    let gone = try world.treering(["export", "latest"])
    #expect(gone.status == 6 && gone.errorText.contains("\(world.source.root)/b: is damaged in"))
    let file = world.directory.path / "tar"
    try Tree(file).write("", bytes: gone.output)
    let extracted = try runCommand("tar", ["-xOf", file, ByteString(world.source.root.bytes.dropFirst()) / "c"])
    #expect(extracted.outputText == "text")
    let names = try runCommand("tar", ["-tf", file]).outputText
    #expect(!names.contains("/b\n"), "what is lost is left out")
    #expect(!names.contains("/first\n"))
    let linked = try runCommand("tar", ["-xOf", file, ByteString(world.source.root.bytes.dropFirst()) / "second"])
    #expect(linked.outputText == "linked", "another name of the inode is there")
  }
}

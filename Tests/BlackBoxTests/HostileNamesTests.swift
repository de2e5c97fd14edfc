import Foundation
import TestSupport
import Testing

@Suite("Hostile names", .waits)
struct HostileNamesTests {
  /// Names that break programs which take names for text, options or lines.
  static let names: [ByteString] = [
    "-rf", "--help", " ", "trailing ", " leading", "a\nb", "\n", "a\tb", "a\rb", "\\", "a\\nb",
    "*", "?", "$HOME", "`id`", "'", "\"", "#", "~", "%s%n", "...", "..a", ".treering", "latest",
    ".treering-tmp", "a.catalog", "2026-11-22T23-00-00Z", "e\u{301}", "\u{e9}", "\u{202E}gpj.exe",
    ByteString([0xFF]), ByteString([0xFF, 0xFE, 0x80]), ByteString([0xC0, 0xAF]),
    ByteString([0xED, 0xA0, 0x80]), ByteString([0xF4, 0x8F, 0xBC, 0x80]), ByteString([0x01]),
    ByteString([0x1B, 0x5B, 0x32, 0x4A]), ByteString([0x7F]), ByteString([0xC2, 0x85]),
    ByteString([UInt8](repeating: UInt8(ascii: "n"), count: 255)),
    ByteString([UInt8](repeating: 0xFF, count: 255)),
  ]

  private func makeTree(_ world: World) throws {
    try world.source.makeDirectory("together")
    for name in Self.names {
      try world.source.write("together" / name, "text")
      try world.source.makeDirectory(name)
      try world.source.makeDirectory(name / name)
      try world.source.write(name / name / name, "text")
      try world.source.makeSymbolicLink(name / "to", to: name)
    }
  }

  @Test("are published, linked and compared byte for byte")
  func arePublished() throws {
    let world = try World()
    try makeTree(world)
    try world.settle()
    let first = try world.snapshot()
    #expect(first.warnings == 0)
    try world.expectFaithful(first)
    let second = try world.snapshot()
    try world.expectFaithful(second)
    #expect(second.filesLinked == second.files)
    let result = try world.treering(["diff", first.name, second.name, world.source.root])
    #expect(result.outputText == "")
  }

  @Test("are restored and verified")
  func areRestored() throws {
    let world = try World()
    try makeTree(world)
    let snapshot = try world.snapshot()
    #expect(try world.treering(["verify"]).status == 0)
    let to = world.directory.path / "restored"
    let result = try world.treering(["restore", snapshot.name, "--to", to])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try differences(world.source.root, to / world.source.root) == [])
  }

  @Test("can be named as a source and as a path")
  func canBeNamed() throws {
    let world = try World()
    for name in Self.names {
      try world.source.makeDirectory(name)
      try world.source.write(name / name, "text")
    }
    let sources = Self.names.map { world.source.root / $0 }
    let snapshot = try world.snapshot(of: sources)
    for source in sources { try world.expectFaithful(snapshot, source) }
    let to = world.directory.path / "restored"
    let files = Self.names.map { world.source.root / $0 / $0 }
    let result = try world.treering(["restore", "latest", "--to", to] + files)
    #expect(result.status == 0, "\(result.errorText)")
    for file in files { #expect(try Tree(to).text(file) == "text") }
  }

  @Test("never reach the terminal or a line of their own unescaped")
  func areEscaped() throws {
    let world = try World()
    let evil = ByteString([0x0A, 0x1B, 0x5B, 0x32, 0x4A, 0xFF])
    try world.expectRefusal(
      ["snapshot", world.source.root / evil], status: 2, naming: "\\n\\x1b[2J\\xff")
    try world.source.write(evil, "text")
    try world.expectRefusal(
      ["snapshot", world.source.root / evil], status: 2, naming: "\\n\\x1b[2J\\xff")
  }

  @Test("a path longer than PATH_MAX is published and linked")
  func longerThanPathMax() throws {
    let world = try World()
    // sha256sum takes no such path.
    world.provesOlderUnchanged = false
    let name = String(repeating: "n", count: 250)
    let levels = 25
    try makeDeep(world.source.root, name, levels)
    try world.settle()
    let first = try world.snapshot()
    #expect(first.warnings == 0)
    let second = try world.snapshot()
    #expect(second.filesLinked == second.files)
    for snapshot in [first, second] {
      let different = listingDifferences(
        try TreeListing(world.source.root), try TreeListing(world.tree(of: snapshot).root))
      #expect(different == [])
      #expect(try readDeep(world.tree(of: snapshot).root, name, levels) == "at the bottom")
    }
    #expect(try world.treering(["verify"]).status == 0)
    let to = world.directory.path / "restored"
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0)
    #expect(try readDeep(to / world.source.root, name, levels) == "at the bottom")
  }

  /// Makes a chain of directories with a file at its end, step by step: no one path is that long.
  private func makeDeep(_ root: ByteString, _ name: String, _ levels: Int) throws {
    var current = open(root.text, O_RDONLY | O_DIRECTORY)
    for _ in 0..<levels {
      #expect(mkdirat(current, name, 0o755) == 0)
      let next = openat(current, name, O_RDONLY | O_DIRECTORY)
      close(current)
      current = next
    }
    let file = openat(current, "file", O_WRONLY | O_CREAT, 0o644)
    #expect(write(file, "at the bottom", 13) == 13)
    close(file)
    close(current)
  }

  private func readDeep(_ root: ByteString, _ name: String, _ levels: Int) throws -> String {
    var current = open(root.text, O_RDONLY | O_DIRECTORY)
    for _ in 0..<levels {
      let next = openat(current, name, O_RDONLY | O_DIRECTORY)
      close(current)
      current = next
    }
    defer { close(current) }
    let file = openat(current, "file", O_RDONLY)
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 64)
    let count = read(file, &buffer, buffer.count)
    guard count >= 0 else { throw TestSupportError("the file at the bottom cannot be read") }
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}

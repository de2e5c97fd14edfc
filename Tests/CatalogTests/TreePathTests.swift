import Model
import Testing

@Suite struct TreePathTests {
  private func path(_ names: String...) -> TreePath { TreePath(names.map { Array($0.utf8) }) }
  private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

  @Test(
    "a path is split at its slashes, without empty components and single dots",
    arguments: [
      ("", []), ("/", []), (".", []), ("a", ["a"]), ("/a", ["a"]), ("a/", ["a"]), ("//a///b//", ["a", "b"]),
      ("./a/./b/.", ["a", "b"]), ("/a/../b", ["a", "..", "b"]), ("...", ["..."]), ("/ä/b c", ["ä", "b c"]),
    ] as [(String, [String])])
  func splits(_ text: String, _ names: [String]) {
    #expect(TreePath(parsing: text.utf8) == TreePath(names.map { Array($0.utf8) }))
  }

  @Test(
    "a path has its forms below a directory, for messages and at the source",
    arguments: [
      ([], "", ".", "/", "/d", "."), (["web01"], "web01", "web01", "/web01", "/d/web01", "web01"),
      (["web01", "etc"], "web01/etc", "web01/etc", "/web01/etc", "/d/web01/etc", "/etc"),
      (["web01", "etc", "x"], "web01/etc/x", "web01/etc/x", "/web01/etc/x", "/d/web01/etc/x", "/etc/x"),
      (["other", "etc"], "other/etc", "other/etc", "/other/etc", "/d/other/etc", "other/etc"),
    ] as [([String], String, String, String, String, String)])
  func forms(
    _ names: [String], _ bytes: String, _ relative: String, _ absolute: String, _ below: String, _ source: String
  ) {
    let path = TreePath(names.map { Array($0.utf8) })
    #expect(text(path.bytes) == bytes && text(path.relative) == relative && text(path.absolute) == absolute)
    #expect(text(path.atSource(label: Array("web01".utf8))) == source)
    for directory in ["/d", "/d/", "/d//"] { #expect(text(path.bytes(below: Array(directory.utf8))) == below) }
    #expect(path.bytes(below: Array("/".utf8)) == path.absolute && path.bytes(below: []) == path.absolute)
  }

  @Test("a displayed path has no unprintable characters")
  func displayed() {
    #expect(TreePath().displayed == ".")
    #expect(TreePath([[0x61, 0x0A], [0xFF]]).displayed == "a\\n/\\xff")
  }

  @Test("names are added at both ends and taken from both ends")
  func composes() {
    let name = Array("x".utf8)
    #expect(path("a", "b") + name == path("a", "b", "x") && name + path("a") == path("x", "a"))
    #expect(path("a") + name[...] == path("a", "x"))
    #expect(path("a") + nil == path("a") && nil + path("a") == path("a"))
    #expect(path("a") + path("b", "c") == path("a", "b", "c"))
    let long = path("a", "b", "c")
    #expect(long.dropLast() == path("a", "b") && long.dropFirst() == path("b", "c") && long.dropFirst(4) == path())
    #expect(long.prefix(2) == path("a", "b") && long.prefix(9) == long && path().dropLast() == path())
    #expect(long.starts(with: path("a")) && long.starts(with: path()) && !long.starts(with: path("a", "bb")))
    #expect(long.below(label: Array("a".utf8)) == path("b", "c") && long.below(label: name) == long)
    #expect(path().below(label: name) == path())
  }

  @Test("paths are in the order of their names, each before all that are below it")
  func order() {
    let sorted = [path(), path("a"), path("a", "b"), path("a", "b", "c"), path("a-"), path("a-", "a"), path("b")]
    #expect(sorted.reversed().sorted() == sorted)
  }

  @Test("of several paths, those around another one and those not below another one are found")
  func innermostAndOutermost() {
    let paths = [path("b", "c"), path("a", "b"), path("a"), path("a-"), path("b", "c"), path("a", "b", "c")]
    #expect(paths.outermost == [path("a"), path("a-"), path("b", "c")])
    #expect((paths + [[]]).outermost == [[]])
    #expect(paths.innermost(around: path("a", "b", "d")) == path("a", "b"))
    #expect(paths.innermost(around: path("b", "c")) == path("b", "c"))
    #expect(paths.innermost(around: path("b")) == nil)
  }
}

@Suite struct NameTests {
  @Test(
    "a name is one component of 1 to 255 bytes",
    arguments: [
      ("", false), (".", false), ("..", false), ("/", false), ("a/b", false), ("/a", false), ("a/", false),
      ("a\0", false), ("\0", false), (String(repeating: "a", count: 256), false),
      ("a", true), ("...", true), (".a", true), ("a.", true), ("..a", true), (" ", true), ("\n", true),
      (String(repeating: "a", count: 255), true),
    ])
  func possible(_ text: String, _ isPossible: Bool) {
    #expect((Name(text.utf8) != nil) == isPossible && Name.isPossible(Array(text.utf8).span) == isPossible)
    #expect(Name(text.utf8).map { $0.bytes == Array(text.utf8) } ?? true)
  }

  @Test("a name may have all other bytes")
  func bytes() {
    for byte in UInt8.min...UInt8.max {
      #expect((Name([byte, byte, byte]) != nil) == (byte != 0 && byte != UInt8(ascii: "/")), "\(byte)")
    }
  }
}

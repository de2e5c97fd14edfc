import Patterns
import TestSupport
import Testing

/// The patterns of gitignore(5), with git itself as the oracle.
@Suite("Patterns") struct PatternTests {
  /// Patterns, a path (a slash at its end makes it a directory's), and whether it is excluded.
  static let table: [(patterns: String, path: String, isExcluded: Bool)] = [
    ("*.o", "a.o", true), ("*.o", "b/c/a.o", true), ("*.o", "a.oo", false), ("*.o", ".o", true),
    ("a", "a", true), ("a", "b/a", true), ("a", "ab", false), ("a", "a/", true),
    ("/a", "a", true), ("/a", "b/a", false), ("a/", "a", false), ("a/", "a/", true),
    ("a/", "b/a/", true), ("a/b", "a/b", true), ("a/b", "c/a/b", false), ("/a/b/", "a/b/", true),
    ("**/a", "a", true), ("**/a", "b/c/a", true), ("a/**", "a/b", true), ("a/**", "a/b/c", true),
    ("a/**", "a/", false), ("a/**/b", "a/b", true), ("a/**/b", "a/x/y/b", true),
    ("a/**/b", "a/xb", false), ("a**b", "axxb", true), ("a**b", "a/b", false), ("**", "a", true),
    ("?", "a", true), ("?", "ab", false), ("a?b", "a/b", false), ("[ab]", "a", true),
    ("[!ab]", "a", false), ("[^ab]", "c", true), ("[a-c]x", "bx", true), ("[]]", "]", true),
    ("[]-a]", "^", true), ("[[:digit:]]", "5", true), ("[[:upper:]]x", "ax", false),
    ("[a", "[a", false), ("[a", "a", false), ("\\[a", "[a", true), ("a\\", "a", false),
    ("a\\*", "a*", true), ("a\\*", "ab", false), ("\\#a", "#a", true), ("#a", "#a", false),
    ("\\!a", "!a", true), ("a\n!a", "a", false), ("!a\na", "a", true), ("*\n!*.c", "x.c", false),
    ("a ", "a", true), ("a\\ ", "a ", true), ("a\\ ", "a", false), (" a", " a", true),
    ("a\t", "a\t", true), ("a\t", "a", false), ("", "a", false), ("/", "a/", false),
    ("//", "a/", false), ("!", "a", false), ("A", "a", false), ("*", ".hidden", true),
    (".*", ".hidden", true), ("foo/*", "foo/bar", true),
    ("a/*/c", "a/b/c", true), ("a/*/c", "a/b/d/c", false), ("*/b", "a/b", true),
    ("*/b", "x/a/b", false), ("a*/", "ab/", true), ("[a-]", "-", true),
    ("x[/]y", "x/y", false), ("***", "a/b", true), ("a/***", "a/b/c", true),
    ("\u{FEFF}a", "a", true), ("a\r\nb", "b", true), ("a\r", "a", true), ("日*", "日本", true),
  ]

  @Test("the table is what we do")
  func table() {
    for (patterns, text, isExcluded) in Self.table {
      var list = PatternList()
      list.add(file: Array(patterns.utf8), name: "patterns")
      let query = Self.query(text)
      let path = query.path
      let match = list.match(path.span, isDirectory: query.isDirectory)
      #expect((match?.isExcluded ?? false) == isExcluded, "\(patterns.debugDescription) of \(query)")
    }
  }

  @Test("the table is what git does")
  func tableByGit() throws {
    for (patterns, path, isExcluded) in Self.table {
      let git = try GitOracle()
      let queries = try git.make([Self.query(path)])
      try #require(queries.count == 1, "\(path)")
      let decision = try git.decide(Array(patterns.utf8), queries)[0]
      #expect((decision?.isExcluded ?? false) == isExcluded, "\(patterns.debugDescription) of \(path)")
    }
  }

  private static func query(_ path: String) -> GitOracle.Query {
    let isDirectory = path.hasSuffix("/") && path.count > 1
    return GitOracle.Query(
      path: Array((isDirectory ? String(path.dropLast()) : path).utf8), isDirectory: isDirectory)
  }

  /// Ours for a path and the directories above it, as a walk asks.
  private func decide(_ list: PatternList, _ query: GitOracle.Query) -> Int? {
    let names = query.path.split(separator: UInt8(ascii: "/")).map(Array.init)
    for depth in names.indices {
      let directory = Array(names[..<depth].joined(separator: [UInt8(ascii: "/")]))
      let name = names[depth]
      let match = list.match(
        directory: directory, name: name.span,
        isDirectory: depth < names.count - 1 || query.isDirectory)
      if let match, match.isExcluded { return Int(match.pattern.origin.split(separator: ":").last!) }
    }
    return nil
  }

  @Test("random patterns and paths decide as git does", arguments: sample(2, of: [1, 2, 3, 4, 5, 6]))
  func random(seed: UInt64) throws {
    var random = SplitMix(state: seed)
    let git = try GitOracle()
    let pieces: [[UInt8]] =
      [
        "a", "b", "A", "1", "/", "/", "*", "**", "**/", "/**", "?", "[ab]", "[!a]", "[a-b]", "[[:alpha:]]",
        "[", "]", "\\", "!", "#", " ", "-", ".", "\\*", "\t",
      ].map { Array($0.utf8) } + [[0xFF], [0xC3, 0xA4]]
    let nameBytes: [[UInt8]] =
      ["a", "b", "A", "1", "*", "?", "[", "]", "\\", "!", "#", " ", "-", ".x"]
      .map { Array($0.utf8) } + [[0xFF], [0xC3, 0xA4]]
    let queries = try git.make(
      (0..<80).map { _ in
        let names = (0..<(1 + random.below(3))).map { _ in
          (0..<(1 + random.below(3))).flatMap { _ in nameBytes[random.below(nameBytes.count)] }
        }
        return GitOracle.Query(
          path: Array(names.joined(separator: [UInt8(ascii: "/")])), isDirectory: random.below(2) == 0)
      })
    #expect(queries.count > 40)
    for _ in 0..<150 {
      var lines: [[UInt8]] = []
      for _ in 0..<(1 + random.below(4)) {
        lines.append((0..<(1 + random.below(6))).flatMap { _ in pieces[random.below(pieces.count)] })
      }
      let text = Array(lines.joined(separator: [10]))
      var list = PatternList()
      list.add(file: text, name: "p")
      let theirs = try git.decide(text, queries)
      for (query, decision) in zip(queries, theirs) {
        let ours = decide(list, query)
        let their = decision.flatMap { $0.isExcluded ? $0.line : nil }
        #expect(
          (ours == nil) == (their == nil),
          "\(String(decoding: text, as: UTF8.self).debugDescription) of \(String(decoding: query.path, as: UTF8.self).debugDescription) directory: \(query.isDirectory): ours \(String(describing: ours)), git's \(String(describing: their))"
        )
      }
    }
  }

  @Test("a hostile pattern takes no time to speak of")
  func hostile() {
    var list = PatternList()
    list.add(Array(String(repeating: "*a", count: 100).utf8) + [UInt8(ascii: "b")], origin: "x")
    list.add(Array(String(repeating: "**/a*", count: 60).utf8) + [UInt8(ascii: "b")], origin: "x")
    let name = [UInt8](repeating: UInt8(ascii: "a"), count: 255)
    let directory = Array((0..<16).map { _ in name }.joined(separator: [UInt8(ascii: "/")]))
    let match = list.match(directory: directory, name: name.span, isDirectory: false)
    #expect(match?.isExcluded == nil)
  }
}

/// The generator of Steele, Lea and Flood (2014): the same numbers everywhere.
private struct SplitMix {
  var state: UInt64

  mutating func below(_ bound: Int) -> Int {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return Int((z ^ (z >> 31)) % UInt64(bound))
  }
}

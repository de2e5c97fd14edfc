import TestSupport
import Testing

/// The rules of a source, as rsync(1) gets them.
@Suite("rules of sources of other hosts", .waits)
struct FetchExcludeTests {
  private static let rounds = 24

  @Test("a fetch leaves out what a walk leaves out, with random patterns")
  func random() throws {
    let seed = environmentVariable("TREERING_TEST_SEED").flatMap { UInt64($0) } ?? .random(in: 1...1_000_000)
    var generator = SeededGenerator(seed: seed)
    let fetch = try FetchWorld("fetch-rules")
    var tables: [String] = []
    for round in 0..<Self.rounds {
      let root: ByteString = "t\(round)"
      try fetch.host.makeDirectory(root)
      try makeTree(in: fetch.host, root, depth: 3, with: &generator)
      let patterns = (0..<Int.random(in: 1...6, using: &generator)).map { _ in pattern(with: &generator) }
      let keys = "exclude = [" + patterns.map { "'''\($0)'''" }.joined(separator: ", ") + "]"
      tables.append("[[source]]\npath = '''\(fetch.host.root / root)'''\n\(keys)\n")
      tables.append(fetch.table(fetch.host.root / root, keys: keys))
    }
    try fetch.configure(tables.joined())
    let taken = try fetch.snapshot()
    for round in 0..<Self.rounds {
      let path = fetch.host.root / "t\(round)"
      let walked = Tree(fetch.world.repository.root / taken.name / "localhost" / path)
      #expect(
        try differences(walked.root, fetch.tree(of: taken, path).root) == [], "seed \(seed): \(tables[2 * round])")
    }
  }

  private func makeTree(in tree: Tree, _ path: ByteString, depth: Int, with generator: inout SeededGenerator) throws {
    let names: [ByteString] = ["a", "b", "ab", "ba", "*", "[a]", "\\", "a b", "-", "+ a", "!a", "#a", "?"]
    for name in names.shuffled(using: &generator).prefix(5) {
      if depth > 0, Bool.random(using: &generator) {
        try tree.makeDirectory(path / name)
        try makeTree(in: tree, path / name, depth: depth - 1, with: &generator)
      } else {
        try tree.write(path / name, "x")
      }
    }
  }

  private func pattern(with generator: inout SeededGenerator) -> String {
    let parts = [
      "a", "b", "ab", "*", "**", "**", "a*", "*a", "?", "??", "[ab]", "[!a]", "[^b-z]", "\\*", "\\[a]", "\\\\",
      "[\\\\]",
      "a b", "-", "+ a", "\\!a", "\\#a", "[[:alpha:]]", "a**", "[]a]", "[a-]", "*[*]*", "\\?",
    ]
    let components = (0..<Int.random(in: 1...3, using: &generator)).map { _ in parts.randomElement(using: &generator)! }
    let isNegated = Int.random(in: 0..<4, using: &generator) == 0
    return (isNegated ? "!" : "") + (Int.random(in: 0..<3, using: &generator) == 0 ? "/" : "")
      + components.joined(separator: "/") + (Int.random(in: 0..<4, using: &generator) == 0 ? "/" : "")
  }

  @Test("large files and other file systems are left out, as the source says")
  func others() throws {
    let fetch = try FetchWorld("fetch-rules")
    let disk = try LoopFileSystem("ext4", mebibytes: 8, at: fetch.host.root / "disk")
    try disk.tree.write("inner", "inner")
    try fetch.host.write("small", bytes: [UInt8](repeating: 1, count: 1024))
    try fetch.host.write("large", bytes: [UInt8](repeating: 1, count: 1025))
    let rules = "one_file_system = true\nmax_file_size = \"1K\"\n"
    try fetch.configure(fetch.table(keys: rules), "[[source]]\npath = \"\(fetch.host.root)\"\n\(rules)")
    for _ in 0..<2 {
      let taken = try fetch.snapshot()
      #expect(try fetch.tree(of: taken).names() == ["disk", "small"])
      #expect(try fetch.tree(of: taken).names("disk").isEmpty)
      #expect(
        try differences(
          fetch.world.repository.root / taken.name / "localhost" / fetch.host.root, fetch.tree(of: taken).root) == [])
    }
  }

  @Test("a pattern that rsync has no rule for is an error of the configuration")
  func untranslatable() throws {
    let fetch = try FetchWorld("fetch-rules")
    let pattern = String(repeating: "a/**/", count: 7) + "b"
    try fetch.configure(fetch.table(keys: "exclude = [\"\(pattern)\"]"))
    let result = try fetch.treering("config", "check", status: 2)
    #expect(result.errorText.contains("rsync(1) has no rule for the pattern \"\(pattern)\""))
  }
}

import TestSupport

/// Small trees and rules of rsync's filter, of so few letters that they often meet.
struct RandomRsyncRules {
  private var generator: SeededGenerator
  private let directory: String

  init(seed: UInt64, directory: String) {
    generator = SeededGenerator(seed: seed)
    self.directory = directory
  }

  private static let names = ["a", "b", "ab", "ba", "aab", "b.o", "é", "[a]", "a b", "!a", "#b", "x\\y"]

  mutating func makeTree(_ files: Tree, _ root: ByteString) throws {
    var directories: [ByteString] = [root]
    try tool("mkdir", ["-p", files.root / root])
    for _ in 0..<60 {
      let path =
        directories.randomElement(using: &generator)!
        / ByteString(Self.names.randomElement(using: &generator)!)
      if files.exists(path) { continue }
      switch Int.random(in: 0...4, using: &generator) {
      case 0...2 where directories.count < 20:
        try files.makeDirectory(path)
        directories.append(path)
      case 3: try files.makeSymbolicLink(path, to: "a")
      default: try files.write(path, "x")
      }
    }
  }

  /// Parameters for all points; the file is one of patterns.
  mutating func globalLines(files: String) -> String {
    var lines: [String] = []
    for _ in 0..<Int.random(in: 2...8, using: &generator) {
      lines.append("\(word(include: 0.4))\t\"\(pattern())\"")
    }
    if Bool.random(using: &generator) { lines.append("\(word(include: 0.3))_file\t\(files)") }
    if Int.random(in: 0...3, using: &generator) == 0 {
      lines.append("rsync_long_args\t--delete --numeric-ids --delete-excluded --relative '--exclude=\(pattern())'")
    }
    return lines.joined(separator: "\n")
  }

  /// A file with patterns, prefixes and comments; returns its path.
  mutating func writeFile(_ files: Tree) throws -> String {
    var lines = ["# \(pattern())", "", "; x"]
    for _ in 0..<3 {
      lines.append(["", "", "- ", "+ "].randomElement(using: &generator)! + pattern())
    }
    if Int.random(in: 0...5, using: &generator) == 0 { lines.insert("!", at: 4) }
    try files.write("patterns", lines.joined(separator: "\n"))
    return "\(directory)/patterns"
  }

  mutating func pointOptions() -> String {
    var options: [String] = []
    for _ in 0..<Int.random(in: 0...3, using: &generator) {
      options.append("\(word(include: 0.4))=\"\(pattern())\"")
    }
    if Bool.random(using: &generator) {
      options.append("+rsync_long_args=\"--filter=- \(pattern())\" --exclude \"\(pattern())\"")
    }
    return options.isEmpty ? "one_fs=0" : options.joined(separator: ",")
  }

  private mutating func word(include: Double) -> String {
    Double.random(in: 0...1, using: &generator) < include ? "include" : "exclude"
  }

  /// One to three components, possibly with the way to the sources before them.
  private mutating func pattern() -> String {
    var components: [String] = []
    for _ in 0..<[1, 1, 2, 2, 3].randomElement(using: &generator)! { components.append(component()) }
    var text = components.joined(separator: "/")
    switch Int.random(in: 0...9, using: &generator) {
    case 0, 1, 2:
      let ways = ["/s/one/", "/s/*/", "/s/", "/s/t?o/", "/", "/**/"]
      text = directory + ways.randomElement(using: &generator)! + text
    case 3: text = "/" + text
    case 4: text = ["s/", "s/one/", "two/", "[ot]*/"].randomElement(using: &generator)! + text
    default: break
    }
    if Int.random(in: 0...4, using: &generator) == 0 { text += "/" }
    return text
  }

  private mutating func component() -> String {
    switch Int.random(in: 0...9, using: &generator) {
    case 0: return ["*", "?", "**", "***", "?*"].randomElement(using: &generator)!
    case 1, 2, 3:
      return [
        "a*", "*b", "**a", "a**", "a**b", "*a*", "?b", "[ab]", "[!a]", "[^b]*", "*.o", "\\[a*", "[[:alpha:]]?", "\\a?",
        "[]a]b", "[a-b]", "***b",
      ].randomElement(using: &generator)!
    default: return Self.names.randomElement(using: &generator)!
    }
  }
}

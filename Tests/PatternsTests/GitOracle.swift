import TestSupport

/// What git says of paths under a file of patterns: the oracle.
struct GitOracle {
  struct Query: Hashable {
    /// Relative, components joined by slashes.
    let path: [UInt8]
    let isDirectory: Bool
  }

  private let directory: TemporaryDirectory

  init() throws {
    directory = try TemporaryDirectory("git")
    try tool("git", ["init", "-q", directory.path])
    try tool("git", ["-C", directory.path, "config", "core.ignoreCase", "false"])
  }

  /// Makes the queries' files and directories, and returns those that could be made as they are asked: where one
  /// needs a directory and another a file, the first wins.
  ///
  /// Git takes the last component of a path with a slash at its end for empty, so directories must exist.
  func make(_ queries: [Query]) throws -> [Query] {
    let tree = Tree(directory.path)
    return queries.filter { query in
      let path = ByteString(query.path)
      var above = path.parent
      var missing: [ByteString] = []
      while !above.bytes.isEmpty {
        missing.append(above)
        above = above.parent
      }
      for directory in missing.reversed() where !tree.exists(directory) {
        guard (try? tree.makeDirectory(directory)) != nil else { return false }
      }
      if !tree.exists(path) {
        guard (try? query.isDirectory ? tree.makeDirectory(path) : tree.write(path, "")) != nil else {
          return false
        }
      }
      return isDirectory(path) == query.isDirectory
    }
  }

  private func isDirectory(_ path: ByteString) -> Bool {
    (try? tool("test", ["-d", directory.path / path])) != nil
  }

  /// The line number of the deciding pattern and whether it excludes; `nil` where none matches.
  ///
  /// Asked of patterns in `.git/info/exclude`, about paths that were made. Git also excludes what is below an
  /// excluded directory; callers look at the parents first, or ask of paths whose parents are not excluded.
  func decide(_ patterns: [UInt8], _ queries: [Query]) throws -> [(line: Int, isExcluded: Bool)?] {
    let tree = Tree(directory.path)
    try tree.write(".git/info/exclude", bytes: patterns)
    var input: [UInt8] = []
    for query in queries { input += query.path + [0] }
    try tree.write(".git/queries", bytes: input)
    let result = try runCommand(
      "sh",
      [
        "-c", "git check-ignore -v -n --no-index --stdin -z < .git/queries; test $? -le 1",
      ], in: directory.path, environment: ["GIT_CONFIG_NOSYSTEM": "1"])
    guard result.status == 0 else { throw TestSupportError("git check-ignore: \(result.errorText)") }
    // source NUL line NUL pattern NUL path NUL
    let fields = result.output.split(separator: 0, omittingEmptySubsequences: false).dropLast()
    guard fields.count == queries.count * 4 else {
      throw TestSupportError("git answered \(fields.count) fields to \(queries.count) questions")
    }
    let all = Array(fields)
    return queries.indices.map { index in
      guard let line = Int(String(decoding: all[index * 4 + 1], as: UTF8.self)) else { return nil }
      return (line, all[index * 4 + 2].first != UInt8(ascii: "!"))
    }
  }
}

import TestSupport
import Testing

/// One repository of every released version is kept for ever, and every verb works on it.
///
/// The repository of version 1 has two snapshots of `/mnt/version-1`: hard links, a symbolic link, a FIFO, an attribute,
/// a file with a hole and one with zeros as data, both of which version 2 would give the digest of a sparse file.
@Suite("Repositories of older versions", .waits) struct OldRepositoryTests {
  private static let source: ByteString = "/mnt/version-1"
  private static let archive = ByteString("\(#filePath)").parent / "Repositories/version-1.tar.zst"

  private let directory: TemporaryDirectory
  private let program: ByteString
  private var repository: ByteString { directory.path / "repository" }

  init() throws {
    directory = try TemporaryDirectory("old-repository")
    program = try treeringBinary()
    try tool(
      "sh",
      [
        "-c", "zstd -dcq \"$1\" | tar -xp --xattrs --xattrs-include='*' --acls -C \"$2\"", "sh", Self.archive,
        directory.path,
      ])
  }

  private func run(_ arguments: [ByteString]) throws -> CommandResult {
    try runCommand(program, arguments + ["-r", repository])
  }

  /// Runs where the source is mounted at the path that the snapshots name.
  private func runAtSource(_ arguments: [ByteString]) throws -> CommandResult {
    let script: ByteString = "mount --bind \"$1\" /mnt && shift && exec \"$@\""
    return try runCommand(
      "unshare",
      ["--mount", "sh", "-c", script, "sh", directory.path / "mount", program] + arguments + ["-r", repository])
  }

  private func names() throws -> [ByteString] {
    try Tree(repository).names().filter { $0.hasPrefix("20") && $0.bytes.last == UInt8(ascii: "Z") }
  }

  private func tree(_ name: ByteString) -> ByteString { repository / name / "localhost" / Self.source }

  @Test("list, verify, diff, versions, restore")
  func reading() throws {
    let names = try names()
    #expect(names.count == 2)
    #expect(try run(["list", "--json"]).decoded([ListAnswer].self).map(\.name) == names.map(\.text))
    let verified = try run(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
    let diff = try run(["diff", names[0], names[1]])
    #expect(diff.changeLines.filter { !$0.hasSuffix("/sub  (mtime)") }.count == 2, "\(diff.outputText)")
    #expect(diff.outputText.contains("sub/changes") && diff.outputText.contains("sub/new"))
    #expect(try run(["versions", Self.source / "hole"]).outputText.contains("2 snapshots"))
    let usage: UsageAnswer = try run(["usage", "--json"]).decoded()
    #expect(usage.snapshots.count == 2 && usage.doubts == ["old_catalog"])
    for name in names {
      let out = directory.path / "out" / name
      try tool("mkdir", ["-p", out])
      let restored = try run(["restore", name, "--to", out])
      #expect(restored.status == 0, "\(restored.errorText)")
      #expect(try differences(tree(name), out + Self.source) == [])
    }
  }

  @Test("a snapshot links what has not changed, and calls no sparse file changed or damaged")
  func goingOn() throws {
    try tool("mkdir", [directory.path / "mount"])
    let old = try names()[1]
    try tool("cp", ["-a", "--sparse=always", tree(old), directory.path / "mount/version-1"])
    // Each inode is another, so every content is compared.
    let first = try runAtSource(["snapshot", Self.source, "--json", "--accept-changes"])
    #expect(first.status == 0, "\(first.errorText)")
    let answer = try first.decoded(SnapshotAnswer.self)
    // The names of an inode that the catalog does not know become another.
    #expect(answer.filesCopied == 1 && answer.filesLinked == answer.files - 1)
    let same = try run(["diff", old, answer.name]).changeLines.filter { !$0.hasSuffix("(hard links)") }
    #expect(same.allSatisfy { $0.hasPrefix("M /mnt/  (mtime)") }, "\(same)")
    #expect(try run(["verify"]).status == 0)
    // The same bytes, once with a digest of either form.
    let source = Tree(directory.path / "mount/version-1")
    try source.setTime("hole", seconds: 1_700_000_000)
    try source.overwrite("zeros-in-data", at: 4 << 20, bytes: [1])
    try source.setTime("zeros-in-data", seconds: 1_700_000_000)
    try tool("sleep", ["0.05"])
    let second = try runAtSource(["snapshot", Self.source, "--json"]).decoded(SnapshotAnswer.self)
    #expect(second.filesCopied == 2)
    let verified = try run(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
    let changed = try run(["diff", answer.name, second.name]).changeLines
    #expect(changed.count { $0.contains("/version-1/") } == 2, "\(changed)")
    // Both ends have both forms then.
    let far = directory.path / "far"
    try tool(program, ["init", far])
    for name in try names() { #expect(try run(["push", far, name]).status == 0) }
    let there = try runCommand(program, ["verify", "-r", far])
    #expect(there.status == 0, "\(there.outputText)")
    for name in try names() { #expect(try differences(tree(name), far / name / "localhost" / Self.source) == []) }
  }
}

import Foundation
import TestSupport
import Testing

/// Renames, patches, ACLs and the live source in `diff`, against git, diff and getfacl.
@Suite("diff: renames, patches, ACLs, live", .waits)
struct DiffRenameTests {
  private func answer(_ world: World, _ arguments: [ByteString]) throws -> DiffAnswer {
    let result = try world.treering(["diff"] + arguments + ["--json"])
    #expect(result.status == 0, "\(result.errorText)")
    return try result.decoded()
  }

  @Test("finds the files that git finds, here and in a pushed repository", arguments: [1, 2, 3] as [UInt64])
  func sameAsGit(seed: UInt64) throws {
    let world = try World("renames")
    world.provesOlderUnchanged = false
    let (source, root) = (world.source, world.source.root)
    let far = world.directory.path / "far"
    #expect(try world.treering(["init", far], inRepository: false).status == 0)
    func git(_ arguments: String...) throws -> [UInt8] {
      let options = ["--git-dir", "\(world.directory.path)/git", "--work-tree", "\(root)"]
      let all = options + ["-c", "user.name=t", "-c", "user.email=t@t"] + arguments
      return try tool("git", all.map { ByteString($0) })
    }
    var generator = SeededGenerator(seed: seed)
    var files: [ByteString] = []
    for directory in ["a", "a/deep", "b", "c with space"] as [ByteString] {
      try source.makeDirectory(directory)
      for number in 0..<(directory == "c with space" ? 20 : 6) {
        let path = directory / ByteString("f\(number)")
        // Each content is another, so that there is one right answer.
        try source.write(path, "content of \(path) \(generator.next())")
        files.append(path)
      }
    }
    _ = try git("init", "-q")
    _ = try git("add", "-A")
    _ = try git("commit", "-qm", "1")
    try world.settle()
    let first = try world.snapshot()
    try source.rename("c with space", to: "moved\n")
    files = files.map { $0.hasPrefix("c with space/") ? "moved\n" + ByteString($0.bytes.dropFirst(12)) : $0 }
    for (number, path) in files.shuffled(using: &generator).enumerated().prefix(12) {
      switch number % 3 {
      case 0:
        try source.rename(path, to: ["a", "b", "new\(number)"].map { ByteString($0) }[number / 3 % 3] + "-\(number)")
      case 1: try source.remove(path)
      default: try source.append(path, "more")
      }
    }
    _ = try git("add", "-A")
    _ = try git("commit", "-qm", "2")
    try world.settle()
    let second = try world.snapshot(of: nil, ["--accept-changes"])
    #expect(try world.treering(["push", far, first.name]).status == 0)
    #expect(try world.treering(["push", far, second.name]).status == 0)

    // Status, old and new path of each; a rename needs an equal content, as without inodes.
    let words = try git("diff", "-M100%", "-l0", "--name-status", "-z", "HEAD~1", "HEAD")
      .split(separator: 0).map { ByteString(Array($0)) }
    var expected: Set<String> = []
    var index = 0
    while index < words.count {
      let isRename = words[index].text.hasPrefix("R")
      if isRename { expected.insert("\(root / words[index + 1]) -> \(root / words[index + 2])") }
      index += isRename ? 3 : 2
    }
    for repository in [world.repository.root, far] {
      let result = try world.treering(
        ["diff", first.name, second.name, "--json", "-r", repository], inRepository: false)
      let found = try result.decoded(DiffAnswer.self)
      let applied = AppliedChanges(found)
      let (before, after) = (try TreeListing(world.tree(of: first).root), try TreeListing(world.tree(of: second).root))
      func full(_ listing: TreeListing) -> Set<ByteString> {
        Set(listing.paths.map { $0.bytes.isEmpty ? root : root / $0 })
      }
      #expect(applied.paths(after: full(before)) == full(after))
      let old = try contentHashes(world.tree(of: first).root)
      let new = try contentHashes(world.tree(of: second).root)
      // Of a renamed directory git names each file, and an edited file in it not at all.
      let renames = new.keys.compactMap { path -> String? in
        guard let origin = applied.origin(of: root / path), origin != root / path,
          old[ByteString(origin.bytes.dropFirst(root.bytes.count + 1))] == new[path]
        else { return nil }
        return "\(origin) -> \(root / path)"
      }
      #expect(Set(renames) == expected, "seed \(seed) in \(repository)")
      #expect(found.changes.contains { $0.change == "renamed" && $0.kind == "directory" })
    }
  }

  @Test("a directory of many files is one line, and what changed in it follows")
  func wholeDirectory() throws {
    let world = try World()
    let (source, root) = (world.source, world.source.root)
    try tool("sh", ["-c", "mkdir p p/q; for i in $(seq 300); do echo $i > p/f$i; echo q$i > p/q/$i; done"], in: root)
    try world.settle()
    let first = try world.snapshot()
    try source.rename("p", to: "project")
    try source.append("project/f7", "more")
    try source.remove("project/f8")
    try source.write("project/q/new", "n")
    let second = try world.snapshot()
    let result = try world.treering(["diff", first.name, second.name])
    #expect(
      result.changeLines.map { $0.replacing(root.text, with: "") } == [
        "R /p/ -> /project/  (mtime, 601 below)", "M /project/f7  (content +4 B, mtime)", "- /p/f8",
        "+ /project/q/new",
      ])
    #expect(result.outputLines.last == "1 changed, 1 renamed with 601 below it, 1 added, 1 removed, +3 B")
    let sizes = result.outputLines.filter { $0.contains("/project/f7") }
    #expect(sizes.first?.hasPrefix("M      6 B  /") == true, "\(sizes)")
    let names = try world.treering(["diff", first.name, second.name, "--name-only"])
    #expect(
      names.outputLines.map { $0.replacing(root.text, with: "") } == [
        "/project", "/project/f7", "/p/f8", "/project/q/new",
      ])
    let counts = try world.treering(["diff", first.name, second.name, "--stat"])
    #expect(counts.outputLines.count == 4 && counts.outputLines.last == result.outputLines.last, "\(counts.outputText)")
    for wrong in [["--stat", "--patch"], ["--name-only", "--json"], ["--exclude", "x"]] {
      let refused = try world.treering(["diff", first.name, second.name] + wrong.map { ByteString($0) })
      #expect(refused.status == 2, "\(wrong)")
    }
  }

  @Test("patches are those of diff(1)")
  func patches() throws {
    let world = try World()
    let (source, root) = (world.source, world.source.root)
    let text = (1...60).map { "line \($0)\n" }.joined()
    for name in ["edited", "odd\nname", "gone", "moved"] as [ByteString] { try source.write(name, text) }
    try source.write("ends", "without newline")
    try source.write("binary", bytes: [1, 0, 2])
    try source.write("large", String(repeating: "x\n", count: 700_000))
    try world.settle()
    let first = try world.snapshot()
    for name in ["edited", "odd\nname"] as [ByteString] {
      try source.write(
        name, text.replacing("line 3\n", with: "line three\n\nand an empty one\n").replacing("line 50\n", with: ""))
    }
    try source.append("ends", " still")
    try source.remove("gone")
    try source.write("new", "first\n")
    try source.rename("moved", to: "elsewhere")
    try source.append("binary", "x")
    try source.append("large", "y\n")
    let second = try world.snapshot()
    let result = try world.treering(["diff", first.name, second.name, "--patch"])
    #expect(result.status == 0, "\(result.errorText)")
    let (old, new) = (world.tree(of: first), world.tree(of: second))
    func expected(_ name: ByteString, shown: String? = nil, isOld: Bool = true, isNew: Bool = true) throws -> String {
      let path = root.text + "/" + (shown ?? name.text)
      return try runCommand(
        "diff",
        [
          "-u", "--label", ByteString(isOld ? "a\(path)" : "/dev/null"), "--label",
          ByteString(isNew ? "b\(path)" : "/dev/null"), isOld ? old.root / name : "/dev/null",
          isNew ? new.root / name : "/dev/null",
        ]
      ).outputText
    }
    for patch in [
      try expected("edited"), try expected("odd\nname", shown: "odd\\nname"), try expected("ends"),
      try expected("gone", isNew: false), try expected("new", isOld: false),
    ] { #expect(patch.count > 40 && result.outputText.contains("\n" + patch), "\(patch)") }
    #expect(result.outputText.contains("\nBinary files differ: a\(root)/binary and b\(root)/binary\n"))
    #expect(result.outputText.contains("\nLarge files, not compared: a\(root)/large and b\(root)/large\n"))
    #expect(!result.outputText.contains("+++ b\(root)/elsewhere"))
    let without = try world.treering(
      ["diff", first.name, second.name, "--patch"], environment: ["PATH": world.directory.path.text])
    #expect(without.status == 3 && without.errorText.contains("install diffutils"), "\(without.errorText)")
    // A content that is not the one that was saved is no patch.
    world.provesOlderUnchanged = false
    try new.overwrite("edited", bytes: Array("LINE".utf8))
    let damaged = try world.treering(["diff", first.name, second.name, "--patch"])
    #expect(damaged.status == 6 && damaged.errorText.contains("edited: is damaged in"), "\(damaged.errorText)")
    #expect(!damaged.outputText.contains("LINE"))
  }

  @Test("ACLs are those of getfacl(1), and setfacl(1) takes them back")
  func accessControlLists() throws {
    let world = try World()
    let (source, root) = (world.source, world.source.root)
    for name in ["plain", "acl", "o\\dd\n name", "réglé", "setuid"] as [ByteString] { try source.write(name, "x") }
    try source.makeDirectory("directory", mode: 0o1770)
    try source.makeSymbolicLink("link", to: "acl")
    try source.setMode("setuid", 0o4750)
    try world.settle()
    let first = try world.snapshot()
    try source.setACL("acl", "u:daemon:rw,g:4242:r,m::r")
    try source.setACL("o\\dd\n name", "u:65533:x")
    try source.setACL("directory", "u:daemon:rwx,d:u:bin:rx,d:g::-")
    let second = try world.snapshot()
    func blocks(_ text: String) -> Set<String> { Set(text.split(separator: "\n\n").map(String.init)) }
    func real() throws -> Set<String> {
      let listed = try runCommand(
        "sh", ["-c", "find \"$1\" -mindepth 1 ! -type l -print0 | xargs -0 getfacl", "sh", root])
      // The two escape a backslash differently.
      return blocks(listed.outputText.replacing("\\\\", with: "\\134"))
    }
    let shown = try world.treering(["ls", "--acl", "latest", root])
    #expect(blocks(shown.outputText) == (try real()))
    let long = try world.treering(["ls", "-l", "latest", root]).outputLines
    #expect(long.count { $0.split(separator: " ").first?.hasSuffix("+") == true } == 3, "\(long)")
    let before = try real()
    try tool("setfacl", ["-bR", root])
    try tool("chmod", ["-R", "u=rwx,go=", root])
    try tool("sh", ["-c", "printf '%s\\n' \"$1\" | setfacl --restore=-", "sh", ByteString(shown.outputText)], in: "/")
    #expect(try real() == before)

    let changed = try answer(world, [first.name, second.name])
    let entry = try #require(changed.changes.first { $0.path.hasSuffix("/acl") })
    #expect(entry.aspects?.contains("ACL") == true && entry.aclBefore == [])
    let lines = try runCommand("getfacl", ["-cE", root / "acl"]).outputText
    #expect(entry.aclAfter?.map { $0.split(separator: "\t").first! } == lines.split(separator: "\n"))
    let text = try world.treering(["diff", first.name, second.name]).outputText
    #expect(text.contains("            + default:user:bin:r-x\t#effective:---\n"), "\(text)")
  }

  @Test(
    "--live shows what the next snapshot will be, and opens no file that is not changed",
    arguments: [1, 2, 3] as [UInt64])
  func live(seed: UInt64) throws {
    let world = try World("live")
    world.provesOlderUnchanged = false
    var editor = RandomEditor(world.source, seed: seed)
    for _ in 0..<30 { try editor.edit() }
    try world.settle()
    try world.snapshot(of: nil, ["--exclude", "n1*"])
    for _ in 0..<12 { try editor.edit() }
    try world.settle()
    let now = try answer(world, ["latest", "--live", "--exclude", "n1*"])
    #expect(now.to == "live")
    let old = ByteString(now.from)
    let next = try world.snapshot(of: nil, ["--exclude", "n1*", "--accept-changes"])
    let then = try answer(world, [old, next.name])
    // A file whose times alone changed is not read, and counts as changed.
    func lines(_ answer: DiffAnswer) -> Set<String> {
      Set(
        answer.changes.filter { $0.path.hasPrefix(world.source.root.text) }.map { change in
          let aspects = (change.aspects ?? []).filter { $0 != "content" || change.sizeBefore != change.sizeAfter }
          return "\(change.change) \(change.path) \(change.pathBefore ?? "") \(change.kind) \(aspects)"
        })
    }
    #expect(lines(now) == lines(then), "seed \(seed)")
    let content = Set(then.changes.filter { $0.aspects?.contains("content") == true }.map(\.path))
    #expect(content.isSubset(of: now.changes.filter { $0.aspects?.contains("content") == true }.map(\.path)))
    #expect(
      try answer(world, ["latest", "--live", "--exclude", "n1*", world.source.root]).changes.isEmpty, "seed \(seed)")
  }

  @Test("--live reads the contents of changed files for a patch alone, and names what is missing")
  func liveSides() throws {
    let world = try World()
    let (source, root) = (world.source, world.source.root)
    let other = try Tree(making: world.directory.path / "other")
    try other.write("file", "x")
    try source.makeDirectory("d")
    for number in 0..<20 { try source.write(ByteString("d/f\(number)"), "text \(number)\n") }
    try world.settle()
    try world.snapshot(of: [root, other.root])
    try source.write("d/f3", "text three\n")
    let trace = world.directory.path / "trace"
    let traced = try runCommand(
      "strace",
      [
        "-f", "-e", "trace=openat", "-o", trace, try treeringBinary(), "diff", "latest", "--live", "-r",
        world.repository.root,
      ])
    #expect(traced.changeLines == ["M \(root)/d/f3  (content +4 B, mtime)"], "\(traced.outputText) \(traced.errorText)")
    let opened = try String(contentsOfFile: trace.text, encoding: .utf8).split(separator: "\n")
      .filter { $0.contains("\"f") && !$0.contains("O_PATH") }
    #expect(opened.isEmpty, "\(opened)")
    let patch = try world.treering(["diff", "latest", "--live", root / "d", "--patch"])
    #expect(patch.outputText.contains("@@ -1 +1 @@\n-text 3\n+text three\n"), "\(patch.outputText)")
    try tool("mv", [other.root, world.directory.path / "away"])
    let absent = try world.treering(["diff", "latest", "--live"])
    #expect(absent.status == 1 && absent.errorText.contains("\(other.root) is left out"), "\(absent.errorText)")
    #expect(absent.changeLines == ["M \(root)/d/f3  (content +4 B, mtime)"], "\(absent.outputText)")
    try world.expectRefusal(["diff", "latest", "--live", "/nowhere"], status: 2)
    try world.expectRefusal(["diff", "latest", "--live", root / "none"], status: 2, naming: "neither in the snapshot")
  }

  @Test("versions --follow goes on with the older names", arguments: [1, 2, 3, 4] as [UInt64])
  func follow(seed: UInt64) throws {
    struct Version: Decodable {
      let path: String
      let bytes: Int
      let snapshots: Int
      let kind: String
    }
    struct Versions: Decodable { let versions: [Version] }
    let world = try World("follow")
    world.provesOlderUnchanged = false
    let far = world.directory.path / "far"
    #expect(try world.treering(["init", far], inRepository: false).status == 0)
    let source = world.source
    var generator = SeededGenerator(seed: seed)
    try source.makeDirectory("d0")
    for number in 0..<5 { try source.write(ByteString("d0/other\(number)"), "other \(number)") }
    var (directory, name) = ("d0" as ByteString, "file" as ByteString)
    try source.write(directory / name, String(repeating: "x", count: 100))
    // What the file is in each snapshot, by stat(1).
    var states: [String] = []
    for step in 1...9 {
      try world.settle()
      try world.snapshot(of: nil, ["--accept-changes"])
      #expect(try world.treering(["push", far]).status == 0)
      states.append("\(source.root / directory / name) \(try source.size(directory / name))")
      switch Int.random(in: 0...3, using: &generator) {
      case 0:
        let other = ByteString("file\(step)")
        try source.rename(directory / name, to: directory / other)
        name = other
      case 1:
        let other = ByteString("d\(step)")
        try source.rename(directory, to: other)
        directory = other
      case 2: try source.append(directory / name, "+")
      default: try source.append(directory / "other1", "+")
      }
    }
    var expected: [(state: String, count: Int)] = []
    for state in states.reversed() {
      if expected.last?.state == state { expected[expected.count - 1].count += 1 } else { expected.append((state, 1)) }
    }
    // Every name that the file ever had leads to all of its versions.
    for name in Set(states.map { ByteString(String($0.split(separator: " ")[0])) }) {
      for repository in [world.repository.root, far] {
        let result = try world.treering(
          ["versions", name, "--follow", "--json", "-r", repository], inRepository: false)
        let versions = try result.decoded(Versions.self).versions
        #expect(
          versions.map { "\($0.path) \($0.bytes) \($0.snapshots)" } == expected.map { "\($0.state) \($0.count)" },
          "seed \(seed), \(name) in \(repository)")
      }
    }
    // A directory has a version for each change below it, and a deleted file is found.
    let top = try world.treering(["versions", source.root, "--json"]).decoded(Versions.self).versions
    #expect(top.count > 1 && top.allSatisfy { $0.kind == "directory" })
    try source.remove(directory / "other2")
    try world.snapshot(of: nil, ["--accept-changes"])
    let gone = try world.treering(["versions", source.root / "d0/other2", "--json"]).decoded(Versions.self).versions
    #expect(gone.count == 1)
  }
}

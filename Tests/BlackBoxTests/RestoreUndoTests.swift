import TestSupport
import Testing

/// `restore --undo`: the tree as it was before a restore in place, by the oracle of a listing.
@Suite("restore --undo", .waits)
struct RestoreUndoTests {
  private let world: World
  private let mount: Mount
  private var source: Tree { world.source }

  init() throws {
    world = try World()
    // The dated directory is made on the source's own mount.
    mount = try Mount(world.source.root, boundTo: world.source.root)
    for name: ByteString in ["same", "content", "mode", "gone", "kind"] { try world.source.write(name, "good") }
    try world.source.setAttribute("mode", "user.note", [1, 2])
    try world.source.link("content", as: "linked")
    try world.source.makeSymbolicLink("link", to: "same")
    for name: ByteString in ["directory", "empty", "closed", "lost"] { try world.source.makeDirectory(name) }
    for name: ByteString in ["directory/file", "directory/mode", "lost/one", "lost/two"] {
      try world.source.write(name, "good")
    }
    try world.source.makeFIFO("directory/fifo")
    try world.snapshot()
    try damage()
  }

  private func damage() throws {
    try source.write("content", "bad")
    try source.setMode("mode", 0o777)
    try source.setAttribute("mode", "user.note", [9])
    try source.setMode("directory/mode", 0o600)
    for name: ByteString in ["gone", "kind", "link", "directory/fifo"] { try source.remove(name) }
    try tool("rm", ["-r", source.root / "lost", source.root / "empty"])
    try source.makeDirectory("kind")
    try source.write("kind/inside", "mine")
    try source.write("empty", "a file")
    try source.makeSymbolicLink("link", to: "elsewhere")
    try source.setMode("closed", 0o700)
    try source.makeDirectory("new")
    try source.write("new/file", "mine")
    try source.write("directory/extra", "mine")
    try tool("touch", ["-d", "2020-02-02", source.root / "directory", source.root])
  }

  private func listing() throws -> TreeListing { try TreeListing(source.root).without(".treering-kept-") }

  /// Restores, and returns the path of the dated directory.
  private func restore() throws -> ByteString {
    let result = try world.treering(["restore", "latest", source.root, "--in-place", "--delete", "--yes", "--json"])
    #expect(result.status == 0, "\(result.errorText)")
    let kept = try result.decoded(RestoreAnswer.self).kept
    #expect(kept.count == 1)
    return ByteString(kept[0])
  }

  @Test("the tree is as it was, metadata and times too, and the dated directory is gone")
  func whole() throws {
    let before = try listing()
    let inodes = try ["content", "mode", "kind/inside", "new/file"].map { try source.inode($0) }
    let kept = try restore()
    #expect(try listingDifferences(before, listing()) != [])
    let now = try Fingerprint(source.root)
    let plan = try world.treering(["restore", "--undo", kept, "-n"], inRepository: false)
    #expect(plan.status == 0 && plan.errorText == "", "\(plan.errorText)")
    for line in [
      "- \(source.root)/gone", "- \(source.root)/lost/one", "- \(source.root)/lost/", "+ \(source.root)/new/",
      "+ \(source.root)/new/file", "+ \(source.root)/kind/inside",
      "M \(source.root)/kind/ (file becomes directory)", "M \(source.root)/mode (mode, attributes)",
    ] { #expect(plan.outputText.contains("\(line)"), "\(line): \(plan.outputText)") }
    #expect(plan.outputText.contains("would undo the restore: "))
    #expect(now.differences(to: try Fingerprint(source.root)) == [])
    let undone = try world.treering(["restore", "--undo", kept, "--yes"], inRepository: false)
    #expect(undone.status == 0 && undone.outputText.contains("\(kept) is removed"), "\(undone.errorText)")
    #expect(try listingDifferences(before, listing()) == [])
    #expect(try ["content", "mode", "kind/inside", "new/file"].map { try source.inode($0) } == inodes)
    #expect(try source.inode("content") == source.inode("linked"))
    #expect(try !source.names().contains { $0.hasPrefix(".treering-kept-") })
  }

  @Test(
    "an undoing that is killed is repeated, and ends as one that was not",
    arguments: ["utimensat", "unlinkat", "renameat2", "fchmod"], sample(4, of: Array(1...40)))
  func killed(call: String, nth: Int) throws {
    try tool("touch", ["-r", world.repository.root / "latest/localhost" / source.root, source.root])
    let before = try listing()
    let kept = try restore()
    let killed = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", ByteString("inject=\(call):signal=KILL:when=\(nth)"),
        try treeringBinary(),
        "restore", "--undo", kept, "--yes",
      ])
    // After the last step, the time of the directory above it is the only thing that can still be missing.
    guard killed.status != 0, Tree(kept).exists("") else { return }
    let again = try world.treering(["restore", "--undo", kept, "--yes"], inRepository: false)
    // The kill may have come between two calls for one inode. Such an entry is named, and stays undone or whole.
    let isNamed = again.errorLines.allSatisfy { $0.hasSuffix(": has changed since the restore; left as it is") }
    #expect(again.status == 0 ? again.errorText == "" : again.status == 1 && isNamed, "\(again.errorText)")
    guard again.status == 0 else { return }
    #expect(try listingDifferences(before, listing()) == [])
    #expect(try !source.names().contains { $0.hasPrefix(".treering-kept-") })
  }

  private func inodes() throws -> [UInt64] {
    try ["content", "mode", "kind/inside", "new/file", "directory/extra"].map { try source.inode($0) }
  }

  @Test(
    "a restore that is killed at any call is undone",
    arguments: [
      "renameat2", "linkat", "mkdirat", "unlinkat", "utimensat", "fchmod", "fchownat", "pwrite64", "fsync", "openat",
      "setxattr", "symlinkat", "mknodat",
    ], sample(4, of: Array(2...60)))
  func killedRestore(call: String, nth: Int) throws {
    let (before, numbers) = (try listing(), try inodes())
    let killed = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", ByteString("inject=\(call):signal=KILL:when=\(nth)"),
        try treeringBinary(), "restore", "latest", source.root, "--in-place", "--delete", "--yes", "-r",
        world.repository.root,
      ])
    guard let kept = try source.names().first(where: { $0.hasPrefix(".treering-kept-") }) else {
      #expect(killed.status != 0)
      return #expect(try listingDifferences(before, listing()) == [])
    }
    let plan = try world.treering(["restore", "--undo", source.root / kept, "-n"], inRepository: false)
    #expect(plan.status == 0 && plan.errorText == "", "\(plan.errorText)")
    let undone = try world.treering(["restore", "--undo", source.root / kept, "--yes"], inRepository: false)
    #expect(undone.status == 0 && undone.outputText.contains("\(kept) is removed"), "\(undone.errorText)")
    #expect(try listingDifferences(before, listing()) == [])
    #expect(try inodes() == numbers)
    #expect(try !source.names().contains { $0.hasPrefix(".treering-") })
  }

  @Test(
    "a record whose last line is incomplete is that of a restore without its last change", arguments: [1, 5, 40, 300])
  func incompleteRecord(missing: Int) throws {
    let before = try listing()
    let kept = try restore()
    try tool("truncate", ["-s", "-\(missing)" as ByteString, kept / "changes"])
    let undone = try world.treering(["restore", "--undo", kept, "--yes"], inRepository: false)
    // The lines that are gone announced changes that were made here: these are all that is left.
    if missing < 40 {
      #expect(undone.status == 0 && undone.errorText == "", "\(undone.errorText)")
      #expect(try listingDifferences(before, listing()) == [])
    } else {
      #expect([0, 1].contains(undone.status), "\(undone.errorText)")
    }
  }

  @Test("what another program wrote after the kill is left, and named")
  func writtenAfterTheKill() throws {
    let killed = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "inject=renameat2:signal=KILL:when=5", try treeringBinary(), "restore",
        "latest", source.root, "--in-place", "--delete", "--yes", "--threads", "1", "-r", world.repository.root,
      ])
    #expect(killed.status != 0)
    try source.write("content", "edited")
    let kept = try #require(try source.names().first { $0.hasPrefix(".treering-kept-") })
    let undone = try world.treering(["restore", "--undo", source.root / kept, "--yes"], inRepository: false)
    #expect(undone.status == 1 && undone.errorText.contains("content: has changed since"), "\(undone.errorText)")
    #expect(try source.text("content") == "edited" && source.exists(kept))
  }

  @Test("a restore that only added entries leaves no dated directory; one that was killed is undone")
  func onlyAdded() throws {
    _ = try restore()
    let kept = try #require(try source.names().first { $0.hasPrefix(".treering-kept-") })
    try tool("rm", ["-r", source.root / kept])
    for name: ByteString in ["gone", "link", "lost/one"] { try source.remove(name) }
    try tool("touch", ["-r", world.repository.root / "latest/localhost" / source.root, source.root])
    try tool("touch", ["-r", world.repository.root / "latest/localhost" / source.root / "lost", source.root / "lost"])
    let before = try listing()
    let words: [ByteString] = ["restore", "latest", source.root, "--in-place", "--yes"]
    let killed = try runCommand(
      "strace",
      ["-f", "-qq", "-o", "/dev/null", "-e", "inject=renameat2:signal=KILL:when=3", try treeringBinary()] + words + [
        // strace(1) counts the calls of each thread by itself.
        "--threads", "1", "-r", world.repository.root,
      ])
    #expect(killed.status != 0 && source.exists("gone"))
    let made = try #require(try source.names().first { $0.hasPrefix(".treering-kept-") })
    #expect(try world.treering(["restore", "--undo", source.root / made, "--yes"], inRepository: false).status == 0)
    #expect(try listingDifferences(before, listing()) == [])
    let whole = try world.treering(words + ["--json"])
    #expect(try whole.status == 0 && whole.decoded(RestoreAnswer.self).kept == [])
    #expect(try source.exists("lost/one") && !source.names().contains { $0.hasPrefix(".treering-kept-") })
  }

  @Test("entries that have changed since are left and named, and can be undone later")
  func changedSince() throws {
    let before = try listing()
    let kept = try restore()
    try source.write("gone", "edited")
    try source.write("lost/mine", "new")
    try source.write("empty/mine", "new")
    try source.makeDirectory("new")
    let first = try world.treering(["restore", "--undo", kept, "--yes", "--json"], inRepository: false)
    #expect(first.status == 1, "\(first.errorText)")
    #expect(first.outputText.contains("\"left\" : 4") && first.outputText.contains("\"removed\" : false"))
    for (name, reason) in [
      ("gone", "has changed since the restore"), ("lost", "has entries that stay"),
      ("empty", "has entries that stay"), ("new", "another entry has taken its place"),
    ] {
      #expect(first.errorText.contains("\(reason)") && first.errorText.contains("\(source.root)/\(name)\""), "\(name)")
    }
    #expect(try source.text("gone") == "edited" && source.text("lost/mine") == "new")
    #expect(try source.text("content") == "bad" && !source.exists("lost/one"))
    for name: ByteString in ["gone", "lost/mine", "empty/mine"] { try source.remove(name) }
    try tool("rmdir", [source.root / "new"])
    let second = try world.treering(["restore", "--undo", kept, "--yes"], inRepository: false)
    #expect(second.status == 0 && second.outputText.contains("is removed"), "\(second.errorText)")
    func withoutTimes(_ listing: TreeListing) -> [ByteString: ListedEntry] {
      listing.entries.mapValues { entry in
        var entry = entry
        if entry.kind == "d" { entry.modified = "" }
        return entry
      }
    }
    #expect(try withoutTimes(before) == withoutTimes(listing()))
  }

  @Test("the plan names the dated directory before the question, and the undoing asks as well")
  func asks() throws {
    let before = try listing()
    func asked(_ words: [ByteString]) throws -> CommandResult {
      let command = ([try treeringBinary(), "restore"] + words).map(\.text).joined(separator: " ")
      return try runCommand("sh", ["-c", ByteString("echo y | script -qec '\(command)' /dev/null")])
    }
    let restored = try asked(["latest", source.root, "--in-place", "--delete", "-r", world.repository.root])
    let text = restored.outputText
    let kept = try #require(try source.names().first { $0.hasPrefix(".treering-kept-") })
    let plan = try #require(text.firstRange(of: "would be moved to \(source.root / kept)"))
    let question = try #require(text.firstRange(of: "[y/N]"))
    #expect(plan.lowerBound < question.lowerBound, "\(text)")
    #expect(text.contains("undo it with: treering restore --undo \(source.root / kept)"), "\(text)")
    let unasked = try world.treering(["restore", "--undo", source.root / kept], inRepository: false)
    #expect(unasked.status == 2 && unasked.errorText.contains("give --yes"), "\(unasked.errorText)")
    let undone = try asked(["--undo", source.root / kept])
    #expect(undone.status == 0 && undone.outputText.contains("undo the restore? [y/N]"), "\(undone.outputText)")
    #expect(try listingDifferences(before, listing()) == [])
  }

  @Test("a directory of somebody else, of another kind, or without a record is refused")
  func refused() throws {
    let kept = try restore()
    let now = try listing()
    func expect(_ words: [ByteString], _ status: Int32, _ text: String) throws {
      let result = try world.treering(["restore", "--yes"] + words, inRepository: false)
      #expect(result.status == status && result.errorText.contains(text), "\(result.errorText)")
      #expect(try listingDifferences(now, listing()) == [])
    }
    try expect(["--undo", source.root], 4, "is no directory that a restore in place by this user has made")
    try expect(["--undo", kept, "latest"], 2, "and nothing else")
    try tool("chown", ["65534", kept])
    try expect(["--undo", kept], 4, "is no directory that a restore in place by this user has made")
    try tool("chown", ["0", kept])
    try Tree(kept).write("changes", "junk")
    try expect(["--undo", kept], 6, "is damaged")
    try Tree(kept).remove("changes")
    try expect(["--undo", kept], 2, "has no record")
  }

  @Test("a symbolic link that leads to an entry is not followed")
  func links() throws {
    let kept = try restore()
    let elsewhere = try Tree(making: world.directory.path / "elsewhere")
    try elsewhere.write("file", "precious")
    try tool("cp", ["-a", source.root / "directory/.", elsewhere.root])
    try tool("mv", [source.root / "directory", source.root / "moved"])
    try source.makeSymbolicLink("directory", to: elsewhere.root)
    let copied = try Fingerprint(elsewhere.root)
    let result = try world.treering(["restore", "--undo", kept, "--yes"], inRepository: false)
    #expect(result.status == 1 && result.errorText.contains("left as it is"), "\(result.errorText)")
    #expect(copied.differences(to: try Fingerprint(elsewhere.root)) == [])
  }
}

import TestSupport
import Testing

/// A source on a mount of its own, so that nothing lands in the root directory of this machine.
private struct MountedWorld {
  let world = try! World()
  private let mount: Mount
  /// The source as the snapshot has it.
  let before: TreeListing
  var source: Tree { world.source }

  init(_ make: (Tree) throws -> Void) throws {
    mount = try Mount(world.source.root, boundTo: world.source.root)
    try make(world.source)
    try world.snapshot()
    before = try TreeListing(world.source.root)
  }

  func restore(_ options: [ByteString] = [], status: Int32 = 0, at location: SourceLocation = #_sourceLocation) throws
    -> CommandResult
  {
    let result = try world.treering(["restore", "latest", source.root, "--in-place"] + options)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  /// The lines of a plan, without the path of the source.
  func plan(_ options: [ByteString] = []) throws -> [String] {
    try restore(options + ["--dry-run"]).outputText.split(separator: "\n").map(String.init)
      .filter { ["+ ", "M ", "- "].contains(String($0.prefix(2))) }
      .map { $0.replacing("\(source.root)/", with: "") }
  }

  /// The dated directory of the only restore, and the path of the source in it.
  func kept(_ tree: ByteString = "replaced") throws -> Tree {
    let names = try source.names().filter { $0.hasPrefix(".treering-kept-") }
    #expect(names.count == 1, "\(names)")
    return Tree(source.root / names[0] / tree / source.root)
  }

  /// The entries of the source, without dated directories.
  func listing() throws -> TreeListing {
    try TreeListing(source.root).without(".treering-kept-")
  }
}

@Suite("restore --in-place", .waits)
struct InPlaceRestoreTests {
  private func makeSource(_ source: Tree) throws {
    for name: ByteString in ["same", "content", "sametime", "mode", "gone", "kind"] { try source.write(name, "good") }
    try source.setAttribute("mode", "user.note", [1, 2])
    try source.link("content", as: "linked")
    try source.makeSymbolicLink("link", to: "same")
    try source.makeFIFO("fifo")
    for name: ByteString in ["directory", "empty", "closed"] { try source.makeDirectory(name) }
    try source.write("directory/file", "good")
  }

  private func damage(_ source: Tree) throws {
    try source.write("content", "bad")
    try tool("cp", ["-p", source.root / "sametime", source.root / "../times"])
    try source.write("sametime", "evil")
    try tool("touch", ["-r", source.root / "../times", source.root / "sametime"])
    try source.setMode("mode", 0o777)
    try source.setAttribute("mode", "user.note", [9])
    try source.remove("gone")
    try source.remove("kind")
    try source.makeDirectory("kind")
    try source.write("kind/inside", "mine")
    try source.remove("empty")
    try source.write("empty", "a file")
    try source.remove("link")
    try source.makeSymbolicLink("link", to: "elsewhere")
    try source.setMode("closed", 0o700)
    try source.write("directory/extra", "mine")
    try source.makeDirectory("new")
    try source.write("new/file", "mine")
  }

  @Test("the plan names each path and each difference, the content too, and changes nothing")
  func plan() throws {
    let world = try MountedWorld(makeSource)
    #expect(try world.plan(["--delete"]) == [])
    try damage(world.source)
    let now = try Fingerprint(world.source.root)
    #expect(
      Set(try world.plan(["--delete"]).filter { !$0.hasSuffix("/ (mtime)") && $0 != "M  (mtime)" }) == [
        "- new/", "- new/file", "- kind/inside", "- directory/extra", "M content (content, mtime)",
        "M linked (content, mtime)",
        "M sametime (content)", "M mode (mode, attributes)", "+ gone", "M kind (directory becomes file)",
        "M empty/ (file becomes directory)", "M link (target, mtime)", "M closed/ (mode)",
      ])
    #expect(now.differences(to: try Fingerprint(world.source.root)) == [])
    let answer: RestoreAnswer = try world.restore(["--delete", "--dry-run", "--json"]).decoded()
    let changes = try #require(answer.changes)
    #expect(changes.count == 15 && answer.kept.count == 1, "with the times of two directories")
    let content = try #require(changes.first { $0.path == "\(world.source.root)/sametime" })
    #expect(content.change == "changed" && content.aspects == ["content"])
  }

  @Test("what differs is as in the snapshot, the rest is untouched, and what was replaced is kept", arguments: [1, 4])
  func restores(threads: Int) throws {
    let world = try MountedWorld(makeSource)
    let inode = try world.source.inode("same")
    try damage(world.source)
    let (mode, extra) = (try world.source.inode("mode"), try world.source.inode("directory/extra"))
    let result = try world.restore(["--delete", "--yes", "--threads", "\(threads)"])
    #expect(result.outputText.contains("+ \(world.source.root)/gone"))
    #expect(result.outputText.contains("1 added, 10 changed, 4 removed"), "\(result.outputText)")
    #expect(try listingDifferences(world.before, world.listing()) == [])
    #expect(try world.source.inode("same") == inode)
    #expect(try world.source.inode("mode") == mode, "only its metadata differed")
    #expect(try world.source.inode("content") == world.source.inode("linked"))

    let kept = try world.kept()
    #expect(result.outputText.contains("moved to \(world.source.root)/.treering-kept-"))
    #expect(try kept.text("content") == "bad")
    #expect(try kept.text("sametime") == "evil")
    #expect(try kept.text("kind/inside") == "mine")
    #expect(try kept.text("empty") == "a file")
    #expect(try kept.text("new/file") == "mine")
    #expect(try kept.inode("directory/extra") == extra)
    #expect(try TreeListing(kept.root).entries["link"]?.target == "elsewhere")
    let metadata = try world.kept("metadata")
    #expect(try TreeListing(metadata.root).entries["mode"]?.mode == "777")
    #expect(try TreeListing(metadata.root).entries["closed"]?.mode == "700")
    #expect(try metadata.size("mode") == 0)
    // Nothing is left to do, and what was kept is none of the snapshot's.
    #expect(try world.plan(["--delete"]) == [])
  }

  @Test("a wrong restore is undone with cp, as the manual page says")
  func undo() throws {
    let world = try MountedWorld(makeSource)
    try damage(world.source)
    for name: ByteString in ["kind", "empty"] { try world.source.remove(name) }
    let damaged = try world.listing()
    _ = try world.restore(["--delete", "--yes"])
    for name: ByteString in ["kind", "empty", "gone"] { try world.source.remove(name) }
    try tool("cp", ["-a", "--attributes-only", try world.kept("metadata").root / ".", world.source.root])
    try tool("cp", ["-a", "--remove-destination", try world.kept().root / ".", world.source.root])
    func files(_ listing: TreeListing) -> [ByteString: ListedEntry] {
      // The times of directories are those of the undoing.
      listing.entries.mapValues { entry in
        var entry = entry
        if entry.kind == "d" { entry.modified = "" }
        return entry
      }
    }
    #expect(try files(damaged) == files(world.listing()))
  }

  @Test("with --no-keep nothing is kept, and without --delete nothing is removed")
  func options() throws {
    let world = try MountedWorld(makeSource)
    try damage(world.source)
    let result = try world.restore(["--yes"], status: 1)
    #expect(result.errorText.contains("\(world.source.root)/kind: is a directory where the snapshot has a file"))
    #expect(try world.source.text("kind/inside") == "mine")
    #expect(try world.source.text("new/file") == "mine")
    #expect(try world.kept().text("content") == "bad")
    for name in try world.source.names() where name.hasPrefix(".treering") { try world.source.remove(name) }
    _ = try world.restore(["--delete", "--no-keep", "--yes"])
    #expect(try listingDifferences(world.before, TreeListing(world.source.root)) == [])
  }

  @Test("nobody is asked without a terminal, and nothing changes")
  func asks() throws {
    let world = try MountedWorld(makeSource)
    try damage(world.source)
    let now = try Fingerprint(world.source.root)
    let result = try world.restore(status: 2)
    #expect(result.errorText.contains("give --yes"), "\(result.errorText)")
    let words = try [
      treeringBinary(), "restore", "latest", world.source.root, "--in-place", "-r", world.world.repository.root,
    ]
    let command = words.map(\.text).joined(separator: " ")
    for (answer, status) in [("n", Int32(4)), ("", 4), ("y", 1)] {
      #expect(now.differences(to: try Fingerprint(world.source.root)) == [])
      let asked = try runCommand(
        "sh", ["-c", ByteString("echo '\(answer)' | script -qec '\(command)' /dev/null")])
      #expect(asked.status == status, "\(asked.outputText)")
      #expect(asked.outputText.contains("[y/N]"), "\(asked.outputText)")
    }
    #expect(try world.source.text("content") == "good")
  }

  @Test("an entry that changes while the plan is read is left as it is")
  func changesAfterThePlan() throws {
    let world = try MountedWorld { source in
      for name: ByteString in ["changed", "edited", "link"] { try source.write(name, "good") }
    }
    for name: ByteString in ["changed", "edited", "extra", "later"] { try world.source.write(name, "worse") }
    let words = try [
      treeringBinary(), "restore", "latest", world.source.root, "--in-place", "--delete", "--no-keep", "-r",
      world.world.repository.root,
    ]
    let script = """
      touch "$1"
      (until grep -q 'y/N' "$1"; do sleep 0.1; done; echo mine > edited; echo mine > later; echo y) |
        script -qefc "$0" "$1"
      """
    let asked = try runCommand(
      "sh",
      ["-c", ByteString(script), ByteString(words.map(\.text).joined(separator: " ")), world.source.root + ".out"],
      in: world.source.root)
    #expect(asked.status == 1, "\(asked.outputText)")
    for name in ["edited", "later"] {
      #expect(asked.outputText.contains("/\(name): has changed since the plan was made; left as it is"))
      #expect(try world.source.text(ByteString(name)) == "mine\n")
    }
    #expect(try world.source.text("changed") == "good" && !world.source.exists("extra"))
  }

  @Test("other file systems, repositories, excluded entries and unread directories lose nothing")
  func protected() throws {
    let world = try MountedWorld { source in
      try makeSource(source)
      try source.makeDirectory("mounted")
    }
    let source = world.source
    let other = world.world.directory.path / "other"
    try Tree(making: other).write("precious", "mine")
    let mount = try Mount(other, boundTo: source.root / "mounted")
    try source.makeDirectory("above")
    try source.makeDirectory("above/mounted")
    let below = try Mount(other, boundTo: source.root / "above/mounted")
    defer { withExtendedLifetime((mount, below)) {} }
    #expect(try world.world.treering(["init", source.root / "backups"], inRepository: false).status == 0)
    try source.write("cache.tmp", "mine")
    try source.makeDirectory("tagged")
    let configuration = world.world.directory.path / "treering.toml"
    try Tree(configuration).write(
      "", "[[source]]\npath = \"\(source.root)\"\nexclude = [\"*.tmp\", \"tagged/\"]\n", mode: 0o600)
    try source.write("extra", "mine")
    let result = try world.restore(["--delete", "--no-keep", "--yes", "-c", configuration], status: 1)
    for name in ["above", "backups"] {
      #expect(result.errorText.contains("\(source.root)/\(name): is not in the snapshot, and is left"))
    }
    #expect(try Tree(other).text("precious") == "mine")
    #expect(try source.text("cache.tmp") == "mine")
    #expect(source.exists("tagged") && source.exists("backups/.treering") && !source.exists("extra"))
  }

  @Test("a path above the sources leads to them, and nothing beside them is removed")
  func besideTheSources() throws {
    let world = try World()
    for path: ByteString in ["top", "top/source", "top/data"] { try world.source.makeDirectory(path) }
    try world.source.write("top/source/file", "x")
    try world.source.write("top/data/precious", "mine")
    try world.snapshot(of: [world.source.root / "top/source"])
    try world.source.write("top/source/extra", "x")
    for path in [world.source.root / "top", "/"] {
      try world.source.write("top/source/extra", "x")
      let result = try world.treering(
        ["restore", "latest", path, "--in-place", "--delete", "--no-keep", "--yes"])
      #expect(result.status == 0, "\(result.errorText)")
      #expect(try world.source.text("top/data/precious") == "mine")
      #expect(!world.source.exists("top/source/extra"))
    }
  }

  @Test("a directory goes only if nothing below it must stay")
  func nested() throws {
    let world = try MountedWorld { source in
      try source.makeSymbolicLink("kind", to: "/mnt")
      try source.makeDirectory("mounted")
      try source.write("mounted/marker", "nothing is mounted here")
    }
    let source = world.source
    let configuration = world.world.directory.path / "treering.toml"
    try Tree(configuration).write("", "[[source]]\npath = \"\(source.root)\"\nexclude = [\"*.key\"]\n", mode: 0o600)
    try source.makeDirectory("new")
    try source.makeDirectory("new/deeper")
    #expect(try world.world.treering(["init", source.root / "new/deeper/backups"], inRepository: false).status == 0)
    try source.remove("kind")
    #expect(try world.world.treering(["init", source.root / "kind"], inRepository: false).status == 0)
    try source.makeDirectory("secret")
    try source.makeDirectory("secret/a")
    try source.write("secret/a/host.key", "mine")
    let other = world.world.directory.path / "other"
    try Tree(making: other).write("database", "mine")
    let mount = try Mount(other, boundTo: source.root / "mounted")
    defer { withExtendedLifetime(mount) {} }
    let result = try world.restore(["--delete", "--no-keep", "--yes", "-c", configuration], status: 1)
    #expect(source.exists("new/deeper/backups/.treering") && source.exists("kind/.treering"))
    #expect(try source.text("secret/a/host.key") == "mine")
    #expect(try Tree(other).text("database") == "mine")
    #expect(result.errorText.contains("new/deeper/backups is a repository"), "\(result.errorText)")
    #expect(result.errorText.contains("secret/a/host.key out of the snapshots"), "\(result.errorText)")
  }

  @Test("an imported snapshot, whose sources are unknown, removes nothing")
  func unknownSources() throws {
    let world = try World()
    let old = try Tree(making: world.directory.path / "old")
    for path: ByteString in ["daily.0", "daily.0/localhost", "daily.0/localhost/etc"] { try old.makeDirectory(path) }
    try old.write("daily.0/localhost/etc/file", "x")
    #expect(try world.treering(["import", "snapshots", old.root]).status == 0)
    try world.expectRefusal(
      ["restore", "latest", "--in-place", "--delete", "--yes"], status: 4, naming: "are not known")
  }

  @Test("the files of another machine's label are not put in the place of this one's")
  func otherLabel() throws {
    let world = try World()
    try world.source.write("file", "x")
    try world.snapshot(of: nil, ["--label", "web01"])
    let words: [ByteString] = ["restore", "latest", world.source.root, "--in-place", "--yes"]
    try world.expectRefusal(words, status: 4, naming: "has the label web01")
    let named: ByteString = "web01" + world.source.root
    #expect(try world.treering(["restore", "latest", named, "--in-place", "--yes"]).status == 0)
  }

  @Test("what another program puts in the place meanwhile is kept, too")
  func racing() throws {
    let world = try MountedWorld(makeSource)
    try world.source.write("content", "bad")
    let script = """
      strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:delay_enter=700000 \
        "$1" restore latest "$2/content" --in-place --yes -r "$3" &
      until ls "$2"/.treering-kept-*/replaced"$2"/content >/dev/null 2>&1; do sleep 0.05; done
      echo newest > "$2/other" && mv "$2/other" "$2/content"
      wait $!
      """
    let result = try runCommand(
      "sh", ["-c", ByteString(script), "sh", treeringBinary(), world.source.root, world.world.repository.root])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.source.text("content") == "good")
    let kept = try world.kept()
    #expect(try Set(kept.names().map { try kept.text($0) }) == ["bad", "newest\n"])
  }

  @Test("what has changed since the plan was confirmed is left, and named")
  func changedAfterThePlan() throws {
    let world = try MountedWorld(makeSource)
    try world.source.write("content", "bad")
    let script = """
      (until grep -q 'y/N' "$2/../typescript"; do sleep 0.1; done
        echo edited > "$2/same"; echo new > "$2/extra"; echo y) |
        script -qefc "$1 restore latest $2 --in-place --delete -r $3" "$2/../typescript"
      """
    let result = try runCommand(
      "sh", ["-c", ByteString(script), "sh", treeringBinary(), world.source.root, world.world.repository.root])
    #expect(result.status == 1, "\(result.outputText)")
    #expect(try world.source.text("content") == "good")
    #expect(try world.source.text("same") == "edited\n")
    #expect(try world.source.text("extra") == "new\n")
    #expect(result.outputText.contains("\(world.source.root)/extra: has changed since the plan"))
  }

  /// The home directory of an ordinary user, with a snapshot by that user.
  private func makeHome(in world: World, status: Int32) throws -> ByteString {
    try tool("chmod", ["755", world.directory.path])
    let home = world.source.root / "home"
    try tool("chown", ["-R", "65534:65534", home, world.repository.root])
    #expect(try world.treeringAsOrdinaryUser(["snapshot", home]).status == status)
    return home
  }

  @Test("an ordinary user keeps what was replaced in a directory of the user")
  func ordinaryUser() throws {
    let world = try World()
    try world.source.makeDirectory("home")
    try world.source.write("home/file", "good")
    let home = try makeHome(in: world, status: 0)
    try world.source.write("home/file", "bad")
    let result = try world.treeringAsOrdinaryUser(["restore", "latest", home, "--in-place", "--yes"])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.source.text("home/file") == "good")
    let kept = try #require(try world.source.names("home").first { $0.hasPrefix(".treering-kept-") })
    #expect(try Tree(home / kept / "replaced" / home).text("file") == "bad")
  }

  @Test("what a snapshot could not read is not deleted for good")
  func incomplete() throws {
    let world = try World()
    try world.source.makeDirectory("home")
    try world.source.makeDirectory("home/others")
    let open = try Mount(world.source.root, boundTo: world.source.root)
    defer { withExtendedLifetime(open) {} }
    let home = try makeHome(in: world, status: 0)
    try world.source.write("home/others/file", "x", mode: 0o600)
    try world.source.setMode("home/others", 0o700)
    try tool("chown", ["0:0", home / "others"])
    #expect(try world.treeringAsOrdinaryUser(["snapshot", home]).status == 1)
    let words: [ByteString] = ["restore", "latest", home, "--in-place", "--delete", "--yes"]
    try world.expectRefusal(words + ["--no-keep"], status: 4, naming: "has warnings")
    // Root sees what the snapshot did not.
    #expect(try world.treering(words).status == 0)
    #expect(try world.source.text("home/others/file") == "x")
  }

  @Test("a directory that has got an entry since the plan was confirmed stays whole")
  func grownAfterThePlan() throws {
    let world = try MountedWorld(makeSource)
    try world.source.makeDirectory("new")
    try world.source.write("new/file", "mine")
    let script = """
      (until grep -q 'y/N' "$2/../typescript"; do sleep 0.1; done; echo late > "$2/new/late"; echo y) |
        script -qefc "$1 restore latest $2 --in-place --delete -r $3" "$2/../typescript"
      """
    let result = try runCommand(
      "sh", ["-c", ByteString(script), "sh", treeringBinary(), world.source.root, world.world.repository.root])
    #expect(result.status == 1, "\(result.outputText)")
    #expect(try world.source.text("new/file") == "mine" && world.source.text("new/late") == "late\n")
  }

  @Test("an entry that cannot be kept is not replaced")
  func cannotKeep() throws {
    let world = try MountedWorld(makeSource)
    try world.source.write("content", "bad")
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat,renameat2", "-e", "inject=linkat,renameat2:error=EACCES",
        try treeringBinary(), "restore", "latest", world.source.root, "--in-place", "--yes",
        "-r", world.world.repository.root,
      ])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(try world.source.text("content") == "bad")
  }

  @Test("only names that match a pattern are restored, and directories above the sources never match")
  func pattern() throws {
    let world = try World()
    try makeSource(world.source)
    try world.snapshot()
    let to = Tree(world.directory.path / "to")
    let result = try world.treering(
      ["restore", "latest", "--to", to.root, "--pattern", "[tc]o*", "--pattern", "directory/f*"])
    #expect(result.status == 0, "\(result.errorText)")
    let restored = Tree(to.root / world.source.root)
    #expect(Set(try restored.names()) == ["content", "directory"])
    #expect(try restored.names("directory") == ["file"])
    try world.expectRefusal(
      ["restore", "latest", "--to", to.root, "--pattern", "nothing*"], status: 2, naming: "nothing in")
  }

  @Test("newer entries stay on request, and are no warning", arguments: [true, false])
  func newer(inPlace: Bool) throws {
    let world = try MountedWorld(makeSource)
    try world.source.write("content", "newer work")
    try world.source.write("same", "older")
    try tool("touch", ["-d", "2001-01-01", world.source.root / "same"])
    try world.source.remove("gone")
    let place: [ByteString] = inPlace ? ["--in-place", "-y"] : ["--to", "/", "--overwrite", "if-changed"]
    let result = try world.world.treering(["restore", "latest", world.source.root, "-u", "-v"] + place)
    #expect(result.status == 0 && result.outputText.contains("newer entries stay"), "\(result.outputText)")
    #expect(try world.source.text("content") == "newer work" && world.source.text("linked") == "newer work")
    #expect(try world.source.text("same") == "good" && world.source.text("gone") == "good")
    for other: [ByteString] in [["--in-place", "--delete"], ["--to", "/"]] {
      let refused = try world.world.treering(["restore", "latest", world.source.root, "-u"] + other)
      #expect(refused.status == 2 && refused.errorText.contains("--keep-newer"), "\(refused.errorText)")
    }
  }

  @Test("a dry run into another directory names each path, too")
  func dryRunElsewhere() throws {
    let world = try World()
    try makeSource(world.source)
    let snapshot = try world.snapshot()
    let to = Tree(world.directory.path / "to")
    let plan = try world.treering(["restore", "latest", "--to", to.root, "--dry-run"])
    #expect(plan.status == 0, "\(plan.errorText)")
    let lines = plan.outputText.split(separator: "\n").filter { $0.hasPrefix("+ ") }
    #expect(plan.outputText.contains("would restore"))
    #expect(try world.treering(["restore", "latest", "--to", to.root]).status == 0)
    let made = try TreeListing(to.root)
    #expect(
      Set(lines.map { String($0.dropFirst(2)) })
        == Set(made.entries.filter { $0.key != "" }.map { "\(to.root / $0.key)" + ($0.value.kind == "d" ? "/" : "") }))
    _ = snapshot
  }
}

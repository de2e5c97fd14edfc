import TestSupport
import Testing

/// What a restore must not touch. Every run of the program is followed by the proof that older snapshots are as they
/// were.
@Suite("A restore leaves alone", .waits) struct RestoreSafetyTests {
  private static let modes: [ByteString] = ["never", "if-changed", "always"]

  @Test(
    "a destination on a mount that shows a snapshot",
    arguments: ["SNAPSHOT", "SNAPSHOT/localhost", ".treering", ""], [false, true])
  func destinationIsAMount(_ place: String, isBindfs: Bool) throws {
    let world = try World()
    try world.source.write("file", "x")
    let snapshot = try world.snapshot()
    try world.source.write("file", "other")
    try world.snapshot()
    let inside = world.repository.root / ByteString(place.replacing("SNAPSHOT", with: snapshot.snapshot))
    let shown = try Tree(making: world.directory.path / "shown")
    let mount = isBindfs ? try Mount(inside, shownAt: shown.root) : try Mount(inside, boundTo: shown.root)
    defer { withExtendedLifetime(mount) {} }
    for to in [shown.root, shown.root / "new"] {
      let result = try world.treering(["restore", "latest", "--to", to, "--overwrite", "always"])
      #expect(result.status == 2, "\(result.errorText)")
      #expect(result.errorText.contains("in a repository"), "\(result.errorText)")
    }
    #expect(!shown.exists("new"))
  }

  @Test(
    "a mount below the destination that shows the repository or a part of it",
    arguments: ["SNAPSHOT/localhost", ""], [false, true])
  func mountBelowTheDestination(_ place: String, isBindfs: Bool) throws {
    let world = try World()
    try world.source.makeDirectory("backups", mode: 0o750)
    try world.source.write("backups/file", "x")
    try world.source.write("file", "x")
    let snapshot = try world.snapshot()
    let inside = world.repository.root / ByteString(place.replacing("SNAPSHOT", with: snapshot.snapshot))
    try world.source.remove("file")
    let point = world.source.root / "backups"
    let mount = isBindfs ? try Mount(inside, shownAt: point) : try Mount(inside, boundTo: point)
    defer { withExtendedLifetime(mount) {} }
    for mode in Self.modes {
      let result = try world.treering(["restore", "latest", "--to", "/", "--overwrite", mode])
      #expect(result.status == 1, "\(result.errorText)")
      #expect(result.errorText.contains("\(point)"), "\(result.errorText)")
      #expect(result.errorText.contains("is a repository"), "\(result.errorText)")
    }
    #expect(try world.source.text("file") == "x")
  }

  @Test("what a mount shows of another repository than the one that is restored from", arguments: [false, true])
  func otherRepository(isBindfs: Bool) throws {
    let world = try World()
    try world.source.makeDirectory("backups", mode: 0o750)
    try world.source.write("backups/file", "x")
    try world.source.write("file", "x")
    let snapshot = try world.snapshot()
    let other = world.directory.path / "other"
    for words: [ByteString] in [["init", other], ["snapshot", world.source.root, "-r", other]] {
      #expect(try world.treering(words, inRepository: false).status == 0)
    }
    let point = world.source.root / "backups"
    let inside = world.repository.root / snapshot.name / "localhost"
    let mount = isBindfs ? try Mount(inside, shownAt: point) : try Mount(inside, boundTo: point)
    defer { withExtendedLifetime(mount) {} }
    func restore(to place: ByteString) throws -> CommandResult {
      try world.treering(
        ["restore", "latest", "--to", place, "--overwrite", "always", "-r", other], inRepository: false)
    }
    let below = try restore(to: "/")
    #expect(
      below.status == 1 && below.errorText.contains("\(point): is a repository, or a mount"), "\(below.errorText)")
    let into = try restore(to: point)
    #expect(into.status == 2 && into.errorText.contains("in a repository"), "\(into.errorText)")
    #expect(try world.treering(["init", point / "new"], inRepository: false).status == 2)
  }

  @Test("another repository where the snapshot has a directory, and a copy of one that the snapshot has")
  func repositoryInTheWay() throws {
    let world = try World()
    try world.source.makeDirectory("place")
    try world.source.write("place/file", "x")
    let copy = world.source.root / "copy"
    #expect(try world.treering(["init", copy], inRepository: false).status == 0)
    try world.snapshot()
    try tool("rm", [world.source.root / "place/file"])
    let place = world.source.root / "place"
    #expect(try world.treering(["init", place], inRepository: false).status == 0)
    let before = try TreeListing(place)
    let result = try world.treering(["restore", "latest", "--to", "/", "--overwrite", "always"])
    #expect(result.status == 1 && result.errorText.contains("\(place): is a repository"), "\(result.errorText)")
    #expect(!result.errorText.contains("\(copy)"), "\(result.errorText)")
    #expect(try listingDifferences(before, TreeListing(place)) == [])
  }

  @Test("a symbolic link that leads to what was asked for", arguments: modes)
  func linkOnTheWay(_ mode: ByteString) throws {
    let world = try World()
    for path: ByteString in ["home", "home/ann", "home/bob"] { try world.source.makeDirectory(path) }
    try world.source.write("home/ann/file", "x")
    try world.source.write("home/bob/file", "x")
    let below = world.source.root / "home"
    try world.snapshot(of: [below])
    try world.source.rename("home", to: "elsewhere")
    try world.source.makeSymbolicLink("home", to: "elsewhere")
    try world.source.remove("elsewhere/ann/file")
    let before = try TreeListing(world.source.root)
    let words: [ByteString] = ["restore", "latest", below / "ann", below / "bob", "--to", "/", "--overwrite", mode]
    try world.expectRefusal(words, status: 4, naming: "\(below) is a symbolic link to elsewhere")
    #expect(try listingDifferences(before, TreeListing(world.source.root)) == [])
    // With `never` the existing directory keeps its time.
    #expect(try world.treering(words + ["--follow-destination-links"]).status == (mode == "never" ? 1 : 0))
    #expect(try world.source.text("elsewhere/ann/file") == "x")
    #expect(try TreeListing(world.source.root).entries["home"]?.kind == "l")
  }

  @Test(
    "a symbolic link below a restored directory, in the place of a directory of the snapshot", arguments: [true, false])
  func linkBelow(isInPlace: Bool) throws {
    let world = try World()
    let outside = Tree(world.directory.path / "outside")
    try tool("mkdir", [outside.root])
    try tool("mkdir", ["-p", world.source.root / "d" / "sub"])
    try world.source.write("d/sub/file", "x")
    try world.source.write("a", "x")
    try world.snapshot()
    try world.source.remove("a")
    try tool("rm", ["-r", world.source.root / "d" / "sub"])
    try world.source.makeSymbolicLink("d/sub", to: outside.root)
    let before = try TreeListing(world.source.root)
    let words: [ByteString] =
      ["restore", "latest", world.source.root]
      + (isInPlace ? ["--in-place", "--yes"] : ["--to", "/", "--overwrite", "if-changed"])
    let link = world.source.root / "d" / "sub"
    for words in [words, words + ["--dry-run"]] {
      try world.expectRefusal(words, status: 4, naming: "\(link) is a symbolic link to \(outside.root)")
      #expect(try listingDifferences(before, TreeListing(world.source.root)) == [])
    }
    let following = words + ["--follow-destination-links"]
    // A link that another user made could lead anywhere.
    try tool("chown", ["-h", "nobody", link])
    let planted = try world.treering(following)
    #expect(planted.status == 1 && planted.errorText.contains("\(link): is a symbolic link"), "\(planted.errorText)")
    #expect(try outside.names() == [])
    try tool("chown", ["nobody", outside.root])
    #expect(try world.treering(following).status == 0)
    #expect(try outside.text("file") == "x" && world.source.text("a") == "x")
    #expect(try TreeListing(world.source.root).entries["d/sub"]?.kind == "l")
  }

  @Test("a symbolic link above the sources of the snapshot", arguments: modes)
  func linkAboveTheSource(_ mode: ByteString) throws {
    let world = try World()
    for path: ByteString in ["home", "home/ann", "home/bob"] { try world.source.makeDirectory(path) }
    try world.source.write("home/ann/file", "x")
    try world.snapshot(of: [world.source.root / "home" / "ann"])
    try world.source.rename("home", to: "elsewhere")
    try world.source.makeSymbolicLink("home", to: "elsewhere")
    let before = try TreeListing(world.source.root)
    let words: [ByteString] = ["restore", "latest", "--to", "/", "--overwrite", mode]
    try world.expectRefusal(words, status: 4, naming: "is a symbolic link to elsewhere")
    #expect(try listingDifferences(before, TreeListing(world.source.root)) == [])
  }

  @Test("a symbolic link that is the destination itself, which leads to a directory or nowhere")
  func linkAsDestination() throws {
    let world = try World()
    try world.source.write("file", "x")
    try world.snapshot()
    let place = Tree(world.directory.path)
    try place.makeDirectory("real")
    try place.makeSymbolicLink("link", to: "real")
    try place.makeSymbolicLink("dangling", to: "nothing")
    for name: ByteString in ["link", "link/", "dangling"] {
      try world.expectRefusal(
        ["restore", "latest", "--to", place.root / name], status: 4, naming: "\(name) is a symbolic link to")
    }
    let words: [ByteString] = ["restore", "latest", "--to", place.root / "link", "--follow-destination-links"]
    #expect(try world.treering(words).status == 0)
    #expect(try Tree(place.root / "real" / world.source.root).text("file") == "x")
  }

  @Test("an empty directory gives way to a link or a file; one that holds something stays")
  func emptyDirectoryInTheWay() throws {
    let world = try World()
    try world.source.makeSymbolicLink("link", to: "elsewhere")
    try world.source.write("file", "x")
    try world.source.makeSymbolicLink("full", to: "elsewhere")
    try world.snapshot()
    let to = Tree(world.directory.path / "to")
    let tree = Tree(to.root / world.source.root)
    try tool("mkdir", ["-p", tree.root / "link", tree.root / "file", tree.root / "full"])
    try tree.write("full/mine", "y")
    let words: [ByteString] = ["restore", "latest", "--to", to.root]
    #expect(try world.treering(words).errorText.contains("link: is a directory where the snapshot has a symbolic link"))
    #expect(try tree.names("link") == [])
    let result = try world.treering(words + ["--overwrite", "if-different"])
    #expect(result.status == 1 && result.errorText.contains("full: is a directory"), "\(result.errorText)")
    #expect(!result.outputText.contains("see --overwrite"), "\(result.outputText)")
    #expect(try tree.text("file") == "x" && tree.text("full/mine") == "y")
    #expect(try TreeListing(tree.root).entries["link"]?.kind == "l")
  }

  @Test("everything, where a path names nothing")
  func pathThatNamesNothing() throws {
    let world = try World()
    let path: ByteString = ""
    try world.source.write("file", "x")
    try world.snapshot()
    for words: [ByteString] in [
      ["restore", "latest", path, "--to", world.directory.path / "to"], ["versions", path],
      ["diff", "latest", "latest", path],
    ] {
      try world.expectRefusal(words, status: 2)
    }
    // That is the whole tree, by name.
    let result = try world.treering(["restore", "latest", "/", "--to", world.directory.path / "to"])
    #expect(result.status == 0, "\(result.errorText)")
  }

  @Test(
    "the content of another user's file of the same size and time, and what he writes to it later",
    arguments: ["if-changed", "if-different"])
  func contentOfAnotherUser(_ mode: ByteString) throws {
    let world = try World()
    try world.source.makeDirectory("place")
    for name: ByteString in ["tool", "held"] {
      try world.source.write(name, "good", mode: 0o755)
      try world.source.setTime(name, seconds: 1_000_000_000)
    }
    try world.source.setMode("tool", 0o4755)
    try world.snapshot()
    try world.source.write("tool", "evil")
    for name: ByteString in ["tool", "held"] {
      try world.source.setOwner(name, user: 65534, group: 65534)
      try world.source.setMode(name, 0o755)
      try world.source.setTime(name, seconds: 1_000_000_000)
    }
    // He may have it open for writing.
    let held = try world.source.inode("held")
    let result = try world.treering(["restore", "latest", world.source.root, "--to", "/", "--overwrite", mode])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.source.inode("held") != held)
    let listing = try TreeListing(world.source.root).entries
    #expect(listing["tool"]?.mode == "4755" && listing["tool"]?.user == "0" && listing["held"]?.user == "0")
    #expect(try world.source.text("tool") == "good" && world.source.text("held") == "good")
  }

  @Test("no repository is made in a repository")
  func repositoryInARepository() throws {
    let world = try World()
    try world.source.makeDirectory("empty")
    let snapshot = try world.snapshot()
    let inside = world.tree(of: snapshot).root
    for place in [inside / "new", inside / "empty", world.repository.root / ".treering" / "new"] {
      try world.expectRefusal(["init", place], status: 2, inRepository: false, naming: "is in a repository")
    }
  }

  @Test("what a restore that was killed left is removed, and what only looks like it stays")
  func leftovers() throws {
    let world = try World()
    try world.source.write("file", "x")
    try world.source.makeDirectory("sub")
    try world.source.write("sub/.treering-ofsource", "x")
    try world.snapshot()
    let to = try Tree(making: world.directory.path / "to")
    #expect(try world.treering(["restore", "latest", "--to", to.root]).status == 0)
    let tree = Tree(to.root / world.source.root)
    for name: ByteString in [
      ".treering-abcdefgh", ".treering-abcdefg", ".treering-ABCDEFGH", ".treering-inuseabc", "sub/.treering-abcdefgh",
    ] {
      try tree.write(name, "half a file")
    }
    try tree.makeSymbolicLink(".treering-ijklmnop", to: "nowhere")
    try tree.makeDirectory(".treering-qrstuvwx")
    let other = try RunningCommand(
      "flock", [tree.root / ".treering-inuseabc", "sh", "-c", "echo held; exec sleep 100"])
    while try other.outputSoFar().isEmpty { try world.settle() }
    let dry = try world.treering(["restore", "latest", "--to", to.root, "--dry-run"])
    #expect(dry.status == 1 && tree.exists(".treering-abcdefgh"))
    let result = try world.treering(["restore", "latest", "--to", to.root, "--overwrite", "if-changed"])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(
      try tree.names() == [
        ".treering-ABCDEFGH", ".treering-abcdefg", ".treering-inuseabc", ".treering-qrstuvwx", "file", "sub",
      ])
    #expect(try tree.names("sub") == [".treering-ofsource"])
  }
}

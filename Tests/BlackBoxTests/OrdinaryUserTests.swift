import TestSupport
import Testing

/// What happens without the rights of root.
@Suite("An ordinary user", .waits)
struct OrdinaryUserTests {
  /// A world whose source and repository belong to the user 65534.
  private func ordinaryWorld() throws -> World {
    let world = try World(initialized: false)
    try Tree(world.directory.path).makeDirectory("repository")
    for path in [world.source.root, world.repository.root] {
      try tool("chown", ["65534:65534", path])
    }
    let result = try world.treeringAsOrdinaryUser(["init"])
    guard result.status == 0 else { throw TestSupportError(result.errorText) }
    return world
  }

  private func snapshot(_ world: World, status: Int32) throws -> SnapshotAnswer {
    let result = try world.treeringAsOrdinaryUser(["snapshot", world.source.root, "--json"])
    #expect(result.status == status, "\(result.errorText)")
    return try result.decoded()
  }

  @Test("a tree of the user's own is published and linked in full")
  func ownTree() throws {
    let world = try ordinaryWorld()
    try world.source.write("file", "text")
    try world.source.makeDirectory("directory", mode: 0o2750)
    try world.source.makeSymbolicLink("link", to: "file")
    try world.source.makeFIFO("fifo")
    try world.source.setAttribute("file", "user.note", [1])
    try world.source.setACL("file", "u:1234:rw")
    try tool("chown", ["-hR", "65534:65534", world.source.root])
    try world.settle()
    let first = try snapshot(world, status: 0)
    // The directories above belong to root: that much is in the catalog only.
    try world.expectFaithful(first)
    let second = try snapshot(world, status: 0)
    try world.expectFaithful(second)
    #expect(second.filesLinked == 3)
  }

  @Test("what cannot be read is named on standard error, and all else is published")
  func unreadable() throws {
    let world = try ordinaryWorld()
    try world.source.write("readable", "text")
    try world.source.write("secret", "text", mode: 0o600)
    try world.source.makeDirectory("locked", mode: 0o700)
    try world.source.write("locked/inside", "text")
    let result = try world.treeringAsOrdinaryUser(["snapshot", world.source.root])
    #expect(result.status == 1)
    #expect(result.outputText == "")
    let root = world.source.root
    #expect(result.errorLines.count == 2)
    #expect(result.errorLines.allSatisfy { $0.hasPrefix("treering: ") })
    #expect(result.errorText.contains("\(root)/secret"))
    #expect(result.errorText.contains("\(root)/locked"))
    #expect(try world.snapshotNames().count == 1)

    let answer = try snapshot(world, status: 1)
    #expect(answer.outcome == "warnings")
    #expect(answer.warnings == 2)
    #expect(
      Set(answer.warningsNamed.map(\.path)) == ["\(root)/secret", "\(root)/locked"])
    let stored = world.tree(of: answer)
    #expect(try stored.names() == ["locked", "readable"])
    #expect(try stored.names("locked") == [])

    // Root finds what was missing.
    let complete = try world.snapshot()
    try world.expectFaithful(complete)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("owners, devices and attributes that the user may not set come back from the catalog")
  func restoredFromTheCatalog() throws {
    let world = try ordinaryWorld()
    try world.source.write("of-root", "text", mode: 0o644)
    try world.source.write("of-somebody", "text", mode: 0o6755)
    try world.source.setOwner("of-somebody", user: 1_234, group: 4_321)
    try world.source.setMode("of-somebody", 0o6755)
    try world.source.makeDirectory("directory", mode: 0o755)
    try world.source.setOwner("directory", user: 77, group: 88)
    try world.source.write("capable", "text", mode: 0o755)
    try tool("setcap", ["cap_net_raw+ep", world.source.root / "capable"])
    try world.source.makeSymbolicLink("link", to: "of-root")
    try world.source.setOwner("link", user: 99, group: 98)
    try world.source.makeDevice("device", isBlock: false, major: 1, minor: 3, mode: 0o666)
    try world.source.makeDevice("disk", isBlock: true, major: 8, minor: 1, mode: 0o640)
    try world.settle()
    let first = try snapshot(world, status: 0)
    #expect(first.catalogOnly >= 7)
    let stored = world.tree(of: first)
    #expect(!stored.exists("device") && !stored.exists("disk"))
    // A program must not run as the one who took the snapshot.
    #expect(try TreeListing(stored.root).entries["of-somebody"]?.mode == "755")

    #expect(try world.treeringAsOrdinaryUser(["verify"]).status == 0)
    #expect(try world.treering(["verify"]).status == 0)
    let to = world.directory.path / "restored"
    let result = try world.treering(["restore", "latest", "--to", to])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try differences(world.source.root, to / world.source.root) == [])

    // Unchanged: linked again, and root stores at last what was missing.
    let second = try snapshot(world, status: 0)
    #expect(second.filesCopied == 0)
    try world.expectFaithful(try world.snapshot())
  }

  @Test("a restore by an ordinary user gives what it can and says what it cannot")
  func restoresAsOrdinaryUser() throws {
    let world = try ordinaryWorld()
    try world.source.write("file", "text")
    try world.source.write("of-root", "text", mode: 0o4755)
    try world.source.makeDevice("device", isBlock: false, major: 1, minor: 3, mode: 0o666)
    try world.snapshot()
    try tool("chmod", ["-R", "go+rX", world.repository.root])
    let to = Tree(world.directory.path / "to")
    try Tree(world.directory.path).makeDirectory("to")
    try tool("chown", ["65534", to.root])
    let result = try world.treeringAsOrdinaryUser(["restore", "latest", "--to", to.root])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("device"))
    let restored = Tree(to.root / world.source.root)
    #expect(try restored.text("file") == "text")
    let entry = try TreeListing(restored.root).entries["of-root"]
    #expect(entry?.user == "65534")
    #expect(entry?.mode == "755")
    #expect(!restored.exists("device"))
  }

  @Test(
    "a restore into a directory that the user closed opens it for the moment", arguments: ["never", "if-changed"],
    [0o555, 0o111, 0o300, 0])
  func closedDirectory(_ overwrite: ByteString, _ mode: Int) throws {
    let world = try ordinaryWorld()
    try world.source.makeDirectory("closed", mode: 0o755)
    try world.source.makeDirectory("closed/below", mode: 0o755)
    try world.source.write("closed/file", "text")
    try world.source.write("closed/below/file", "text")
    try tool("chown", ["-hR", "65534:65534", world.source.root])
    _ = try snapshot(world, status: 0)
    for path: ByteString in ["closed/file", "closed/below/file"] { try world.source.remove(path) }
    for path: ByteString in ["closed/below", "closed"] { try world.source.setMode(path, UInt32(mode)) }
    let words: [ByteString] = [
      "restore", "latest", world.source.root / "closed", "--to", "/", "--overwrite", overwrite,
    ]
    let dry = try world.treeringAsOrdinaryUser(words + ["--dry-run"])
    // What lies in a directory that cannot be opened is not known yet.
    #expect(dry.status == (overwrite == "never" && mode == 0o555 ? 1 : 0), "\(dry.errorText)")
    let result = try world.treeringAsOrdinaryUser(words)
    #expect(result.status == (overwrite == "never" ? 1 : 0), "\(result.errorText)")
    let listing = try TreeListing(world.source.root).entries
    let expected = overwrite == "never" ? String(mode, radix: 8) : "755"
    for path: ByteString in ["closed", "closed/below"] { #expect(listing[path]?.mode == expected) }
    #expect(try world.source.text("closed/below/file") == "text" && world.source.text("closed/file") == "text")
  }

  @Test(
    "a file that its user may not read, and one of another user, are replaced",
    arguments: ["if-changed", "if-different"])
  func filesThatCannotBeCorrected(_ overwrite: ByteString) throws {
    let world = try ordinaryWorld()
    for name: ByteString in ["closed", "of-root"] { try world.source.write(name, "text", mode: 0o640) }
    try tool("chown", ["-hR", "65534:65534", world.source.root])
    _ = try snapshot(world, status: 0)
    try world.source.setMode("closed", 0)
    try world.source.setOwner("of-root", user: 0, group: 0)
    try world.source.setMode("of-root", 0o644)
    let result = try world.treeringAsOrdinaryUser([
      "restore", "latest", world.source.root, "--to", "/", "--overwrite", overwrite,
    ])
    #expect(result.status == 0, "\(result.errorText)")
    let listing = try TreeListing(world.source.root).entries
    for name: ByteString in ["closed", "of-root"] {
      #expect(listing[name]?.mode == "640" && listing[name]?.user == "65534")
      #expect(try world.source.text(name) == "text")
    }
  }

  @Test("root works in a user's repository, and the user goes on")
  func rootInUsersRepository() throws {
    let world = try ordinaryWorld()
    func asUser(_ arguments: [ByteString], status: Int32 = 0) throws {
      let result = try world.treeringAsOrdinaryUser(arguments)
      #expect(result.status == status, "\(arguments): \(result.errorText)")
    }
    func asRoot(_ arguments: [ByteString]) throws {
      let result = try world.treering(arguments)
      #expect(result.status == 0, "\(arguments): \(result.errorText)")
    }
    try world.source.write("file", "1")
    try tool("chown", ["-R", "65534:65534", world.source.root])
    try asUser(["snapshot", world.source.root])
    try world.source.write("file", "2")
    try asRoot(["snapshot", world.source.root])
    try asRoot(["rotate", "--keep", "daily=7", "--keep-last", "9"])
    try asRoot(["hold", "latest"])
    try asRoot(["verify"])
    try asRoot(["release", "latest"])
    let others = try tool("find", [world.repository.root / ".treering", "-maxdepth", "2", "-not", "-user", "65534"])
    #expect(String(decoding: others, as: UTF8.self) == "")
    try asUser(["list"])
    try asUser(["verify"])
    try asUser(["status"])
    try asUser(["hold", "latest"])
    try asUser(["release", "latest"])
    try world.source.makeDirectory("of root", mode: 0o700)
    try world.source.write("of root/file", "1")
    try asRoot(["snapshot", world.source.root])
    try tool("rm", ["-r", world.source.root / "of root"])
    try world.source.write("file", "3")
    try asUser(["snapshot", world.source.root])
    // What the user may not delete of root's tree hinders nothing, and waits for root.
    for text in ["4", "5"] {
      try asUser(["rotate", "--keep-last", "1"])
      try world.source.write("file", text)
      try asUser(["snapshot", world.source.root])
    }
    #expect(try world.snapshotNames().count == 2)
    try asUser(["verify"])
    #expect(try world.repository.names(".treering/trash") != [])
    try asRoot(["snapshot", world.source.root])
    #expect(try world.repository.names(".treering/trash") == [])
  }

  @Test("the links that root makes in a user's repository are the user's to change")
  func linksOfRoot() throws {
    let world = try ordinaryWorld()
    try world.source.write("file", "1")
    #expect(try world.treering(["snapshot", world.source.root]).status == 0)
    try tool("sleep", ["1"])
    #expect(try world.treeringAsOrdinaryUser(["snapshot", world.source.root]).status == 0)
    let rotated = try world.treeringAsOrdinaryUser(["rotate", "--keep-last", "1"])
    #expect(rotated.status == 0, "\(rotated.errorText)")
    #expect(try !world.repository.exists("hourly") || world.repository.names("hourly") == [])
    // What an older treering left to root, root gives back.
    #expect(try world.treering(["rotate", "--keep", "daily=1"]).status == 0)
    try tool("chown", ["0:0", world.repository.root / "daily"])
    #expect(try world.treering(["rotate", "--keep", "daily=1"]).status == 0)
    #expect(try world.treeringAsOrdinaryUser(["rotate", "--keep-last", "1"]).status == 0)
  }

  @Test("root follows no link of the user's to a file of its own")
  func hostileControlFiles() throws {
    let world = try ordinaryWorld()
    try world.source.write("file", "1")
    let victim = world.directory.path / "victim"
    try Tree(world.directory.path).write("victim", "precious", mode: 0o600)
    let lock = world.repository.root / ".treering" / "lock"
    _ = try? runCommand("rm", ["-f", lock])
    try tool("ln", [victim, lock])
    let result = try world.treering(["snapshot", world.source.root])
    #expect(result.status != 0)
    #expect(try Tree(world.directory.path).text("victim") == "precious")
    let owner = String(decoding: try tool("stat", ["-c", "%u", victim]), as: UTF8.self)
    #expect(owner == "0\n")
  }
}

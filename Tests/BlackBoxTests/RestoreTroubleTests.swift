import TestSupport
import Testing

/// Nothing that a restore lacks is passed over in silence.
@Suite("What a restore lacks", .waits) struct RestoreTroubleTests {
  /// Runs a restore in which system calls are answered with errors.
  private func restore(
    _ world: World, failing calls: [String], _ options: [ByteString] = []
  ) throws -> (result: CommandResult, tree: Tree) {
    let to = world.directory.path / "to"
    let injections: [ByteString] = calls.flatMap { ["-e", "inject=" + ByteString($0)] }
    let traced = Set(calls.map { $0.split(separator: ":")[0] }).sorted().joined(separator: ",")
    let result = try runCommand(
      "strace",
      ["-f", "-qq", "-o", "/dev/null", "-e", ByteString("trace=\(traced)")] + injections
        + [try treeringBinary(), "restore", "latest", "--to", to, "-r", world.repository.root] + options,
      in: world.directory.path)
    #expect(!result.errorText.contains("root can") && !result.outputText.contains("root can"))
    return (result, Tree(to / world.source.root))
  }

  @Test(
    "a hard link that cannot be made becomes a copy, and both names are named",
    arguments: ["EPERM", "EMLINK", "ENOMEM", "ESTALE"])
  func partedLinks(_ error: String) throws {
    let world = try World()
    try world.source.makeDirectory("d")
    try world.source.write("a", "x")
    for name: ByteString in ["b", "d/c"] { try world.source.link("a", as: name) }
    try world.snapshot()
    let (result, tree) = try restore(world, failing: ["linkat:error=\(error)"], ["--threads", "1"])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorLines.count == 2, "\(result.errorText)")
    #expect(result.errorText.contains("\(tree.root)/b: is a copy, and no hard link of \(tree.root)/a"))
    #expect(result.errorText.contains("\(tree.root)/d/c"))
    for name: ByteString in ["a", "b", "d/c"] { #expect(try tree.text(name) == "x" && tree.linkCount(name) == 1) }
  }

  @Test("where two spellings are one, a repeated restore does not put one entry in the place of the other")
  func twoSpellings() throws {
    let world = try World()
    for name: ByteString in ["README", "readme", "z"] { try world.source.write(name, name.text) }
    for name: ByteString in ["Dir", "dir"] {
      try world.source.makeDirectory(name)
      try world.source.write(name / name, name.text)
    }
    try world.snapshot()
    let disk = world.directory.path / "disk"
    try Tree(world.directory.path).makeDirectory("disk")
    let mount = try Mount(ignoringCaseAt: disk)
    defer { withExtendedLifetime(mount) {} }
    for overwrite: ByteString in ["never", "if-changed", "if-different", "always"] {
      let result = try world.treering(
        ["restore", "latest", "--to", disk / "to", "--overwrite", overwrite, "--threads", "1"])
      #expect(result.status == 1, "\(result.errorText)")
      let tree = Tree(disk / "to" / world.source.root)
      #expect(try tree.text("README") == "README" && tree.text("z") == "z" && tree.text("Dir/Dir") == "Dir")
      #expect(try tree.names("Dir").count == 1)
      for name in ["readme", "dir"] {
        #expect(
          result.errorLines.contains { $0.contains("\(tree.root)/\(name): ") }, "\(name): \(result.errorText)")
      }
    }
  }

  @Test("a node that a file system in user space answers with an input/output error is named, and the rest arrives")
  func unknownNode() throws {
    let world = try World()
    try world.source.makeFIFO("a")
    try world.source.write("b", "x")
    try world.snapshot()
    let (result, tree) = try restore(world, failing: ["mknodat:error=EIO"])
    #expect(result.status == 1 && result.errorText.contains("a: is not restored: a FIFO is not permitted there"))
    #expect(try tree.text("b") == "x")
  }

  @Test("a failing disk is no file system without hard links")
  func failingDisk() throws {
    let world = try World()
    try world.source.write("a", "x")
    try world.source.link("a", as: "b")
    try world.snapshot()
    let (result, _) = try restore(world, failing: ["linkat:error=EIO"])
    #expect(result.status == 3, "\(result.errorText)")
  }

  @Test(
    "an attribute that is refused is named, a full disk ends the restore, and the content is there",
    arguments: [
      ("EPERM", 1), ("EOPNOTSUPP", 1), ("ENOMEM", 1), ("ESTALE", 1), ("ENOSPC", 1), ("EDQUOT", 8), ("EIO", 3),
    ])
  func attributes(_ error: String, _ status: Int32) throws {
    let world = try World()
    for name: ByteString in ["a", "b"] {
      try world.source.write(name, "x")
      try world.source.setAttribute(name, "user.note", [1])
    }
    try world.snapshot()
    let (result, tree) = try restore(world, failing: ["fsetxattr:error=\(error)"], ["--threads", "1"])
    #expect(result.status == status, "\(result.errorText)")
    #expect(result.errorLines.count == 1, "\(result.errorText)")
    if status == 1 {
      #expect(result.errorText.contains("\(tree.root)/a: its set of extended attributes could not be set"))
      #expect(result.errorText.contains("nor that of 1 more entry"))
      #expect(try tree.text("a") == "x" && tree.text("b") == "x")
    }
  }

  @Test("a stored directory that cannot be opened is named once, and all else is restored")
  func lostDirectory() throws {
    let world = try World()
    try world.source.makeDirectory("lost")
    for name: ByteString in ["lost/1", "lost/2", "lost/3", "kept"] { try world.source.write(name, "x") }
    try world.source.makeSymbolicLink("lost/link", to: "x")
    let snapshot = try world.snapshot()
    try world.tree(of: snapshot).remove("lost")
    let to = world.directory.path / "to"
    let result = try world.treering(["restore", "latest", "--to", to])
    #expect(result.status == 6, "\(result.errorText)")
    #expect(result.errorLines.count == 1, "\(result.errorText)")
    #expect(
      result.errorText.contains("lost: no file below it is restored: the stored directory cannot be opened: No such"))
    let tree = Tree(to / world.source.root)
    #expect(try tree.names() == ["kept", "lost"] && tree.names("lost") == ["link"])
  }

  @Test(
    "where the snapshot itself cannot be looked into, nothing is restored, and nothing is called damaged",
    arguments: ["", "/localhost"])
  func closedSnapshot(_ place: ByteString) throws {
    let world = try World()
    try world.source.write("file", "x")
    let snapshot = try world.snapshot()
    try tool("chmod", ["-R", "a+rX", world.repository.root])
    try tool("chmod", ["700", world.repository.root / (snapshot.name + place)])
    let open = try Tree(making: world.directory.path / "open")
    try tool("chmod", ["777", world.directory.path, open.root])
    let result = try world.treeringAsOrdinaryUser(["restore", "latest", "--to", open.root / "to"])
    #expect(result.status == 3, "\(result.errorText)")
    #expect(result.errorText.contains("Permission denied") && result.errorLines.count == 1, "\(result.errorText)")
    #expect(!open.exists("to"))
  }

  /// A restore of one large file in a directory that is ended after a few blocks; what it left.
  private func interruptedRestore(_ signal: Int32) throws -> (World, to: ByteString, Tree) {
    let world = try World()
    try world.source.makeDirectory("d", mode: 0o755)
    try world.source.write("d/small", "x")
    try world.source.write("d/zlarge", String(repeating: "large", count: 1 << 20))
    try tool("touch", ["-d", "2001-09-09", world.source.root / "d", world.source.root])
    try world.snapshot()
    let to = world.directory.path / "to"
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=write", "-e", ByteString("inject=write:signal=\(signal):when=3"),
        try treeringBinary(), "restore", "latest", "--to", to, "--threads", "1", "-r", world.repository.root,
      ])
    #expect(result.status != 0)
    return (world, to, Tree(to / world.source.root))
  }

  @Test("a restore that a signal ends leaves no half file, and whole directories; the next one finishes it")
  func interrupted() throws {
    let (world, to, tree) = try interruptedRestore(15)
    #expect(try tree.names("d") == ["small"])
    #expect(try TreeListing(tree.root).entries["d"] == TreeListing(world.source.root).entries["d"])
    #expect(try world.treering(["restore", "latest", "--to", to]).status == 0, "the small file is right")
    #expect(try listingDifferences(TreeListing(world.source.root), TreeListing(tree.root)) == [])
  }

  @Test("a restore that is killed leaves no half file under its name, and the next one finishes its directories")
  func killed() throws {
    let (world, to, tree) = try interruptedRestore(9)
    #expect(!tree.exists("d/zlarge"))
    try tree.remove("d/small")
    for options: [ByteString] in [["--dry-run"], []] {
      let result = try world.treering(["restore", "latest", "--to", to] + options)
      #expect(result.status == 0 && result.errorText == "", "\(result.errorText)")
    }
    #expect(try tree.names("d") == ["small", "zlarge"])
    #expect(try listingDifferences(TreeListing(world.source.root), TreeListing(tree.root)) == [])
  }

  @Test("a directory of the operator stays as it is beside those of a restore that was killed")
  func killedBesideOthers() throws {
    let (world, to, tree) = try interruptedRestore(9)
    try tool("chmod", ["750", tree.root / "d"])
    let result = try world.treering(["restore", "latest", "--to", to])
    #expect(result.status == 1 && result.errorText.contains("/d: exists with another"), "\(result.errorText)")
    #expect(result.errorLines.count == 1, "\(result.errorText)")
  }

  @Test("a name that the file system refuses does not end the restore")
  func refusedDirectory() throws {
    let world = try World()
    try world.source.makeDirectory("a")
    try world.source.write("a/file", "x")
    try world.source.write("file", "x")
    let snapshot = try world.snapshot()
    // The directories above the source come before it.
    let above = world.source.root.bytes.filter { $0 == UInt8(ascii: "/") }.count
    let (result, tree) = try restore(
      world, failing: ["mkdirat:error=EINVAL:when=\(above + 2)"], ["--threads", "1"])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(
      result.errorText.contains("\(tree.root)/a: cannot be made, and nothing below it is restored: Invalid argument"))
    #expect(try tree.names() == ["file"])
    _ = snapshot
  }
}

/// Destinations on file systems that hold less.
@Suite("A restore to a lesser file system", .waits) struct LesserDestinationTests {
  private func world() throws -> World {
    let world = try World()
    try world.source.makeDirectory("sticky", mode: 0o1777)
    try world.source.write("sticky/file", "x")
    try world.source.write("tool", "program", mode: 0o4755)
    try world.source.write("of-somebody", "x")
    try world.source.setOwner("of-somebody", user: 1_234, group: 4_321)
    try world.source.write("linked", "x")
    try world.source.link("linked", as: "sticky/linked")
    try world.source.makeSymbolicLink("link", to: "tool")
    for name: ByteString in ["tool", "of-somebody", "linked", "link"] {
      try world.source.setTime(name, seconds: 1_000_000_000)
    }
    try world.snapshot()
    return world
  }

  private func expectContents(_ world: World, _ restored: ByteString) throws {
    #expect(try contentHashes(restored) == contentHashes(world.source.root))
  }

  /// FAT refuses owners, setuid, setgid and the sticky bit with EPERM.
  @Test("all content arrives where owners and modes are refused, and each kind is said once")
  func refused() throws {
    let world = try world()
    let to = world.directory.path / "to"
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", "/dev/null", "-e", "trace=fchmod,fchownat", "-e", "inject=fchmod,fchownat:error=EPERM",
        try treeringBinary(), "restore", "latest", "--to", to, "-r", world.repository.root,
      ])
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorLines.count == 2, "\(result.errorText)")
    #expect(result.errorText.contains("its owner could not be set: Operation not permitted"))
    #expect(result.errorText.contains("its mode could not be set: Operation not permitted; nor that of"))
    #expect(!result.outputText.contains("root can"))
    try expectContents(world, to / world.source.root)
  }

  @Test(
    "all content arrives where owners are mapped and values are dropped without an error",
    arguments: [
      ["-u", "4711", "-g", "4711", "--chown-ignore", "--chmod-ignore"], ["-u", "4711", "--chown-deny", "--chmod-deny"],
    ])
  func mapped(_ options: [String]) throws {
    let world = try world()
    let real = try Tree(making: world.directory.path / "real")
    let shown = try Tree(making: world.directory.path / "shown")
    let mount = try Mount(real.root, shownAt: shown.root, options.map { ByteString($0) })
    let to = shown.root / "to"
    let result = try world.treering(["restore", "latest", "--to", to])
    #expect(result.status == 1, "\(result.errorText)")
    for kind in ["owner", "mode"] { #expect(result.errorText.contains("its \(kind) "), "\(result.errorText)") }
    #expect(!result.errorText.contains("somebody else"), "\(result.errorText)")
    try mount.unmount()
    let tree = Tree(real.root / "to" / world.source.root)
    try expectContents(world, tree.root)
    #expect(try tree.linkCount("linked") == 2)
    #expect(try TreeListing(tree.root).entries["tool"]?.mode.hasSuffix("4755") == false)
  }

  /// libfuse 2 passes over a call that sets one time alone.
  @Test("times arrive by way of FUSE")
  func times() throws {
    let world = try world()
    let real = try Tree(making: world.directory.path / "real")
    let shown = try Tree(making: world.directory.path / "shown")
    let mount = try Mount(real.root, shownAt: shown.root)
    _ = try world.treering(["restore", "latest", "--to", shown.root / "to"])
    try mount.unmount()
    let restored = try TreeListing(real.root / "to" / world.source.root).entries
    let source = try TreeListing(world.source.root).entries
    for name: ByteString in ["tool", "of-somebody", "linked", "link"] {
      #expect(restored[name] == source[name], "\(name)")
    }
  }

  /// FAT rounds times, and refuses links and owners; bindfs drops owners and modes, strace refuses the links.
  @Test(
    "a repeated restore writes no content again that is right",
    arguments: ["if-changed", "if-different"], [true, false])
  func repeated(_ overwrite: ByteString, hasLinks: Bool) throws {
    let world = try world()
    let real = try Tree(making: world.directory.path / "real")
    let shown = try Tree(making: world.directory.path / "shown")
    func restore() throws -> CommandResult {
      // A mount remembers for a second how many links a file had.
      let mount = try Mount(
        real.root, shownAt: shown.root, ["-u", "4711", "-g", "4711", "--chown-ignore", "--chmod-ignore"])
      defer { try? mount.unmount() }
      let injection: [ByteString] = hasLinks ? [] : ["-e", "inject=linkat:error=EPERM"]
      return try runCommand(
        "strace",
        ["-f", "-qq", "-o", "/dev/null", "-e", "trace=linkat"] + injection + [
          try treeringBinary(), "restore", "latest", "--to", shown.root / "to", "--overwrite", overwrite, "-r",
          world.repository.root,
        ])
    }
    #expect(try restore().status == 1)
    let tree = Tree(real.root / "to" / world.source.root)
    try tree.setTime("tool", seconds: 1_000_000_001)
    try tree.write("of-somebody", "y")
    let names: [ByteString] = ["tool", "linked", "sticky/linked", "sticky/file", "of-somebody"]
    let before = try names.map { try tree.inode($0) }
    let again = try restore()
    #expect(again.status == 1 && again.errorText.contains("is a copy") != hasLinks, "\(again.errorText)")
    let after = try names.map { try tree.inode($0) }
    for (name, inodes) in zip(names, zip(before, after)) {
      #expect((inodes.0 == inodes.1) == (name != "of-somebody"), "\(name): \(again.errorText)")
    }
    try expectContents(world, tree.root)
  }

  @Test("names of one inode stay such where each name has a number of its own")
  func numberedNames() throws {
    let world = try world()
    let real = try Tree(making: world.directory.path / "real")
    let shown = try Tree(making: world.directory.path / "shown")
    let mount = try Mount(real.root, overSSHAt: shown.root)
    let result = try world.treering(["restore", "latest", "--to", shown.root / "to"])
    #expect(!result.errorText.contains("is a copy") && !result.errorText.contains("replaced"), "\(result.errorText)")
    try mount.unmount()
    let tree = Tree(real.root / "to" / world.source.root)
    try expectContents(world, tree.root)
    #expect(try tree.linkCount("linked") == 2)
    #expect(try tree.names().allSatisfy { !$0.hasPrefix(".treering") })
  }

  @Test("a destination that is full for a file's content ends the restore with 8")
  func full() throws {
    let world = try World()
    try world.source.writeNoise("a", 3 << 20)
    try world.source.writeNoise("b", 9 << 20)
    try world.snapshot()
    let out = world.directory.path / "out"
    try tool("mkdir", [out])
    try tool("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", out])
    defer { _ = try? tool("umount", ["-l", out]) }
    let result = try world.treering(["restore", "latest", "--to", out])
    #expect(result.status == 8 && result.errorText.contains("No space left on device"), "\(result.errorText)")
    let below = Tree(out / world.source.root)
    #expect(try below.names("") == ["a"])
  }
}

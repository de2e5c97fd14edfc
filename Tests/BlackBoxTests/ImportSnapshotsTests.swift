import Foundation
import TestSupport
import Testing

/// The document of `import snapshots --json`.
private struct ImportAnswer: Decodable {
  struct Tree: Decodable {
    let tree: String
    let time: String
    let snapshot: String?
    let error: String?
  }
  let dryRun: Bool
  let exitStatus: Int32
  let trees: [Tree]
}

/// Trees that the real rsnapshot made, beside a repository that adopts them.
@Suite("import snapshots", .waits)
struct ImportSnapshotsTests {
  private static let linkDest = "rsync_long_args\t--delete --numeric-ids --relative --delete-excluded -H\n"

  /// A world whose repository lies in rsnapshot's directory, as `import rsnapshot` proposes.
  private func world(_ more: String = linkDest) throws -> World {
    let world = try World()
    world.provesOlderUnchanged = false
    try Tree(world.directory.path).makeDirectory("rs")
    try Tree(world.directory.path).write(
      "rs.conf",
      """
      config_version\t1.2
      snapshot_root\t\(world.directory.path)/rs/
      cmd_cp\t/bin/cp
      cmd_rm\t/bin/rm
      cmd_rsync\t/usr/bin/rsync
      retain\thourly\t3
      retain\tdaily\t4
      lockfile\t\(world.directory.path)/rs.lock
      \(more)
      backup\t\(world.source.root)/\tlocalhost/

      """)
    return world
  }

  private func rsnapshot(_ world: World, _ level: ByteString, at age: Int) throws {
    try tool("rsnapshot", ["-c", world.directory.path / "rs.conf", level])
    // As if it had been taken so many hours ago.
    try tool("touch", ["-d", ByteString("\(age) hours ago"), world.directory.path / "rs" / (level + ".0")])
  }

  /// Four trees with changes in between.
  private func history(_ world: World) throws {
    let source = world.source
    try source.makeDirectory("sub")
    for name in ["same", "changing", "going", "sub/below", "b\u{1}d name"] {
      try source.write(ByteString(name), "first \(name)")
    }
    try tool("ln", ["same", "linked"], in: source.root)
    try tool("ln", ["-s", "same", "symbolic"], in: source.root)
    try tool("truncate", ["-s", "1M", "sparse"], in: source.root)
    try tool("sh", ["-c", "setfattr -n user.x -v y sub/below; chmod 2751 sub; chown 1:2 changing"], in: source.root)
    try rsnapshot(world, "hourly", at: 31)
    try source.write("changing", "second")
    try rsnapshot(world, "hourly", at: 30)
    try rsnapshot(world, "hourly", at: 29)
    // What is promoted keeps its time.
    try tool("rsnapshot", ["-c", world.directory.path / "rs.conf", "daily"])
    try tool("sh", ["-c", "rm going; mv sub moved; echo new > new"], in: source.root)
    try rsnapshot(world, "hourly", at: 3)
  }

  private func adopt(
    _ world: World, with options: [ByteString] = [], status: Int32 = 0, location: SourceLocation = #_sourceLocation
  ) throws -> ImportAnswer {
    let result = try world.treering(["import", "snapshots", world.directory.path / "rs", "--json"] + options)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded(ImportAnswer.self)
  }

  @Test(
    "the trees are moved as they are, dated by their mtime, and are snapshots like any other",
    arguments: [
      linkDest, linkDest + "link_dest\t1\n", "",
    ])
  func adopted(_ more: String) throws {
    let world = try world(more)
    try history(world)
    let trees = Tree(world.directory.path / "rs")
    let names = try trees.names()
    #expect(names.count == 4)
    var prints: [String: Fingerprint] = [:]
    for name in names { prints[name.description] = try Fingerprint(trees.root / name) }

    let dry = try adopt(world, with: ["--dry-run"])
    #expect(dry.dryRun && dry.trees.count == 4)
    #expect(try trees.names() == names && world.snapshotNames() == [])
    let answer = try adopt(world)
    #expect(try trees.names() == [])
    #expect(answer.trees.map(\.snapshot) == dry.trees.map(\.snapshot))
    #expect(answer.trees.map(\.time) == answer.trees.map(\.time).sorted())
    for tree in answer.trees {
      let name = try #require(tree.snapshot)
      #expect(name.replacing("-", with: ":").contains(tree.time.suffix(9)), "\(name) \(tree.time)")
      let now = try Fingerprint(world.repository.root / ByteString(name))
      #expect(try #require(prints[tree.tree]).differences(to: now) == [])
    }
    #expect(try world.snapshotNames().map(\.description) == answer.trees.compactMap(\.snapshot))
    // A day that has snapshots has its link, whatever the time of day at which the trees were made.
    #expect(try world.repository.names("daily").count == Set(answer.trees.compactMap { $0.snapshot?.prefix(10) }).count)
    let verified = try world.treering(["verify"])
    #expect(verified.status == 0, "\(verified.errorText) \(verified.outputText)")

    // Each of them restored is the tree that it was.
    for tree in answer.trees {
      let name = ByteString(try #require(tree.snapshot))
      let restored = try world.treering(
        ["restore", name, world.source.root, "--to", world.directory.path / "back"])
      #expect(restored.status == 0, "\(restored.errorText)")
      let different = try differences(
        world.repository.root / name / "localhost" / world.source.root,
        world.directory.path / "back" / world.source.root)
      #expect(different == [])
      try tool("rm", ["-r", world.directory.path / "back"])
    }
    let compared = try world.treering([
      "diff", ByteString(try #require(answer.trees[0].snapshot)), ByteString(try #require(answer.trees[1].snapshot)),
    ])
    #expect(
      compared.changeLines.count == 1 && compared.outputText.contains("changing  (content"),
      "\(compared.outputText)")

    // The next one is linked to the newest of them, file by file.
    world.provesOlderUnchanged = true
    let next = try world.snapshot()
    try world.expectFaithful(next)
    let newest = try TreeListing(
      world.repository.root / ByteString(try #require(answer.trees.last?.snapshot)) / "localhost" / world.source.root)
    let stored = try TreeListing(world.tree(of: next).root)
    // rsnapshot without -H made two files of two names of one, and without -X lost the attribute.
    for path in ["same", "changing", "new", "sparse", "b\u{1}d name"] as [ByteString] where more != "" || path != "same"
    {
      #expect(stored.inodes[path] == newest.inodes[path] && stored.inodes[path] != nil, "\(path)")
    }
    let again = try world.snapshot()
    #expect(again.filesCopied == 0)
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("the last tree of another host, and of a source that is backed up no longer, is held")
  func lastOfAnotherHost() throws {
    let world = try world()
    let trees = Tree(world.directory.path / "rs")
    for (number, hosts) in [(3, ["web01/etc", "db/var/lib"]), (2, ["web01/etc"]), (1, []), (0, [])] {
      for path in ["localhost\(world.source.root)"] + hosts + (number == 2 ? ["localhost/opt"] : []) {
        try tool("mkdir", ["-p", trees.root / ByteString("hourly.\(number)") / ByteString(path)])
      }
      try tool("touch", ["-d", ByteString("\(number + 1) days ago"), trees.root / ByteString("hourly.\(number)")])
    }
    try Tree(world.directory.path).write(
      "c.toml", "repository = \"\(world.repository.root)\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    let file: [ByteString] = ["-c", world.directory.path / "c.toml"]
    let result = try world.treering(["import", "snapshots", trees.root] + file)
    #expect(result.status == 0, "\(result.errorText)")
    let names = try world.snapshotNames()
    #expect(
      result.outputText.contains(
        "\(names[0]) is held, as the last of db; let it go with: treering release \(names[0])"), "\(result.outputText)")
    #expect(result.outputText.contains("\(names[1]) is held, as the last of /opt, web01"), "\(result.outputText)")
    let marks = Tree(world.repository.root / ".treering/held")
    #expect(try marks.names() == Array(names.prefix(2)))
    #expect(try world.treering(["release", names[0], names[1]]).status == 0)
    // They are the newest of their sources, held or not.
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.snapshotNames() == [names[0], names[1], names[3]])
    let restored = try world.treering(["restore", "latest", "web01/etc", "--to", world.directory.path / "out"])
    #expect(restored.status == 0, "\(restored.errorText)")
    #expect(try world.treering(["delete", "--yes", names[0]]).status == 0)
    #expect(try world.snapshotNames() == [names[1], names[3]])
  }

  @Test("the newest tree of every host is its newest snapshot by the configuration, and never expires")
  func hosts() throws {
    let world = try world()
    let trees = Tree(world.directory.path / "rs")
    for (number, paths) in [
      (2, ["web01/var/www", "web01/etc", "db/etc"]), (1, ["web01/var/www", "web01/etc"]), (0, ["db/srv"]),
    ] {
      for path in paths { try tool("mkdir", ["-p", trees.root / ByteString("hourly.\(number)") / ByteString(path)]) }
      try tool("touch", ["-d", ByteString("\(number + 1) days ago"), trees.root / ByteString("hourly.\(number)")])
    }
    let sources = [("web01", "/var/www"), ("web01", "/etc"), ("db", "/etc")].map {
      "[[source]]\nhost = \"root@\($0)\"\npath = \"\($1)\"\n"
    }
    try Tree(world.directory.path).write("c.toml", "repository = \"\(world.repository.root)\"\n" + sources.joined())
    let file: [ByteString] = ["-c", world.directory.path / "c.toml"]
    // Without a source of this machine, no tree needs its label.
    let result = try world.treering(["import", "snapshots", trees.root] + file)
    #expect(result.status == 0, "\(result.errorText)")
    let names = try world.snapshotNames()
    #expect(names.count == 3)
    // Only the directory that is no source any more is held.
    #expect(try Tree(world.repository.root / ".treering/held").names() == [names[2]], "\(result.outputText)")
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.snapshotNames() == names)
    #expect(try world.treering(["release", names[2]]).status == 0)
    try tool("mkdir", ["-p", trees.root / "hourly.0/db/etc"])
    try tool("touch", ["-d", "1 hour ago", trees.root / "hourly.0"])
    #expect(try world.treering(["import", "snapshots", trees.root] + file).status == 0)
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    // A newer tree has db's source, and nothing newer has those of web01.
    #expect(try world.snapshotNames().contains(names[1]) && !world.snapshotNames().contains(names[0]))
  }

  @Test("adopted snapshots expire, and are recycled, like others")
  func rotated() throws {
    let world = try world()
    try history(world)
    _ = try adopt(world)
    try world.snapshot()
    let rotated = try world.treering(["rotate", "--keep-last", "2"])
    #expect(rotated.status == 0, "\(rotated.errorText)")
    #expect(try world.snapshotNames().count == 2)
    #expect(try world.repository.names(".treering/spare").count == 1)
    world.provesOlderUnchanged = true
    try world.expectFaithful(try world.snapshot())
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("a tree with several labels is adopted whole; each label can be restored")
  func labels() throws {
    let world = try world()
    try world.source.write("file", "mine")
    try rsnapshot(world, "hourly", at: 5)
    let tree = world.directory.path / "rs/hourly.0"
    try tool("sh", ["-c", "mkdir -p web01/srv; echo theirs > web01/srv/file"], in: tree)
    try tool("touch", ["-d", "5 hours ago", tree])
    _ = try adopt(world)
    #expect(try world.treering(["verify"]).status == 0)
    let back = Tree(world.directory.path / "back")
    #expect(try world.treering(["restore", "latest", "web01/srv/file", "--to", back.root]).status == 0)
    #expect(try tool("cat", [back.root / "srv/file"]) == Array("theirs\n".utf8))
    try world.expectRefusal(
      ["restore", "latest", "web01/srv", "localhost" + world.source.root, "--to", world.directory.path / "other"],
      status: 2, naming: "different labels")
    // Paths below another label are printed in the form that commands take.
    let adopted = try world.snapshotNames()[0]
    let stored = Tree(world.repository.root / adopted / "web01/srv")
    try stored.write("file", "changed")
    let verified = try world.treering(["verify"])
    #expect(verified.status == 6 && verified.outputText.contains(" web01/srv/file: "), "\(verified.outputText)")
    let own = try world.snapshot()
    let compared = try world.treering(["diff", adopted, own.name])
    #expect(compared.changeLines.contains("- web01/srv/file"), "\(compared.outputText)")
    try world.expectRefusal(
      ["restore", "latest", "--to", world.directory.path / "whole"], status: 4, naming: "lacks web01/srv")
  }

  @Test("without localhost the label must be named, or be the configuration's")
  func otherLabels() throws {
    let world = try world()
    try world.source.write("file", "mine")
    try rsnapshot(world, "hourly", at: 5)
    let tree = world.directory.path / "rs/hourly.0"
    try tool("sh", ["-c", "mv localhost web01; mkdir web02; touch -d '5 hours ago' ."], in: tree)
    for options in [[], ["--dry-run"]] as [[ByteString]] {
      let refused = try adopt(world, with: options, status: 3)
      #expect(refused.trees[0].error?.contains("--label") == true)
    }
    #expect(try world.snapshotNames() == [])
    try Tree(world.directory.path).write(
      "c.toml",
      "repository = \"\(world.repository.root)/\"\nlabel = \"web01\"\n[[source]]\npath = \"\(world.source.root)\"\n")
    let result = try world.treering(
      ["import", "snapshots", world.directory.path / "rs", "-c", world.directory.path / "c.toml"], inRepository: false)
    #expect(
      result.status == 0 && result.outputText.contains("beside their label the trees hold web02"), "\(result.errorText)"
    )
    #expect(try world.treering(["list", "--json"]).outputText.contains(world.source.root.description))
    let whole = try world.treering(["restore", "latest", "--to", world.directory.path / "back"])
    #expect(whole.status == 1 && whole.errorText.contains("web02: this label is not restored"))
  }

  @Test("what cannot be adopted ends it: what comes after would keep it out for ever")
  func notAdopted() throws {
    let world = try world()
    try history(world)
    let trees = Tree(world.directory.path / "rs")
    try tool(
      "sh", ["-c", "mkdir .sync _delete.12 daily.x photos.2019 && touch weekly.0 && ln -s hourly.0 hourly.9"],
      in: trees.root)
    let others = [".sync", "_delete.12", "daily.x", "photos.2019", "hourly.9", "weekly.0"]
    try tool("touch", ["-d", "tomorrow", trees.root / "hourly.1"])
    let answer = try adopt(world, status: 1)
    #expect(answer.trees.map(\.tree) == ["daily.0", "hourly.2", "hourly.0", "hourly.1"])
    #expect(answer.trees.map { $0.snapshot == nil } == [false, false, false, true])
    #expect(answer.trees[3].error?.contains("from the future") == true)
    // What is older than the newest snapshot comes too late.
    try tool("touch", ["-d", "90 hours ago", trees.root / "hourly.1"])
    let late = try adopt(world, status: 3)
    #expect(late.trees.map { $0.error?.contains("older than the newest snapshot") } == [true])
    #expect(try world.snapshotNames().count == 3)
    #expect(try Set(trees.names().map(\.description)) == Set(others + ["hourly.1"]))
    #expect(try world.treering(["status", "--json"]).status == 1)
    try tool("mv", [trees.root / "hourly.1", trees.root / "often.0"])
    try tool("touch", [trees.root / "often.0"])
    #expect(try adopt(world, with: ["--level", "often"]).trees.map(\.tree) == ["often.0"])
  }

  @Test(
    "a tree that changes while it is read, is moved, or has something mounted in it is not adopted",
    arguments: [
      "sleep 1; touch hourly.0/localhost/huge/new", "sleep 1; mv hourly.0 hourly.1; mkdir hourly.0",
      "mount --bind hourly.0/localhost hourly.0/localhost",
    ])
  func changing(_ change: String) throws {
    let world = try world()
    try world.source.write("file", "text")
    try rsnapshot(world, "hourly", at: 5)
    let trees = world.directory.path / "rs"
    let slow = Tree(trees / "hourly.0/localhost")
    try slow.makeDirectory("huge")
    try slow.makeSlowFile("huge/hole", mebibytes: 4 << 10)
    let running = try RunningCommand("sh", ["-c", ByteString(change)], in: trees)
    defer { _ = try? runCommand("umount", [trees / "hourly.0/localhost"]) }
    if change.hasPrefix("mount") { #expect(try running.wait().status == 0) }
    // The kernel's answer comes late, as if there were much to make durable.
    let result = try runCommand(
      "strace",
      [
        "-f", "-o", "/dev/null", "-e", "trace=syncfs,renameat2", "-e", "inject=syncfs:delay_enter=3000000",
        try treeringBinary(), "import", "snapshots", trees, "-r", world.repository.root,
      ])
    #expect(result.status == 3, "\(result.errorText)")
    #expect(result.errorText.contains("not adopted, and stays where it is"))
    #expect(try world.snapshotNames() == [])
    #expect(Tree(trees).exists("hourly.0"))
    #expect(try world.repository.names(".treering/pending") == [])
  }

  @Test("another file system, no trees, and a directory that is not there are refused")
  func refusals() throws {
    let world = try world()
    try history(world)
    let other = try LoopFileSystem("tmpfs", mebibytes: 16, at: world.directory.path / "other")
    let repository = other.tree.root / "repository"
    try tool(try treeringBinary(), ["init", repository])
    let result = try world.treering(
      ["import", "snapshots", world.directory.path / "rs", "-r", repository], inRepository: false)
    #expect(result.status == 2 && result.errorText.contains("another file system"), "\(result.errorText)")
    #expect(try Tree(world.directory.path / "rs").names().count == 4)
    try world.expectRefusal(["import", "snapshots", "/etc"], status: 2, naming: "no snapshots of rsnapshot")
    try world.expectRefusal(["import", "snapshots", "/not/there"], status: 2, naming: "/not/there")
    try world.expectRefusal(["import", "snapshots", world.repository.root], status: 2, naming: "no snapshots")
  }

  @Test("what a crash leaves half done is completed or undone by the next run")
  func crash() throws {
    let world = try world()
    try history(world)
    let answer = try adopt(world)
    let newest = ByteString(try #require(answer.trees.last?.snapshot))
    let catalogs = world.repository.root / ".treering/catalogs"
    let pending = world.repository.root / ".treering/pending"
    // Between the two renames.
    try tool("mv", [catalogs / (newest + ".catalog"), pending])
    #expect(try world.treering(["list"]).status == 6)
    try world.snapshot()
    #expect(try world.treering(["verify"]).status == 0)
    #expect(try world.snapshotNames().count == 5)
    // Before both: the tree is where it was.
    try tool(
      "sh",
      ["-c", "cp -a \"$0\" \"$1\"; touch \"$1\"", world.repository.root / newest, world.directory.path / "rs/hourly.0"])
    try tool("cp", [catalogs / (newest + ".catalog"), pending / "2030-01-01T00-00-00Z.catalog"])
    #expect(try adopt(world).trees.count == 1)
    #expect(try Tree(pending).names() == [])
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("SIGTERM ends it; what was adopted stays, and the next one goes on")
  func terminated() throws {
    let world = try world()
    try world.source.write("file", "small")
    try rsnapshot(world, "hourly", at: 5)
    try world.source.makeSlowFile("huge", mebibytes: 24 << 10)
    try tool("cp", ["-al", "hourly.0", "hourly.1"], in: world.directory.path / "rs")
    try tool("touch", ["-d", "6 hours ago", "hourly.1"], in: world.directory.path / "rs")
    let tree = world.directory.path / "rs/hourly.0"
    try tool("cp", ["--sparse=always", "-a", world.source.root / "huge", tree / "localhost/huge"])
    try tool("touch", ["-d", "5 hours ago", tree])
    let running = try world.start(["import", "snapshots", world.directory.path / "rs"])
    let deadline = Date().addingTimeInterval(30)
    while try world.snapshotNames().isEmpty, Date() < deadline { usleep(10_000) }
    usleep(100_000)
    running.signal(SIGTERM)
    let result = try running.wait()
    #expect(result.status == 143, "\(result.errorText)")
    #expect(try world.snapshotNames().count == 1)
    #expect(try Tree(world.directory.path / "rs").names() == ["hourly.0"])
    #expect(try world.repository.names(".treering/pending") == [])
    try tool("rm", [tree / "localhost/huge"])
    try tool("touch", ["-d", "5 hours ago", tree])
    #expect(try adopt(world).trees.map(\.tree) == ["hourly.0"])
    #expect(try world.treering(["verify"]).status == 0)
  }
}

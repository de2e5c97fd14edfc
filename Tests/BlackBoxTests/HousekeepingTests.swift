import TestSupport
import Testing

/// What is on its way out, or was left behind, never stops a snapshot.
@Suite("Housekeeping", .waits)
struct HousekeepingTests {
  /// A repository on an ext4 of its own, with so many snapshots that differ in one file.
  private struct Place {
    let world: World
    let disk: LoopFileSystem
    var repository: Tree { Tree(disk.tree.root / "repository") }
    var source: Tree { world.source }

    init(snapshots: Int) throws {
      world = try World(initialized: false)
      disk = try LoopFileSystem("ext4", mebibytes: 64, at: world.directory.path / "disk")
      #expect(try run(["init"]).status == 0)
      try world.source.write("same", "text")
      for number in 0..<snapshots {
        try world.source.write("changing", "\(number)")
        #expect(try run(["snapshot", world.source.root]).status == 0)
      }
    }

    func run(_ arguments: [ByteString]) throws -> CommandResult {
      try world.treering(arguments + ["-r", disk.tree.root / "repository"], inRepository: false)
    }

    func names() throws -> [ByteString] { try repository.names().filter { $0.hasPrefix("20") } }

    /// Only files and directories have the attribute.
    func makeMutable() throws {
      try tool("find", [repository.root, "-type", "f,d", "-exec", "chattr", "-i", "{}", "+"])
    }

    func tree(_ name: ByteString) -> ByteString { repository.root / name / "localhost" / source.root }

    /// A snapshot must be taken, with a warning at most, and be right.
    func expectSnapshot(status: Int32, naming: String = "", at location: SourceLocation = #_sourceLocation) throws {
      let result = try run(["snapshot", source.root])
      #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
      #expect(result.errorText.contains(naming), "\(result.errorText)", sourceLocation: location)
      #expect(try differences(source.root, tree(try #require(names().last))) == [], sourceLocation: location)
    }
  }

  @Test("an immutable file in the spare: the spare is set aside, named, and the snapshot is made without it")
  func immutableFile() throws {
    let place = try Place(snapshots: 2)
    let oldest = try place.names()[0]
    try tool("chattr", ["+i", place.tree(oldest) / "changing"])
    defer { try? place.makeMutable() }
    #expect(try place.run(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try place.repository.names(".treering/spare").count == 1)
    try place.expectSnapshot(status: 1, naming: "spare: cannot be recycled")
    #expect(try place.repository.names(".treering/pending") == [])
    // What is in the trash stays there, and is named.
    try place.expectSnapshot(status: 1, naming: "trash")
    try place.makeMutable()
    try place.expectSnapshot(status: 0)
    try place.expectSnapshot(status: 0)
    #expect(try place.repository.names(".treering/trash") == [])
    #expect(try place.run(["verify"]).status == 0)
  }

  @Test("an immutable tree cannot expire: it stays a snapshot, is named, and the others go")
  func immutableTree() throws {
    let place = try Place(snapshots: 3)
    let names = try place.names()
    try tool("chattr", ["-R", "+i", place.repository.root / names[1]])
    defer { try? place.makeMutable() }
    let result = try place.run(["rotate", "--keep-last", "1"])
    #expect(result.status == 1)
    #expect(result.errorText.contains(names[1].text))
    #expect(try place.names() == [names[1], names[2]])
    // The oldest one's tree shares an inode with it.
    try place.expectSnapshot(status: 1, naming: "trash")
    #expect(try place.run(["list"]).status == 0)
    #expect(try place.run(["verify"]).status == 0)
    try place.makeMutable()
    #expect(try place.run(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try place.names().count == 1)
  }

  @Test("a snapshot that is mounted over itself cannot expire, and hinders nothing")
  func mountedSnapshot() throws {
    let place = try Place(snapshots: 2)
    let oldest = try place.names()[0]
    let point = place.repository.root / oldest
    try tool("mount", ["--bind", point, point])
    defer { _ = try? runCommand("umount", ["-l", point]) }
    let result = try place.run(["rotate", "--keep-last", "1"])
    #expect(result.status == 1)
    #expect(result.errorText.contains("unmount"))
    try place.expectSnapshot(status: 0)
    try tool("umount", [point])
    #expect(try place.run(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try place.names().count == 1)
  }

  @Test("a second copy of a catalog in pending is dropped; one whose published copy is damaged takes its place")
  func copiedCatalog() throws {
    let place = try Place(snapshots: 1)
    let name = try place.names()[0]
    let catalog = place.repository.root / ".treering/catalogs" / (name + ".catalog")
    let copy = place.repository.root / ".treering/pending" / (name + ".catalog")
    try tool("cp", ["-a", catalog, copy])
    try place.expectSnapshot(status: 0)
    #expect(try place.repository.names(".treering/pending") == [])
    try tool("cp", ["-a", catalog, copy])
    try tool("truncate", ["-s", "100", catalog])
    try place.expectSnapshot(status: 0)
    #expect(try place.run(["verify"]).status == 0)
  }

  @Test("trash that is deeper than there are descriptors is deleted all the same")
  func deepTrash() throws {
    let place = try Place(snapshots: 1)
    var path: ByteString = place.repository.root / ".treering/trash/deep"
    for _ in 0..<400 { path = path / "d" }
    try tool("mkdir", ["-p", path])
    let result = try runCommand(
      "sh",
      [
        "-c", "ulimit -n 100; exec \"$@\"", "sh", try treeringBinary(), "snapshot", place.source.root, "-r",
        place.repository.root,
      ])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try place.repository.names(".treering/trash") == [])
  }

  @Test("a reader in an expired tree keeps what was there; when the reader is gone, the tree is recycled")
  func reader() throws {
    let world = try World()
    for number in 0..<20 { try world.source.write(ByteString("f\(number)"), "old") }
    let first = try world.snapshot()
    let old = world.tree(of: first).root
    let reader = try RunningCommand("sleep", ["100"], in: old)
    defer { reader.signal(9) }
    for number in 0..<20 { try world.source.write(ByteString("f\(number)"), "new") }
    try world.snapshot(of: nil, ["--accept-changes"])
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.repository.names(".treering/spare") == [first.name])
    try world.snapshot()
    let seen = Tree("/proc/\(reader.identifier)/cwd")
    for number in 0..<20 { #expect(try seen.text(ByteString("f\(number)")) == "old") }
    #expect(try world.repository.names(".treering/spare") == [first.name])
    reader.signal(9)
    _ = try? reader.wait()
    try world.snapshot()
    #expect(try world.repository.names(".treering/spare") == [])
  }

  @Test(
    "a mount that shows an expired tree keeps what was there, while nobody uses it too",
    arguments: [
      "mount --bind \"$1\" \"$2\"", "mount -t overlay o -o lowerdir=\"$1:$3\" \"$2\"",
      "mount -t overlay o -o lowerdir=\"$4:$3\" \"$2\"",
      // A mount that has no place any more.
      "mount --bind \"$1\" \"$2\"; cd \"$2/d\"; umount -l \"$2\"",
    ], [false, true])
  func mount(_ script: ByteString, isElsewhere: Bool) throws {
    let world = try World(initialized: false)
    // A mount that has no place stands for any directory of its file system.
    try tool("mkdir", ["-p", world.repository.root])
    try tool("mount", ["-t", "tmpfs", "none", world.repository.root])
    defer { _ = try? runCommand("umount", ["-l", world.repository.root]) }
    #expect(try world.treering(["init", world.repository.root], inRepository: false).status == 0)
    try world.source.makeDirectory("d")
    for number in 0..<5 { try world.source.write(ByteString("d/f\(number)"), "old") }
    let first = try world.snapshot()
    let shown = try Tree(making: world.directory.path / "shown")
    let other = try Tree(making: world.directory.path / "other")
    let latest = world.repository.root / "latest/localhost" / world.source.root
    let ready = world.directory.path / "ready"
    let waiting = script + "; echo > \"$5\"; exec sleep 100"
    let process = try RunningCommand(
      isElsewhere ? "unshare" : "env",
      (isElsewhere ? ["-m"] : []) + [
        "sh", "-c", waiting, "sh", world.tree(of: first).root, shown.root, other.root, latest, ready,
      ])
    defer {
      process.signal(9)
      _ = try? runCommand("umount", ["-l", shown.root])
    }
    while !Tree(world.directory.path).exists("ready") { try tool("sleep", ["0.02"]) }
    for number in 0..<5 { try world.source.write(ByteString("d/f\(number)"), "new") }
    try world.snapshot(of: nil, ["--accept-changes"])
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.repository.names(".treering/spare") == [first.name])
    try world.snapshot()
    #expect(try world.repository.names(".treering/spare") == [first.name])
    process.signal(9)
    _ = try? process.wait()
    _ = try? runCommand("umount", [shown.root])
    // A test beside this one may have a mount namespace with a copy of the mount, for as long as it runs.
    for _ in 0..<50 {
      try world.snapshot()
      if try world.repository.names(".treering/spare").isEmpty { break }
      try tool("sleep", ["0.2"])
    }
    #expect(try world.repository.names(".treering/spare") == [])
  }

  /// A world whose only spare is read by a process of its own, and what that process has open or works in.
  private func worldWithReader(_ script: ByteString) throws -> (World, RunningCommand) {
    let world = try World()
    try world.source.write("f", "old")
    let first = try world.snapshot()
    let reader = try RunningCommand("sh", ["-c", script], in: world.tree(of: first).root)
    try world.source.write("f", "new")
    try world.snapshot(of: nil, ["--accept-changes"])
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.repository.names(".treering/spare") == [first.name])
    return (world, reader)
  }

  @Test(
    "a process that could not be looked at is a reader",
    arguments: [
      ("fd", "exec 9<.; cd /; exec sleep 100", "EMFILE"), ("fd", "exec 9<.; cd /; exec sleep 100", "ENOMEM"),
      ("fd/9", "exec 9<.; cd /; exec sleep 100", "EMFILE"), ("task/PID/cwd", "exec sleep 100", "ENFILE"),
      ("task", "exec sleep 100", "ENFILE"),
    ])
  func unknownReader(_ place: String, _ script: ByteString, _ error: String) throws {
    let (world, reader) = try worldWithReader(script)
    defer { reader.signal(9) }
    let path = "/proc/\(reader.identifier)/\(place.replacing("PID", with: "\(reader.identifier)"))"
    let (result, _) = try world.snapshotWithFailingCalls(["openat:error=\(error)"], on: [ByteString(path)])
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.repository.names(".treering/spare").count == 1)
  }

  @Test("where proc(5) hides the processes of others, a repository that is open to them is not recycled")
  func hiddenReader() throws {
    let (world, reader) = try worldWithReader("exec sleep 100")
    defer { reader.signal(9) }
    try tool("chown", ["-hR", "65534:65534", world.repository.root, world.source.root])
    try tool("chmod", ["755", world.directory.path, world.repository.root])
    let copy = world.directory.path / "treering"
    try tool("install", ["-m", "755", try treeringBinary(), copy])
    func take() throws -> CommandResult {
      try runCommand(
        "unshare",
        [
          "-m", "sh", "-c", "mount -t proc -o hidepid=invisible proc /proc && exec \"$@\"", "sh", "setpriv", "--reuid",
          "65534", "--regid", "65534", "--clear-groups", copy, "snapshot", world.source.root, "-r",
          world.repository.root,
        ])
    }
    let result = try take()
    #expect(result.status == 0, "\(result.errorText)")
    #expect(try world.repository.names(".treering/spare").count == 1)
    // Nobody else gets in here, so nobody else need be looked at.
    try tool("chmod", ["700", world.repository.root])
    let closed = try take()
    #expect(closed.status == 0, "\(closed.errorText)")
    #expect(try world.repository.names(".treering/spare") == [])
  }

  @Test("a file that was repaired by hand in the newest snapshot stays repaired when a spare is recycled")
  func manualRepair() throws {
    let world = try World()
    try world.source.write("f", "right")
    try world.source.write("other", "1")
    try world.settle()
    try world.snapshot()
    try world.source.write("other", "2")
    try world.settle()
    let second = try world.snapshot()
    // Both share the inode, whose bytes change on the disk.
    let stored = world.tree(of: second)
    try tool("touch", ["-r", stored.root / "f", world.directory.path / "time"])
    try stored.overwrite("f", bytes: Array("WRONG".utf8))
    try tool("touch", ["-r", world.directory.path / "time", stored.root / "f"])
    try tool("cp", ["-a", "--remove-destination", world.source.root / "f", stored.root / "f"])
    try tool("touch", ["-r", world.source.root, stored.root])
    world.provesOlderUnchanged = false
    #expect(try world.treering(["verify", "latest"]).status == 0)
    #expect(try world.treering(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try world.repository.names(".treering/spare").count == 1)
    let third = try world.snapshot()
    #expect(try world.tree(of: third).text("f") == "right")
    #expect(try world.treering(["verify"]).status == 0)
  }

  @Test("a history that cannot be written is a warning, and status 1")
  func historyRefused() throws {
    let world = try World()
    try world.source.write("f", "1")
    try world.snapshot()
    try world.source.write("f", "2")
    let history = world.repository.root / ".treering/history.jsonl"
    try tool("chattr", ["+i", history])
    defer { _ = try? tool("chattr", ["-i", history]) }
    for command in [["snapshot", world.source.root], ["rotate", "--keep-last", "5"], ["verify"]] as [[ByteString]] {
      let result = try world.treering(command)
      #expect(result.status == 1 && result.errorText.contains("record the run in the history"), "\(result.errorText)")
    }
  }
}

import TestSupport
import Testing

/// A snapshot that is made of an expired one is the same as one made by linking.
@Suite("Recycling", .waits)
struct RecyclingTests {
  /// The inodes of all snapshots of a repository, numbered in the order in which they appear: what shares an
  /// inode with what.
  private func sharing(_ world: World) throws -> [String] {
    var numbers: [UInt64: Int] = [:]
    var lines: [String] = []
    for (place, name) in try world.snapshotNames().enumerated() {
      let listing = try TreeListing(world.repository.root / name)
      for path in listing.paths where listing.entries[path]!.kind != "d" {
        let inode = listing.inodes[path]!
        let number = numbers[inode] ?? numbers.count
        numbers[inode] = number
        // The two are taken one after the other; their sources have different paths.
        let parts = path.bytes.split(separator: UInt8(ascii: "/")).dropFirst(4)
        lines.append("\(place) \(ByteString(parts.joined(separator: [47]))): \(number)")
      }
    }
    return lines
  }

  @Test(
    "random histories: recycling and linking give the same trees, and the same sharing of inodes",
    arguments: sample(1, of: [11, 12, 13, 14] as [UInt64]))
  func sameAsLinking(seed: UInt64) throws {
    let world = try World("recycling")
    world.provesOlderUnchanged = false
    var editor = RandomEditor(world.source, seed: seed)
    for _ in 0..<30 { try editor.edit() }
    let linking = try World("linking")
    linking.provesOlderUnchanged = false
    var recycled = 0
    for step in 0..<7 {
      try world.settle()
      // Both see the source at one moment, so that their dated directories have the same names.
      let time = ByteString("2026-01-0\(step + 1) 12:00:00")
      func take(_ world: World, _ source: ByteString) throws {
        let options: [ByteString] = ["snapshot", source, "--threads", "2", "-r", world.repository.root]
        let result = try runCommand(
          "faketime", ["-f", time, try treeringBinary()] + options,
          environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"])
        #expect(result.status == 0, "\(result.errorText)")
      }
      if try !world.repository.names(".treering/spare").isEmpty { recycled += 1 }
      try take(world, world.source.root)
      try take(linking, world.source.root)
      let different = try differences(
        world.source.root, world.repository.root / "latest/localhost" / world.source.root)
      #expect(different == [], "seed \(seed), step \(step)")
      let (a, b) = try (sharing(world), sharing(linking))
      #expect(a == b, "seed \(seed), step \(step)")
      let keep: [ByteString] = ["--keep-last", "3"]
      let now = ByteString("2026-01-0\(step + 1) 13:00:00")
      for (world, options) in [(world, keep), (linking, keep + ["--no-spare"])] {
        let result = try runCommand(
          "faketime", ["-f", now, try treeringBinary(), "rotate", "-r", world.repository.root] + options,
          environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"])
        #expect(result.status == 0, "\(result.errorText)")
      }
      #expect(try world.snapshotNames().count == linking.snapshotNames().count)
      #expect(try linking.repository.names(".treering/spare") == [])
      for _ in 0..<8 { try editor.edit() }
    }
    #expect(recycled == 3)
    #expect(try world.treering(["verify"]).status == 0)
    #expect(try world.treering(["list", "--json"]).decoded([ListAnswer].self).count == 3)
  }

  /// A repository with one snapshot and a spare of the one before, and a changed source.
  private func worldWithSpare() throws -> (World, Tree) {
    let world = try World()
    try world.source.makeEverything()
    try world.source.makeDirectory("d")
    try world.source.makeDirectory("d/e")
    try world.source.write("d/e/f", "deep")
    try world.settle()
    try world.snapshot()
    try world.source.write("d/second", "second")
    try world.snapshot()
    try world.treering(["rotate", "--keep-last", "1"])
    let spare = Tree(world.repository.root / ".treering/spare")
    let names = try spare.names()
    #expect(names.count == 1)
    try world.source.write("d/third", "third")
    return (world, Tree(spare.root / names[0] / "localhost" / world.source.root))
  }

  private func expectGood(_ world: World) throws {
    let snapshot = try world.snapshot()
    try world.expectFaithful(snapshot)
    #expect(try world.treering(["verify"]).status == 0)
    #expect(try world.repository.names(".treering/trash") == [])
    #expect(try world.repository.names(".treering/pending") == [])
  }

  @Test(
    "a spare that somebody tampered with gives a correct snapshot",
    arguments: [
      "rm -rf d", "find . -type f | sed -n '1~2p' | xargs -d '\\n' rm -f", "rm -rf d; ln -s / d",
      "for f in *; do rm -rf \"$f\"; mkdir \"$f\"; echo x > \"$f/x\"; done",
      "for f in $(find . -type f); do rm -f \"$f\"; ln -s /etc/passwd \"$f\"; done",
      "chmod 0 d d/e; chown 1:1 d; setfattr -n user.x -v y d; setfacl -d -m u:7:rwx d; touch -d 2000-01-01 d",
      "for f in $(find . -type f); do cp --remove-destination -p /etc/hostname \"$f\"; done",
      "mkdir -p zzz/y; mknod zzz/null c 1 3; ln -s .. zzz/y/up; printf x > $'new\\nline'", "rm -rf d/e; echo now > d/e",
    ])
  func tampered(_ script: ByteString) throws {
    let (world, spare) = try worldWithSpare()
    try tool("bash", ["-c", script], in: spare.root)
    try expectGood(world)
  }

  @Test(
    "a directory of the spare that cannot be listed is never part of a snapshot",
    arguments: [8, 12, 14, 16, 18, 20, 22, 24, 28])
  func unlistable(_ nth: Int) throws {
    let (world, _) = try worldWithSpare()
    let result = try runCommand(
      "strace",
      [
        "-f", "-o", "/dev/null", "-e", "trace=getdents64", "-e",
        ByteString("inject=getdents64:error=EACCES:when=\(nth)"),
        try treeringBinary(), "snapshot", world.source.root, "--threads", "1", "-r", world.repository.root,
      ])
    #expect([0, 1, 3].contains(result.status), "\(result.errorText)")
    let verified = try world.treering(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
  }

  @Test("whoever owned a directory before cannot look into it before it is complete")
  func formerOwner() throws {
    let (world, spare) = try worldWithSpare()
    try tool("chown", ["65534", spare.root / "d"])
    try world.source.write("d/secret", "secret")
    let log = world.directory.path / "calls"
    try tool(
      "strace",
      [
        "-f", "-o", log, "-e", "trace=fchown,fchownat,openat", try treeringBinary(), "snapshot", world.source.root,
        "--threads",
        "1", "-r", world.repository.root,
      ])
    let lines = String(decoding: try tool("cat", [log]), as: UTF8.self).split(separator: "\n")
    let owned = try #require(lines.firstIndex { $0.contains("fchown") && $0.contains(", 0, 0") })
    let made = try #require(lines.firstIndex { $0.contains("\"secret\"") && $0.contains("O_CREAT") })
    #expect(owned < made)
    #expect(try differences(world.source.root, world.repository.root / "latest/localhost" / world.source.root) == [])
  }

  @Test(
    "a spare that is no directory, or has no tree in it, gives a correct snapshot",
    arguments: [
      "rm -rf 2*", "n=$(ls); rm -rf 2*; ln -s / $n", "n=$(ls); rm -rf 2*; echo x > $n", "mv 2* strange",
      "rm -rf 2*/*", "rm -rf 2*/localhost; ln -s /etc $(ls)/localhost", "chown 1:1 2*", "mkdir 2000-01-01T00-00-00Z",
      "rm -rf ../spare",
    ])
  func replaced(_ script: ByteString) throws {
    let (world, _) = try worldWithSpare()
    try tool("bash", ["-c", script], in: world.repository.root / ".treering/spare")
    try expectGood(world)
  }

  @Test("another source and another label are no trouble for the spare")
  func otherSource() throws {
    let (world, _) = try worldWithSpare()
    let other = try Tree(making: world.directory.path / "other")
    try other.makeDirectory("a")
    try other.write("a/b", "other")
    let snapshot = try world.snapshot(of: [other.root])
    try world.expectFaithful(snapshot, other.root)
    let listing = try TreeListing(world.repository.root / snapshot.name / "localhost" / world.directory.path)
    #expect(!listing.paths.contains("source"))
  }

  @Test("an ordinary user's closed directories are opened and closed again")
  func ordinaryUser() throws {
    let world = try World(initialized: false)
    for directory in ["closed", "closed/in", "open"] as [ByteString] { try world.source.makeDirectory(directory) }
    try world.source.write("closed/in/file", "x")
    try world.source.write("open/file", "y")
    try tool("chmod", ["-R", "0555", world.source.root / "closed"])
    try tool("chown", ["-R", "65534:65534", world.source.root, world.directory.path])
    try tool("chmod", ["755", world.directory.path])
    for command: [ByteString] in [
      ["init"], ["snapshot", world.source.root], ["snapshot", world.source.root], ["rotate", "--keep-last", "1"],
    ] {
      let result = try world.treeringAsOrdinaryUser(command)
      #expect(result.status == 0, "\(result.errorText)")
    }
    try tool(
      "sh",
      [
        "-c",
        "chmod 755 closed/in; echo z > closed/in/new; rm -r open; chmod 555 closed/in; chown 65534:65534 closed/in/new",
      ],
      in: world.source.root)
    let result = try world.treeringAsOrdinaryUser(["snapshot", world.source.root, "--json"])
    #expect(result.status == 0, "\(result.errorText)")
    // Its name may be that of the expired one, and not the highest.
    let newest = try result.decoded(SnapshotAnswer.self).name
    let stored = world.repository.root / newest / "localhost" / world.source.root
    #expect(try differences(world.source.root, stored) == [])
    #expect(try world.repository.names(".treering/trash") == [])
  }

  @Test(
    "an expired tree whose own directory makes trouble is set aside, and the snapshot is made without it",
    arguments: [
      "flistxattr:error=EIO", "flistxattr:error=EUCLEAN", "getdents64:error=EIO", "fchmod:error=EPERM:when=1",
    ])
  func rootInTrouble(_ call: String) throws {
    let (world, _) = try worldWithSpare()
    let spare = world.repository.root / ".treering/spare"
    let (result, log) = try world.snapshotWithFailingCalls(
      [call], on: [spare / (try #require(try Tree(spare).names().first)), world.pendingTree])
    #expect(log.contains { $0.contains("INJECTED") }, "\(log)")
    #expect(result.status == 1, "\(result.errorText)")
    #expect(result.errorText.contains("spare: cannot be recycled, and is set aside"), "\(result.errorText)")
    #expect(
      try differences(
        world.source.root, world.repository.root / World.timeOfFailingCalls / "localhost" / world.source.root)
        == [])
    for place: ByteString in ["spare", "pending", "trash"] {
      #expect(try world.repository.names(".treering" / place) == [])
    }
    let verified = try world.treering(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
  }

  @Test("the label that a security module gave a directory stays, and is no damage")
  func securityLabel() throws {
    let (world, spare) = try worldWithSpare()
    let top = world.repository.root / ".treering/spare"
    let label = ["setfattr", "-n", "security.selinux", "-v", "unconfined_u:object_r:default_t:s0"] as [ByteString]
    try tool("find", [top, "-mindepth", "1", "-type", "d", "-exec"] + label + ["{}", "+"])
    try tool("setfattr", ["-n", "user.old", "-v", "x", top / (try #require(try Tree(top).names().first))])
    let inode = try tool("stat", ["-c", "%i", spare.root / "d"])
    let log = world.directory.path / "calls"
    let result = try runCommand(
      "strace",
      [
        "-f", "-qq", "-o", log, "-e", "trace=fremovexattr", try treeringBinary(), "snapshot", world.source.root, "-r",
        world.repository.root,
      ])
    #expect(result.status == 0, "\(result.errorText)")
    let calls = try Tree(world.directory.path).text("calls")
    #expect(calls.contains("user.old") && !calls.contains("security."), "\(calls)")
    let stored = Tree(world.repository.root / "latest/localhost" / world.source.root)
    #expect(try tool("stat", ["-c", "%i", stored.root / "d"]) == inode)
    #expect(try contentHashes(stored.root) == contentHashes(world.source.root))
    let verified = try world.treering(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
  }
}

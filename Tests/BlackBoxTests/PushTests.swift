import Foundation
import TestSupport
import Testing

@Suite("push: what arrives is what was sent", .waits)
struct PushTests {
  private func change(_ source: Tree) throws {
    try source.append("text", "more\n")
    try source.rename("a", to: "renamed")
    try source.rename("large", to: "renamed/large")
    try source.setMode("one-byte", 0o4711)
    try source.setAttribute("attributes", "user.note", Array("other".utf8))
    try source.link("acl", as: "acl-too")
    try source.remove("linked-too")
    try source.write("new", "new")
  }

  @Test("everything that a tree can hold, to a path, and again when much has changed", arguments: [1, 4])
  func everything(threads: Int) throws {
    let push = try PushWorld()
    (push.ssh, push.address) = ("", push.far.root)
    let source = push.world.source
    try source.makeEverything()
    try source.write(ByteString([0x6E, 0x0A, 0xFF, 0xFE, 0x20, 0x5C]), "odd name")
    try source.write(ByteString(Array(repeating: 0xF0, count: 255)), "long name")
    var deep: ByteString = "deep"
    for _ in 0..<60 {
      try source.makeDirectory(deep)
      deep = deep / "deep"
    }
    try source.write(deep, "bottom")
    let first = try push.snapshot()
    let sent = try push.push()
    #expect(sent.result == "sent" && sent.snapshot == first.snapshot && sent.base == nil)
    try push.expectSame()
    for name: ByteString in ["hole-in-the-middle", "hole-at-the-end", "only-a-hole"] {
      let path = first.name / "localhost" / source.root / name
      #expect(try push.far.blocks(path) <= push.world.repository.blocks(path), "\(name)")
    }

    let second = try push.snapshot()
    let same = try push.push()
    #expect(same.base == first.snapshot && same.filesCopied == 0 && same.bytesSent < 5_000, "\(same)")
    try push.expectSame()

    try change(source)
    let third = try push.snapshot()
    let changed = try push.push()
    #expect(changed.base == second.snapshot && changed.snapshot == third.snapshot, "\(changed)")
    #expect(changed.bytesSent < 20_000, "\(changed)")
    // What is linked here between two snapshots is linked there.
    try push.expectSame()
    let stored = try TreeListing(push.far.root / third.name)
    let before = try TreeListing(push.far.root / second.name)
    let (here, hereBefore) = try (
      TreeListing(push.world.repository.root / third.name), TreeListing(push.world.repository.root / second.name)
    )
    for path in here.paths where here.entries[path]!.kind != "d" && here.inodes[path] == hereBefore.inodes[path] {
      #expect(stored.inodes[path] == before.inodes[path], "\(path) is not linked")
    }
    #expect(try push.push().result == "there")
    #expect(try push.names(push.far).count == 3)
    #expect(try push.far.text("latest/localhost" / source.root / "new") == "new")
  }

  @Test("to an ordinary user: what its owner may not read, twice the same, also after a push that was cut off")
  func lockedFiles() throws {
    let push = try PushWorld(initialized: false)
    let source = push.world.source
    for name in ["a", "b", "c"] as [ByteString] {
      try source.write(name, "the same")
      if name != "b" { try source.setMode(name, 0) }
    }
    try source.writeNoise("noise", 3_000_000)
    try source.setMode("noise", 0o200)
    try tool("chown", ["-R", "65534:65534", source.root])
    try push.snapshot()
    try tool("install", ["-m", "755", try treeringBinary(), push.place.root / "treering"])
    let far = try Tree(making: push.far.root)
    try tool("chown", ["65534:65534", far.root])
    let user = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \(push.place.root)/treering"
    try tool("sh", ["-c", ByteString("\(user) init \(far.root)")])
    try push.expectFailure(7, ssh: push.cut(after: 2_000_000), remoteCommand: "\(user) serve")
    #expect(try push.push(remoteCommand: "\(user) serve").result == "sent")
    for name in ["a", "b", "c", "noise"] as [ByteString] {
      let path = "latest/localhost" / source.root / name
      #expect(try far.read(path) == source.read(name))
      let modes = try [far.root / path, source.root / name].map { try tool("stat", ["-c", "%a", $0]) }
      #expect(modes[0] == modes[1])
    }
    // A change of a file that the server may not read is sent whole. Its old version is not damaged.
    try source.append("noise", "a change")
    try push.snapshot()
    let changed = try push.run(remoteCommand: "\(user) serve")
    #expect(changed.status == 0 && !changed.errorText.contains("damaged"), "\(changed.errorText)")
    #expect(try push.far.read("latest/localhost" / source.root / "noise") == source.read("noise"))
    // Nor is it when the client has only the base's catalog, and needs a signature of the server.
    try source.append("noise", "another change")
    try push.snapshot()
    let base = try push.names(push.world.repository).dropLast().last!
    #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0)
    try #require(!push.names(push.world.repository).contains(base))
    let sent = try push.run(remoteCommand: "\(user) serve")
    #expect(sent.status == 0 && !sent.errorText.contains("damaged"), "\(sent.errorText)")
    #expect(try push.far.read("latest/localhost" / source.root / "noise") == source.read("noise"))
  }

  @Test("what came for one user serves no other: a push goes on without it", arguments: [true, false])
  func otherUsersParts(rootIsFirst: Bool) throws {
    let push = try PushWorld(initialized: false)
    try push.world.source.writeNoise("noise", 3_000_000)
    try push.snapshot()
    try tool("install", ["-m", "755", try treeringBinary(), push.place.root / "treering"])
    let far = try Tree(making: push.far.root)
    try tool("chown", ["65534:65534", far.root])
    let root = "\(push.place.root)/treering"
    let user = "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs \(root)"
    try tool("sh", ["-c", ByteString("\(user) init \(far.root)")])
    let (first, second) = rootIsFirst ? (root, user) : (user, root)
    try push.expectFailure(7, ssh: push.cut(after: 2_000_000), remoteCommand: "\(first) serve")
    #expect(try far.names(".treering/pending").count == 1)
    let sent = try push.push(remoteCommand: "\(second) serve")
    #expect(sent.result == "sent" && sent.bytesSent > 3_000_000)
    #expect(try far.read("latest/localhost" / push.world.source.root / "noise") == push.world.source.read("noise"))
    // What the user could not delete goes with root's next run.
    let run = try runCommand(ByteString(root), ["snapshot", push.world.source.root, "-r", far.root])
    #expect(run.status == 0, "\(run.errorText)")
    #expect(try far.names(".treering/pending") == [] && far.names(".treering/trash") == [])
  }

  @Test("over ssh: as a URL, as scp has it, and by a name of the configuration; for root and for ordinary users")
  func overSSH() throws {
    let server = try SSHServer()
    let world = try World()
    world.provesOlderUnchanged = false
    let local = try PushWorld()
    let source = local.world.source
    try source.makeDirectory("d")
    try source.write("d/file", "text")
    try source.makeSymbolicLink("link", to: "d")
    try source.setOwner("d/file", user: 77, group: 78)
    try source.makeDevice("device", isBlock: false, major: 1, minor: 3)
    try source.writeNoise("noise", 300_000)
    let first = try local.snapshot()
    for user in try SSHServer.users() {
      let far = try Tree(making: world.directory.path / ByteString(user))
      try tool("chown", [ByteString(user), far.root])
      let made = try server.run("treering init" + " '" + far.root + "/repository'", as: user)
      #expect(made.status == 0, "\(made.errorText)")
      let repository = Tree(far.root / "repository")
      let url = ByteString("ssh://\(user)@127.0.0.1:\(server.port)\(repository.root)")
      let sent = try local.push(
        [], ssh: server.sshCommand(server.key, hasPort: false), to: url, remoteCommand: server.remoteCommand)
      #expect(sent.result == "sent" && sent.remote == url.text)
      try source.append("d/file", "more from \(user)")
      try local.snapshot()
      let scp = ByteString("\(user)@127.0.0.1:") + repository.root
      let second = try local.push([], ssh: server.sshCommand, to: scp, remoteCommand: server.remoteCommand)
      #expect(second.result == "sent" && second.base != nil && second.bytesSent < 5_000)
      try local.place.write(
        "c.toml",
        """
        repository = "\(local.world.repository.root)"
        [[source]]
        path = "\(source.root)"
        [remote.there]
        url = "ssh://\(user)@127.0.0.1:\(server.port)\(repository.root)"
        ssh = "\(server.sshCommand(server.key, hasPort: false))"

        """)
      try source.append("d/file", "and more")
      try local.snapshot()
      let third = try runCommand(try treeringBinary(), ["push", "there", "-v", "-c", local.place.root / "c.toml"])
      #expect(third.status == 0 && third.errorText == "" && third.outputText.contains("to there"), "\(third.errorText)")
      let verified = try server.run("treering verify -r '" + repository.root + "'", as: user)
      #expect(verified.status == 0, "\(verified.outputText)")
      let list = try server.run("treering list --json -r '" + repository.root + "'", as: user)
      #expect(try list.decoded([ListAnswer].self).count == 3)
      // What the user may not store is in the catalog.
      let to = far.root / "restored"
      #expect(try runCommand(server.binary, ["restore", "latest", "--to", to, "-r", repository.root]).status == 0)
      #expect(try differences(source.root, to / source.root) == [], "\(user)")
      if user == "root" {
        let tree = first.name / "localhost" / source.root
        #expect(try differences(local.world.repository.root / tree, repository.root / tree) == [])
      }
    }
  }

  @Test("a dry run says what would be sent, and sends nothing")
  func dryRun() throws {
    let push = try PushWorld()
    try push.world.source.writeNoise("file", 100_000)
    try push.snapshot()
    let first = try push.push(["--dry-run"])
    #expect(first.result == "would_send" && first.bytesSent < 1000)
    #expect(try push.names(push.far) == [])
    try push.expectSound()
    try push.push()
    #expect(try push.push(["--dry-run"]).result == "there")
    try push.world.source.append("file", "x")
    try push.snapshot()
    #expect(try push.push(["--dry-run"]).base != nil)
    #expect(try push.names(push.far).count == 1)
    #expect(try push.here(["status", "--json"]).outputText.contains("\"snapshot\""))
  }

  /// Every edit here is a shell command in the source; after each, a snapshot and a push.
  @Test(
    "renames, swaps, links and copies",
    arguments: [
      ["mv dir renamed"], ["mv dir/one dir/uno; mv dir/two two"], ["mv a x; mv b a; mv x b"],
      ["mv dir x; ln -s other dir", "rm dir; mv x dir"],
      ["rm -r dir; echo file > dir", "rm dir; mkdir dir; echo 1 > dir/one"],
      ["ln a a2; ln dir/one one", "cp -p a x; mv x a2", "rm a one"], ["ln a a2", "cp -p a x; mv x a", "rm a2"],
      ["cp -p a b; mv a c"], ["cp -p a c; cp -p a d; mv a b", "rm c"], ["cp -p a x; mv a y; cp -p x z; mv x b"],
      ["chmod 600 a; chown 5:6 b; touch -d 2001-01-01 dir/one; setfattr -n user.x -v 1 dir/two", "chmod 644 a"],
      ["cat a > x; cat b > a; cat x > b; rm x"], ["cp a y; cp b a; cp y b"],
      [
        "for i in 1 2 3 4 5 6 7 8; do cp a same$i; cp -p a dir/same$i; done",
        "for i in 1 2 3; do rm same$i; mv dir/same$i .; done",
      ],
      [
        "mkdir n; mv dir n/dir; mv other n/dir/sub; mv a n/dir/",
        "mv n/dir/sub/three .; mv n/dir/one n/dir/ein; mv n m",
      ],
      ["cp -a dir copy", "mv dir original; mv copy dir", "rm -r original"], ["cp -a dir copy; mv dir elsewhere"],
      ["mv dir x; mv other dir; mv x other"], ["mv dir other/; mv other/dir/one other/", "mv other/dir ."],
      ["ln a dir/a; ln -f a b; mv a c", "mv dir d2; ln c d2/c", "cp -p c x; mv x d2/a; rm b"],
      [
        "rm a; mkfifo a; rm b; ln -s a b; mknod c c 1 3", "mv a x; mv b a; mv x b",
        "ln b bb; ln a aa; cp -a aa x; mv x a",
      ],
      ["truncate -s 5M a; truncate -s 100 b", "truncate -s 0 a; mv b a2", "cat dir/* > a"],
      ["mv dir/one x; mv dir/two dir/one; mv x dir/two", "chmod 700 dir; mv dir e", "mkdir dir; mv e/* dir/; rmdir e"],
    ])
  func edits(_ steps: [ByteString]) throws {
    for recycles in sample(1, of: [false, true]) {
      let push = try PushWorld()
      let source = push.world.source
      for name: ByteString in ["dir", "other", "other/deep"] { try source.makeDirectory(name) }
      try source.writeNoise("a", 200_000, seed: 1)
      try source.writeNoise("b", 150_000, seed: 2)
      for name: ByteString in ["dir/one", "dir/two", "other/three", "other/deep/four"] {
        try source.write(name, "\(name)")
      }
      try push.snapshot()
      try push.push()
      if recycles {
        try source.write("other/five", "5")
        try push.snapshot()
        try push.push()
        try #require(push.there(["rotate", "--keep-last", "1"]).status == 0)
        #expect(try push.far.names(".treering/spare").count == 1)
      }
      for step in steps {
        try tool("sh", ["-c", "set -e; " + step], in: source.root)
        try push.snapshot(["--accept-changes"])
        try push.push()
        try push.expectSame()
        if recycles { try #require(push.there(["rotate", "--keep-last", "1"]).status == 0) }
      }
    }
  }

  @Test("a rename and a moved directory cost next to nothing")
  func cheapMoves() throws {
    let push = try PushWorld()
    let source = push.world.source
    try source.makeDirectory("photos")
    for index in 0..<30 { try source.writeNoise(ByteString("photos/\(index)"), 50_000, seed: index) }
    try source.writeNoise("film", 3_000_000, seed: 99)
    try push.snapshot()
    try push.push()
    try source.rename("photos", to: "pictures")
    try source.rename("film", to: "pictures/movie")
    try push.snapshot()
    let moved = try push.push()
    #expect(moved.bytesSent < 10_000 && moved.filesCopied == 0, "\(moved)")
    try push.expectSame()
    let (old, new) = try (push.names(push.far)[0], push.names(push.far)[1])
    let above = "localhost" / source.root
    #expect(try push.far.inode(old / above / "film") == push.far.inode(new / above / "pictures/movie"))
    #expect(try push.far.inode(old / above / "photos/3") == push.far.inode(new / above / "pictures/3"))
    // And what is renamed and changed is a delta.
    try source.rename("pictures/movie", to: "cinema")
    try source.overwrite("cinema", at: 1_500_000, bytes: Array("changed".utf8))
    try push.snapshot()
    let changed = try push.push()
    #expect(changed.bytesSent < 10_000, "\(changed)")
    try push.expectSame()
  }

  @Test(
    "random histories: every snapshot is there as it is here", arguments: sample(2, of: [1, 2, 3, 4, 5, 6] as [UInt64]))
  func history(seed: UInt64) throws {
    let push = try PushWorld("push-history")
    push.provesUnchanged = false
    var editor = RandomEditor(push.world.source, seed: seed)
    for _ in 0..<25 { try editor.edit() }
    var prints: [ByteString: Fingerprint] = [:]
    for step in 0..<6 {
      try push.snapshot(["--accept-changes"])
      // Some are skipped.
      if step == 3, seed % 2 == 0 { continue }
      try push.push()
      let newest = try #require(try push.names(push.far).last)
      let different = try push.different(newest)
      #expect(different == [], "seed \(seed), step \(step)")
      for (name, print) in prints where push.far.exists(name) {
        let now = try Fingerprint(push.far.root / name)
        #expect(print.differences(to: now) == [], "seed \(seed), step \(step), \(name)")
      }
      prints[newest] = try Fingerprint(push.far.root / newest)
      if seed % 3 != 0 {
        let rotated = try push.there(["rotate", "--keep-last", "2"])
        #expect(rotated.status == 0, "\(rotated.errorText)")
      }
      // The base is gone here, too.
      if seed % 3 == 2 { #expect(try push.here(["rotate", "--keep-last", "1"]).status == 0) }
      for _ in 0..<10 { try editor.edit() }
    }
    #expect(try push.there(["verify"]).status == 0, "seed \(seed)")
  }

  @Test("many files that were renamed in one directory are references to the base")
  func manyRenamed() throws {
    let push = try PushWorld("push-renamed")
    let source = push.world.source
    for name in ["before", "after"] {
      if name == "before" { try tool("mkdir", [source.root / "d"]) }
      let script =
        name == "before"
        ? "for i in range(20000): print(i, file=open(f'before-{i}', 'w'))"
        : "import os\nfor f in os.listdir(): os.rename(f, f.replace('before', 'after'))"
      try tool("python3", ["-c", ByteString(script)], in: source.root / "d")
      let snapshot = try push.snapshot()
      let answer = try push.push()
      #expect(try push.different(snapshot.name) == [])
      if name == "after" { #expect(answer.bytesSent < 3 << 20, "\(answer.bytesSent)") }
    }
  }
}

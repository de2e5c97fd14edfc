import Foundation
import TestSupport
import Testing

@Suite("push: what must not happen", .waits)
struct PushGuardTests {
  private func local() throws -> PushWorld {
    let push = try PushWorld("push-guard")
    (push.ssh, push.address) = ("", push.far.root)
    return push
  }

  @Test("a directory that was moved, and a copy that took its place, share no inode", arguments: [false, true])
  func movedAndCopied(changes: Bool) throws {
    let push = try local()
    let source = push.world.source
    try source.makeDirectory("app")
    for index in 0..<5 { try source.write("app/f\(index)", "content \(index)") }
    try source.makeSymbolicLink("app/link", to: "f1")
    try push.snapshot()
    try push.push()
    try source.rename("app", to: "app.old")
    try tool("cp", ["-a", source.root / "app.old", source.root / "app"])
    if changes { try source.write("app/new", "new") }
    let second = try push.snapshot()
    try push.push()
    try push.expectSame()
    let stored = Tree(push.far.root / second.name / "localhost" / source.root)
    for index in 0..<5 { #expect(try stored.inode("app/f\(index)") != stored.inode("app.old/f\(index)")) }
    #expect(try stored.inode("app/link") != stored.inode("app.old/link"))
  }

  @Test(
    "a snapshot that looks like a disaster holds rotation at the remote",
    arguments: ["rewrite", "empty", "rename", "rewrite among directories"])
  func disaster(_ what: String) throws {
    let push = try local()
    let source = push.world.source
    try source.makeDirectory("d")
    for index in 0..<40 { try source.write("d/f\(index)", "content \(index)") }
    if what == "rewrite among directories" {
      for index in 0..<80 { try source.makeDirectory("d/d\(index)") }
    }
    let first = try push.snapshot()
    try push.push()
    switch what {
    case "rewrite", "rewrite among directories":
      for index in 0..<40 { try source.write("d/f\(index)", "encrypted \(index)") }
    case "empty": for index in 0..<40 { try source.remove("d/f\(index)") }
    default: try source.rename("d", to: "e")
    }
    let second = try push.snapshot(["--accept-changes"])
    let result = try push.run()
    #expect(result.status == (what == "rename" ? 0 : 1), "\(result.errorText)")
    #expect(result.errorText.contains("rotation is held in") == (what != "rename"), "\(result.errorText)")
    let listed = try push.there(["list"])
    #expect(listed.errorText.contains("rotation is held since") == (what != "rename"), "\(listed.errorText)")
    if what != "rename" { #expect(listed.errorText.contains(second.snapshot)) }
    // The last one before the disaster stays when rotation goes on.
    _ = try push.there(["release"])
    #expect(try push.there(["rotate", "--keep-last", "1"]).status == 0)
    #expect(try push.names(push.far) == (what == "rename" ? [] : [first.name]) + [second.name])
  }

  @Test("a repository is no remote of its own, by whatever path")
  func itself() throws {
    let push = try local()
    try push.world.source.write("file", "text")
    try push.snapshot()
    try Tree(push.place.root).makeSymbolicLink("link", to: push.world.repository.root)
    for path in [push.world.repository.root, push.place.root / "link"] {
      let result = try push.run(to: path)
      #expect(result.status == 2 && result.errorText.contains("is this repository itself"), "\(result.errorText)")
    }
    #expect(try push.here(["status"]).status == 0)
  }

  @Test("a damaged catalog of the base costs the delta, and not the push")
  func damagedBase() throws {
    let push = try local()
    let source = push.world.source
    for index in 0..<40 { try source.write("file\(index)", "text \(index)") }
    let first = try push.snapshot()
    try push.push()
    try source.append("file1", "more")
    let second = try push.snapshot()
    // The remembered one is the same file.
    let catalog = Tree(push.world.repository.root / ".treering/catalogs")
    try catalog.overwrite(first.name + ".catalog", at: 200, bytes: [1, 2, 3, 4])
    let result = try push.run()
    #expect(result.status == 1 && result.errorText.contains("its catalog is damaged here"), "\(result.errorText)")
    #expect(try push.different(second.name) == [])
    try catalog.overwrite(second.name + ".catalog", at: 200, bytes: [1, 2, 3, 4])
    let other = push.place.root / "other"
    #expect(try runCommand(treeringBinary(), ["init", other]).status == 0)
    let refused = try push.run(to: other)
    #expect(refused.status == 6 && refused.errorText.contains("is damaged here"), "\(refused.errorText)")
  }

  @Test(
    "a damaged catalog of the base at the remote is named once, and the next push does without it",
    arguments: [
      false, true,
    ])
  func damagedFarBase(hasOlder: Bool) throws {
    let push = try local()
    let source = push.world.source
    for index in 0..<40 { try source.write("file\(index)", "text \(index)") }
    if hasOlder {
      try push.snapshot()
      try push.push()
      try source.append("file0", "more")
    }
    let first = try push.snapshot()
    try push.push()
    push.provesUnchanged = false
    try Tree(push.far.root / ".treering/catalogs").overwrite(first.name + ".catalog", at: 200, bytes: [1, 2, 3, 4])
    try source.append("file1", "more")
    let second = try push.snapshot()
    let result = try push.run()
    #expect(result.status == 6, "\(result.errorText)")
    #expect(
      result.errorText.contains("the catalog of \(first.name) there") && result.errorText.contains("push again"),
      "\(result.errorText)")
    #expect(try push.names(push.far).last == first.name)
    let answer = try push.push()
    #expect((answer.base != nil) == hasOlder && answer.base != first.name.text)
    #expect(try push.different(second.name) == [])
    #expect(try push.there(["status"]).status == 6)
    let versions = try push.there(["versions", source.root / "file1"])
    #expect(versions.status == 6 && versions.errorText.contains("\(first.name) is damaged"), "\(versions.errorText)")
  }

  @Test("a server that is killed once it has published leaves nothing that a later push changes")
  func killedAfterPublishing() throws {
    let push = try PushWorld("push-killed-late")
    let (source, program) = (push.world.source, try treeringBinary())
    func snapshot(in repository: Tree) throws {
      Thread.sleep(forTimeInterval: 1.1)
      try tool(program, ["snapshot", source.root, "-q", "-r", repository.root])
    }
    try source.writeNoise("file", 300_000)
    try snapshot(in: push.world.repository)
    // Two try out the file system, and three publish: the catalog, the tree and the link to it.
    _ = try push.run(
      remoteCommand: "strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:signal=SIGKILL:when=5 "
        + "\(program) serve")
    let first = try push.names(push.far)
    try #require(first.count == 1)
    #expect(push.far.exists(".treering/pending/" + first[0] + ".push"))
    // A snapshot of the same host there shares the inode, and goes on having it.
    try snapshot(in: push.far)
    try tool(program, ["delete", "--yes", first[0], "-r", push.far.root])
    let own = try push.names(push.far)
    #expect(own.count == 1 && own != first)
    try tool("sh", ["-c", "chmod 600 file; touch -d '3 days ago' file"], in: source.root)
    try snapshot(in: push.world.repository)
    try push.push()
    #expect(try push.names(push.far).count == 2)
    let verified = try push.there(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
  }

  @Test("what came before a connection was lost is believed only where it still is what it was")
  func lostBetweenConnections() throws {
    let push = try PushWorld("push-lost-between")
    try push.world.source.writeNoise("a", 4 << 20, seed: 1)
    try push.world.source.writeNoise("b", 8 << 20, seed: 2)
    try push.snapshot()
    _ = try push.run(ssh: push.cut(after: 6 << 20))
    // As after a disk was taken away and put back: the size is there, the bytes are not.
    try tool(
      "sh",
      [
        "-c",
        "for f in *.push/contents/*; do s=$(stat -c %s $f); truncate -s 0 $f; truncate -s $s $f; done; test $s -gt 0",
      ],
      in: push.far.root / ".treering/pending")
    try push.push()
    try push.expectSame()
    let verified = try push.there(["verify"])
    #expect(verified.status == 0, "\(verified.outputText)")
  }

  @Test("ssh that ends first at Ctrl-C is an interruption, and no lost connection")
  func interrupted() throws {
    let push = try PushWorld("push-interrupted")
    try push.world.source.write("file", "text")
    try push.snapshot()
    try push.place.write("dying", "#!/bin/sh\nkill -INT $PPID\nexit 255\n", mode: 0o755)
    let result = try push.run(ssh: "\(push.place.root)/dying")
    #expect(
      result.status == 130 && result.errorLines == ["treering: interrupted; what was sent is kept for the next push"],
      "\(result.errorText)")
    let reading = try runCommand(
      treeringBinary(), ["list", "-r", push.address, "--ssh", push.place.root / "dying", "--remote-command", "x"])
    #expect(reading.status == 130 && !reading.errorText.contains("push again"), "\(reading.errorText)")
  }

  @Test("an address that never was right is no trouble for ever; one that was is until it is reached again")
  func typo() throws {
    let push = try local()
    try push.world.source.write("file", "text")
    try push.snapshot()
    // Until something arrives somewhere, a wrong address may be all that a cron job has.
    #expect(try push.run(to: push.place.root / "nothing/here").status == 7)
    let never = try push.here(["status"])
    #expect(never.status == 1 && never.errorText.contains("nothing/here"), "\(never.errorText)")
    // What was asked wrongly was no push.
    #expect(try push.run(to: push.world.repository.root).status == 2)
    try push.push()
    let well = try push.here(["status"])
    #expect(well.status == 0 && !well.outputText.contains("FAILED"), "\(well.outputText)")
    try push.far.rename(".treering/repository.toml", to: ".treering/gone.toml")
    try push.snapshot()
    #expect(try push.run().status == 7)
    let status = try push.here(["status"])
    #expect(status.status == 1 && status.errorText.contains("the last push to"), "\(status.errorText)")
    try push.far.rename(".treering/gone.toml", to: ".treering/repository.toml")
    try push.push()
    #expect(try push.here(["status"]).status == 0)
  }

  @Test(
    "what works only where the repository is says so",
    arguments: [
      ["init"], ["status"], ["rotate"], ["hold", "latest"], ["release"], ["push", "/x"],
    ])
  func localOnly(_ words: [String]) throws {
    let result = try runCommand(
      try treeringBinary(), words.map { ByteString($0) } + ["-r", "ssh://nas.example.org/srv/x"])
    #expect(result.status == 2, "\(result.errorText)")
    #expect(result.errorText.contains("run it there: ssh nas.example.org treering"), "\(result.errorText)")
    #expect(result.errorLines.count == 1)
  }

  @Test("a broken configuration does not stand in the way of who names a repository by its path")
  func brokenConfiguration() throws {
    let push = try local()
    try push.world.source.write("file", "text")
    try push.snapshot()
    try push.place.write("broken.toml", "this is no TOML\n")
    let environment = ["TREERING_CONFIG": "\(push.place.root)/broken.toml"]
    for words: [ByteString] in [
      ["list"], ["verify"], ["versions", push.world.source.root / "file"], ["push", push.far.root],
      ["restore", "latest", "--to", push.place.root / "back"],
    ] {
      let result = try runCommand(
        treeringBinary(), words + ["-r", push.world.repository.root], environment: environment)
      #expect(result.status == 0, "\(words): \(result.errorText)")
    }
    let named = try runCommand(
      treeringBinary(), ["push", "offsite", "-r", push.world.repository.root], environment: environment)
    #expect(named.status == 2 && named.errorText.contains("broken.toml"), "\(named.errorText)")
  }

  @Test("an empty remote command is refused")
  func emptyCommand() throws {
    let push = try local()
    let result = try push.run(["--remote-command", " "], to: "ssh://127.0.0.1:1/x")
    #expect(result.status == 2 && result.errorText.contains("--remote-command is empty"), "\(result.errorText)")
  }
}

import TestSupport
import Testing

/// Damage is repaired from another repository that has the same snapshots.
@Suite("verify --repair-from", .waits)
struct RepairTests {
  private func second(_ world: World) throws -> ByteString {
    let path = world.directory.path / "second"
    #expect(try world.treering(["init", path], inRepository: false).status == 0)
    for name in try world.snapshotNames() {
      let pushed = try world.treering(["push", path, name])
      #expect(pushed.status == 0, "\(pushed.errorText)")
    }
    return path
  }

  @Test("what is damaged is what it was", arguments: VerifyTests.matrix)
  func repairs(_ damage: VerifyTests.Damage) throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let snapshot = try VerifyTests.takeSnapshot(world)
    let path = try second(world)
    let before = try Fingerprint(path / snapshot.name)
    try damage.apply(world.tree(of: snapshot))
    let isExtra = damage.path.text.hasSuffix("extra")
    let result = try world.treering(["verify", "--repair-from", path])
    #expect(result.status == (isExtra ? 6 : 0), "\(result.outputText) \(result.errorText)")
    #expect(result.outputText.contains(isExtra ? "it is not in the catalog, and is left" : ": repaired"))
    if isExtra { try tool("rm", ["-rf", world.tree(of: snapshot).root / damage.path]) }
    if !isExtra {
      #expect(
        try differences(path / snapshot.name / "localhost" + world.source.root, world.tree(of: snapshot).root) == [])
    }
    #expect(try before.differences(to: Fingerprint(path / snapshot.name)) == [])
    #expect(try world.treering(["verify"]).status == (isExtra ? 6 : 0))
  }

  @Test("names and snapshots that shared an inode share one again")
  func sharing() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.source.link("a", as: "b")
    try world.source.write("c", "other")
    try world.settle()
    let first = try world.snapshot()
    try world.source.write("new", "text")
    let second = try world.snapshot()
    let path = try self.second(world)
    for name: ByteString in ["a", "c"] { try world.tree(of: first).overwrite(name, bytes: [0]) }
    let inode = try world.tree(of: first).inode("a")
    let result = try world.treering(["verify", "--repair-from", path, "--json"])
    #expect(result.status == 0, "\(result.errorText)")
    for name: ByteString in ["a", "b"] {
      #expect(try world.tree(of: first).inode(name) == world.tree(of: second).inode("a"))
    }
    #expect(try world.tree(of: first).inode("a") != inode)
    #expect(try world.tree(of: first).inode("c") == world.tree(of: second).inode("c"))
    #expect(try world.tree(of: first).inode("a") != world.tree(of: first).inode("c"))
    for snapshot in [first, second] {
      #expect(
        try differences(path / snapshot.name / "localhost" + world.source.root, world.tree(of: snapshot).root) == [])
    }
    #expect(try world.treering(["status", "--json"]).status == 0)
  }

  @Test("a repair of one snapshot reaches all that share the inode, and no later snapshot brings it back")
  func otherSnapshots() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.source.write("b", "content of b")
    try world.source.link("b", as: "b2")
    try world.source.write("moved", "content of moved")
    try world.settle()
    var taken: [SnapshotAnswer] = []
    for index in 0..<4 {
      if index == 3 { try world.source.rename("moved", to: "elsewhere") }
      try world.source.write("new\(index)", "text")
      try world.settle()
      taken.append(try world.snapshot())
    }
    let path = try second(world)
    #expect(try world.treering(["rotate", "--keep-last", "3"]).status == 0)
    #expect(try world.repository.names(".treering/spare").count == 1)
    let newest = world.tree(of: taken[3])
    for name: ByteString in ["a", "b", "elsewhere"] { try newest.overwrite(name, bytes: [0]) }
    // The times are what they were: only the bytes tell.
    let result = try world.treering(["verify", "latest", "--repair-from", path])
    #expect(result.status == 0, "\(result.outputText) \(result.errorText)")
    #expect(result.errorText.contains("1 damaged file is in other snapshots"), "\(result.errorText)")
    for snapshot in taken[1...] {
      #expect(try world.tree(of: snapshot).inode("a") == newest.inode("a"))
      #expect(try world.tree(of: snapshot).inode("b2") == newest.inode("b"))
      #expect(try world.tree(of: snapshot).text("a") == "content")
    }
    #expect(try world.treering(["verify"]).status == 6)
    let all = try world.treering(["verify", "--repair-from", path])
    #expect(all.status == 0 && !all.errorText.contains("note"), "\(all.outputText) \(all.errorText)")
    #expect(try world.repository.names(".treering/spare") == [])
    for index in 4..<7 {
      try world.source.write("new\(index)", "text")
      try world.settle()
      let snapshot = try world.snapshot()
      try world.expectFaithful(snapshot)
      #expect(try world.tree(of: snapshot).inode("a") == newest.inode("a"))
      #expect(try world.treering(["rotate", "--keep-last", "3"]).status == 0)
      #expect(try world.treering(["verify"]).status == 0)
    }
  }

  @Test("inode numbers that a repaired snapshot's catalog has are not gone by")
  func staleNumbers() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.settle()
    let first = try world.snapshot()
    let path = try second(world)
    try world.tree(of: first).overwrite("a", bytes: [0])
    let damaged = try world.tree(of: first).inode("a")
    // The spare is as an older snapshot that was not repaired would have left it.
    let kept = world.directory.path / "kept"
    try tool("cp", ["-al", world.repository.root / first.name, kept])
    #expect(try world.treering(["verify", "--repair-from", path]).status == 0)
    try tool("mv", [kept, world.repository.root / ".treering/spare/2001-01-01T00-00-00Z"])
    let next = try world.snapshot()
    #expect(try world.tree(of: next).text("a") == "content")
    #expect(try world.tree(of: next).inode("a") != damaged)
    #expect(try world.tree(of: next).inode("a") == world.tree(of: first).inode("a"))
  }

  @Test("what cannot be the source of a repair is an error, with or without damage")
  func refusals() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.snapshot()
    for source in ["", "none", world.repository.root / ".", world.directory.path / "none"] as [ByteString] {
      #expect(try world.treering(["verify", "--repair-from", source]).status == 2, "\(source)")
    }
    #expect(try world.treering(["verify", "--repair-from", "ssh://127.0.0.1:1/x"]).status == 7)
    try tool("chown", ["65534", world.repository.root])
    let other = try world.treering(["verify", "--repair-from", world.directory.path])
    #expect(other.status == 2 && other.errorText.contains("belongs to user 65534"), "\(other.errorText)")
  }

  @Test("damage at both ends, or a repository that has it not, is named and stays")
  func impossible() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "content")
    try world.source.write("b", "content of b")
    let snapshot = try world.snapshot()
    let path = try second(world)
    for root in [world.repository.root, path] {
      try Tree(root / snapshot.name / "localhost" / world.source.root).overwrite("a", bytes: [0])
    }
    let result = try world.treering(["verify", "--repair-from", path])
    #expect(result.status == 6 && result.outputText.contains("is damaged in"), "\(result.outputText)")
    let empty = world.directory.path / "empty"
    #expect(try world.treering(["init", empty], inRepository: false).status == 0)
    let other = try world.treering(["verify", "--repair-from", empty])
    #expect(other.status == 6 && other.outputText.contains("does not have it"), "\(other.outputText)")
    #expect(try world.treering(["verify", "--repair-from", world.directory.path / "none"]).status == 2)
  }

  @Test("the advice names no remote that could not repair, and unites many damaged snapshots")
  func advice() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    for step in 0..<7 {
      try world.source.write("a", "content \(step)")
      try world.settle()
      try world.snapshot(["--accept-changes"])
    }
    let path = try second(world)
    let third = world.directory.path / "third"
    #expect(try world.treering(["init", third], inRepository: false).status == 0)
    for name in try world.snapshotNames() {
      for root in [world.repository.root, path] {
        try Tree(root / name / "localhost" / world.source.root).overwrite("a", bytes: [0])
      }
    }
    // Many snapshots take no list of names.
    let found = try world.treering(["verify"])
    #expect(
      found.errorText.contains("repair with: treering verify --repair-from \(path) --repository"), "\(found.errorText)")
    let failed = try world.treering(["verify", "--repair-from", path])
    let refusal = "the repair from \(path) failed, and no other remote is known to have them"
    #expect(failed.status == 6 && failed.errorText.contains(refusal), "\(failed.errorText)")
    let status = try world.treering(["status"])
    #expect(status.errorLines.count { $0.contains("damaged") } == 1, "\(status.errorText)")
    for words in ["7 snapshots are damaged: ", "; 4 more; see: treering verify --repository", refusal] {
      #expect(status.errorText.contains(words), "\(status.errorText)")
    }
    // Another remote has one of them.
    let name = try world.snapshotNames()[2]
    try tool("cp", ["-p", "-r", path / name, third / "intact"])
    try Tree(world.repository.root / name / "localhost" / world.source.root).overwrite("a", bytes: Array("c".utf8))
    let pushed = try world.treering(["push", third, name])
    #expect(pushed.status == 0, "\(pushed.errorText)")
    let other = try world.treering(["status"])
    #expect(other.errorText.contains("verify \(name) --repair-from \(third)"), "\(other.errorText)")
  }
}

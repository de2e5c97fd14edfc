import TestSupport
import Testing

@Suite("verify", .waits)
struct VerifyTests {
  private func answer(
    _ world: World, _ names: [ByteString] = [], status: Int32,
    at location: SourceLocation = #_sourceLocation
  ) throws -> VerifyAnswer {
    let result = try world.treering(["verify"] + names + ["--json"], at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return try result.decoded()
  }

  @Test("a good repository is good, and every shared inode is read once")
  func good() throws {
    let world = try World()
    try world.source.makeEverything()
    try world.settle()
    let first = try world.snapshot()
    try world.source.write("new", "text")
    let second = try world.snapshot()
    let stored = try TreeListing(world.repository.root)
    let files = Set(
      // An empty file has nothing to read.
      stored.entries.filter {
        $0.value.kind == "f" && $0.value.size != "0" && $0.key.hasPrefix("20")
      }
      .map { stored.inodes[$0.key]! })
    let all = try answer(world, status: 0)
    #expect(all.snapshots == [first.snapshot, second.snapshot])
    #expect(all.problems.isEmpty)
    #expect(all.filesRead == files.count)
    #expect(all.entries == first.entries + second.entries)
    let one = try answer(world, [first.name, first.name], status: 0)
    #expect(one.snapshots == [first.snapshot])
    #expect(one.entries == first.entries)
    let result = try world.treering(["verify", "-q"])
    #expect((result.status, result.outputText, result.errorText) == (0, "", ""))
    #expect(try world.treering(["verify"]).outputText.contains("no damage"))
  }

  @Test("an empty repository has nothing to be damaged")
  func empty() throws {
    #expect(try answer(try World(), status: 0).entries == 0)
  }

  /// One way to damage an entry of a snapshot, done with the tools of an administrator.
  struct Damage: Sendable, CustomTestStringConvertible {
    let testDescription: String
    /// The path that verify must name.
    let path: ByteString
    let apply: @Sendable (Tree) throws -> Void

    init(
      _ what: String, _ path: ByteString, reports: ByteString? = nil,
      _ apply: @escaping @Sendable (Tree) throws -> Void
    ) {
      testDescription = "\(what): \(path)"
      self.path = reports ?? path
      self.apply = apply
    }
  }

  static let matrix: [Damage] = [
    Damage("delete", "file") { try $0.remove("file") },
    Damage("truncate", "file") { try $0.truncate("file", to: 3) },
    Damage("empty", "file") { try $0.truncate("file", to: 0) },
    Damage("append", "file") { try $0.append("file", "more") },
    Damage("flip a bit, time kept", "file") {
      try $0.write("../reference", "")
      try $0.copyTime(of: "file", to: "../reference")
      try $0.overwrite("file", at: 2, bytes: [UInt8(ascii: "x") ^ 1])
      try $0.copyTime(of: "../reference", to: "file")
      try $0.remove("../reference")
    },
    Damage("mode", "file") { try $0.setMode("file", 0o600) },
    Damage("owner", "file") { try $0.setOwner("file", user: 1, group: 1) },
    Damage("time", "file") { try $0.setTime("file", seconds: 1) },
    Damage("attribute", "file") { try $0.setAttribute("file", "user.x", [1]) },
    Damage("attribute gone", "file") { try $0.removeAttribute("file", "user.note") },
    Damage("ACL", "file") { try $0.setACL("file", "u:4711:r") },
    Damage("by a directory", "file") {
      try $0.remove("file")
      try $0.makeDirectory("file")
    },
    Damage("by a link", "file") {
      try $0.remove("file")
      try $0.makeSymbolicLink("file", to: "d/inside")
    },
    Damage("by a FIFO", "file") {
      try $0.remove("file")
      try $0.makeFIFO("file")
    },
    Damage("delete", "link") { try $0.remove("link") },
    Damage("target", "link") {
      try $0.remove("link")
      try $0.makeSymbolicLink("link", to: "fjle")
      try $0.setTime("link", seconds: 1_600_000_000)
    },
    Damage("owner", "link") { try $0.setOwner("link", user: 1, group: 1) },
    Damage("time", "link") { try $0.setTime("link", seconds: 1) },
    Damage("attribute", "link") { try $0.setAttribute("link", "trusted.x", [1]) },
    Damage("by a file", "link") {
      try $0.remove("link")
      try $0.write("link", "file")
    },
    Damage("delete", "d") { try $0.remove("d") },
    Damage("mode", "d") { try $0.setMode("d", 0o700) },
    Damage("owner", "d") { try $0.setOwner("d", user: 1, group: 1) },
    Damage("time", "d") { try $0.setTime("d", seconds: 1) },
    Damage("attribute", "d") { try $0.setAttribute("d", "user.x", [1]) },
    Damage("default ACL", "d") { try $0.setACL("d", "d:u:4711:r") },
    Damage("by a file", "d") {
      try $0.remove("d")
      try $0.write("d", "text")
    },
    Damage("by a link to a directory", "d") {
      try $0.remove("d")
      try $0.makeSymbolicLink("d", to: ".")
    },
    Damage("extra file", "d", reports: "d/extra") { try $0.write("d/extra", "text") },
    Damage("extra directory", "d", reports: "d/extra") { try $0.makeDirectory("d/extra") },
    Damage("extra link", "d", reports: "d/extra") { try $0.makeSymbolicLink("d/extra", to: "/") },
    Damage("delete", "d/fifo") { try $0.remove("d/fifo") },
    Damage("another device", "device") {
      try $0.remove("device")
      try $0.makeDevice("device", isBlock: false, major: 1, minor: 5)
      try $0.setTime("device", seconds: 1_600_000_000)
    },
  ]

  /// Of all that the matrix damages.
  static func takeSnapshot(_ world: World) throws -> SnapshotAnswer {
    let source = world.source
    try source.write("file", "xxxxxxxx")
    try source.setAttribute("file", "user.note", [1])
    try source.makeSymbolicLink("link", to: "file")
    try source.makeDevice("device", isBlock: false, major: 1, minor: 3)
    for name: ByteString in ["link", "device"] { try source.setTime(name, seconds: 1_600_000_000) }
    try source.makeDirectory("d")
    try source.write("d/inside", "text")
    try source.makeFIFO("d/fifo")
    return try world.snapshot()
  }

  @Test("every damage to an entry is found and named, and nothing else is", arguments: matrix)
  func findsDamage(damage: Damage) throws {
    let world = try World()
    world.provesOlderUnchanged = false
    let source = world.source
    let snapshot = try Self.takeSnapshot(world)
    let stored = world.tree(of: snapshot)
    #expect(try answer(world, status: 0).problems.isEmpty)
    try damage.apply(stored)

    let answer = try answer(world, status: 6)
    let named = Set(answer.problems.map { ByteString($0.path) })
    #expect(answer.problems.allSatisfy { $0.snapshot == snapshot.snapshot && !$0.problem.isEmpty })
    #expect(named.contains(source.root / damage.path), "\(answer.problems)")
    // The directory's time is a second trace of what happened in it, and its own matter.
    let explained = Set([
      source.root / damage.path, (source.root / damage.path).parent, source.root.parent,
    ])
    #expect(named.isSubset(of: explained), "\(answer.problems)")

    let result = try world.treering(["verify"])
    #expect(result.status == 6)
    #expect(result.outputLines.count == answer.problems.count)
    #expect(result.outputLines.allSatisfy { $0.hasPrefix(snapshot.snapshot) })
    #expect(result.errorLines.count == 1)
    #expect(result.errorText.hasPrefix("treering: "))
  }

  @Test("a shared inode that was damaged once is named in every snapshot, and read once")
  func sharedInode() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.write("a", "xxxxxxxx")
    try world.source.link("a", as: "b")
    try world.source.write("c", "text")
    try world.settle()
    let names = try (0..<3).map { _ in try world.snapshot() }
    let stored = world.tree(of: names[1])
    try stored.overwrite("a", at: 1, bytes: [0])
    let answer = try answer(world, status: 6)
    #expect(answer.filesRead == 2)
    let expected = names.flatMap { snapshot in
      ["a", "b"].map { "\(snapshot.snapshot) \(world.source.root)/\($0)" }
    }
    #expect(answer.problems.map { "\($0.snapshot) \($0.path)" }.sorted() == expected.sorted())
    let one = try self.answer(world, [names[0].name], status: 6)
    #expect(one.problems.count == 2)
  }

  @Test("large files of one directory are verified on all threads, each once, and damage to one is named")
  func largeFiles() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    try world.source.makeDirectory("d")
    for name: ByteString in ["d/one", "d/two"] {
      try world.source.write(name, "text")
      try world.source.truncate(name, to: 8 << 20)
    }
    try world.source.link("d/one", as: "d/again")
    try world.source.write("d/small", "text")
    try world.settle()
    let snapshot = try world.snapshot()
    let good = try answer(world, status: 0)
    #expect((good.filesRead, good.entries) == (3, snapshot.entries))
    let stored = world.tree(of: snapshot)
    try stored.overwrite("d/two", at: 5 << 20, bytes: [1])
    let damaged = try answer(world, status: 6)
    #expect(damaged.problems.map(\.path) == ["\(world.source.root)/d/two"])
    try stored.remove("d/again")
    let missing = try answer(world, status: 6).problems.map(\.path)
    #expect(missing.contains("\(world.source.root)/d/again"))
    #expect(missing.contains("\(world.source.root)/d/two"))
  }

  @Test("a damaged catalog is damage, and the other snapshots are verified all the same")
  func damagedCatalog() throws {
    let world = try World()
    world.provesOlderUnchanged = false
    for index in 0..<50 { try world.source.write("file-\(index)", "text \(index)") }
    let first = try world.snapshot()
    let second = try world.snapshot()
    let path = ".treering/catalogs" / (first.name + ".catalog")
    let good = try world.repository.read(path)
    var cases: [[UInt8]] = [[], Array(good.prefix(20)), Array(good.dropLast())]
    // Every part of the file: the header, the frames, the table, the trailer.
    for offset in stride(from: 0, to: good.count, by: max(1, good.count / 40)) {
      var bytes = good
      bytes[offset] ^= 0x04
      cases.append(bytes)
    }
    for bytes in cases {
      try world.repository.write(path, bytes: bytes)
      let result = try runCommand(
        treeringBinary(), ["verify", "-r", world.repository.root, "--json"])
      #expect(result.status == 6, "of \(good.count) bytes: \(bytes.count)")
      let answer: VerifyAnswer = try result.decoded()
      #expect(!answer.problems.isEmpty)
      #expect(answer.problems.allSatisfy { $0.snapshot == first.snapshot })
      #expect(answer.snapshots.contains(second.snapshot))
    }
    try world.repository.remove(path)
    let without = try answer(world, status: 6)
    #expect(without.problems.map(\.snapshot) == [first.snapshot])
    #expect(try answer(world, [second.name], status: 0).problems.isEmpty)
  }

  @Test("a snapshot goes on from a damaged catalog, says so, and is faithful")
  func snapshotAfterDamage() throws {
    let world = try World()
    try world.source.makeEverything()
    try world.settle()
    let first = try world.snapshot()
    let path = ".treering/catalogs" / (first.name + ".catalog")
    let good = try world.repository.read(path)
    var bytes = good
    bytes[good.count / 3] ^= 0x04
    for damaged in [Array(good.prefix(60)), bytes] {
      try world.repository.write(path, bytes: damaged)
      let result = try world.treering(["snapshot", world.source.root, "--json"])
      #expect(result.status == 1, "\(result.errorText)")
      #expect(try result.messages().first?.level == "warning")
      try world.expectFaithful(try result.decoded())
      for name in try world.snapshotNames() where name != first.name {
        try world.repository.remove(name)
        try world.repository.remove(".treering/catalogs" / (name + ".catalog"))
      }
    }
  }
}

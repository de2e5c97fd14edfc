import Foundation
import TestSupport
import Testing

/// Databases in a run, from the configuration to the restore. The dumps are those of the kind `command`, which needs no
/// server.
@Suite("run, snapshot: dumps of databases", .waits)
struct DatabaseRunTests {
  private let push: PushWorld
  private var world: World { push.world }
  private var data: Tree { Tree(world.directory.path / "data") }

  init() throws {
    push = try PushWorld("databases")
    try world.source.write("file", "content")
    try data.makeDirectory("")
    try data.write("shop", "rows\n")
    try data.write("mail", "letters\n")
    try configure()
  }

  private func configure(shop: String = "", sources: Bool = true) throws {
    let source = sources ? "[[source]]\npath = \"\(world.source.root)\"\n" : ""
    func table(_ name: String, _ more: String) -> String {
      """
      [[database]]
      name = "\(name)"
      kind = "command"
      command = ["/bin/cat", "\(data.root)/\(name)"]
      file = "rows"
      \(more)

      """
    }
    try Tree(world.directory.path).write(
      "c.toml",
      "repository = \"\(world.repository.root)\"\n[retention]\ndaily = 3\n" + source + table("mail", "")
        + table("shop", shop))
  }

  private func treering(
    _ words: [ByteString], status: Int32 = 0, at location: SourceLocation = #_sourceLocation
  ) throws -> CommandResult {
    let result = try world.treering(words + ["-c", world.directory.path / "c.toml"], inRepository: false, at: location)
    #expect(result.status == status, "\(result.errorText)", sourceLocation: location)
    return result
  }

  private func databases(_ document: CommandResult) throws -> [[String: Any]] {
    let json = try #require(try JSONSerialization.jsonObject(with: Data(document.output)) as? [String: Any])
    if let snapshots = json["snapshots"] as? [[String: Any]] {
      return snapshots.last?["databases"] as? [[String: Any]] ?? []
    }
    return json["databases"] as? [[String: Any]] ?? []
  }

  @Test("a run saves the dumps beside the files, shows them, and leaves none behind")
  func good() throws {
    let result = try treering(["run"])
    #expect(result.errorText == "" && result.outputText == "")
    let name = try #require(try world.snapshotNames().first)
    #expect(try world.repository.text(name / "databases/shop/rows") == "rows\n")
    #expect(try world.repository.names(name) == ["databases", "localhost"])
    #expect(try world.repository.names(".treering/dumps") == [])
    let line = try #require(try world.runHistory().first)
    #expect(line.steps.map(\.step) == ["dump mail", "dump shop", "snapshot", "rotate"])
    let listed = try databases(try treering(["list", "--json"]))
    #expect(listed.map { $0["name"] as? String } == ["mail", "shop"])
    #expect(listed.allSatisfy { $0["dumped"] as? Bool == true && $0["kind"] as? String == "command" })
    let status = try databases(try treering(["status", "--json"]))
    #expect(status.map { $0["state"] as? String } == ["well", "well"])
    #expect(try treering(["verify"]).errorText == "")
    #expect(try treering(["find", "rows"]).outputText.contains("databases/shop/rows"))
    #expect(try treering(["cat", "latest", "databases/shop/rows"]).outputText == "rows\n")
    #expect(try treering(["run", "--json"]).decoded(RunAnswer.self).result == "not_due")
  }

  @Test("an unchanged dump is linked, and a changed one is in diff")
  func unchanged() throws {
    _ = try treering(["run"])
    try data.append("shop", "more\n")
    _ = try treering(["run", "--now"])
    let names = try world.snapshotNames()
    let (before, now) = (
      try TreeListing(world.repository.root / names[0]), try TreeListing(world.repository.root / names[1])
    )
    #expect(now.inodes["databases/mail/rows"] == before.inodes["databases/mail/rows"])
    #expect(now.inodes["databases/shop/rows"] != before.inodes["databases/shop/rows"])
    let lines = try treering(["diff", names[0], names[1]]).outputText.split(separator: "\n")
    #expect(lines.contains { $0.hasPrefix("M") && $0.contains("databases/shop/rows") })
    #expect(!lines.contains { $0.contains("mail/rows") })
  }

  @Test("a failed dump: the files are saved, the status is 1, the reason is named, the last good dump stays")
  func failed() throws {
    _ = try treering(["run"])
    try data.remove("shop")
    let result = try treering(["run", "--now"], status: 1)
    #expect(result.errorText.contains("databases/shop") && result.errorText.contains("No such file"))
    let line = try #require(try world.runHistory().last)
    #expect(line.result == "made" && line.exitStatus == 1 && line.error?.contains("databases/shop") == true)
    #expect(line.steps.first { $0.step == "dump shop" }?.outcome == "failed")
    let names = try world.snapshotNames()
    #expect(try world.repository.names(names[1] / "databases") == ["mail"])
    #expect(try databases(try treering(["list", "--json"])).map { $0["dumped"] as? Bool } == [true, false])
    let states = try databases(try treering(["status", "--json"], status: 1)).map { $0["state"] as? String }
    #expect(states == ["well", "failed"])
    // The snapshot that has the dump is meant.
    #expect(try treering(["cat", "latest", "databases/shop/rows"]).outputText == "rows\n")
    _ = try treering(["rotate", "--keep-last", "1"])
    #expect(try world.snapshotNames().first == names[0])
  }

  @Test("a snapshot is due until the period has a good dump")
  func due() throws {
    try data.remove("shop")
    _ = try treering(["run"], status: 1)
    try data.write("shop", "rows\n")
    #expect(try treering(["run", "--json"]).decoded(RunAnswer.self).result == "made")
    #expect(try treering(["run", "--json"]).decoded(RunAnswer.self).result == "not_due")
  }

  @Test("without a required dump nothing is published")
  func required() throws {
    try data.remove("shop")
    try configure(shop: "required = true")
    let result = try treering(["run"], status: 3)
    #expect(result.errorText.contains("the required database shop has no good dump"))
    #expect(try world.snapshotNames() == [])
    #expect(try world.repository.names(".treering/dumps") == [])
    #expect(try treering(["snapshot"], status: 3).errorText.contains("nothing was published"))
  }

  @Test("snapshot takes the databases of the configuration, and needs no source")
  func snapshot() throws {
    try configure(sources: false)
    let answer = try treering(["snapshot", "--json"])
    #expect(try databases(answer).count == 2)
    let name = try #require(try world.snapshotNames().first)
    #expect(try world.repository.names(name) == ["databases"])
    #expect(try treering(["list"]).outputText.contains("databases/mail, databases/shop"))
    #expect(try treering(["run", "--json"]).decoded(RunAnswer.self).result == "not_due")
    #expect(
      try treering(["restore", "latest", "--to", "all"], status: 2).errorText.contains("only dumps of databases"))
  }

  @Test("what a killed run left is removed, and its stored files stay as they are")
  func leftovers() throws {
    _ = try treering(["run"])
    let name = try #require(try world.snapshotNames().first)
    let left = world.repository.root / ".treering/dumps/shop"
    try tool("mkdir", ["-p", left])
    try tool("ln", [world.repository.root / name / "databases/shop/rows", left / "rows"])
    try data.append("shop", "more\n")
    _ = try treering(["run", "--now"])
    #expect(try world.repository.names(".treering/dumps") == [])
    #expect(try world.repository.text(name / "databases/shop/rows") == "rows\n")
  }

  @Test("a directory elsewhere holds the dump only during the run")
  func elsewhere() throws {
    let place = "/dev/shm/treering-\(UUID())"
    try tool("mkdir", [ByteString(place)])
    defer { _ = try? tool("rm", ["-rf", ByteString(place)]) }
    try configure(shop: "directory = \"\(place)\"")
    _ = try treering(["run"])
    let name = try #require(try world.snapshotNames().first)
    #expect(try world.repository.text(name / "databases/shop/rows") == "rows\n")
    #expect(try Tree(ByteString(place)).names() == [])
  }

  @Test("restore copies a dump to a directory, and never in place")
  func restore() throws {
    _ = try treering(["run"])
    #expect(try treering(["restore", "latest", "databases/shop", "--to", "out"]).errorText == "")
    #expect(try Tree(world.directory.path).text("out/shop/rows") == "rows\n")
    let refused = try treering(["restore", "latest", "databases/shop", "--in-place", "-n"], status: 4)
    #expect(refused.errorText.contains("copy it with --to, and load it: man 7 treering-databases"))
    let all = try treering(["restore", "latest", "--to", "all", "-v"])
    #expect(all.outputText.contains("databases/mail --to DIRECTORY"))
    #expect(try Tree(world.directory.path).names("all" / world.source.root) == ["file"])
  }

  @Test("diff --live leaves the dumps out, and says so")
  func live() throws {
    _ = try treering(["run"])
    let live = try treering(["diff", "latest", "--live"])
    #expect(live.outputText == "" && live.errorText.contains("a dump is not compared with its database"))
    _ = try treering(["diff", "latest", "databases/shop", "--live"], status: 2)
  }

  @Test("a push brings the dumps, and only what changed in them")
  func pushed() throws {
    for round in 0..<2 {
      if round > 0 { try data.append("shop", "more\n") }
      _ = try treering(["run", "--now"])
      let result = try push.run()
      #expect(result.status == 0, "\(result.errorText)")
    }
    try push.expectSame()
    let listed = try runCommand(
      try treeringBinary(), ["list", "--json", "-r", push.far.root], in: world.directory.path)
    #expect(try databases(listed).map { $0["dumped"] as? Bool } == [true, true])
  }
}

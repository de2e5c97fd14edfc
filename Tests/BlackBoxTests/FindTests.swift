import Foundation
import TestSupport
import Testing

/// A line of `find --json`.
private struct Found: Decodable {
  let path: String
  let pathBase64: String?
  let kind: String
  let mode: String?
  let first: String
  let last: String
  let snapshots: Int
  let deleted: Bool

  var line: String { "\(pathBase64 ?? path) \(kind) \(mode ?? "") \(first) \(last) \(snapshots) \(deleted)" }
}

@Suite("find", .waits)
struct FindTests {
  private static let oracle = ByteString(#filePath).parent / "versions_of_trees.py"

  private func lines(of result: CommandResult) throws -> [Found] {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try result.outputText.split(separator: "\n").map { try decoder.decode(Found.self, from: Data($0.utf8)) }
  }

  private func find(_ world: World, _ arguments: [ByteString], status: Int32 = 0) throws -> [Found] {
    let result = try world.treering(["find", "--json"] + arguments)
    #expect(result.status == status, "\(result.errorText)")
    return try lines(of: result)
  }

  private func names(_ found: [Found]) -> [String] {
    found.map { $0.path.split(separator: "/").last.map(String.init)! }
  }

  @Test("every version of everything is what a walk of the trees finds", arguments: sample(2, of: [1, 2, 3, 4]))
  func everything(seed: UInt64) throws {
    let world = try World("find")
    world.provesOlderUnchanged = false
    var editor = RandomEditor(world.source, seed: seed)
    for _ in 0..<25 { try editor.edit() }
    for _ in 0..<5 {
      try world.snapshot(of: nil, ["--accept-changes"])
      for _ in 0..<6 { try editor.edit() }
    }
    let expected = try lines(of: runCommand("python3", [Self.oracle, world.repository.root, world.source.root]))
    let found = try find(world, ["*"])
    #expect(found.map(\.line).sorted() == expected.map(\.line).sorted(), "seed \(seed)")
    #expect(try find(world, ["*", "--deleted"]).map(\.line).sorted() == found.filter(\.deleted).map(\.line).sorted())
    // versions says the same of one path; of a directory it also tells changes below it.
    struct Version: Decodable, Equatable {
      let first, last: String
      let snapshots: Int
    }
    let byPath = Dictionary(grouping: found) { $0.path }.filter { $0.value.allSatisfy { $0.kind != "directory" } }
    for (path, lines) in byPath.sorted(by: { $0.value.count > $1.value.count }).prefix(10)
    where lines[0].pathBase64 == nil {
      let versions = try world.treering(["versions", ByteString(path), "--json"]).decoded([Version].self)
      let expected = lines.map { Version(first: $0.first, last: $0.last, snapshots: $0.snapshots) }
      #expect(versions.map { "\($0)" }.sorted() == expected.map { "\($0)" }.sorted(), "\(path), seed \(seed)")
    }
  }

  @Test("by name, by pattern, by path and without regard to case")
  func patterns() throws {
    let world = try World()
    for name in ["Invoice-1.pdf", "invoice-2.PDF", "#draft#", "!important"] {
      try world.source.write(ByteString(name), name)
    }
    try world.source.makeDirectory("mail")
    try world.source.makeDirectory("mail/ann")
    try world.source.write("mail/ann/inbox", "x")
    try world.snapshot()
    func found(_ arguments: ByteString...) throws -> [String] { try names(find(world, arguments)).sorted() }
    #expect(try found("inbox") == ["inbox"])
    #expect(try found("box") == [])
    #expect(try found("*voice*") == ["Invoice-1.pdf", "invoice-2.PDF"])
    #expect(try found("-i", "INVOICE*.pdf") == ["Invoice-1.pdf", "invoice-2.PDF"])
    #expect(try found("*.pdf", "#draft#") == ["#draft#", "Invoice-1.pdf"])
    #expect(try found("!*") == ["!important"])
    #expect(try found("mail/ann/*") == ["inbox"])
    #expect(try found("/mail/ann/*") == [])
    #expect(try found(world.source.root / "mail/*") == ["ann"])
    #expect(try found("ann/") == ["ann"])
    #expect(try found("inbox/") == [])
  }

  @Test("by size, time and kind")
  func filters() throws {
    let world = try World()
    try world.source.writeNoise("large", 3000)
    try world.source.write("small", "x")
    try world.source.makeSymbolicLink("link", to: "small")
    try world.source.setTime("large", seconds: 1_000_000_000, nanoseconds: 0)
    try world.snapshot()
    func found(_ arguments: ByteString...) throws -> [String] { try names(find(world, ["*"] + arguments)).sorted() }
    #expect(try found("--larger", "2K") == ["large"])
    #expect(try found("--smaller", "2K") == ["small"])
    #expect(try found("--newer", "1h", "--type", "file") == ["small"])
    #expect(try found("--older", "2001-09-09 02:00") == ["large"])
    #expect(try found("--older", "2001-09-09") == [])
    #expect(try found("--type", "link") == ["link"])
    for wrong in [["--larger", "x"], ["--newer", "soon"], ["--type", "x"], ["--newer", "2001-13-01"], [""]] {
      let result = try world.treering(["find", "*"] + wrong.map { ByteString($0) })
      #expect(result.status == 2, "\(wrong): \(result.errorText)")
    }
  }

  @Test("what is deleted is gone from the source, whatever else is asked for")
  func deleted() throws {
    let world = try World()
    let disk = try Tree(making: world.source.root / "disk")
    try world.source.write("edited", "one")
    try world.source.write("gone", "one")
    try disk.write("music", "one")
    try world.source.setTime("edited", seconds: 1_000_000_000, nanoseconds: 0)
    func run(_ status: Int32) throws { try world.snapshot(of: [world.source.root, disk.root], [], status: status) }
    try run(0)
    try world.source.append("edited", "more")
    try world.source.remove("gone")
    try tool("mv", [disk.root, world.directory.path / "unplugged"])
    try run(1)
    #expect(try names(find(world, ["*", "--deleted", "--type", "file"])) == ["gone"])
    #expect(try names(find(world, ["*", "--deleted", "--older", "2005-01-01"])) == [])
    try tool("mv", [world.directory.path / "unplugged", disk.root])
    try run(0)
    let music = try find(world, ["music"])
    // A file that gave way to a directory is gone.
    try world.source.remove("edited")
    try world.source.makeDirectory("edited")
    try run(0)
    #expect(try names(find(world, ["edited", "--deleted"])) == ["edited", "edited"])
    #expect(music.count == 1 && music[0].snapshots == 2 && !music[0].deleted, "\(music.map(\.line))")
  }

  @Test("damage in a catalog hides nothing of the others")
  func damageOfTheNewer() throws {
    let world = try World()
    try world.source.makeDirectory("still")
    try world.source.write("still/a", "one")
    let first = try world.snapshot()
    try world.source.write("still/b", "two")
    let second = try world.snapshot()
    try world.source.write("c", "three")
    try world.snapshot()
    // In `second` and the newest `still` is equal, and not read; damage shows only beside `first`.
    let catalog = world.repository.root / ".treering/catalogs" / (second.name + ".catalog")
    try tool("sh", ["-c", "printf x | dd of='\(catalog.text)' bs=1 seek=80 conv=notrunc status=none"])
    let result = try world.treering(["find", "--json", "?"])
    #expect(result.status == 6 && result.errorText.contains(second.snapshot), "\(result.errorText)")
    #expect(!result.errorText.contains(first.snapshot), "\(result.errorText)")
    #expect(Set(try names(lines(of: result))) == ["a", "b", "c"])
  }

  @Test("a pattern that can match nothing is refused, and what changes snapshots takes no times")
  func refused() throws {
    let world = try World()
    try world.source.write("a", "one")
    try world.snapshot()
    for words in [
      ["find", "report[1.pdf"], ["hold", "now"], ["delete", "--yes", "now"], ["release", "yesterday"],
    ] {
      let result = try world.treering(words.map { ByteString($0) })
      #expect(result.status == 2, "\(words): \(result.errorText)")
    }
  }

  @Test("a snapshot of another source ends no version, and nested sources show nothing twice")
  func sources() throws {
    let world = try World()
    let other = try Tree(making: world.directory.path / "other")
    try world.source.makeDirectory("sub")
    try world.source.write("sub/kept", "one")
    try other.write("kept", "two")
    let first = try world.snapshot(of: [world.source.root])
    try world.snapshot(of: [other.root])
    try world.snapshot(of: [world.source.root / "sub"])
    try world.snapshot(of: [other.root])
    let last = try world.snapshot(of: [world.source.root])
    let found = try find(world, ["kept"])
    #expect(found.count == 2, "\(found.map(\.line))")
    let kept = try #require(found.first { $0.path.hasSuffix("sub/kept") })
    #expect(kept.first == first.snapshot && kept.last == last.snapshot && kept.snapshots == 3 && !kept.deleted)
  }

  @Test("one snapshot alone, a damaged catalog, and nothing found")
  func oneAndDamaged() throws {
    let world = try World()
    try world.source.write("a", "one")
    let first = try world.snapshot()
    try world.source.remove("a")
    try world.source.write("b", "two")
    let second = try world.snapshot()
    try world.source.write("c", "two")
    try world.snapshot()
    #expect(try names(find(world, ["?", "--in", first.name])) == ["a"])
    #expect(try names(find(world, ["?", "--deleted"])) == ["a"])
    let nothing = try world.treering(["find", "zebra"])
    #expect(
      nothing.status == 0 && nothing.errorText.contains("nor anything with \"zebra\" in its name"),
      "\(nothing.errorText)")
    let nowhere = try world.treering(["find", "zebra", "--in", "latest"])
    #expect(nowhere.errorText.contains("which has \(world.source.root.text)"), "\(nowhere.errorText)")
    // The content of a frame; the trailer stays whole.
    let catalog = world.repository.root / ".treering/catalogs" / (second.name + ".catalog")
    try tool("sh", ["-c", "printf x | dd of='\(catalog.text)' bs=1 seek=80 conv=notrunc status=none"])
    let result = try world.treering(["find", "--json", "?"])
    #expect(result.status == 6, "\(result.errorText)")
    #expect(result.errorText.contains("\(second.snapshot)"))
    #expect(Set(try names(lines(of: result))) == ["a", "b", "c"])
  }

  @Test("without a hit, the smallest change that finds something is named")
  func nearMisses() throws {
    let world = try World()
    for name: ByteString in ["Invoice", "Invoice.TXT", "old-report.pdf"] { try world.source.write(name, "x") }
    try world.snapshot()
    for (words, hint) in [
      (["invoice"], "1 path matches without regard to capital and small letters: add -i"),
      (["invoice.*"], "1 path matches without regard to capital and small letters: add -i"),
      (["report"], "1 path matches with other letters around: find '*report*'"),
      (["invoice.t"], "1 path matches with other letters around: find -i '*invoice.t*'"),
      (["nvoice", "-i"], "2 paths match with other letters around: find -i '*nvoice*'"),
    ] as [([ByteString], String)] {
      let result = try world.treering(["find"] + words)
      #expect(
        result.status == 0 && result.errorText.contains("nothing was found in 1 snapshot; \(hint)\n"),
        "\(result.errorText)")
      #expect(result.outputLines.count == 1)
    }
    #expect(try find(world, ["invoice", "-i"]).count == 1)
  }

  @Test("the hint costs no second reading of the catalogs")
  func hintAlone() throws {
    let world = try World()
    for number in 0..<4 {
      try world.source.write("Invoice\(number)", "x")
      try world.snapshot()
    }
    func opened(_ pattern: ByteString) throws -> Int {
      let log = world.directory.path / "log"
      try tool(
        "strace",
        [
          "-f", "-qq", "-o", log, "-e", "trace=openat", try treeringBinary(), "find", pattern, "-r",
          world.repository.root,
        ])
      return try Tree(world.directory.path).text("log").split(separator: "\n").count { $0.contains(".catalog\"") }
    }
    #expect(try opened("invoice1") == opened("zebra"))
    let near = try world.treering(["find", "invoice?"])
    #expect(near.errorText.contains("; 4 paths match without regard to capital"), "\(near.errorText)")
    try world.source.remove("Invoice0")
    try world.snapshot()
    let deleted = try world.treering(["find", "invoice?", "--deleted"])
    #expect(deleted.errorText.contains("; 1 path matches without regard to capital"), "\(deleted.errorText)")
  }

  @Test("a reader that has seen enough ends the search")
  func closedPipe() throws {
    let world = try World()
    for number in 0..<3000 { try world.source.write("file-\(number)", "") }
    try world.snapshot()
    let line =
      "'\(try treeringBinary().text)' find 'file-*' -r '\(world.repository.root.text)' | head -n 2; echo ${PIPESTATUS[0]}"
    let result = try runCommand("bash", ["-c", ByteString(line)])
    #expect(result.outputText.hasSuffix("\n0\n"), "\(result.outputText)")
  }
}

import Foundation
import TestSupport
import Testing

/// `ls` and `cat`, and the times that name a snapshot.
@Suite("ls and cat", .waits)
struct LookingTests {
  @Test("ls -l shows what ls -l shows of the stored tree")
  func long() throws {
    let world = try World()
    try world.source.makeEverything()
    let taken = try world.snapshot()
    let shown = try world.treering(["ls", "-l", "latest", world.source.root])
    #expect(shown.status == 0, "\(shown.errorText)")
    let real = try runCommand(
      "sh", ["-c", "ls -lAq --time-style='+%Y-%m-%d %H:%M' \"$1\" | tail -n +2", "sh", world.tree(of: taken).root])
    // Mode, owner, group, date and time of each, in the order of the bytes.
    func fields(_ text: String, _ places: [Int]) -> [String] {
      text.split(separator: "\n").map { line in
        let words = line.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        return places.filter { $0 < words.count }.map { words[$0] }.joined(separator: " ")
      }.sorted()
    }
    #expect(fields(shown.outputText, [0, 1, 2]) == fields(real.outputText, [0, 2, 3]))
    let names = try world.treering(["ls", "latest", world.source.root]).outputText
      .split(separator: "\n").map { $0.hasSuffix("/") ? String($0.dropLast()) : String($0) }
    #expect(names.count == real.outputText.split(separator: "\n").count)
  }

  @Test("ls -R has a line for every entry, and a file is listed by its path")
  func recursive() throws {
    let world = try World()
    try world.source.makeEverything()
    let taken = try world.snapshot()
    let shown = try world.treering(["ls", "-R", "--json", taken.name, world.source.root])
    let count = try runCommand(
      "sh", ["-c", "find \"$1\" -mindepth 1 -printf x | wc -c", "sh", world.tree(of: taken).root])
    #expect(shown.outputText.split(separator: "\n").count == Int(count.outputText.dropLast()))
    try world.source.write("file", "12345")
    try world.snapshot()
    let one = try world.treering(["ls", "-l", "latest", world.source.root / "file"])
    #expect(one.outputText.hasPrefix("-rw") && one.outputText.contains(" 5 B "), "\(one.outputText)")
    let top = try world.treering(["ls", "latest"])
    #expect(top.outputText.contains("tmp/"), "\(top.outputText)")
    #expect(try world.treering(["ls", "latest", "/nowhere"]).status == 2)
  }

  @Test("cat gives the bytes, holes included, and says what is no file")
  func bytes() throws {
    let world = try World()
    try world.source.writeNoise("noise", 700_000)
    try world.source.write("empty", "")
    try world.source.makeDirectory("dir")
    try world.source.makeSymbolicLink("link", to: "noise")
    try tool("sh", ["-c", "printf a > sparse; truncate -s 5000000 sparse; printf z >> sparse"], in: world.source.root)
    let taken = try world.snapshot()
    let paths = ["noise", "empty", "sparse"].map { world.source.root / ByteString($0) }
    let result = try world.treering(["cat", "latest"] + paths)
    let expected = try runCommand("cat", paths)
    #expect(result.status == 0 && result.output == expected.output, "\(result.errorText)")
    for (path, words) in [("dir", "is a directory"), ("link", "symbolic link to noise"), ("none", "none")] {
      let refused = try world.treering([
        "cat", "latest", world.source.root / "noise", world.source.root / ByteString(path),
      ])
      #expect(
        refused.status == 2 && refused.errorText.contains(words), "\(refused.errorText)")
    }
    // A changed byte: all is written, and the status says so.
    world.provesOlderUnchanged = false
    let stored = world.tree(of: taken).root / "noise"
    try tool("sh", ["-c", "printf x | dd of='\(stored.text)' bs=1 seek=300000 conv=notrunc status=none"])
    let damaged = try world.treering(["cat", "latest", paths[0]])
    #expect(damaged.status == 6 && damaged.output.count == 700_000, "\(damaged.errorText)")
    #expect(damaged.errorText.contains("is damaged in \(taken.snapshot)"), "\(damaged.errorText)")
    let document = try world.treering(["cat", "latest", paths[0], "--json"]).errorText
    #expect(document.contains("\"path\":\"\(paths[0])\"") && document.contains("\"exit_status\":6"), "\(document)")
    let absent = try world.treering(["cat", "latest", "/nowhere", "--json"]).errorText
    #expect(absent.contains("\"path\":\"/nowhere\""), "\(absent)")
    try tool("rm", [stored])
    let missing = try world.treering(["cat", "latest", paths[0]])
    #expect(missing.status == 6 && missing.errorText.contains("No such file"), "\(missing.errorText)")
  }

  @Test(
    "days and times are local, also across a clock change",
    arguments: [
      // In New York clocks went back on 2026-11-01 at 06:00 UTC.
      ("America/New_York", "2026-10-31", "2026-11-01T03-30-00Z"),
      ("America/New_York", "2026-11-01", "2026-11-01T23-00-00Z"),
      ("America/New_York", "2026-11-01 00:00", "2026-11-01T03-30-00Z"),
      ("America/New_York", "2026-11-01 18:00", "2026-11-01T23-00-00Z"),
      ("Asia/Kolkata", "2026-11-01", "2026-11-01T03-30-00Z"),
      ("Asia/Kolkata", "2026-11-02", "2026-11-01T23-00-00Z"),
      ("Asia/Kolkata", "2026-11-01 09:00", "2026-11-01T03-30-00Z"),
      ("Asia/Kolkata", "2026-11-01T23:00Z", "2026-11-01T23-00-00Z"),
      ("Pacific/Auckland", "2026-11-02 11:59", "2026-11-01T03-30-00Z"),
      ("Pacific/Auckland", "2026-11-02", "2026-11-01T23-00-00Z"),
      ("Pacific/Auckland", "2026-11-01", "2026-11-01T03-30-00Z"),
      ("UTC", "2026-11-01T03", "2026-11-01T03-30-00Z"),
      ("UTC", "2026-11", "2026-11-01T23-00-00Z"), ("UTC", "2026-11-0", ""), ("UTC", "202", ""),
      ("UTC", "2026-11-01 23:00", "2026-11-01T23-00-00Z"), ("UTC", "2026-11-31 10:00", ""),
      ("UTC", "2026-02-30 10:00", ""),
      ("UTC", "2026-10", ""),
    ])
  func localTimes(zone: String, reference: String, name: String) throws {
    let world = try World()
    try world.source.write("a", "one")
    for (content, time) in [("one", "2026-11-01 03:30:00"), ("two", "2026-11-01 23:00:00")] {
      try world.source.write("a", content)
      let taken = try runCommand(
        "faketime",
        ["-f", ByteString(time), treeringBinary(), "snapshot", world.source.root, "-r", world.repository.root],
        environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"])
      #expect(taken.status == 0, "\(taken.errorText)")
    }
    let result = try world.treering(
      ["cat", ByteString(reference), world.source.root / "a"], environment: ["TZ": zone])
    let expected = name.isEmpty ? "" : name == "2026-11-01T03-30-00Z" ? "one" : "two"
    #expect(result.outputText == expected, "\(result.errorText)")
    #expect(result.status == (name.isEmpty ? 2 : 0))
    // The answer of list has the same days.
    guard reference.utf8.count == 10, !name.isEmpty else { return }
    let list = try world.treering(["list"], environment: ["TZ": zone]).outputText
    let line = try #require(list.split(separator: "\n").first { $0.hasPrefix(name) })
    #expect(line.contains("  \(reference) "), "\(list)")
  }

  @Test("ages and days that people say")
  func ages() throws {
    let world = try World()
    try world.source.write("a", "old")
    _ = try runCommand(
      "faketime", ["-f", "-2d", treeringBinary(), "snapshot", world.source.root, "-r", world.repository.root],
      environment: ["NO_FAKE_STAT": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"])
    try world.source.write("a", "new")
    try world.snapshot()
    func content(_ reference: ByteString) throws -> String {
      try world.treering(["cat", reference, world.source.root / "a"]).outputText
    }
    #expect(try content("today") == "new")
    #expect(try content("yesterday") == "old")
    #expect(try content("36h") == "old")
    #expect(try content("now") == "new")
    let none = try world.treering(["cat", "3d", world.source.root / "a"])
    #expect(none.status == 2 && none.errorText.contains("of the time \"3d\""), "\(none.errorText)")
    let oldest = try #require(try world.snapshotNames().first)
    #expect(none.errorText.contains("the oldest is \(oldest)"), "\(none.errorText)")
    // A word for a time is the same as the place of the snapshot.
    for words in [["--at", "36h", world.source.root / "a"], [world.source.root / "a", "--at=36h"]] as [[ByteString]] {
      #expect(try world.treering(["cat"] + words).outputText == "old")
    }
    let restored = world.directory.path / "restored"
    #expect(try world.treering(["restore", "--to", restored, "--at", "36h"]).status == 0)
    #expect(try Tree(restored / world.source.root).text("a") == "old")
    #expect(try world.treering(["cat", world.source.root / "a", "--at"]).status == 2)
  }
}

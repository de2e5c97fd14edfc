import TestSupport
import Testing

@Suite("terminals: widths, and times across a change of the clock", .waits)
struct TerminalTests {
  @Test("find gives a path that does not fit a line of its own, and versions wraps", arguments: [80, 100, 300])
  func widths(columns: Int) throws {
    let world = try World()
    let name = ByteString(String(repeating: "long-", count: 12) + "name")
    try world.source.write(name, "x")
    try world.snapshot()
    try world.source.write(name, "other")
    try tool("chmod", ["600", world.source.root / name])
    try world.settle()
    try world.snapshot()
    let path = world.source.root / name
    func lines(_ words: [ByteString]) throws -> [String] {
      let result = try onTerminal(words + ["-r", world.repository.root], columns: columns, in: world.directory.path)
      #expect(result.status == 0, "\(result.outputText)")
      return result.terminalLines
    }
    let found = try lines(["find", "long-*"])
    let isWide = columns == 300
    #expect(found.count == (isWide ? 3 : 5), "\(found)")
    #expect(found.filter { isWide ? $0.hasSuffix("  \(path)") : $0 == "  \(path)" }.count == 2, "\(found)")
    #expect(found.allSatisfy { $0.count <= columns || $0 == "  \(path)" }, "\(found)")
    for words: [ByteString] in [["versions", path], ["versions", path, "--follow"]] {
      let versions = try lines(words)
      #expect(versions.allSatisfy { $0.count <= columns }, "\(versions)")
      let text = versions.joined()
      for word in ["MODIFIED", "FIRST IN", "CHANGE", "content", "mode"] { #expect(text.contains(word), "\(versions)") }
    }
  }

  struct Zone: Sendable, CustomTestStringConvertible {
    let name: String
    /// The times of two snapshots by UTC and in the zone, and a time one and a half hours after the second.
    let taken: [String]
    let shown: [String]
    let now: String
    var testDescription: String { name }
  }

  static let zones = [
    // The clock goes back from 02:00 to 01:00.
    Zone(
      name: "America/New_York", taken: ["2026-11-01 05:30", "2026-11-01 06:30"],
      shown: ["2026-11-01 01:30", "2026-11-01 01:30"], now: "2026-11-01 03:00"),
    Zone(
      name: "Asia/Kolkata", taken: ["2026-11-01 05:30", "2026-11-01 06:30"],
      shown: ["2026-11-01 11:00", "2026-11-01 12:00"], now: "2026-11-01 13:30"),
    // The clock goes forward from 02:00 to 03:00.
    Zone(
      name: "Pacific/Auckland", taken: ["2026-09-26 13:30", "2026-09-26 14:30"],
      shown: ["2026-09-27 01:30", "2026-09-27 03:30"], now: "2026-09-27 05:00"),
  ]

  @Test("status, list and versions show local times across a change of the clock", arguments: TerminalTests.zones)
  func clockChange(zone: Zone) throws {
    let world = try World()
    world.provesOlderUnchanged = false
    func at(_ time: String, in zone: String, _ words: [ByteString]) throws -> CommandResult {
      let result = try runCommand(
        "faketime",
        ["-f", ByteString("@\(time):00"), try treeringBinary()] + words + ["-r", world.repository.root],
        environment: fakedClock.merging(["TZ": zone]) { $1 })
      #expect(result.status == 0, "\(result.errorText)")
      return result
    }
    for time in zone.taken {
      try world.source.write("file", time)
      try tool("touch", ["-d", ByteString("\(time)Z"), world.source.root / "file"])
      _ = try at(time, in: "UTC", ["snapshot", world.source.root])
    }
    let versions = try at(zone.now, in: zone.name, ["versions", world.source.root / "file"]).outputLines
    #expect(versions.dropFirst().map { String($0.prefix(16)) } == zone.shown.reversed(), "\(versions)")
    let names = zone.taken.map { $0.replacing(" ", with: "T").replacing(":", with: "-") }
    #expect(zip(versions.dropFirst(), names.reversed()).allSatisfy { $0.contains($1) }, "\(versions)")
    let list = try at(zone.now, in: zone.name, ["list"]).outputLines
    #expect(zip(list.dropFirst(), zone.shown).allSatisfy { $0.contains($1) }, "\(list)")
    let status = try at(zone.now, in: zone.name, ["status"])
    // The clock goes on while the program starts.
    #expect(["1 h 30 min", "1 h 29 min"].contains { status.outputText.contains($0) }, "\(status.outputText)")
    #expect(status.outputText.contains(names[1]), "\(status.outputText)")
    for time in zone.shown { #expect(status.outputText.contains("\(time)  snapshot"), "\(status.outputText)") }
  }
}

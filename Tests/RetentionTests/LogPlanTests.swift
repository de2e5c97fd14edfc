import Retention
import Testing

@Suite struct LogPlanTests {
  private static let megabytes16: UInt64 = 16 << 20

  /// `1:3` is the segment 3 of timeline 1, `1:3p` a partial one, `1:3b` a backup file and `2h` a history.
  private static func name(_ short: String) -> [UInt8] {
    if short.hasSuffix("h") { return Array(("0000000" + short.dropLast() + ".history").utf8) }
    let parts = short.split(separator: ":")
    let digits = parts[1].prefix { $0.isNumber }
    let segment = LogSegment(timeline: UInt32(parts[0])!, number: UInt64(digits)!).name(segmentBytes: megabytes16)
    let ends = ["": "", "p": ".partial", "b": ".00000028.backup"]
    return Array((segment + ends[String(parts[1].dropFirst(digits.count))]!).utf8)
  }

  private func names(_ list: String) -> [[UInt8]] { list.split(separator: " ").map { Self.name(String($0)) } }

  private func place(_ segment: UInt64) -> LogPlace { LogPlace(byte: segment * Self.megabytes16 + 40) }

  /// `1:5-6` begins in segment 5 of timeline 1 and ends in 6.
  private func bases(_ list: String) -> [BaseBackup] {
    list.split(separator: " ").map { base in
      let numbers = base.split { ":-".contains($0) }.map { UInt64($0)! }
      return BaseBackup(timeline: UInt32(numbers[0]), start: place(numbers[1]), end: place(numbers[2]))
    }
  }

  /// `2=1@7 3=1@7,2@9`: timeline 3 left 1 at segment 7, and 2 at 9.
  private func histories(_ list: String) throws -> [UInt32: TimelineHistory] {
    var histories: [UInt32: TimelineHistory] = [:]
    for item in list.split(separator: " ") {
      let parts = item.split(separator: "=")
      let lines = parts[1].split(separator: ",").map { ancestor in
        let numbers = ancestor.split(separator: "@")
        return "\(numbers[0])\t\(place(UInt64(numbers[1])!))\tno recovery target specified\n"
      }
      let history: TimelineHistory = try #require(TimelineHistory(Array(lines.joined(separator: "\n").utf8)))
      histories[UInt32(parts[0])!] = history
    }
    return histories
  }

  private func plan(_ files: String, _ bases: String, _ histories: String) throws -> LogPlan {
    LogPlan(
      names: names(files), bases: self.bases(bases), histories: try self.histories(histories),
      segmentBytes: Self.megabytes16)
  }

  @Test(
    "files that no base needs",
    arguments: [
      // No base at all: nothing is known, so all stays.
      ("1:1 1:2", "", "", ""),
      ("1:1 1:2 1:3", "1:2-2", "", "1:1"),
      ("1:1 1:2 1:3", "1:1-1", "", ""),
      // The oldest base decides, in whatever order they come.
      ("1:1 1:2 1:3 1:4", "1:3-3 1:2-2", "", "1:1"),
      // Backup files and partial segments go as their segments.
      ("1:1 1:1b 1:1p 1:2 1:2b", "1:2-2", "", "1:1 1:1b 1:1p"),
      // Histories are small, and stay. Other files are not treering's.
      ("1:1 2h 2:1", "2:5-5", "2=1@1", "1:1 2:1"),
      // After a switch from 1 to 2 in segment 7, a base of 1 needs both.
      ("1:5 1:6 1:7p 2h 2:7 2:8", "1:6-6", "2=1@7", "1:5"),
      // A base of 2 needs nothing of 1, not even what 1 wrote after 2 had left it.
      ("1:6 1:7 1:8 1:9 2h 2:7 2:8 2:9", "2:8-8", "2=1@7", "1:6 1:7 1:8 1:9 2:7"),
      // A base of 1 that began after 2 had left 1 needs nothing of 2.
      ("1:9 1:10 2h 2:7 2:9 2:10", "1:9-9", "2=1@7", "2:7 2:9 2:10"),
      // Without its history a timeline might be needed.
      ("1:9 1:10 2:7 2:9 2:10", "1:9-9", "", "2:7"),
      // Grandchildren.
      ("1:4 1:5 2h 2:5 2:6 3h 3:6 3:7", "1:4-4", "2=1@5 3=1@5,2@6", ""),
      ("1:4 1:5 2h 2:5 2:6 3h 3:5 3:6", "2:5-6", "2=1@5 3=1@5", "1:4 1:5 3:5 3:6"),
      // Two branches, and a base on each.
      ("1:4 1:5 1:9 2h 2:5 2:6 2:9", "1:9-9 2:6-6", "2=1@5", "1:4 1:5 2:5"),
    ])
  func removable(_ files: String, _ bases: String, _ histories: String, _ expected: String) throws {
    #expect(try plan(files, bases, histories).removable == names(expected))
  }

  @Test(
    "missing segments",
    arguments: [
      ("1:2 1:3 1:4", "1:2-2", "", ""),
      ("1:2 1:4", "1:2-2", "", "1:3+1"),
      ("1:2 1:6 1:8", "1:2-2", "", "1:3+3 1:7+1"),
      // The base's own logs belong to it.
      ("", "1:2-3", "", "1:2+2"),
      ("1:3", "1:2-4", "", "1:2+1 1:4+1"),
      // A gap before all bases is none.
      ("1:1 1:5 1:6", "1:5-5", "", ""),
      // A gap is named once, though several bases see it.
      ("1:2 1:3 1:5", "1:2-2 1:3-3", "", "1:4+1"),
      // The segment of the switch is that of the new timeline; the old one's may be partial.
      ("1:6 1:7p 2h 2:7 2:8", "1:6-6", "2=1@7", ""),
      ("1:6 2h 2:8", "1:6-6", "2=1@7", "2:7+1"),
      ("1:5 2h 2:7 2:8", "1:5-5", "2=1@7", "1:6+1"),
      // An old branch is of no interest to a base that the newest branch reaches.
      ("1:6 1:9 2h 2:7 2:8", "1:6-6", "2=1@7", ""),
      // It is to one that only the old branch reaches.
      ("1:8 1:10 2h 2:7", "1:8-8", "2=1@7", "1:9+1"),
      ("1:4 2h 2:5 3h 3:7", "1:4-4", "2=1@5 3=1@5,2@7", "2:6+1"),
    ])
  func gaps(_ files: String, _ bases: String, _ histories: String, _ expected: String) throws {
    let found = try plan(files, bases, histories).gaps.map { "\($0.first.timeline):\($0.first.number)+\($0.count)" }
    #expect(found.joined(separator: " ") == expected)
  }

  @Test(
    "logs that a remote lacks",
    arguments: [
      ("1:1 1:2 2h", "", "1:1 1:2 2h"), ("1:1 1:2 1:3", "1:2", "1:3"), ("1:1 1:2 1:3 1:4", "1:2 1:4", "1:3"),
      // The remote has removed what is older. Histories are always sent.
      ("1:1 1:2 2h 2:2 2:3", "1:2", "2h 2:2 2:3"), ("1:1 2h", "2h", "1:1"), ("1:1b 1:2p", "1:2", "1:2p"),
    ])
  func lacking(_ names: String, _ there: String, _ expected: String) {
    #expect(LogPlan.lacking(in: self.names(there), of: self.names(names)) == self.names(expected))
  }

  @Test("logs of another kind that a remote lacks: each series has its own oldest")
  func lackingOfSeries() {
    func names(_ text: String) -> [[UInt8]] { text.split(separator: " ").map { Array($0.utf8) } }
    let found = LogPlan.lacking(in: names("a3 a5 c1"), of: names("a1 a4 a6 b1 c2 other")) { name in
      name.count == 2 ? ([name[0]], UInt64(name[1])) : nil
    }
    #expect(found == names("a4 a6 b1 c2 other"))
  }

  @Test("logs from a segment on, and the other files")
  func fromASegment() {
    #expect(LogPlan.from(self.names("1:2")[0], in: self.names("1:1 1:2 1:1b 2h 2:1 2:3")) == self.names("1:2 2h 2:3"))
  }

  @Test("the system identifier, in the head of a segment, and in pg_control")
  func systemIdentifiers() {
    var head: [UInt8] = [0x10, 0xD1, 2, 0, 1, 0, 0, 0] + [UInt8](repeating: 0, count: 16)
    head += [1, 2, 3, 4, 5, 6, 7, 8] + [0, 0, 0, 1] + [0, 0x20, 0, 0]
    #expect(SystemIdentifier(segment: head)?.number == 0x0807_0605_0403_0201)
    #expect(SystemIdentifier(controlFile: head[24...].map { $0 })?.number == 0x0807_0605_0403_0201)
    #expect(SystemIdentifier(segment: head.dropLast()) == nil)
    head[1] = 0
    #expect(SystemIdentifier(segment: head) == nil)
  }

  @Test("the newest segment is found")
  func theNewestSegment() throws {
    #expect(try plan("1:9 2:8", "", "").newest(on: nil) == LogSegment(timeline: 1, number: 9))
    #expect(try plan("1:9 2:8", "", "").newest(on: 2) == LogSegment(timeline: 2, number: 8))
    #expect(try plan("1:9 2:9", "", "").newest(on: nil) == LogSegment(timeline: 2, number: 9))
    #expect(try plan("2h", "", "").newest(on: nil) == nil)
  }

  @Test(
    "names",
    arguments: [
      ("000000010000000000000003", LogFile.segment(LogSegment(timeline: 1, number: 3))),
      ("0000000A00000002000000FF", .segment(LogSegment(timeline: 10, number: 0x2FF))),
      ("000000010000000000000003.partial", .partial(LogSegment(timeline: 1, number: 3))),
      ("000000010000000000000003.00000028.backup", .backup(LogSegment(timeline: 1, number: 3))),
      ("00000002.history", .history(timeline: 2)),
      ("000000010000000000000100", nil), ("00000001000000000000000g", nil), ("00000001000000000000000a", nil),
      ("00000000.history", nil), ("", nil), ("RECOVERYXLOG", nil), ("00000001", nil),
      ("000000010000000000000003.28.backup", nil), ("0000000100000000000000030", nil),
    ] as [(String, LogFile?)])
  func names(_ name: String, _ expected: LogFile?) {
    #expect(LogFile(Array(name.utf8)) == expected)
    if case .segment(let segment)? = expected { #expect(segment.name(segmentBytes: Self.megabytes16) == name) }
  }

  @Test("segments of one megabyte have other names")
  func segmentsOfOneMegabyteHaveOtherNames() {
    let segment = LogSegment(timeline: 1, at: LogPlace(byte: 0x3_0020_0000), segmentBytes: 1 << 20)
    #expect(segment.name(segmentBytes: 1 << 20) == "000000010000000300000002")
    #expect(LogFile(Array("000000010000000300000FFF".utf8), segmentBytes: 1 << 20) != nil)
  }

  @Test("places of a log come back", arguments: ["0/0", "0/2000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
  func places(text: String) throws { #expect(try #require(LogPlace(text)).description == text) }

  @Test(
    "texts that are no places are refused",
    arguments: ["", "0", "0/", "/0", "0/0/0", "0/x", "1FFFFFFFF/0", "+1/0", "0/-1"])
  func noPlaces(text: String) { #expect(LogPlace(text) == nil) }

  @Test("the text of a base is read")
  func theTextOfABaseIsRead() throws {
    let base = BaseBackup(timeline: 3, start: place(2), end: place(4))
    #expect(base.description == "timeline 3, LSN 0/2000028 to 0/4000028")
    #expect(BaseBackup(Array(base.description.utf8)) == base)
    #expect(BaseBackup(Array("LSN 0/2000028".utf8)) == nil)
  }
}

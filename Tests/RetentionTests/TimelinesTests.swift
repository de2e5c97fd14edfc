import Model
import Retention
import Testing

@Suite("Timelines: the one that was current at a moment, and the times in a log")
struct TimelinesTests {
  private func history(_ lines: String) throws -> TimelineHistory {
    try #require(TimelineHistory(Array(lines.utf8)))
  }

  private func timelines() throws -> Timelines {
    let second = Timestamp(seconds: 100, nanoseconds: 500)
    return Timelines([
      .init(timeline: 2, history: try history("1\t0/5000\tx\n"), began: second),
      .init(timeline: 3, history: try history("1\t0/7000\tx\n"), began: Timestamp(seconds: 200, nanoseconds: 0)),
      .init(timeline: 4, history: try history("1\t0/5000\tx\n2\t0/9000\tx\n"), began: nil),
    ])
  }

  @Test(
    "the newest recovery before the moment decides",
    arguments: [(99, nil), (100, nil), (101, 2), (199, 2), (200, 3), (nil, 3)] as [(Int64?, UInt32?)])
  func current(_ seconds: Int64?, _ expected: UInt32?) throws {
    #expect(try timelines().current(at: seconds) == expected)
  }

  @Test(
    "a base backup leads to a timeline that left its own after the backup's end",
    arguments: [
      (1, 1, 0x4000, true), (2, 1, 0x5000, true), (2, 1, 0x5001, false), (3, 1, 0x6000, true), (3, 2, 0x6000, false),
      (4, 2, 0x9000, true), (4, 1, 0x6000, false), (9, 1, 0x1000, false),
    ] as [(UInt32, UInt32, UInt64, Bool)])
  func canReach(_ timeline: UInt32, _ own: UInt32, _ end: UInt64, _ expected: Bool) throws {
    let base = BaseBackup(timeline: own, start: LogPlace(byte: 0x100), end: LogPlace(byte: end))
    #expect(try timelines().canReach(timeline, from: base) == expected)
  }

  // MARK: Times

  private func bytes(_ number: UInt64, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(number >> ($0 * 8) & 0xFF) } }

  private func record(_ kind: UInt8, _ information: UInt8, _ data: [UInt8]) -> [UInt8] {
    let total = 24 + 2 + data.count
    let record =
      bytes(UInt64(total), 4) + bytes(0, 12) + [information, kind, 0, 0] + bytes(0, 4) + [255, UInt8(data.count)] + data
    return record + bytes(0, (8 - record.count % 8) % 8)
  }

  /// A segment with pages of 1 KiB, at 0/10000, whose records begin after `rest` bytes of another.
  private func segment(_ records: [UInt8], rest: Int = 0) -> [UInt8] {
    var (result, left): ([UInt8], [UInt8]) = ([], bytes(0, (rest + 7) & ~7) + records)
    repeat {
      let isFirst = result.isEmpty
      result += bytes(0xD110, 2) + bytes(isFirst ? 2 : 0, 2) + bytes(1, 4)
      result += bytes(0x10000 + UInt64(result.count - 8), 8) + bytes(isFirst ? UInt64(rest) : 0, 4) + bytes(0, 4)
      if isFirst { result += bytes(7, 8) + bytes(1 << 20, 4) + bytes(1024, 4) }
      let length = min(left.count, 1024 - result.count % 1024)
      result += left.prefix(length)
      left.removeFirst(length)
    } while !left.isEmpty
    return result + bytes(0, (1024 - result.count % 1024) % 1024)
  }

  private func time(in segment: [UInt8], from place: UInt64?) -> Timestamp? {
    var records = LogRecords(segment: segment, from: place.map { LogPlace(byte: $0) })
    return records?.nextTime()
  }

  @Test("the end of a recovery, a checkpoint and a commit have times; other records are passed over")
  func times() {
    let noise = record(10, 0, bytes(0, 200)) + record(0, 0x30, bytes(0, 4))
    let micros = bytes(1_500_000, 8)
    let expected = Timestamp(seconds: 946_684_801, nanoseconds: 500_000_000)
    for found in [record(0, 0x90, micros + bytes(2, 8)), record(1, 0x80, micros), record(1, 0x20, micros)] {
      #expect(time(in: segment(noise + found), from: nil) == expected)
      // Over the edges of pages.
      let far = (0..<9).flatMap { _ in noise }
      #expect(time(in: segment(far + found), from: nil) == expected)
      #expect(time(in: segment(far + found, rest: 1500), from: nil) == expected)
      #expect(time(in: segment(noise + found), from: 0x10000 + 40 + UInt64(noise.count)) == expected)
    }
    let checkpoint = record(0, 0, bytes(0, 64) + bytes(1_700_000_000, 8) + bytes(0, 8))
    #expect(time(in: segment(checkpoint), from: 0x10000 + 40) == Timestamp(seconds: 1_700_000_000, nanoseconds: 0))
    #expect(time(in: segment(noise), from: nil) == nil)
    #expect(time(in: bytes(0, 4096), from: nil) == nil)
  }
}

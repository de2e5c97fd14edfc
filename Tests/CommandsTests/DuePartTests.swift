import Model
import Repository
import Settings
import Testing

@testable import Commands

@Suite struct DuePartTests {
  private static let day: Int64 = 86_400
  /// 2027-01-15T08:00:00Z, a Friday.
  private static let now: Int64 = 1_800_000_000

  private func due(
    every: Int64 = day, of parts: Int = 3, after verified: [(String, Int64)], at now: Int64 = now, offset: Int64 = 0
  ) -> String? {
    let records = verified.map { VerifiedPart(part: VerificationPart($0.0)!, seconds: $0.1) }
      .sorted { $0.seconds < $1.seconds }
    return Configuration.Verification(everySeconds: every, parts: parts)
      .duePart(after: records, at: now) { _ in offset }?.description
  }

  @Test("a part each period of local time, the longest unread first")
  func parts() {
    let (now, day) = (Self.now, Self.day)
    #expect(due(after: []) == "1/3")
    #expect(due(after: [("1/3", now - day)]) == "2/3")
    #expect(due(after: [("1/3", now - 3 * day), ("2/3", now - 2 * day), ("3/3", now - day)]) == "1/3")
    #expect(due(after: [("3/3", now - 3 * day), ("2/3", now - 2 * day), ("1/3", now - day)]) == "3/3")
    // The day began eight hours ago.
    #expect(due(after: [("1/3", now - 9 * 3600)]) == "2/3")
    #expect(due(after: [("1/3", now - 7 * 3600)]) == nil)
    #expect(due(after: [("1/3", now - 9 * 3600)], offset: 2 * 3600) == nil)
    // A run that is a little early, and one that was late, are on different days all the same.
    #expect(due(after: [("1/3", now - day + 3600)]) == "2/3")
    // Everything, and other divisions.
    #expect(due(after: [("1/1", now - day)]) == "1/3" && due(after: [("1/1", now - 3600)]) == nil)
    #expect(due(after: [("1/1", now - 3 * day), ("1/3", now - 2 * day)]) == "2/3")
    #expect(due(after: [("4/7", now - 3600)]) == "1/3")
    #expect(due(of: 1, after: [("1/1", now - day)]) == "1/1")
    // A clock that was ahead stops nothing.
    #expect(due(after: [("1/3", now + 40 * day)]) == "2/3")
  }

  @Test("weeks begin on Monday")
  func weeks() {
    let monday = Self.now - 4 * Self.day - 8 * 3600
    #expect(due(every: 7 * Self.day, after: [("1/3", monday)]) == nil)
    #expect(due(every: 7 * Self.day, after: [("1/3", monday - 1)]) == "2/3")
  }

  @Test("every content and every directory is in one part, and the parts are of a size")
  func split() {
    var counts = [Int](repeating: 0, count: 30)
    for index in 0..<30_000 {
      let path: TreePath = [Array("localhost".utf8), Array("directory\(index)".utf8)]
      let parts = (1...30).filter { VerificationPart(number: $0, of: 30)!.contains(path: path) }
      #expect(parts.count == 1)
      counts[parts[0] - 1] += 1
    }
    #expect(counts.allSatisfy { (800...1200).contains($0) }, "\(counts)")
    #expect((1...7).filter { VerificationPart(number: $0, of: 7)!.contains(prefix: .max) }.count == 1)
  }

  @Test("words for a part")
  func text() {
    #expect(VerificationPart("3/30")?.description == "3/30")
    for wrong in ["0/3", "4/3", "3", "3/", "/3", "1/1001", "1/3/3", "a/b", "-1/3"] {
      #expect(VerificationPart(wrong) == nil, "\(wrong)")
    }
  }
}

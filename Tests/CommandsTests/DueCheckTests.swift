import Catalog
import Model
import Repository
import Retention
import Testing

@testable import Commands

@Suite struct DueCheckTests {
  /// 2027-01-15T08:00:00Z.
  private static let now = Timestamp(seconds: 1_800_000_000, nanoseconds: 0)
  private let hourly = RetentionPolicy(keep: [.hourly: 24])

  private func isDue(
    _ policy: RetentionPolicy, sources: [String] = ["/a"], absent: [String] = [], isAbsenceExcused: Bool = false,
    databases: [String] = [], after snapshots: [Snapshot]
  ) -> Bool {
    func bytes(_ paths: [String]) -> [[UInt8]] { paths.map { Array($0.utf8) } }
    let check = DueCheck(
      policy: policy, label: Array("localhost".utf8), sources: bytes(sources), absent: Set(bytes(absent)),
      databases: Set(bytes(databases.map { "databases/\($0)" })), isAbsenceExcused: isAbsenceExcused)
    return check.isDue(after: snapshots, at: Self.now) {
      let hours = Int($0.seconds / 3600)
      return LocalTime(year: 2027, month: 1, day: hours / 24 % 28 + 1, hour: hours % 24, offsetSeconds: 0)
    }
  }

  private func ago(_ minutes: Int64, of sources: [String] = ["/a"], absent: [String] = []) -> Snapshot {
    snapshot(at: Self.now.seconds + 1800 - minutes * 60, of: sources, absent: absent)
  }

  @Test("a period with a snapshot of all present sources is done")
  func periods() {
    #expect(isDue(hourly, after: []))
    #expect(!isDue(hourly, after: [ago(20)]))
    #expect(isDue(hourly, after: [ago(40)]))
    #expect(!isDue(RetentionPolicy(keep: [.daily: 7]), after: [ago(40)]))
    #expect(isDue(hourly, sources: ["/a", "/b"], after: [ago(20)]))
    #expect(!isDue(hourly, after: [ago(20, of: ["/a", "/b"])]))
  }

  @Test("the next period begins at a full local hour or day, and nowhere else")
  func nextPeriods() {
    func next(_ policy: RetentionPolicy, absent: Set<[UInt8]> = [], zone: Int64 = 0) -> Int64? {
      let check = DueCheck(
        policy: policy, label: Array("localhost".utf8), sources: [Array("/a".utf8)], absent: absent)
      return check.nextPeriod(after: Self.now) {
        let hours = Int(($0.seconds + zone) / 3600)
        return LocalTime(year: 2027, month: 1, day: hours / 24 % 28 + 1, hour: hours % 24, offsetSeconds: Int(zone))
      }.map { $0.seconds - Self.now.seconds }
    }
    #expect(next(hourly) == 3600)
    #expect(next(hourly, zone: 5 * 3600 + 1800) == 1800, "in Kolkata")
    #expect(next(RetentionPolicy(keep: [.daily: 7])) == 57_600)
    #expect(next(RetentionPolicy(keep: [.hourly: 24], keepLast: 3)) == nil)
    #expect(next(hourly, absent: [Array("/a".utf8)]) == nil)
  }

  @Test("other kinds of retention make every run due")
  func otherPolicies() {
    #expect(isDue(RetentionPolicy(keep: [.hourly: 24], keepLast: 3), after: [ago(20)]))
    #expect(isDue(RetentionPolicy(keep: [.hourly: 24], keepWithinSeconds: 60), after: [ago(20)]))
  }

  @Test("a database without a good dump in the period")
  func databases() {
    let (with, without) = (
      snapshot(at: Self.now.seconds + 1, of: ["/a"], dumps: ["shop"]),
      snapshot(at: Self.now.seconds + 2, of: ["/a"], leftOut: ["shop"])
    )
    #expect(!isDue(hourly, databases: ["shop"], after: [with, without]))
    #expect(isDue(hourly, databases: ["shop"], after: [without]))
    #expect(isDue(hourly, databases: ["shop"], after: [ago(20)]))
    #expect(isDue(hourly, sources: [], databases: ["shop"], after: [ago(20)]))
    #expect(!isDue(hourly, sources: [], databases: ["shop"], after: [with]))
  }

  @Test("absent sources")
  func absentSources() {
    #expect(!isDue(hourly, absent: ["/a"], isAbsenceExcused: true, after: []))
    #expect(isDue(hourly, absent: ["/a"], after: [ago(20)]))
    #expect(!isDue(hourly, sources: ["/a", "/b"], absent: ["/b"], after: [ago(20, absent: ["/b"])]))
    #expect(isDue(hourly, sources: ["/a", "/b"], absent: ["/b"], after: [ago(20)]))
  }
}

import Model
import Retention
import Testing

/// A client must not be able to keep more for ever than it would by pushing what it has.
@Suite("Sources that pushes brought")
struct ReceivedSourceTests {
  private func snapshot(_ index: Int, of source: String, isReceived: Bool = true) -> RetainedSnapshot {
    let time = Int64(index) * 60
    return RetainedSnapshot(
      name: "\(index)", time: time,
      local: LocalTime(year: 1970, month: 1, day: 1, hour: index / 60 % 24, offsetSeconds: 0), isGood: true,
      isReceived: isReceived, sources: [Array(source.utf8)])
  }

  private func staying(_ snapshots: [RetainedSnapshot]) -> [Int] {
    let plan = retentionPlan(for: snapshots, policy: RetentionPolicy(keep: [.yearly: 1]), now: snapshots.last!.time)
    // All are of one year, and each source has a first one in it.
    return snapshots.indices.filter { plan.decisions[$0].reasons.contains(.newestGood) }
  }

  @Test("the sources known first stay protected, and a bounded number of others")
  func invented() {
    let honest = (0..<3).map { snapshot($0, of: "web01/home") }
    let invented = (3..<4203).map { snapshot($0, of: "web01/\($0)") }
    let kept = staying(honest + invented)
    #expect(kept.count == 4096)
    #expect(kept == [2] + Array(3..<4098))
    let plan = retentionPlan(
      for: honest + invented, policy: RetentionPolicy(keep: [.yearly: 1]), now: invented.last!.time)
    #expect(plan.unprotectedSources.count == 1 + 4200 - 4096)
    #expect(plan.unprotectedSources.first == Array("web01/4098".utf8))
  }

  @Test("sources of snapshots that were taken here are not counted")
  func local() {
    let own = (0..<500).map { snapshot($0, of: "localhost/\($0)", isReceived: false) }
    #expect(staying(own).count == 500)
    let both = own + (500..<4700).map { snapshot($0, of: "web01/\($0)") }
    #expect(staying(both).count == 500 + 4096)
  }
}

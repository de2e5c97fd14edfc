import Model
import Repository
import Retention
import Testing

@testable import Catalog
@testable import Commands

/// A snapshot of sources below the label `localhost`.
func snapshot(
  at seconds: Int64, of sources: [String], absent: [String] = [], warnings: UInt64 = 0
) -> Snapshot {
  var summary = CatalogSummary(
    root: Subtree(
      digest: Digest([UInt8](repeating: 0, count: 32))!, place: Place(frame: 0, offset: 0), totals: Totals()))
  summary.started = Timestamp(seconds: seconds, nanoseconds: 0)
  summary.label = Array("localhost".utf8)
  summary.sources = sources.map { Array($0.utf8) }
  summary.absentSources = absent.map { Array($0.utf8) }
  summary.outcome = warnings == 0 ? .complete : .warnings
  return Snapshot(name: SnapshotName(seconds: seconds), summary: summary)
}

@Suite struct RepositoryStateTests {
  private static let now = Timestamp(seconds: 1_800_000_000, nanoseconds: 0)

  private func facts(
    _ snapshots: [Snapshot], history: [String] = [], obstacle: String? = nil
  ) -> RepositoryFacts {
    var list = SnapshotList()
    list.snapshots = snapshots
    return RepositoryFacts(
      path: Array("/r".utf8), list: list,
      plan: retentionPlan(for: [], policy: .standard, now: Self.now.seconds, obstacle: obstacle),
      history: PastRuns(history: Array(history.joined(separator: "\n").utf8)))
  }

  private func source(_ path: String, isOptional: Bool = false, rpoSeconds: Int64? = nil) -> ExpectedSource {
    ExpectedSource(
      label: Array("localhost".utf8), path: Array(path.utf8), isOptional: isOptional, rpoSeconds: rpoSeconds)
  }

  private func state(_ facts: RepositoryFacts, expecting sources: [ExpectedSource], remotes: [String]? = nil)
    -> RepositoryState
  {
    RepositoryState(
      from: facts, expecting: .init(sources: sources, isConfigured: true, remotes: remotes), at: Self.now)
  }

  private func hoursAgo(_ hours: Int64) -> Int64 { Self.now.seconds - hours * 3600 }

  @Test("the state of a source")
  func sourceStates() {
    let list = [
      snapshot(at: hoursAgo(30), of: ["/old", "/away"]), snapshot(at: hoursAgo(1), of: ["/new"], absent: ["/away"]),
      snapshot(at: hoursAgo(-1), of: ["/future"]), snapshot(at: hoursAgo(0), of: ["/bad"], warnings: 1),
    ]
    let day: Int64 = 86_400
    let cases: [(ExpectedSource, String)] = [
      (source("/new", rpoSeconds: day), "well"), (source("/old", rpoSeconds: day), "late"), (source("/old"), "well"),
      (source("/away"), "absent"), (source("/future"), "future"), (source("/bad"), "never"),
      (source("/none"), "never"), (source("/none", isOptional: true), "absent"),
    ]
    for (source, expected) in cases {
      let state = state(facts(list), expecting: [source])
      #expect(state.sources.map(\.state) == [expected])
      #expect(state.isWell == ["well", "absent"].contains(expected))
    }
  }

  @Test("an empty repository, and one whose rotation is held")
  func snapshotFindings() {
    #expect(state(facts([]), expecting: []).findings == ["there is no snapshot yet"])
    let held = facts([snapshot(at: hoursAgo(1), of: ["/a"])], obstacle: "rotation is held since today")
    #expect(state(held, expecting: []).findings == ["nothing expires: rotation is held since today"])
  }

  @Test("the last runs and pushes")
  func history() {
    let good = [snapshot(at: hoursAgo(1), of: ["/a"])]
    func push(_ remote: String, _ status: Int) -> String {
      #"{"time":"T","command":"push","exit_status":\#(status),"result":{"remote":"\#(remote)","snapshot":"S"}}"#
    }
    func run(_ command: String, _ status: Int) -> String {
      #"{"time":"T","command":"\#(command)","exit_status":\#(status)}"#
    }
    let cases: [([String], remotes: [String]?, [String])] = [
      ([run("snapshot", 3), run("snapshot", 0)], nil, []),
      ([run("snapshot", 3), run("rotate", 0)], nil, ["the last snapshot, at T, ended with status 3"]),
      ([run("snapshot", 0), run("rotate", 1)], nil, ["the last rotate, at T, ended with status 1"]),
      (["torn", push("nas", 7)], nil, ["the last push to nas, at T, failed"]),
      ([push("nsa", 7), push("nas", 0)], nil, []),
      ([push("nas", 0)], ["nas", "b2"], ["nothing was pushed to b2 yet"]),
    ]
    for (lines, remotes, findings) in cases {
      #expect(state(facts(good, history: lines), expecting: [], remotes: remotes).findings == findings)
    }
  }

  @Test("the first snapshot does not count as a day's growth")
  func growth() {
    var list = [snapshot(at: hoursAgo(48), of: ["/a"]), snapshot(at: hoursAgo(24), of: ["/a"])]
    list[0] = Snapshot(name: list[0].name, summary: copying(1000, in: list[0].summary))
    list[1] = Snapshot(name: list[1].name, summary: copying(10, in: list[1].summary))
    #expect(state(facts(list), expecting: []).bytesCopiedPerDay == 5)
  }

  private func copying(_ bytes: UInt64, in summary: CatalogSummary) -> CatalogSummary {
    var summary = summary
    summary.bytesCopied = bytes
    return summary
  }
}

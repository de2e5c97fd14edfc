import Model
import Repository
import Retention
import Settings
import Testing

@testable import Catalog
@testable import Commands

/// A snapshot of sources below the label `localhost`.
func snapshot(
  at seconds: Int64, of sources: [String], absent: [String] = [], warnings: UInt64 = 0, dumps: [String] = [],
  leftOut: [String] = [], incomplete: Set<String> = []
) -> Snapshot {
  var summary = CatalogSummary(
    root: Subtree(
      digest: Digest([UInt8](repeating: 0, count: 32))!, place: Place(frame: 0, offset: 0), totals: Totals()))
  summary.started = Timestamp(seconds: seconds, nanoseconds: 0)
  summary.label = Array("localhost".utf8)
  summary.sources = sources.map { Array($0.utf8) }
  summary.absentSources = absent.map { Array($0.utf8) }
  summary.outcome = warnings == 0 ? .complete : .warnings
  summary.otherSources = dumps.map { Array("databases/\($0)".utf8) }
  summary.databases = (dumps + leftOut).map { name in
    var record = DatabaseRecord(
      name: Array(name.utf8), kind: Array("sqlite".utf8), began: summary.started, ended: summary.started,
      isLeftOut: leftOut.contains(name))
    if incomplete.contains(name) { record.shortcomings = Array("no table t".utf8) }
    return record
  }
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

  private func state(_ facts: RepositoryFacts, expecting sources: [ExpectedSource], remotes: [ExpectedRemote] = [])
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

  @Test("the state of a database")
  func databaseStates() {
    let list = [
      snapshot(at: hoursAgo(30), of: ["/a"], dumps: ["old", "broken"]),
      snapshot(
        at: hoursAgo(1), of: ["/a"], warnings: 1, dumps: ["new", "part"], leftOut: ["broken", "never"],
        incomplete: ["part"]),
    ]
    let day: Int64 = 86_400
    let cases: [(String, Int64?, String)] = [
      ("new", day, "well"), ("old", day, "late"), ("old", nil, "well"), ("broken", nil, "failed"),
      ("broken", day, "late"), ("part", day, "incomplete"), ("never", nil, "never"), ("none", day, "never"),
    ]
    for (name, rpoSeconds, expected) in cases {
      let database = ExpectedDatabase(
        name: Array(name.utf8), kind: Array("sqlite".utf8), rpoSeconds: rpoSeconds)
      let state = RepositoryState(
        from: facts(list), expecting: .init(sources: [], isConfigured: true, databases: [database]), at: Self.now)
      #expect(state.databases.map(\.state) == [expected], "\(name)")
      #expect(state.isWell == (expected == "well"), "\(name)")
      let metrics = metricsText(of: [(state.repository, state, nil)], at: Self.now)
      let line = "treering_database_last_dump_timestamp_seconds{repository=\"/r\",database=\"\(name)\"} "
      #expect(metrics.contains(line) == (expected != "never"), "\(name)")
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
      #"{"time":"2027-01-15T07:00:00Z","command":"push","exit_status":\#(status),"#
        + #""result":{"remote":"\#(remote)","snapshot":"2027-01-15T06-00-00Z"}}"#
    }
    func run(_ command: String, _ status: Int) -> String {
      #"{"time":"T","command":"\#(command)","exit_status":\#(status)}"#
    }
    let cases: [([String], [String])] = [
      ([run("snapshot", 3), run("snapshot", 0)], []),
      ([run("snapshot", 3), run("rotate", 0)], ["the last snapshot, at T, ended with status 3"]),
      ([run("snapshot", 0), run("rotate", 1)], ["the last rotate, at T, ended with status 1"]),
      (["torn", push("nas", 7)], ["the last push to nas, at 2027-01-15T07:00:00Z, failed"]),
      ([push("nsa", 7), push("nas", 0)], []),
    ]
    for (lines, findings) in cases {
      let facts = facts(good, history: lines)
      let state = state(facts, expecting: [], remotes: ExpectedRemote.all(in: facts.history))
      #expect(state.findings == findings)
    }
  }

  @Test("the state of a remote")
  func remoteStates() {
    let good = [snapshot(at: hoursAgo(1), of: ["/a"])]
    let day: Int64 = 86_400
    func remote(
      hours: Int64?, isOptional: Bool = false, rpo: Int64? = nil, absence: String? = nil
    ) -> ExpectedRemote {
      ExpectedRemote(
        name: "nas", isOptional: isOptional, rpoSeconds: rpo,
        arrival: hours.map { .init(snapshot: SnapshotName(seconds: hoursAgo($0)), seconds: hoursAgo($0)) },
        absence: absence)
    }
    let gone = "/n has no repository"
    let cases: [(ExpectedRemote, String, String?)] = [
      (remote(hours: 30), "well", nil), (remote(hours: nil), "never", "nothing was pushed to nas yet"),
      (remote(hours: 20, rpo: day), "well", nil),
      (remote(hours: 30, rpo: day), "late", "the newest snapshot at nas is 1 d 6 h old, and should be at most 1 d 0 h"),
      (remote(hours: 20, absence: gone), "absent", "the remote nas is absent: /n has no repository"),
      (remote(hours: 20, isOptional: true, absence: gone), "absent", nil),
      (remote(hours: nil, isOptional: true, absence: gone), "absent", "nothing was pushed to nas yet"),
      (remote(hours: 20, isOptional: true, rpo: day, absence: gone), "absent", nil),
      (
        remote(hours: 30, isOptional: true, rpo: day, absence: gone), "absent",
        "the remote nas is absent: /n has no repository; its newest snapshot is 1 d 6 h old, and should be at most 1 d 0 h"
      ),
    ]
    for (remote, expected, finding) in cases {
      let state = state(facts(good), expecting: [], remotes: [remote])
      #expect(state.remotes.map(\.state) == [expected] && state.findings == [finding].compactMap(\.self))
    }
  }

  @Test("verifications that are missing are problems where the configuration asks for them, and else notes")
  func verifications() {
    let settings = Configuration.Verification(everySeconds: 86_400, parts: 3)
    func part(_ number: Int, _ hours: Int64) -> VerifiedPart {
      VerifiedPart(part: VerificationPart(number: number, of: 3)!, seconds: hoursAgo(hours))
    }
    let whole = VerifiedPart(part: .whole, seconds: hoursAgo(91 * 24))
    let never = "nothing was verified yet; verify all with: treering verify --repository /r"
    let cases: [(age: Int64, Configuration.Verification?, [VerifiedPart], findings: [String], notes: [String])] = [
      (1, nil, [], [], [never]), (1, settings, [], [], [never]),
      (
        49, settings, [], ["nothing was verified yet, and a part should be every day"], []
      ),
      (49, settings, [part(1, 30)], [], []),
      (60, settings, [part(1, 49)], ["the last verification was 2 d 1 h ago, and should be every day"], []),
      (145, settings, [part(1, 30)], [], ["not everything was verified within the last 6 days"]),
      (145, settings, [part(1, 30), part(2, 20), part(3, 10)], [], []),
      (92 * 24, nil, [whole], [], ["not everything was verified within the last 90 days"]),
    ]
    for (age, settings, parts, findings, notes) in cases {
      var facts = facts([snapshot(at: hoursAgo(age), of: ["/a"])])
      facts.verifiedParts = parts.sorted { $0.seconds < $1.seconds }
      let state = RepositoryState(
        from: facts, expecting: .init(sources: [], isConfigured: true, verification: settings), at: Self.now)
      #expect(state.findings == findings && state.notes == notes, "\(state.findings) \(state.notes)")
    }
  }

  @Test("source and repository on one disk: a note, unless a remote has a copy")
  func sameDisk() {
    var facts = facts([snapshot(at: hoursAgo(1), of: ["/a"])])
    facts.verifiedParts = [VerifiedPart(part: .whole, seconds: hoursAgo(1))]
    facts.sourcesOnSameDisk = [Array("/a".utf8)]
    let alone = state(facts, expecting: [])
    #expect(alone.isWell && alone.notes.count == 1 && alone.notes[0].contains("same disk as /a"))
    let arrival = ExpectedRemote.Arrival(snapshot: SnapshotName(seconds: hoursAgo(1)), seconds: hoursAgo(1))
    #expect(state(facts, expecting: [], remotes: [ExpectedRemote(name: "nas", arrival: arrival)]).notes == [])
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

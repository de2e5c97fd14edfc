import Model
import Retention
import TestSupport
import Testing

/// The order of snapshots. A case has the snapshots by arrival: their times by the repository's clock, and by the
/// client's.
@Suite("The order of snapshots")
struct SnapshotOrderTests {
  typealias Row = (name: String, here: Int64, elsewhere: Int64?)

  private static let cases: [(String, [Row], expected: String)] = [
    ("none", [], ""),
    ("taken here, in order", [("a", 10, nil), ("b", 20, nil)], "a@10 b@20"),
    ("taken here, the clock set back", [("a", 20, nil), ("b", 5, nil), ("c", 7, nil)], "a@20 b@20 c@20"),
    ("taken here, the clock ahead for once", [("a", 10, nil), ("b", 99, nil), ("c", 12, nil)], "a@10 b@99 c@99"),
    ("pushed in any order", [("c", 100, 30), ("a", 101, 10), ("b", 102, 20)], "a@10 b@20 c@30"),
    ("pushed as taken", [("a", 11, 10), ("b", 21, 20)], "a@10 b@20"),
    ("of one second", [("a", 50, 10), ("b", 51, 10)], "a@10 b@10"),
    ("a time in the future counts until the arrival", [("evil", 100, 999), ("a", 111, 110)], "evil@100 a@110"),
    ("taken before the hostile one came, pushed after", [("evil", 100, 999), ("a", 101, 90)], "a@90 evil@100"),
    (
      "again and again", [("e", 100, 999), ("a", 111, 110), ("f", 120, 999), ("b", 131, 130)], "e@100 a@110 f@120 b@130"
    ),
    ("a time in the past", [("a", 100, 90), ("evil", 101, -50), ("b", 111, 110)], "evil@-50 a@90 b@110"),
    ("the repository's clock set back", [("a", 100, 95), ("b", 3, 105), ("c", 120, 110)], "a@95 b@100 c@110"),
    ("by arrival alone", [("c", 100, nil), ("a", 101, nil), ("b", 102, nil)], "c@100 a@101 b@102"),
    ("taken here and pushed", [("a", 10, nil), ("p", 30, 15), ("b", 40, nil), ("q", 41, 5)], "q@5 a@10 p@15 b@40"),
  ]

  @Test("snapshots are placed by the time at which they were taken, at the latest by their arrival")
  func table() {
    for (title, rows, expected) in Self.cases {
      let times = rows.enumerated().map { index, row in
        SnapshotTimes(sequence: UInt64(index + 1), here: time(row.here), elsewhere: row.elsewhere.map(time))
      }
      let found = order(of: times).map { "\(rows[$0.index].name)@\($0.time.seconds)" }.joined(separator: " ")
      #expect(found == expected, "\(title)")
      let reversed = order(of: times.reversed()).map { "\(rows[rows.count - 1 - $0.index].name)@\($0.time.seconds)" }
      #expect(reversed.joined(separator: " ") == expected, "\(title), given in another order")
    }
  }

  @Test("no time of a client is placed after its arrival, and what is taken here stays in its order", arguments: 1...50)
  func properties(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let times = (0..<40).map { index in
      let isOwn = Bool.random(using: &generator)
      return SnapshotTimes(
        sequence: UInt64(index), here: time(.random(in: 0..<100, using: &generator)),
        elsewhere: isOwn ? nil : time(.random(in: -100..<300, using: &generator)))
    }
    let found = order(of: times)
    #expect(found.map(\.index).sorted() == Array(times.indices), "seed \(seed)")
    for (index, placed) in found {
      let clock = times[...index].map(\.here).max()!
      #expect(placed.seconds == min(times[index].elsewhere ?? clock, clock).seconds, "seed \(seed)")
    }
    let own = found.map(\.index).filter { times[$0].elsewhere == nil }
    #expect(own == own.sorted() && zip(found, found.dropFirst()).allSatisfy { $0.time <= $1.time }, "seed \(seed)")
  }

  private func time(_ seconds: Int64) -> Timestamp { Timestamp(seconds: seconds, nanoseconds: 0) }
}

/// At an append-only server, retention goes by arrival, and the places by time are the word of a client.
@Suite("Retention and the places by time")
struct PlacedRetentionTests {
  private func snapshot(_ index: Int, place: Int, isGood: Bool = true) -> RetainedSnapshot {
    let time = Int64(index) * 3600
    let local = LocalTime(
      year: 1970, month: 1, day: 1 + index / 24, hour: index % 24, offsetSeconds: 0)
    return RetainedSnapshot(
      name: "\(index)", sequence: UInt64(index), time: time, local: local, isGood: isGood, isReceived: true,
      place: place, sources: [Array("h/home".utf8)])
  }

  private func plan(_ snapshots: [RetainedSnapshot]) -> RetentionPlan {
    retentionPlan(for: snapshots, policy: RetentionPolicy(keep: [.hourly: 2, .daily: 1]), now: snapshots.last!.time)
  }

  @Test("the newest by time stays, and so does the last arrival")
  func both() {
    let places = [0, 5, 1, 2, 3, 4]
    let decisions = plan(places.enumerated().map { snapshot($0, place: $1) }).decisions
    #expect(decisions.map(\.expires) == [false, false, true, true, false, false])
    #expect(decisions[1].reasons == [.newest, .newestGood])
    #expect(decisions[5].reasons == [.newestGood, .member(.hourly, rank: 0)])
    let bad = plan(places.enumerated().map { snapshot($0, place: $1, isGood: $0 != 1) }).decisions
    #expect(bad[1].reasons == [.newest] && bad[5].reasons.contains(.newestGood))
  }

  @Test("no place that a client chooses makes another snapshot expire", arguments: 1...20)
  func hostile(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let honest = (0..<30).map { snapshot($0, place: $0) }
    let staying = Set(zip(honest, plan(honest).decisions).filter { !$0.1.expires }.map(\.0.name))
    let shuffled = zip(honest, (0..<30).shuffled(using: &generator)).map { snapshot, place in
      var snapshot = snapshot
      snapshot.place = place
      return snapshot
    }
    let kept = Set(zip(shuffled, plan(shuffled).decisions).filter { !$0.1.expires }.map(\.0.name))
    #expect(staying.isSubset(of: kept), "seed \(seed)")
  }
}

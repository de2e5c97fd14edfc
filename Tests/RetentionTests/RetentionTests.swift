import Foundation
import Model
import Retention
import TestSupport
import Testing

private let hour: Int64 = 3600
private let day: Int64 = 86_400
/// 2026-03-02T00:00:00Z, a Monday.
private let monday: Int64 = 1_772_409_600

/// A snapshot in UTC, or in another zone.
private func taken(
  _ time: Int64, good: Bool = true, held: Bool = false, unwanted: Bool = false,
  sources: [String] = ["/home"], zone: TimeZone = .gmt
) -> RetainedSnapshot {
  var calendar = Calendar(identifier: .gregorian)
  calendar.timeZone = zone
  let date = Date(timeIntervalSince1970: Double(time))
  let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute, .second], from: date)
  let fields = [parts.year!, parts.month!, parts.day!, parts.hour!, parts.minute!, parts.second!]
  return RetainedSnapshot(
    name: "\(time)", time: time, local: LocalTime(fields: fields, of: time), isGood: good, isHeld: held,
    isUnwanted: unwanted, sources: sources.map { Array($0.utf8) })
}

private func expired(
  _ snapshots: [RetainedSnapshot], _ policy: RetentionPolicy, now: Int64? = nil, obstacle: String? = nil,
  wanted: [String] = []
) -> [Int64] {
  let plan = retentionPlan(
    for: snapshots, policy: policy, now: now ?? snapshots.last?.time ?? 0, obstacle: obstacle,
    wanted: wanted.map { Array($0.utf8) })
  return zip(snapshots, plan.decisions).filter(\.1.expires).map(\.0.time)
}

@Suite("Retention")
struct RetentionTests {
  @Test("every snapshot has a reason, and a set keeps its newest members")
  func sets() {
    let snapshots = (0..<6).map { taken(monday + $0 * hour) }
    let plan = retentionPlan(
      for: snapshots, policy: RetentionPolicy(keep: [.hourly: 2, .daily: 1]), now: monday + 5 * hour)
    #expect(plan.decisions.map(\.expires) == [false, true, true, true, false, false])
    #expect(plan.decisions[0].reasons == [.member(.daily, rank: 0)])
    #expect(plan.decisions[4].reasons == [.member(.hourly, rank: 1)])
    #expect(plan.decisions[5].reasons == [.newest, .newestGood, .member(.hourly, rank: 0)])
    #expect(plan.decisions.allSatisfy { !$0.reasons.isEmpty })
    #expect(plan.obstacle == nil)
  }

  @Test("two runs in one hour: the first is the member")
  func firstOfItsHour() {
    let snapshots = [taken(monday), taken(monday + 1), taken(monday + hour)]
    #expect(expired(snapshots, RetentionPolicy(keep: [.hourly: 9])) == [monday + 1])
  }

  @Test("a good snapshot takes the place of one with warnings, and without a good one that is the member")
  func warnings() {
    let keep = RetentionPolicy(keep: [.daily: 3])
    let bad = taken(monday, good: false)
    #expect(expired([bad, taken(monday + hour), taken(monday + day)], keep) == [monday])
    #expect(expired([bad, taken(monday + day), taken(monday + 2 * day)], keep) == [])
    // Of several with warnings the first.
    #expect(
      expired([bad, taken(monday + 5, good: false), taken(monday + day)], keep) == [monday + 5])
  }

  @Test("the newest good one of each source never expires")
  func newestGood() {
    let snapshots = [
      taken(monday, sources: ["/etc"]), taken(monday + hour),
      taken(monday + 2 * hour, good: false), taken(monday + 3 * hour, good: false),
    ]
    #expect(expired(snapshots, RetentionPolicy(keep: [:], keepLast: 1)) == [monday + 2 * hour])
    // Not even at the operator's wish, unless the source is backed up no longer.
    var wished = snapshots
    for index in wished.indices { wished[index].isUnwanted = true }
    let policy = RetentionPolicy(keep: [.hourly: 9])
    #expect(expired(wished, policy) == [monday, monday + 2 * hour])
    #expect(expired(wished, policy, wanted: ["/etc"]) == [monday + 2 * hour])
    // One that is absent from the newest is still backed up.
    wished[3].absentSources = [Array("/etc".utf8)]
    #expect(expired(wished, policy) == [monday + 2 * hour])
  }

  @Test("what the operator names expires, and nothing else, whatever the clock says")
  func named() {
    var snapshots = (0..<6).map { taken(monday + $0) }
    snapshots[2].isUnwanted = true
    snapshots.append(taken(monday + day))
    let policy = RetentionPolicy(keep: [.hourly: 1])
    #expect(expired(snapshots, policy, now: monday + hour, obstacle: "held") == [])
    #expect(expired(snapshots, policy, now: monday + hour) == [monday + 2])
    // From the future: it is not protected by being the newest.
    snapshots[6].isUnwanted = true
    #expect(expired(snapshots, policy, now: monday + hour) == [monday + 2, monday + day])
    #expect(expired([snapshots[6]], policy, now: monday + hour) == [])
    #expect(expired(snapshots, policy, now: monday + 2 * day) == [monday + 2])
  }

  @Test("a set keeps the members of its newest periods, one for each source that a period has")
  func periods() {
    let both = ["/home", "/etc"]
    let snapshots = [
      taken(monday, sources: both), taken(monday + day, sources: ["/etc"]),
      taken(monday + day + 60, sources: both), taken(monday + day + 120, sources: both),
      taken(monday + 2 * day, good: false, sources: both), taken(monday + 2 * day + 60, sources: ["/home"]),
      taken(monday + 3 * day, sources: ["/srv"]),
    ]
    let plan = retentionPlan(for: snapshots, policy: RetentionPolicy(keep: [.daily: 3]), now: monday + 3 * day)
    #expect(plan.decisions.map(\.expires) == [true, false, false, false, false, false, false])
    #expect(plan.decisions.flatMap(\.sets).map(\.rank) == [4, 3, 2, 1, 0])
  }

  @Test("held ones, the last N, and what is young enough stay")
  func otherReasons() {
    let snapshots = (0..<10).map { taken(monday + $0 * day, held: $0 == 1) }
    let policy = RetentionPolicy(keep: [:], keepLast: 2, keepWithinSeconds: 3 * day)
    #expect(expired(snapshots, policy) == [0, 2, 3, 4, 5].map { monday + $0 * day })
  }

  @Test("held rotation: nothing expires")
  func heldRotation() {
    let snapshots = (0..<10).map { taken(monday + $0) }
    let policy = RetentionPolicy(keep: [.hourly: 1])
    #expect(expired(snapshots, policy, obstacle: "held") == [])
    #expect(expired(snapshots, policy).count == 8)
  }

  @Test("a clock that was set back a day: nothing expires until it has caught up")
  func clockBack() {
    let before = (0..<48).map { taken(monday + $0 * hour) }
    let after = (0..<30).map { taken(monday + 24 * hour + $0 * hour + 60) }
    let policy = RetentionPolicy(keep: [.hourly: 24])
    for count in 1...23 {
      let snapshots = before + after.prefix(count)
      #expect(expired(snapshots, policy, now: snapshots.last!.time + 1) == [], "\(count)")
    }
    #expect(!expired(before + after, policy).isEmpty)
  }

  @Test("a clock ten years ahead: nothing expires, and somebody has to look; back again: nothing either")
  func clockForward() {
    let before = (0..<48).map { taken(monday + $0 * hour) }
    let ahead = taken(monday + 3650 * day)
    let policy = RetentionPolicy(keep: [.hourly: 3], keepWithinSeconds: 14 * day)
    #expect(expired(before, policy, now: ahead.time) == [])
    let plan = retentionPlan(for: before + [ahead], policy: policy, now: ahead.time)
    #expect(plan.mustBeReleased && plan.obstacle != nil)
    #expect(plan.decisions.allSatisfy { !$0.expires })
    let back = before + [ahead, taken(monday + 48 * hour)]
    #expect(expired(back, policy, now: monday + 49 * hour) == [])
    // Rid of it, all goes on.
    var rid = back
    rid[48].isUnwanted = true
    #expect(expired(rid, policy, now: monday + 49 * hour) == [ahead.time])
  }

  @Test("a clock ahead for several snapshots: nothing expires until somebody has looked")
  func clockForwardForLong() {
    func numbered(_ times: [Int64], from first: UInt64 = 1) -> [RetainedSnapshot] {
      zip(first..., times).map { number, time in
        var snapshot = taken(time)
        snapshot.sequence = number
        return snapshot
      }
    }
    let before = [0, 7, 14, 21].map { monday + $0 * day }
    let after = (0..<40).map { monday + 5000 * day + $0 * hour }
    let policy = RetentionPolicy(keep: [:], keepWithinSeconds: 30 * day)
    let snapshots = numbered(before + after)
    func plan(_ snapshots: [RetainedSnapshot], accepted: UInt64? = nil) -> RetentionPlan {
      retentionPlan(for: snapshots, policy: policy, now: snapshots.last!.time, accepted: accepted)
    }
    #expect(plan(snapshots).mustBeReleased)
    #expect(plan(snapshots).decisions.allSatisfy { !$0.expires })
    // Looked at before the leap, and after it.
    #expect(plan(snapshots, accepted: 4).mustBeReleased)
    #expect(plan(snapshots, accepted: 5).obstacle == nil)
    let released = plan(snapshots, accepted: 44)
    #expect(released.obstacle == nil)
    #expect(
      released.decisions.map(\.expires) == [Bool](repeating: true, count: 4) + [Bool](repeating: false, count: 40))
    #expect(retentionPlan(for: snapshots, policy: .standard, now: snapshots.last!.time).mustBeReleased)
    // The end of others has made this gap; and after that one more than is kept has followed.
    #expect(plan(Array(snapshots.prefix(3)) + numbered(after, from: 9)).obstacle == nil)
    let long = (0..<400).map { monday + 5000 * day + $0 * day }
    #expect(plan(numbered(before + long)).obstacle == nil)
  }

  @Test("a laptop asleep for a week, and one that is off for months, lose nothing but by number")
  func asleep() {
    let hours: [Int64] = [0, 1, 168, 169, 2160]
    let snapshots = hours.map { taken(monday + $0 * hour) }
    #expect(expired(snapshots, RetentionPolicy(keep: [.hourly: 4])) == [monday])
    let second = [monday + hour, monday + 169 * hour]
    #expect(expired(snapshots, RetentionPolicy(keep: [.weekly: 9])) == second)
  }

  @Test("the hour that is repeated is two hours, the one that is skipped none")
  func daylightSaving() throws {
    let vienna = try #require(TimeZone(identifier: "Europe/Vienna"))
    // 2026-10-25T00:00:00Z and 2026-03-29T00:00:00Z; clocks change at 01:00Z.
    for start: Int64 in [1_792_886_400, 1_774_742_400] {
      let snapshots = (0..<5).map { taken(start + $0 * hour, zone: vienna) }
      #expect(expired(snapshots, RetentionPolicy(keep: [.hourly: 5])) == [])
      #expect(Set(snapshots.map(\.local)).count == 5)
    }
  }

  @Test(
    "a year of hourly runs with missed ones and warnings is what an independent model says",
    arguments: ["Europe/Vienna", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "UTC"],
    sample(1, of: [2000, 0, 6000]))
  func simulatedYear(_ zoneName: String, _ missed: Int) throws {
    let zone = try #require(TimeZone(identifier: zoneName))
    var random = SeededGenerator(seed: UInt64(missed) &+ UInt64(zoneName.utf8.count))
    let start: Int64 = 1_767_222_000 - 40 * day
    var hours = Array(0..<Int64(8760))
    for _ in 0..<missed { hours.remove(at: Int(random.next() % UInt64(hours.count - 1))) }
    let keep: [SnapshotSet: Int] = [.hourly: 24, .daily: 7, .weekly: 4, .monthly: 12, .yearly: 3]
    let policy = RetentionPolicy(keep: keep)
    var present: [RetainedSnapshot] = []
    var history = ""
    for number in hours {
      let time = start + number * hour + Int64(random.next() % 600)
      let good = random.next() % 10 > 0
      history += "\(time) \(good ? 1 : 0)\n"
      present.append(taken(time, good: good, zone: zone))
      let plan = retentionPlan(for: present, policy: policy, now: time + 60)
      #expect(plan.obstacle == nil)
      present = zip(present, plan.decisions).filter { !$0.1.expires }.map(\.0)
    }
    let plan = retentionPlan(for: present, policy: policy, now: present.last!.time)
    var sets: [SnapshotSet: [String]] = [:]
    for (snapshot, decision) in zip(present, plan.decisions).reversed() {
      for (set, _) in decision.sets { sets[set, default: []].append(snapshot.name) }
    }
    let mine = SnapshotSet.allCases.map { ([$0.rawValue] + (sets[$0] ?? [])).joined(separator: " ") }
    let model = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "model.py").path
    let directory = try TemporaryDirectory("retention")
    let file = directory.path / "history"
    try Data(history.utf8).write(to: URL(filePath: file.description))
    var arguments: [ByteString] = [ByteString(model), file, ByteString(zoneName)]
    for (set, count) in keep { arguments.append(ByteString("\(set.rawValue)=\(count)")) }
    let result = try runCommand("python3", arguments)
    #expect(result.status == 0, "\(result.errorText)")
    #expect(result.outputText.split(separator: "\n").map(String.init) == mine)
  }
}

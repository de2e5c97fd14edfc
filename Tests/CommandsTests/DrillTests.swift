import Catalog
import Model
import Repository
import Testing

@testable import Commands

/// The decisions of a drill, without a disk.
@Suite struct DrillTests {
  @Test("a sample has the wanted size, is the same for the same seed, and misses nothing for long")
  func sampling() {
    func sample(_ count: Int, of total: Int, seed: UInt64) -> [Int] {
      var reservoir = Reservoir<Int>(count: count, seed: seed)
      for number in 0..<total { reservoir.offer(number) }
      return reservoir.chosen
    }
    #expect(sample(5, of: 3, seed: 1) == [0, 1, 2])
    #expect(sample(0, of: 3, seed: 1) == [])
    #expect(sample(10, of: 1000, seed: 7) == sample(10, of: 1000, seed: 7))
    #expect(sample(10, of: 1000, seed: 7) != sample(10, of: 1000, seed: 8))
    // Each of 20 elements is chosen with the chance 1/4: of 4,000 samples 1,000 times, within six standard deviations.
    var counts = [Int](repeating: 0, count: 20)
    for seed in 0..<4000 { for number in sample(5, of: 20, seed: UInt64(seed)) { counts[number] += 1 } }
    for count in counts { #expect(abs(count - 1000) < 165) }
  }

  @Test(arguments: [(0, 0, 0), (1, 1, 1), (100, 2, 100), (200, 4, 200)])
  func sizes(_ files: Int, _ directories: Int, _ largest: UInt64) {
    let size = SampleSize(files: files)
    #expect(size.directories == directories && size.largestDirectory == largest)
  }

  @Test("steps that were not done have no time, and the time of files is that of a copy that was restored")
  func stepTimes() {
    var copy = DrillAnswer.Copy(copy: "nas")
    copy.recovery = DrillAnswer.Recovery()
    copy.conclude(after: ("away", .remote))
    #expect(copy.filesSeconds == nil && !copy.recoveryLines.contains { $0.text.contains("0.00 s") })
    copy = DrillAnswer.Copy(copy: "nas")
    (copy.openSeconds, copy.restoreSeconds) = (1, 2)
    copy.conclude()
    #expect(copy.filesSeconds == 3)
  }

  @Test("lines of a newer version are left out of a history, and damaged ones stay")
  func versions() {
    let own = #"{"command":"drill","version":1}"#
    let nested = #"{"command":"x","inner":{"version":7},"version":1}"#
    let newer = #"{"command":"drill","version":99}"#
    let text = [own, "\u{0}broken\"version\":9", newer, nested, ""].joined(separator: "\n")
    let (lines, leftOut) = History.readable(Array(text.utf8))
    #expect(leftOut == 1 && String(decoding: lines, as: UTF8.self) == text.replacing(newer + "\n", with: ""))
    #expect(History.readable(Array(own.utf8)) == (Array(own.utf8), 0))
  }

  private static let file = FileState(
    isRegular: true, size: 5, modified: Timestamp(seconds: 10, nanoseconds: 0), inode: 7,
    changed: Timestamp(seconds: 11, nanoseconds: 0))

  private static func file(_ edit: (inout FileState) -> Void) -> FileState {
    var file = file
    edit(&file)
    return file
  }

  @Test("a change leaves a trace, and damage leaves none")
  func live() {
    let cases: [(FileState?, isTrusted: Bool, isEqual: Bool?, LiveState)] = [
      (nil, true, nil, .gone),
      (Self.file, true, true, .same),
      (Self.file, true, false, .damaged),
      // The file changed about the time of the snapshot.
      (Self.file, false, false, .changed),
      (Self.file { $0.size = 6 }, true, nil, .changed),
      (Self.file { $0.modified.nanoseconds = 1 }, true, nil, .changed),
      (Self.file { $0.isRegular = false }, true, nil, .changed),
      // The old time was set again.
      (Self.file { $0.changed.seconds = 12 }, true, false, .changed),
      (Self.file { $0.changed.seconds = 12 }, true, true, .same),
      (Self.file { $0.inode = 8 }, true, false, .changed),
    ]
    for (present, isTrusted, isEqual, expected) in cases {
      let state = LiveState.judge(present: present, recorded: Self.file, isTrusted: isTrusted, isEqual: isEqual)
      #expect(state == expected, "\(String(describing: present))")
    }
  }

  @Test("content is damage, metadata are a warning")
  func differences() {
    #expect(RestoredDifference(.added, isOtherKind: false, aspects: [])?.isDamage == true)
    #expect(RestoredDifference(.changed, isOtherKind: true, aspects: [])?.isDamage == true)
    for aspect: ChangedAspects in [.content, .target, .device] {
      #expect(RestoredDifference(.changed, isOtherKind: false, aspects: [aspect, .owner])?.isDamage == true)
    }
    #expect(RestoredDifference(.changed, isOtherKind: false, aspects: []) == nil)
    let metadata = RestoredDifference(.changed, isOtherKind: false, aspects: [.owner, .modified])
    #expect(metadata?.isDamage == false && metadata?.message == "was restored with other metadata: owner, mtime")
  }

  private static let lostDatabase = DrillAnswer.Database(
    name: "shop", kind: "mysql", snapshot: "", ageSeconds: 0, result: .failed)

  @Test("damage is worse than a dump that cannot be loaded, and that than a warning")
  func results() {
    typealias Edit = (inout DrillAnswer.Copy) -> Void
    let damage = DrillAnswer.Problem(path: "/a", message: "", isDamage: true)
    let warning = DrillAnswer.Problem(path: "/a", message: "", isDamage: false)
    let cases: [(Edit, Int32, DrillAnswer.Result)] = [
      ({ $0.recovery = .init(rtoSeconds: 2, totalSeconds: 2) }, 0, .passed),
      ({ $0.recovery = .init(rtoSeconds: 1, totalSeconds: 2) }, 1, .warnings),
      ({ $0.recovery = .init(rtoSeconds: 1) }, 0, .passed),
      ({ _ in }, 0, .passed),
      ({ $0.live.changed = 3 }, 0, .passed),
      ({ $0.live.unreadable = 1 }, 1, .warnings),
      ({ $0.add(warning) }, 1, .warnings),
      ({ $0.databases = [Self.lostDatabase] }, 3, .failed),
      ({ $0.live.damaged = 1 }, 6, .failed),
      (
        {
          $0.databases = [Self.lostDatabase]
          $0.add(damage)
        }, 6, .failed
      ),
    ]
    for (edit, status, result) in cases {
      var copy = DrillAnswer.Copy(copy: "nas")
      edit(&copy)
      copy.conclude()
      #expect(copy.exitStatus == status && copy.result == result)
    }
    var many = DrillAnswer.Copy(copy: "nas")
    for _ in 0..<150 { many.add(warning) }
    #expect(many.problems.count == 100 && many.problemCount == 150)
  }

  @Test("the worst copy decides about the drill")
  func worst() {
    let cases: [([Int32], Int32, DrillAnswer.Result)] = [
      ([0, 0], 0, .passed), ([0, 1], 1, .warnings), ([7, 1], 7, .failed), ([7, 6], 6, .failed), ([3, 7], 3, .failed),
    ]
    for (statuses, expected, result) in cases {
      var drill = DrillAnswer(time: "", seed: 0, wanted: 1)
      drill.copies = statuses.map { status in
        var copy = DrillAnswer.Copy(copy: "nas")
        copy.exitStatus = status
        return copy
      }
      drill.conclude()
      #expect(drill.exitStatus == expected && drill.result == result)
    }
  }

  @Test("a repository of restic's format has dumps without a kind")
  func recordsOfRestic() {
    var summary = CatalogSummary(root: Subtree(totals: Totals(entries: 0, bytes: 0)))
    let names = ["databases/shop", "databases/old", "other/x", "databases/a/b"]
    summary.otherSources = names.map { Array($0.utf8) }
    let records = DatabaseDrill.records(of: summary, configured: [])
    #expect(records.map { String(decoding: $0.name, as: UTF8.self) } == ["shop", "old"])
    #expect(records.allSatisfy { $0.kind.elementsEqual("unknown".utf8) })
  }

  @Test("drills are read from a history with other and broken lines")
  func history() {
    var drill = DrillAnswer(time: "2026-11-30T07:00:00Z", seed: .max, wanted: 5)
    drill.copies = [DrillAnswer.Copy(copy: "nas")]
    let lines = [#"{"command":"run","time":"x"}"#, jsonText(drill, isLine: true), #"{"command":"drill""#, "\u{0}"]
    let found = DrillAnswer.all(in: Array(lines.joined(separator: "\n").utf8))
    #expect(found.map(\.time) == [drill.time] && found.first?.seed == .max && found.first?.copies.count == 1)
  }
}

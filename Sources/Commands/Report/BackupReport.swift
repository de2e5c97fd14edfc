internal import Model

/// The report of a period, a pure function of the facts, and the document of `report --json`.
struct BackupReport: Encodable {
  /// A time that JSON has as RFC 3339.
  struct Time: Encodable, Equatable {
    let seconds: Int64

    var text: String { CalendarTime(seconds: seconds).rfc3339 }
    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      try container.encode(text)
    }
  }

  struct Runs: Encodable, Equatable {
    let total, done, warnings, failed: Int
    let longestSeconds: Double?
  }

  /// A command that did not end well.
  struct Trouble: Encodable, Equatable {
    let time: Time
    let command: String
    let exitStatus: Int32
    let error: String?
  }

  struct Day: Encodable, Equatable {
    /// In UTC.
    let day: String
    var runs = 0
    var failed = 0
    var snapshots = 0
    var filesCopied: UInt64 = 0
    var bytesCopied: UInt64 = 0
  }

  struct Source: Encodable {
    struct Point: Encodable {
      let time: Time
      let bytes: UInt64
    }
    let source: String
    /// One for each snapshot that exists.
    let points: [Point]
    /// Negative if it shrinks; `nil` for less than two snapshots.
    let growthBytesPerDay: Int64?
  }

  struct Set: Encodable {
    let name: String
    let times: [Time]
  }

  struct Disk: Encodable {
    let bytesFree, bytesTotal: UInt64?
    let bytesCopiedPerDay: UInt64
    /// `nil` if it is not known or more than ten years away.
    let fullOn: Time?
  }

  struct Copy: Encodable {
    let copy: String
    let newest, verifiedSince, partVerified: Time?
    /// True if everything was verified within `verify_within`.
    let isVerified: Bool
  }

  struct Drill: Encodable {
    struct Copy: Encodable {
      let copy: String
      /// `nil` if it was not measured.
      let seconds: Double?
    }
    let time: Time
    let name, result: String
    let elapsedSeconds: Double
    let copies: [Copy]
  }

  struct AuditPart: Encodable {
    struct Line: Encodable {
      let fact: String
      let remedy: String?
    }
    let isWell: Bool
    let copies, media, offSite: Int
    let short: [Line]
  }

  let host, repository: String
  let begin, end: Time
  let runs: Runs
  let troubles: [Trouble]
  /// From the first day of the period to the last.
  let days: [Day]
  let sources: [Source]
  let sets: [Set]
  let snapshots: Int
  let disk: Disk
  let copies: [Copy]
  let partsVerified, partsTotal: Int?
  let drills: [Drill]
  let audit: AuditPart
}

extension BackupReport {
  private static let day: Int64 = 86_400

  init(of facts: ReportFacts) {
    // Several snapshots in one second have the names of successive seconds, so the last may lie ahead.
    let last = min(facts.snapshots.map(\.time).max() ?? facts.now, facts.now + 60)
    let period = facts.begin...max(facts.begin, facts.now, last)
    let past = facts.runs.filter { period.contains($0.time) }
    self.init(
      host: facts.host, repository: facts.repository, begin: Time(seconds: facts.begin),
      end: Time(seconds: facts.now), runs: Runs(of: past.filter { $0.command == "run" }),
      troubles: past.filter { $0.exitStatus != 0 }.map {
        Trouble(time: Time(seconds: $0.time), command: $0.command, exitStatus: $0.exitStatus, error: $0.error)
      },
      days: Self.days(of: facts, in: period), sources: Self.sources(of: facts, in: period),
      sets: facts.sets.map { set in Set(name: set.name, times: set.times.map(Time.init)) },
      snapshots: facts.snapshots.count, disk: Self.disk(of: facts), copies: Self.copies(of: facts),
      partsVerified: facts.parts?.verified, partsTotal: facts.parts?.all,
      drills: facts.drills.filter { period.contains($0.time) }.map { drill in
        Drill(
          time: Time(seconds: drill.time), name: drill.name, result: drill.result,
          elapsedSeconds: drill.elapsedSeconds, copies: drill.copies.map { .init(copy: $0.name, seconds: $0.seconds) })
      },
      audit: AuditPart(
        isWell: facts.audit.isWell, copies: facts.audit.copies.count, media: facts.audit.media,
        offSite: facts.audit.offSite.count, short: facts.audit.short.map { .init(fact: $0.fact, remedy: $0.remedy) }))
  }

  /// Every day of the period. A snapshot that has expired counts by its line in the history.
  private static func days(of facts: ReportFacts, in period: ClosedRange<Int64>) -> [Day] {
    var days: [String: Day] = [:]
    for time in stride(from: period.lowerBound, through: period.upperBound, by: Int(day)) {
      days[dayText(time)] = Day(day: dayText(time))
    }
    func change(_ time: Int64, body: (inout Day) -> Void) {
      guard period.contains(time) else { return }
      body(&days[dayText(time), default: Day(day: dayText(time))])
    }
    for run in facts.runs where run.command == "run" {
      change(run.time) { day in
        day.runs += 1
        if !BackupReport.isGood(run.exitStatus) { day.failed += 1 }
      }
    }
    let present = Swift.Set(facts.snapshots.map(\.name))
    let expired = facts.runs.filter { run in run.snapshot.map { !present.contains($0) } ?? false }
    for copied in facts.snapshots.map({ ($0.time, $0.filesCopied, $0.bytesCopied) })
      + expired.map({ ($0.time, $0.filesCopied, $0.bytesCopied) })
    {
      change(copied.0) { day in
        day.snapshots += 1
        day.filesCopied &+= copied.1
        day.bytesCopied &+= copied.2
      }
    }
    return days.values.sorted { $0.day < $1.day }
  }

  private static func sources(of facts: ReportFacts, in period: ClosedRange<Int64>) -> [Source] {
    let snapshots = facts.snapshots.filter { period.contains($0.time) }.sorted { $0.time < $1.time }
    let names = Swift.Set(snapshots.flatMap(\.sizes.keys))
    let all = names.map { name in
      let points = snapshots.compactMap { snapshot in
        snapshot.sizes[name].map { Source.Point(time: Time(seconds: snapshot.time), bytes: $0) }
      }
      var growth: Int64?
      // A shorter span says nothing about a day.
      if let first = points.first, let last = points.last, last.time.seconds - first.time.seconds >= day {
        let days = Double(last.time.seconds - first.time.seconds) / Double(day)
        growth = Int64(min(max((Double(last.bytes) - Double(first.bytes)) / days, -0x1p62), 0x1p62))
      }
      return Source(source: name, points: points, growthBytesPerDay: growth)
    }
    return all.sorted { ($0.points.last?.bytes ?? 0, $1.source) > ($1.points.last?.bytes ?? 0, $0.source) }
  }

  private static func disk(of facts: ReportFacts) -> Disk {
    let fullAt = facts.bytesFree.flatMap {
      RepositoryState.fullAt(bytesFree: $0, bytesPerDay: facts.bytesCopiedPerDay, now: facts.now)
    }
    return Disk(
      bytesFree: facts.bytesFree, bytesTotal: facts.bytesTotal, bytesCopiedPerDay: facts.bytesCopiedPerDay,
      fullOn: fullAt.map(Time.init))
  }

  private static func copies(of facts: ReportFacts) -> [Copy] {
    facts.copies.map { copy in
      Copy(
        copy: copy.name, newest: copy.newest.map(Time.init), verifiedSince: copy.verified.map(Time.init),
        partVerified: copy.partVerified.map(Time.init),
        isVerified: copy.verified.map { facts.now - $0 <= facts.verifyWithin } ?? false)
    }
  }

  /// True for done, and for done with warnings.
  fileprivate static func isGood(_ status: Int32) -> Bool {
    [ExitStatus.done.code, ExitStatus.warnings.code].contains(status)
  }
}

extension BackupReport.Runs {
  fileprivate init(of runs: [ReportFacts.Run]) {
    self.init(
      total: runs.count, done: runs.count { $0.exitStatus == ExitStatus.done.code },
      warnings: runs.count { $0.exitStatus == ExitStatus.warnings.code },
      failed: runs.count { !BackupReport.isGood($0.exitStatus) },
      longestSeconds: runs.compactMap(\.elapsedSeconds).max())
  }
}

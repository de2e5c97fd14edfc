internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Compares the dumps and the archived logs of a database with the expectations.
struct DatabaseJudge {
  let facts: RepositoryFacts
  let now: Timestamp

  /// The state of a database, and the problem if it has one. A note is no problem.
  func judge(_ expected: ExpectedDatabase) -> (database: RepositoryState.Database, finding: String?, note: String?) {
    let good = expected.newestGood(in: facts.list, damaged: facts.damaged)
    let age = good.map { now.seconds - $0.dump.began.seconds }
    let logs = facts.logs[expected.name]
    let logAge = logs?.stored.map { now.seconds - $0.seconds }
    var (state, finding) = dumpProblem(of: expected)
    if finding == nil, let logs, let problem = problem(of: logs, ageSeconds: logAge, for: expected) {
      (state, finding) = problem
    }
    let database = RepositoryState.Database(
      database: displayName(expected.name), kind: displayName(expected.kind),
      newestGood: good?.snapshot.description,
      time: good?.dump.began.rfc3339, ageSeconds: age,
      point: good.flatMap { $0.dump.point.isEmpty ? nil : displayName($0.dump.point) },
      shortcomings: good.flatMap { $0.dump.shortcomings.isEmpty ? nil : displayName($0.dump.shortcomings) },
      newestLog: logs?.newest,
      newestLogTime: logs?.stored?.rfc3339, newestLogAgeSeconds: logAge, missingLogs: logs?.missing ?? [],
      state: state)
    return (database, finding, good.flatMap { note(of: logs, for: expected, newest: $0.snapshot) })
  }

  /// The logs that only dumps before the newest one lack.
  private func note(of logs: DatabaseLogs.State?, for expected: ExpectedDatabase, newest: SnapshotName) -> String? {
    guard let logs, logs.newestIsWhole, let gap = logs.missing.first else { return nil }
    return "\(lackText(of: logs, from: gap, for: expected)); this concerns the dumps before \(newest) alone, and ends "
      + "when their snapshots expire"
  }

  private func lackText(
    of logs: DatabaseLogs.State, from gap: DatabaseLogs.State.Gap, for expected: ExpectedDatabase
  ) -> String {
    let count = logs.missing.reduce(0) { $0 + $1.count }
    return
      "the archive of the database \(displayName(expected.name)) lacks \(counted(count, "log")), from \(gap.first) on"
  }

  private func dumpProblem(of expected: ExpectedDatabase) -> (state: String, finding: String?) {
    let name = displayName(expected.name)
    guard let good = expected.newestGood(in: facts.list, damaged: facts.damaged)
    else { return ("never", "there is no good dump of the database \(name)") }
    let age = now.seconds - good.dump.began.seconds
    if age < 0 { return ("future", "the newest dump of the database \(name), in \(good.snapshot), is from the future") }
    // With logs the data is as old as the newest one, and not as the dump.
    if let most = expected.rpoSeconds, age > most, expected.writeAheadLog == nil, expected.binaryLogs == nil {
      return (
        "late",
        "the newest good dump of the database \(name) is \(durationText(Double(age))) old, and should be at most "
          + durationText(Double(most))
      )
    }
    if expected.isLeftOut(in: facts.list) {
      return ("failed", "the newest snapshot has no good dump of the database \(name); the last is in \(good.snapshot)")
    }
    if good.dump.shortcomings.isEmpty { return ("well", nil) }
    return (
      "incomplete",
      "the newest dump of the database \(name), in \(good.snapshot), is incomplete: "
        + displayName(good.dump.shortcomings)
    )
  }

  private func problem(
    of logs: DatabaseLogs.State, ageSeconds: Int64?, for expected: ExpectedDatabase
  ) -> (state: String, finding: String)? {
    let name = displayName(expected.name)
    if let problem = logs.problem { return ("failed", "the logs of the database \(name) cannot be used: \(problem)") }
    if !logs.newestIsWhole, let gap = logs.missing.first {
      return (
        "gap",
        lackText(of: logs, from: gap, for: expected) + ", and no restore of an earlier dump gets past them; begin anew "
          + "with \(expected.writeAheadLog == nil ? "a new dump" : "a new base backup"): treering run --now"
      )
    }
    guard let ageSeconds else { return ("never", "no log of the database \(name) was archived yet") }
    guard let most = expected.rpoSeconds, ageSeconds > most else { return nil }
    return (
      "late",
      "the newest log of the database \(name) was archived \(durationText(Double(ageSeconds))) ago, which should be at "
        + "most \(durationText(Double(most)))"
    )
  }
}

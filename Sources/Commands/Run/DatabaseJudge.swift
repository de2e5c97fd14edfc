internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Compares the dumps and the archived logs of a database with the expectations.
struct DatabaseJudge {
  let facts: RepositoryFacts
  let now: Timestamp

  /// The state of a database, and the problem if it has one.
  func judge(_ expected: ExpectedDatabase) -> (database: RepositoryState.Database, finding: String?) {
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
    return (database, finding)
  }

  private func dumpProblem(of expected: ExpectedDatabase) -> (state: String, finding: String?) {
    let name = displayName(expected.name)
    guard let good = expected.newestGood(in: facts.list, damaged: facts.damaged) else {
      return ("never", "there is no good dump of the database \(name)")
    }
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
    // The run that failed is a finding of its own.
    if expected.isLeftOut(in: facts.list) { return ("failed", nil) }
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
    if let problem = logs.problem { return ("failed", "the logs of the database \(name) cannot be read: \(problem)") }
    if let gap = logs.missing.first {
      let count = logs.missing.reduce(0) { $0 + $1.count }
      return (
        "gap",
        "the archive of the database \(name) lacks \(counted(count, "log")), from \(gap.first) on, and no restore gets "
          + "past them; make a new base backup: treering run --now"
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

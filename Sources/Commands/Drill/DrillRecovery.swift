internal import Model
internal import Repository

extension DrillAnswer {
  /// The recovery of a service, of a drill with a table. A value that was not measured is `nil`.
  struct Recovery: Codable {
    /// A check of the recovered service.
    struct Check: Codable {
      let check: String
      var passed = false
      var attempts = 0
      /// The failure of the last attempt.
      var message: String?
    }

    /// The objective; `nil` if the owner states none.
    var rtoSeconds: Int64?
    /// The time for all databases.
    var databaseSeconds: Double?
    /// From the start of the program to the first good answer, and from there to the last.
    var startSeconds: Double?
    var checkSeconds: Double?
    /// The sum of the times of all steps: no recovery is faster. `nil` if a step failed.
    var totalSeconds: Double?
    /// The age of the newest data at the beginning of the drill.
    var dataAgeSeconds: Int64?
    var freshWithinSeconds: Int64?
    var checks: [Check] = []
    /// `open`, `restore`, `database`, `place`, `start`, `check` or `data`; `nil` if none failed.
    var failedStep: String?
    /// The last lines of the programs of the step that failed.
    var output: [String] = []
    /// Sentences about parts of the drill that were not as asked.
    var notes: [String] = []
    var kept: String?

    /// True if the recovery takes longer than its objective.
    var isSlow: Bool {
      guard let rtoSeconds, let totalSeconds else { return false }
      return totalSeconds > Double(rtoSeconds)
    }

    /// True if the newest data is older than it should be.
    var isStale: Bool {
      guard let freshWithinSeconds, let dataAgeSeconds else { return false }
      return dataAgeSeconds > freshWithinSeconds
    }
  }
}

extension DrillAnswer.Copy {
  /// The page of the recovery, for a person.
  var recoveryLines: [(text: String, isBad: Bool)] {
    guard let recovery else { return [] }
    var lines = recovery.checks.map { check in
      let attempts = check.attempts == 1 ? "" : ", at attempt \(check.attempts)"
      return check.passed
        ? ("\(check.check) passed\(attempts)", false)
        : ("\(check.check) failed \(counted(check.attempts, "time")): \(check.message ?? "")", true)
    }
    lines.append(dataText(of: recovery))
    lines.append(timeText(of: recovery))
    lines += recovery.notes.map { ($0, false) }
    if let kept = recovery.kept { lines.append(("kept in \(kept)", false)) }
    return lines
  }

  private func dataText(of recovery: DrillAnswer.Recovery) -> (String, Bool) {
    let limit = recovery.freshWithinSeconds.map { ", and should be at most \(durationText(Double($0)))" } ?? ""
    guard let age = recovery.dataAgeSeconds else { return ("the age of the data was not measured", false) }
    return ("the newest data was \(durationText(Double(age))) old\(limit)", recovery.isStale)
  }

  private func timeText(of recovery: DrillAnswer.Recovery) -> (String, Bool) {
    let steps: [(String, Double?)] = [
      ("open", openSeconds), ("restore", restoreSeconds), ("databases", recovery.databaseSeconds),
      ("start", recovery.startSeconds), ("checks", recovery.checkSeconds),
    ]
    let words = steps.compactMap { name, seconds in seconds.map { "\(name) \(durationText($0))" } }
    let measured = words.joined(separator: ", ")
    let limit = recovery.rtoSeconds.map { ", and should take at most \(durationText(Double($0)))" } ?? ""
    guard let total = recovery.totalSeconds else {
      let steps = measured.isEmpty ? "" : "; the steps until the failure: \(measured)"
      return ("the time of the recovery was not measured\(steps)", false)
    }
    return ("the recovery takes at least \(durationText(total)) (\(measured))\(limit)", recovery.isSlow)
  }
}

/// The time that a database gives for the newest of its data, in seconds since 1970: a number of seconds, a date, or a
/// date and time with or without a zone. A time without a zone is local. `nil` for any other text.
func dataTime(of text: String) -> Int64? {
  if let number = Int64(text.prefix { $0 != "." }) { return number }
  let time = String(text.prefix(19))
  let zone = text.dropFirst(19).drop { $0 == "." || $0.isNumber || $0 == " " }
  if text.utf8.count < 19 || zone.isEmpty { return Moment.seconds(of: time) }
  guard let seconds = Moment.seconds(of: time + "Z") else { return nil }
  if zone == "Z" || zone == "UTC" { return seconds }
  // PostgreSQL leaves out minutes that are zero.
  let digits = zone.dropFirst().filter { $0 != ":" }
  guard let sign = zone.first, "+-".contains(sign), let number = Int64(digits), [2, 4].contains(digits.count)
  else { return nil }
  let offset = digits.count == 2 ? number * 3600 : number / 100 * 3600 + number % 100 * 60
  return sign == "-" ? seconds + offset : seconds - offset
}

internal import Engine
internal import Model
internal import Posix
internal import Repository
internal import Retention
internal import Settings
internal import Synchronization

struct VerificationFindings {
  var result: VerifyResult
  /// Empty if the caller does not keep them.
  var problems: [Problem] = []

  var status: ExitStatus { result.damaged > 0 ? .damaged : result.problems > 0 ? .warnings : .done }
}

extension VerifyResult {
  /// The snapshots with damage, oldest first.
  var damagedSnapshots: [SnapshotName] {
    damage.filter { $0.value ?? 0 > 0 }.map(\.key).sorted { $0.description < $1.description }
  }
}

extension Problem {
  var line: String { path.isEmpty ? "\(snapshot): \(message)" : "\(snapshot) \(displayName(path)): \(message)" }
}

extension Repository {
  /// Records a verification: the marks of damaged snapshots, the part, and a line of the history.
  ///
  /// `part` is `nil` if some snapshots were left out. `command` verified the snapshots `names`.
  func record(
    _ line: VerificationLine, of result: VerifyResult, names: [SnapshotName], part: VerificationPart?,
    by command: String, at time: Timestamp
  ) throws(Failure) {
    try mark(result, isWhole: line.part == nil, at: time)
    // An entry that could not be compared was not verified.
    if let part, result.problems == result.damaged {
      try verifiedParts.add(part, of: names, by: command, at: time)
    }
    try history.append(line)
  }

  /// Marks the snapshots with damage. Only the verification of a whole snapshot clears the mark.
  private func mark(_ result: VerifyResult, isWhole: Bool, at time: Timestamp) throws(Failure) {
    for (name, damaged) in result.damage {
      guard let damaged else { continue }
      if damaged > 0 {
        let reason = counted(damaged, "path differs", plural: "paths differ")
        try marks.add(.damaged, to: name, reason: "by verify: \(reason)", at: time)
      } else if isWhole {
        try marks.remove(.damaged, from: name)
      }
    }
  }
}

extension Configuration.Verification {
  /// The part that a run verifies; see `duePart(after:at:offset:)`.
  func duePart(after verified: [VerifiedPart], at now: Timestamp) -> VerificationPart? {
    duePart(after: verified, at: now.seconds) {
      Int64(LocalTime(fields: Clock.localFields(of: $0), of: $0).offsetSeconds)
    }
  }

  /// The part that was not verified for longest; `nil` if one was verified in the present period.
  ///
  /// Periods are counted in local time, and weeks begin on Monday. So a daily run at about the same time of day verifies
  /// a part on every day. `offset` gives the offset of local time from UTC, in seconds.
  func duePart(after verified: [VerifiedPart], at now: Int64, offset: (Int64) -> Int64) -> VerificationPart? {
    func period(of seconds: Int64) -> Int64 {
      // 1970-01-01 was a Thursday.
      let local = seconds + offset(seconds) + 3 * 86_400
      return (local - (local % everySeconds + everySeconds) % everySeconds) / everySeconds
    }
    let own = verified.filter { $0.part.isWhole || $0.part.count == parts }
    if own.contains(where: { period(of: $0.seconds) == period(of: now) }) { return nil }
    let times = verified.times(ofParts: parts)
    // A part that was never verified comes first.
    let oldest = times.indices.min { (times[$0] ?? .min, $0) < (times[$1] ?? .min, $1) }
    return oldest.flatMap { VerificationPart(number: $0 + 1, of: parts) }
  }
}

internal import Model

// The report for a terminal and for mail.

extension BackupReport {
  /// The troubles that a page names; the newest ones.
  static let shownTroubles = 20

  var title: String { "Backups of \(host), \(dayText(begin.seconds)) to \(dayText(end.seconds))" }

  var lines: [String] {
    [title, repository, "", "RUNS"] + runLines + ["", "CHANGES PER DAY"] + table(dayRows, rightAligned: [1, 2, 3, 4])
      + ["", "SOURCES"]
      + (sources.isEmpty ? ["not measured: no snapshot in this time"] : table(sourceRows, rightAligned: [1, 2]))
      + ["", "RETENTION", "\(counted(snapshots, "snapshot"))"] + table(setRows, rightAligned: [1])
      + ["", "DISK"] + wrapped(diskSentence, first: "", next: "") + ["", "VERIFICATION"] + table(copyRows)
      + wrapped(coverageSentence, first: "", next: "") + ["", "DRILLS"]
      + (drills.isEmpty ? ["not measured: no drill in this time"] : table(drillRows, rightAligned: [3]))
      + ["", "AUDIT"] + auditLines
  }

  private var runLines: [String] {
    var lines = wrapped(runSentence, first: "", next: "")
    for trouble in troubles.suffix(Self.shownTroubles) { lines += wrapped(trouble.text, first: "! ", next: "  ") }
    if troubles.count > Self.shownTroubles { lines.append("! and \(troubles.count - Self.shownTroubles) older") }
    return lines
  }

  private var auditLines: [String] {
    wrapped(auditSentence, first: "", next: "")
      + audit.short.flatMap { line in
        wrapped(line.fact, first: "! ", next: "  ")
          + (line.remedy.map { wrapped($0, first: "  -> ", next: "     ") } ?? [])
      }
  }

  // MARK: Sentences and rows, also for HTML

  var runSentence: String {
    if runs.total == 0 { return "no run" }
    return "\(counted(runs.total, "run")): \(runs.done) done, \(runs.warnings) with warnings, \(runs.failed) failed"
      + (runs.longestSeconds.map { "; the longest took \(durationText($0))" } ?? "")
  }

  var dayRows: [[String]] {
    [["DAY", "RUNS", "SNAPSHOTS", "FILES", "COPIED"]]
      + days.map {
        [
          $0.day, "\($0.runs)" + ($0.failed > 0 ? " (\($0.failed) failed)" : ""), "\($0.snapshots)",
          grouped($0.filesCopied), byteText($0.bytesCopied),
        ]
      }
  }

  var sourceRows: [[String]] {
    [["SOURCE", "SIZE", "GROWTH A DAY"]]
      + sources.map { source in
        let growth = source.growthBytesPerDay.map { ($0 < 0 ? "-" : "+") + byteText($0.magnitude) }
        return [source.source, source.points.last.map { byteText($0.bytes) } ?? "", growth ?? "not measured"]
      }
  }

  var setRows: [[String]] {
    [["SET", "MEMBERS", "OLDEST", "NEWEST"]]
      + sets.map { set in
        let times = set.times.map(\.seconds).sorted()
        return [set.name, "\(times.count)", times.first.map(dayText) ?? "", times.last.map(dayText) ?? ""]
      }
  }

  var diskSentence: String {
    guard let free = disk.bytesFree, let total = disk.bytesTotal else { return "not measured: the size of the disk" }
    let space =
      "\(byteText(free)) of \(byteText(total)) free; snapshots copied \(byteText(disk.bytesCopiedPerDay)) a day"
    return space + (disk.fullOn.map { "; full on \(dayText($0.seconds)) at this rate" } ?? "")
  }

  var copyRows: [[String]] {
    [["COPY", "NEWEST", "ALL VERIFIED SINCE"]]
      + copies.map { copy in
        let verified = copy.verifiedSince.map { dayText($0.seconds) + (copy.isVerified ? "" : " (too old)") }
        return [
          copy.copy, copy.newest.map { dayText($0.seconds) } ?? "none",
          verified ?? "not measured" + (copy.partVerified.map { "; a part on \(dayText($0.seconds))" } ?? ""),
        ]
      }
  }

  var coverageSentence: String {
    guard let partsVerified, let partsTotal else { return "not measured: no part of the repository was verified" }
    return "\(partsVerified) of \(counted(partsTotal, "part")) of the repository were verified in time"
  }

  var drillRows: [[String]] {
    [["TIME", "DRILL", "RESULT", "TOOK", "COPIES"]]
      + drills.map { drill in
        [
          drill.time.text, drill.name, drill.result, durationText(drill.elapsedSeconds),
          drill.copies.map { "\($0.copy) \($0.seconds.map(durationText) ?? "not measured")" }.joined(separator: ", "),
        ]
      }
  }

  var auditSentence: String {
    let short = counted(audit.short.count, "finding falls", plural: "findings fall") + " short"
    return
      "\(counted(audit.copies, "copy", plural: "copies")) of 3, \(counted(audit.media, "medium", plural: "media")) "
      + "of 2, \(audit.offSite) of 1 elsewhere; " + (audit.isWell ? "nothing falls short" : short)
  }
}

extension BackupReport.Trouble {
  var text: String { "\(time.text) \(command) ended with status \(exitStatus)" + (error.map { ": \($0)" } ?? "") }
}

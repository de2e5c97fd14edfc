internal import Model

// The report as one page of HTML.

extension BackupReport {
  var html: String {
    var page = HTMLPage(title: title)
    page.add("p", "Repository \(repository). Times are UTC. A value that was not measured says so.")
    addRuns(to: &page)
    addSources(to: &page)
    addRetention(to: &page)
    addVerification(to: &page)
    page.add("h2", "Audit")
    page.add("p", auditSentence + ".", attributes: audit.isWell ? "" : " class=\"bad\"")
    if !audit.short.isEmpty {
      page.add(table: [["Falls short", "Remedy"]] + audit.short.map { [$0.fact, $0.remedy ?? ""] })
    }
    return page.text
  }

  private func addRuns(to page: inout HTMLPage) {
    page.add("h2", "Runs")
    page.add("p", runSentence + ".", attributes: runs.failed > 0 ? " class=\"bad\"" : "")
    if !troubles.isEmpty {
      page.add("h3", "Failures and warnings")
      page.add(list: troubles.suffix(Self.shownTroubles).map(\.text))
      let older = troubles.count - Self.shownTroubles
      if older > 0 { page.add("p", "And \(older) older.") }
    }
    page.add("h2", "Changes per day")
    let total = days.reduce(0) { $0 &+ $1.bytesCopied }
    let most = days.max { $0.bytesCopied < $1.bytesCopied }
    page.add(
      raw: chart(
        "changes", title: "Bytes copied per day",
        description: "\(byteText(total)) in all"
          + (most.map { ", the most on \($0.day): \(byteText($0.bytesCopied))" } ?? "") + "."
      ).lines(
        [
          Chart.Series(
            name: "copied",
            points: days.enumerated().map { (begin.seconds + Int64($0) * 86_400, Double($1.bytesCopied)) })
        ],
        label: { byteText(UInt64(min($0, 0x1p62))) }))
    page.add(table: dayRows, numbers: [1, 2, 3, 4])
  }

  private func addSources(to page: inout HTMLPage) {
    page.add("h2", "Growth by source")
    guard !sources.isEmpty else { return page.add("p", "Not measured: no snapshot in this time.") }
    addLines(
      "growth", title: "Size of sources",
      series: zip(sources, sourceRows.dropFirst()).map { source, row in
        let points = source.points.map { ($0.time.seconds, Double($0.bytes)) }
        return (Chart.Series(name: source.source, points: points), "\(row[0]) \(row[1]), \(row[2]) a day")
      }, label: { byteText(UInt64(min($0, 0x1p62))) }, to: &page)
    page.add(table: sourceRows, numbers: [1, 2])
  }

  private func addRetention(to page: inout HTMLPage) {
    page.add("h2", "Retention")
    page.add("p", "\(counted(snapshots, "snapshot")) exist.")
    let times = sets.flatMap(\.times).map(\.seconds)
    if let first = times.min() {
      let words = setRows.dropFirst().map { "\($0[0]): \($0[1]), \($0[2]) to \($0[3])" }
      let chart = Chart(
        id: "retention", title: "Members of the sets", description: words.joined(separator: "; ") + ".",
        begin: first, end: end.seconds)
      page.add(raw: chart.marks(sets.map { set in (set.name, set.times.map(\.seconds)) }))
    }
    page.add(table: setRows, numbers: [1])
    page.add("h2", "Disk")
    page.add("p", diskSentence + ".")
  }

  private func addVerification(to page: inout HTMLPage) {
    page.add("h2", "Verification")
    page.add(table: copyRows)
    page.add("p", coverageSentence + ".")
    page.add("h2", "Drills")
    guard !drills.isEmpty else { return page.add("p", "Not measured: no drill in this time.") }
    func name(_ drill: Drill, _ copy: Drill.Copy) -> String { "\(drill.name) from \(copy.copy)" }
    var series: [Chart.Series] = []
    for drill in drills {
      for copy in drill.copies {
        guard let seconds = copy.seconds else { continue }
        let index = series.firstIndex { $0.name == name(drill, copy) } ?? series.endIndex
        if index == series.endIndex { series.append(Chart.Series(name: name(drill, copy), points: [])) }
        series[index].points.append((drill.time.seconds, seconds))
      }
    }
    let described = series.map { one in
      (one, "\(one.name) at last " + (one.points.last.map { durationText($0.value) } ?? "not measured"))
    }
    addLines("drills", title: "Time of a recovery in drills", series: described, label: durationText, to: &page)
    page.add(table: drillRows, numbers: [3])
  }

  /// Adds charts of lines, each with its words, and as many as all series need.
  private func addLines(
    _ id: String, title: String, series: [(Chart.Series, String)], label: (Double) -> String, to page: inout HTMLPage
  ) {
    let count = (series.count + Chart.mostSeries - 1) / Chart.mostSeries
    for number in 0..<count {
      let some = series.dropFirst(number * Chart.mostSeries).prefix(Chart.mostSeries)
      let part = count > 1 ? " (\(number + 1) of \(count))" : ""
      let words = some.map(\.1).joined(separator: "; ") + "."
      page.add(
        raw: chart("\(id)\(number)", title: title + part, description: words).lines(some.map(\.0), label: label))
    }
  }

  private func chart(_ id: String, title: String, description: String) -> Chart {
    Chart(id: id, title: title, description: description, begin: begin.seconds, end: end.seconds)
  }
}

internal import Model
internal import Posix
internal import Repository

/// The state of a repository for a person: the problems, then a line or table for each topic.
struct StatusPage {
  private let state: RepositoryState

  init(of state: RepositoryState) { self.state = state }

  var lines: [String] {
    let problems = counted(state.findings.count, "problem")
    let bad = Color.red.painted("NOT WELL, \(problems)", on: .output)
    var lines = ["\(state.repository): " + (state.isWell ? "all is well" : bad), ""]
    // A mark is added to the wrapped lines, because a colour has a width of its own.
    func item(_ text: String, mark: String) -> [String] {
      let lines = wrapped(text, first: "    ", next: "    ")
      return ["  \(mark) \(lines[0].dropFirst(4))"] + lines.dropFirst()
    }
    let mark = Color.red.painted("!", on: .output)
    lines += state.findings.flatMap { item($0, mark: mark) } + state.notes.flatMap { item($0, mark: "-") }
    if !state.findings.isEmpty || !state.notes.isEmpty { lines.append("") }
    if !state.sources.isEmpty || state.databases.isEmpty { lines += sourceTable }
    if !state.databases.isEmpty { lines += (state.sources.isEmpty ? [] : [""]) + databaseTable }
    if !state.remotes.isEmpty { lines += [""] + remoteTable }
    if !state.drills.isEmpty { lines += [""] + drillTable }
    lines.append("")
    for (title, text) in facts { lines += wrapped(text, first: Self.padded(title), next: Self.padded("")) }
    if !state.runs.isEmpty { lines += ["", "LAST RUNS"] + runTable }
    return lines
  }

  // MARK: Tables

  private var sourceTable: [String] {
    table(
      [["SOURCE", "AGE", "NEWEST GOOD SNAPSHOT", ""]]
        + state.sources.map {
          [$0.source, Self.age($0.ageSeconds), $0.newestGood ?? "none", Self.shout($0.state)]
        }, rightAligned: [1])
  }

  private var databaseTable: [String] {
    table(
      [["DATABASE", "AGE", "NEWEST GOOD DUMP", ""]]
        + state.databases.map {
          let log = $0.newestLogAgeSeconds.map { ", and logs up to \(durationText(Double($0))) ago" } ?? ""
          return [$0.database, Self.age($0.ageSeconds), ($0.newestGood ?? "none") + log, Self.shout($0.state)]
        }, rightAligned: [1])
      + state.databases.filter { $0.kind == "pgbackrest" }.flatMap { database in
        database.point.map { wrapped("recoverable: \($0)", first: "\(database.database)  ", next: "  ") } ?? []
      }
  }

  private var remoteTable: [String] {
    table(
      [["REMOTE", "AGE", "NEWEST SNAPSHOT THERE", "LAST ARRIVAL", ""]]
        + state.remotes.map {
          [
            $0.remote, Self.age($0.ageSeconds), $0.snapshot ?? "none", $0.arrived.map(Self.local) ?? "never",
            Self.shout($0.state),
          ]
        }, rightAligned: [1])
  }

  private var drillTable: [String] {
    table(
      [["DRILL", "AGE", "RECOVERY", "AT MOST", ""]]
        + state.drills.map {
          [
            $0.drill, Self.age($0.ageSeconds), $0.totalSeconds.map(durationText) ?? "", Self.age($0.rtoSeconds),
            Self.shout($0.state),
          ]
        }, rightAligned: [1, 2, 3])
  }

  private var runTable: [String] {
    state.runs.enumerated().flatMap { index, run in
      let isRepeated = index > 0 && run.error == state.runs[index - 1].error
      let head = "\(Self.local(run.time))  \(run.command), "
      let end =
        run.exitStatus == 0
        ? "done" : "status \(run.exitStatus)" + (run.error.map { isRepeated ? ": the same" : ": \($0)" } ?? "")
      return wrapped(end, first: head, next: String(repeating: " ", count: 18))
    }
  }

  // MARK: Facts

  private var next: String { state.nextSnapshot.map { "; the next snapshot at \(Self.local($0))" } ?? "" }

  private var facts: [(String, String)] {
    let sets = SnapshotSet.allCases.compactMap { set in state.sets[set.rawValue].map { "\(set.rawValue) \($0)" } }
    var facts = state.due.map { [("due", $0.isEmpty ? "nothing" + next : $0.joined(separator: ", "))] } ?? []
    facts += [
      ("verification", verification),
      ("snapshots", "\(state.snapshots)" + (sets.isEmpty ? "" : ": \(sets.joined(separator: ", "))")),
    ]
    if !state.damagedSnapshots.isEmpty { facts.append(("DAMAGED", state.damagedSnapshots.joined(separator: " "))) }
    facts.append(("rotation", state.rotationHeld == nil ? "goes on" : "nothing expires, see above"))
    if !state.held.isEmpty { facts.append(("held", state.held.joined(separator: " "))) }
    if !state.sourcesOnSameDisk.isEmpty {
      facts.append(("disk", "the same as \(state.sourcesOnSameDisk.joined(separator: ", "))"))
    }
    facts.append(("space", space))
    return facts
  }

  private var verification: String {
    guard let last = state.lastVerification
    else { return state.verifiedParts.last.map { "part \($0.part) at \(Self.local($0.time))" } ?? "never" }
    let extent =
      last.ofSnapshots == 0
      ? "when there was no snapshot"
      : (last.part.map { "part \($0) of " } ?? "") + "\(last.snapshots) of \(last.ofSnapshots) snapshots, "
        + (last.problems == 0 ? "no damage" : counted(last.problems, "problem"))
    return "\(Self.local(last.time)), \(extent)"
      + (state.verifiedSince.map { "; everything since \(Self.local($0))" } ?? "; not yet everything")
  }

  private var space: String {
    if state.bytesTotal == 0 { return "unknown: the file system does not tell its size" }
    var text = "\(byteText(state.bytesFree)) of \(byteText(state.bytesTotal)) free"
    if state.bytesCopiedPerDay > 0 {
      let days = state.bytesFree / state.bytesCopiedPerDay
      let enough = days == 0 ? "less than a day" : days > 3650 ? "more than ten years" : counted(days, "day")
      text += ", \(byteText(state.bytesCopiedPerDay)) copied a day: enough for \(enough)"
    }
    return text
  }

  // MARK: Text

  private static func padded(_ title: String) -> String { title.padding(to: 14) }

  private static func age(_ seconds: Int64?) -> String { seconds.map { durationText(Double($0)) } ?? "" }

  /// A state that needs no eye is in small letters.
  private static func shout(_ state: String) -> String {
    ["well", "absent"].contains(state) ? state : state.uppercased()
  }

  /// A time of the history in the zone of the process.
  private static func local(_ rfc3339: String) -> String {
    Moment.seconds(of: rfc3339).map { Timestamp(seconds: $0, nanoseconds: 0).localText } ?? rfc3339
  }
}

extension String {
  fileprivate func padding(to width: Int) -> String { self + String(repeating: " ", count: max(0, width - count)) }
}

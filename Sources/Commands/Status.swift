internal import ArgumentParser
internal import Model
internal import Posix
internal import Repository
internal import Settings

struct StatusCommand: RunnableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Is all well? For people, monitors and scripts.",
    discussion: """
      Shows the age of the newest good snapshot of each source, the sets, the last verification, space, and \
      the last ten runs. The exit status is 0 where all is well, 6 where damage is known, and else 1; \
      what is not well is said on standard error.

      Example:
        treering status --max-age 26h --repository /backup/treering
      """)

  @Option(
    help: ArgumentHelp(
      "How old the newest good snapshot of a source may be; else the configuration's rpo.", valueName: "time"),
    transform: seconds(for: "--max-age"))
  var maxAge: Int64?

  @OptionGroup var common: CommonOptions

  func execute() throws -> ExitStatus {
    let repository = try common.openRepository()
    let file = try common.configuration(of: repository)
    let state = try RepositoryState(
      of: repository, configuration: file,
      remotes: file.flatMap { $0.settings.remotes.isEmpty ? nil : $0.settings.remotes.map(\.name) },
      maximumAgeSeconds: maxAge, at: Clock.now())
    common.answer(state, lines: Self.page(of: state))
    for finding in state.findings { Console.complain(finding) }
    return state.isWell ? .done : state.isDamaged ? .damaged : .warnings
  }

  private static func page(of state: RepositoryState) -> [String] {
    var lines = ["\(state.repository): " + (state.isWell ? "all is well" : "NOT WELL"), ""]
    lines += table(
      [["SOURCE", "NEWEST GOOD SNAPSHOT", "AGE", ""]]
        + state.sources.map {
          [$0.source, $0.newestGood ?? "none", $0.ageSeconds.map { durationText(Double($0)) } ?? "", $0.state]
        }, rightAligned: [2])
    let sets = SnapshotSet.allCases.compactMap { set in state.sets[set.rawValue].map { "\(set.rawValue) \($0)" } }
    lines += [
      "",
      "snapshots     \(state.snapshots)" + (sets.isEmpty ? "" : " (\(sets.joined(separator: ", ")))"),
      "rotation      " + (state.rotationHeld.map { "nothing expires: \($0)" } ?? "goes on"),
    ]
    if !state.held.isEmpty { lines.append("held          \(state.held.joined(separator: " "))") }
    lines.append("verification  " + (state.lastVerification.map(verificationText(of:)) ?? "never"))
    for push in state.pushes {
      let outcome =
        push.hasFailed
        ? "FAILED, \(push.error ?? "")"
        : push.result.snapshot + (push.exitStatus == ExitStatus.done.code ? "" : ", with warnings")
      lines.append("push          to \(push.result.remote), \(push.time): \(outcome)")
    }
    lines.append("space         " + spaceText(of: state))
    if !state.runs.isEmpty {
      lines += ["", "LAST RUNS"]
      lines += table(state.runs.map { [$0.time, $0.command, "status \($0.exitStatus)", $0.error ?? ""] })
    }
    return lines
  }

  private static func verificationText(of last: PastRuns.Verification) -> String {
    last.ofSnapshots == 0
      ? "\(last.time), when there was no snapshot"
      : "\(last.time), \(last.snapshots) of \(last.ofSnapshots) snapshots, "
        + (last.problems == 0 ? "no damage" : counted(last.problems, "problem"))
  }

  private static func spaceText(of state: RepositoryState) -> String {
    if state.bytesTotal == 0 { return "unknown: the file system does not tell its size" }
    var text = "\(byteText(state.bytesFree)) of \(byteText(state.bytesTotal)) free"
    if state.bytesCopiedPerDay > 0 {
      let days = state.bytesFree / state.bytesCopiedPerDay
      let enough = days == 0 ? "less than a day" : days > 3650 ? "more than ten years" : counted(days, "day")
      text += ", \(byteText(state.bytesCopiedPerDay)) copied a day: enough for \(enough)"
    }
    return text
  }
}

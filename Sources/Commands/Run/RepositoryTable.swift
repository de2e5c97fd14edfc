internal import Model
internal import Repository

/// The states of several repositories, the worst first.
struct RepositoryTable {
  /// A repository with its name or path.
  typealias Named = (name: String, state: RepositoryState)
  /// A repository that cannot be opened.
  typealias Failed = (name: String, failure: Failure)

  private let rows: [Row]

  private struct Row {
    /// The name, or the path of a repository without one.
    let repository: String
    let state: RepositoryState?
    let findings: [String]
    let status: ExitStatus
    /// The age of the oldest of the newest good snapshots of all sources.
    let ageSeconds: Int64?
  }

  init(of states: [Named], failures: [Failed]) {
    let rows =
      states.map { name, state in
        let ages = state.sources.map(\.ageSeconds)
        return Row(
          repository: name, state: state, findings: state.findings, status: state.exitStatus,
          ageSeconds: ages.contains(nil) ? nil : ages.compactMap(\.self).max())
      }
      + failures.map {
        Row(
          repository: $0.name, state: nil, findings: [$0.failure.description], status: ExitStatus($0.failure.kind),
          ageSeconds: nil)
      }
    // Damage is worst, then a repository that cannot be opened, then the number of problems.
    func rank(of row: Row) -> (Int, Int, String) {
      (row.status == .damaged ? 0 : row.state == nil ? 1 : 2, -row.findings.count, row.repository)
    }
    self.rows = rows.sorted { rank(of: $0) < rank(of: $1) }
  }

  var findings: [String] { rows.flatMap { row in row.findings.map { "\(row.repository): \($0)" } } }

  var exitStatus: ExitStatus {
    if rows.contains(where: { $0.status == .damaged }) { return .damaged }
    return rows.first { $0.state == nil }?.status ?? (findings.isEmpty ? .done : .warnings)
  }

  var lines: [String] {
    let cells = rows.map { row in
      [
        row.repository, row.findings.isEmpty ? "well" : counted(row.findings.count, "PROBLEM", plural: "PROBLEMS"),
        row.ageSeconds.map { durationText(Double($0)) } ?? "", row.state.map { "\($0.snapshots)" } ?? "",
        row.state.map { $0.bytesTotal > 0 ? byteText($0.bytesFree) : "" } ?? "",
      ]
    }
    let problems = findings.flatMap { wrapped($0, first: "! ", next: "  ") }
    return table([["REPOSITORY", "STATE", "AGE", "SNAPSHOTS", "FREE"]] + cells, rightAligned: [2, 3, 4])
      + (problems.isEmpty ? [] : [""] + problems)
  }

  /// The document of `status --json` for several repositories.
  struct Answer: Encodable {
    struct Failed: Encodable {
      let repository, error: String
    }
    let isWell: Bool
    let repositories: [RepositoryState]
    /// The repositories that cannot be opened.
    let failed: [Failed]
  }

  var answer: Answer {
    Answer(
      isWell: findings.isEmpty, repositories: rows.compactMap(\.state),
      failed: rows.filter { $0.state == nil }.map { Answer.Failed(repository: $0.repository, error: $0.findings[0]) })
  }
}

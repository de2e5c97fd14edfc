internal import Model

/// A run or a rotation in the history, as an audit and the search for the last mail need it.
struct RecordedRun: Decodable {
  struct Snapshot: Decodable {
    struct Warning: Decodable {
      let path, message: String
    }
    struct Database: Decodable {
      let name: String
      let dumped: Bool
      let began: String
    }
    let snapshot, outcome: String
    let sources: [String]?
    let databases: [Database]?
    let warningsNamed: [Warning]?
    let entries, excluded: UInt64?

    /// The entries that rules left out, and those that the snapshot has.
    var exclusion: (entries: UInt64, stored: UInt64)? {
      excluded.flatMap { excluded in entries.map { (excluded, $0) } }
    }
  }
  struct Step: Decodable {
    let step, outcome: String
  }

  let time, command: String
  let exitStatus: Int32
  let result, startedBy: String?
  let steps: [Step]?
  let snapshot: Snapshot?
  let expired: [String]?

  /// False if a notice could not be delivered; `nil` if none is recorded.
  var noticed: Bool? {
    let notices = (steps ?? []).filter { Notices.isNotice($0.step) }
    return notices.isEmpty ? nil : !notices.contains { $0.outcome == RunStep.Outcome.failed.rawValue }
  }

  var snapshotSeconds: Int64? { snapshot.flatMap { SnapshotName($0.snapshot.utf8)?.seconds } }

  /// The runs and rotations. Skips lines of another form.
  static func all(in text: [UInt8]) -> [RecordedRun] {
    text.split(separator: newline).compactMap { RecordedRun(json: $0) }.filter {
      ["run", "rotate"].contains($0.command)
    }
  }
}

internal import Model

/// A run in the history, as an audit and the search for the last mail need it.
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
  }
  struct Step: Decodable {
    let step, outcome: String
  }

  let time, command: String
  let startedBy: String?
  let steps: [Step]?
  let snapshot: Snapshot?

  var snapshotSeconds: Int64? { snapshot.flatMap { SnapshotName($0.snapshot.utf8)?.seconds } }

  /// Skips lines of another form.
  static func all(in text: [UInt8]) -> [RecordedRun] {
    text.split(separator: newline).compactMap { RecordedRun(json: $0) }.filter { $0.command == "run" }
  }
}

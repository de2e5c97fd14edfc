internal import Model
internal import Repository

/// A line of the history: the plan was printed or tested.
struct PlanRecord: HistoryLine, Codable {
  enum Event: String, Codable { case printed, tested }

  let time: String
  var command: String = Self.commandName
  let event: Event
  /// The name of the tester.
  let by: String?
  /// See `PlanDocument.digest`.
  let digest: String
  var exitStatus = ExitStatus.done.code
  var error: String?

  static let commandName = "recovery-plan"

  var record: PlanFacts.Record? {
    Moment.seconds(of: time).map { PlanFacts.Record(time: $0, digest: digest, by: by) }
  }

  /// The records in a history, newest last. Skips lines of another form.
  static func all(in text: [UInt8]) -> [PlanRecord] {
    text.split(separator: newline).compactMap { PlanRecord(json: $0) }.filter { $0.command == commandName }
  }
}

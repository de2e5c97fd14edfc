/// A line of an audit: a fact, its source and age, and the remedy if it falls short.
struct Finding: Equatable {
  enum Topic: String, CaseIterable, Encodable {
    case copies, media, offSite = "off_site", objectives, automation, plan = "recovery_plan", blindSpots = "blind_spots"
  }

  enum State: String, Encodable {
    case well, short
    /// The fact was not measured or not stated; the audit neither counts it nor complains.
    case unknown
  }

  let topic: Topic
  let state: State
  /// A sentence without its end.
  let fact: String
  /// The file, command or record that the fact is from.
  let source: String
  /// The time of the fact; `nil` if it was collected now.
  let time: Int64?
  /// The action that makes it well. Every line that falls short has one.
  let remedy: String?
}

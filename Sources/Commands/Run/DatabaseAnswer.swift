internal import Catalog
internal import Model
internal import Repository

/// A database of a snapshot, in JSON.
struct DatabaseAnswer: Encodable {
  let name, kind: String
  /// False if the snapshot has no dump of it.
  let dumped: Bool
  let began, ended: String
  /// The server's own text for the moment of the dump; `nil` if there is none.
  let point: String?
  /// The parts that the dump lacks; `nil` for a complete one.
  let shortcomings: String?

  init(_ record: DatabaseRecord) {
    (name, kind) = (displayName(record.name), displayName(record.kind))
    dumped = !record.isLeftOut
    (began, ended) = (record.began.rfc3339, record.ended.rfc3339)
    point = record.point.isEmpty ? nil : displayName(record.point)
    shortcomings = record.shortcomings.isEmpty ? nil : displayName(record.shortcomings)
  }
}

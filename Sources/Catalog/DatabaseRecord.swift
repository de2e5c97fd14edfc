public import Model

/// A database of a snapshot: the times of its dump, or the fact that it was left out.
public struct DatabaseRecord: Hashable, Sendable {
  /// The label below which the dumps lie.
  public static let label = Array("databases".utf8)

  /// The name of the dump's directory below the label: one path component.
  public var name: [UInt8]
  /// The kind of the database, such as `postgresql`.
  public var kind: [UInt8]
  /// The times at which the dump began and ended, by the clock of the writer.
  public var began: Timestamp
  public var ended: Timestamp
  /// The server's own text for the moment of the dump, such as the coordinates of a binary log; it may be empty.
  public var point: [UInt8]
  /// True if there is no good dump. The snapshot has nothing of the database.
  public var isLeftOut: Bool
  /// The parts that the dump lacks or has of another moment, in sentences for people; empty for a complete dump.
  public var shortcomings: [UInt8] = []

  public init(
    name: [UInt8], kind: [UInt8], began: Timestamp, ended: Timestamp, point: [UInt8] = [], isLeftOut: Bool = false
  ) {
    self.name = name
    self.kind = kind
    self.began = began
    self.ended = ended
    self.point = point
    self.isLeftOut = isLeftOut
  }

  /// The path from the snapshot's root, as in `CatalogSummary.otherSources`.
  public var source: [UInt8] { Self.label + [slash] + name }

  func encode(to buffer: inout ByteBuffer) {
    buffer.append(UInt8((isLeftOut ? 1 : 0) | (shortcomings.isEmpty ? 0 : 2)))
    buffer.append(began)
    buffer.append(ended)
    for text in [name, kind, point] + (shortcomings.isEmpty ? [] : [shortcomings]) {
      let text = text.prefix(Int(UInt16.max))
      buffer.append(UInt16(text.count))
      buffer.append(Array(text).span)
    }
  }

  init(from cursor: inout ByteCursor) throws(CatalogError) {
    let flags: UInt8 = try cursor.integer()
    isLeftOut = flags & 1 != 0
    began = try Timestamp(from: &cursor)
    ended = try Timestamp(from: &cursor)
    func text(_ cursor: inout ByteCursor) throws(CatalogError) -> [UInt8] {
      Array(cursor.bytes[try cursor.take(Int(try cursor.integer(UInt16.self)))])
    }
    name = try text(&cursor)
    kind = try text(&cursor)
    point = try text(&cursor)
    if flags & 2 != 0 { shortcomings = try text(&cursor) }
    guard Name.isPossible(name.span) else { throw CatalogError("the trailer names an impossible database") }
    guard [began, ended].allSatisfy({ CalendarTime.seconds.contains($0.seconds) })
    else { throw CatalogError("the trailer has a time outside the years 0 to 9999") }
  }
}

internal import Repository

extension Failure: FrameMessage {
  static var type: FrameType { .failure }

  private static let kinds: [(kind: Kind, number: Int)] = [
    (.usage, 2), (.failed, 3), (.refused, 4), (.locked, 5), (.damaged, 6), (.remote, 7), (.noSpace, 8),
  ]

  /// Escapes the texts.
  ///
  /// The kinds for space, locks, damage and refusals stay. Any other kind becomes a failure of the replication.
  init(from reader: inout MessageReader) throws {
    let number = try reader.count(limit: 255)
    let message = try reader.sentence()
    let hint = try reader.sentence()
    let sent = Self.kinds.first { $0.number == number }?.kind ?? .failed
    let kind: Kind =
      switch sent {
      case .locked, .damaged, .noSpace, .refused: sent
      default: .remote
      }
    self.init(kind, message, hint: hint.isEmpty ? nil : hint)
  }

  func encode(to writer: inout MessageWriter) {
    writer.count(Self.kinds.first { $0.kind == kind }?.number ?? 3)
    writer.sentence(message)
    writer.sentence(hint ?? "")
  }
}

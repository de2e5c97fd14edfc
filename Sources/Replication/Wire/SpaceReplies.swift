internal import Engine
internal import Model
internal import Repository

/// `held`: the bytes that come free if only this snapshot is deleted.
extension HeldSpace.Row: FrameMessage {
  static var type: FrameType { .held }

  init(from reader: inout MessageReader) throws {
    self.init(name: try reader.snapshotName(), aloneBytes: try reader.quantity())
  }

  func encode(to writer: inout MessageWriter) {
    writer.text(name.bytes)
    writer.integer(aloneBytes)
  }
}

struct SpaceEnd: FrameMessage {
  static let type = FrameType.end

  let togetherBytes, bytesFree: UInt64?
  let doubts: Set<FreedSpaceDoubt>

  init(of held: HeldSpace) {
    (togetherBytes, bytesFree, doubts) = (held.togetherBytes, held.bytesFree, held.doubts)
  }

  init(from reader: inout MessageReader) throws {
    togetherBytes = try reader.flag() ? try reader.quantity() : nil
    bytesFree = try reader.flag() ? try reader.quantity() : nil
    var doubts: Set<FreedSpaceDoubt> = []
    for _ in 0..<(try reader.count(limit: FreedSpaceDoubt.allCases.count)) {
      let word = try reader.sentence(limit: 64)
      guard let doubt = FreedSpaceDoubt(rawValue: word) else { throw ProtocolViolation("a doubt is not known") }
      doubts.insert(doubt)
    }
    self.doubts = doubts
  }

  func encode(to writer: inout MessageWriter) {
    for number in [togetherBytes, bytesFree] {
      writer.flag(number != nil)
      if let number { writer.integer(number) }
    }
    writer.count(doubts.count)
    for doubt in doubts.sorted() { writer.text(Array(doubt.rawValue.utf8)) }
  }
}

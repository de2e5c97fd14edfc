internal import Delta

/// Writes the instructions that build a version, in the places that the versions have, while the new one and the base
/// are searched without their holes.
struct InstructionSender {
  private var writer: InstructionWriter
  private let new: CompactSource
  private let byteCount: UInt64
  private let base: CompactSource?
  /// How much of the version is built.
  private(set) var position: UInt64
  private var compactPosition: UInt64

  /// Builds `new`, of a version of `byteCount` bytes, from `offset` on. `base` is what copies are from; without it they
  /// are from the base as it is.
  init(
    _ writer: InstructionWriter, _ new: CompactSource, byteCount: UInt64, from offset: UInt64, base: CompactSource?
  ) {
    self.writer = writer
    self.new = new
    self.byteCount = byteCount
    self.base = base
    position = offset
    compactPosition = new.compactOffset(of: offset)
  }

  /// Where the next data is among the compact bytes.
  var dataPosition: UInt64 { compactPosition }

  mutating func write(_ instruction: DeltaInstruction) throws {
    switch instruction {
    case .literal(let bytes):
      var rest = bytes
      while !rest.isEmpty {
        let count = try advance(atMost: UInt64(rest.count))
        try writer.write(.literal(UnsafeRawBufferPointer(rebasing: rest[..<Int(count)])))
        rest = UnsafeRawBufferPointer(rebasing: rest[Int(count)...])
      }
    case .copy(var from, var left):
      while left > 0 {
        let place = base?.place(of: from) ?? from..<from + left
        let count = try advance(atMost: min(left, place.upperBound - place.lowerBound))
        try writer.write(.copy(from: place.lowerBound, byteCount: count))
        from += count
        left -= count
      }
    }
  }

  /// Passes at most so many bytes of data of the version that go on where it is, and the hole before them.
  private mutating func advance(atMost byteCount: UInt64) throws -> UInt64 {
    let place = new.place(of: compactPosition)
    try writer.write(zeros: place.lowerBound - position)
    let count = min(byteCount, place.upperBound - place.lowerBound)
    position = place.lowerBound + count
    compactPosition += count
    return count
  }

  /// Ends the instructions, with the hole that the version ends with.
  mutating func end() throws {
    try writer.write(zeros: byteCount - position)
    position = byteCount
    try writer.end()
  }
}

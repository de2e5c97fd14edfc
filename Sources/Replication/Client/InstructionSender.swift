internal import Delta

/// Writes delta instructions in terms of file offsets.
///
/// The delta search runs on compact sources, which leave out the holes. This type maps their offsets to the files, and
/// writes the holes as zeros.
struct InstructionSender {
  private var writer: InstructionWriter
  private let new: CompactSource
  private let byteCount: UInt64
  private let base: CompactSource?
  /// The offset in the new version up to which instructions are written.
  private(set) var position: UInt64
  private var compactPosition: UInt64

  /// Sends the new version, a file of `byteCount` bytes, from `offset` on. Copies refer to offsets in `base`. Without
  /// `base` they refer to offsets in the base file itself.
  init(to stream: OutgoingStream, new: CompactSource, byteCount: UInt64, from offset: UInt64, base: CompactSource?) {
    writer = InstructionWriter(to: stream)
    (self.new, self.byteCount, self.base) = (new, byteCount, base)
    position = offset
    compactPosition = new.compactOffset(of: offset)
  }

  /// The offset of the next data in the compact source.
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
        try writer.write(.copy(offset: place.lowerBound, byteCount: count))
        from += count
        left -= count
      }
    }
  }

  /// Writes the hole before the next data, then advances over at most `byteCount` contiguous bytes of data. Returns the
  /// number of bytes.
  private mutating func advance(atMost byteCount: UInt64) throws -> UInt64 {
    let place = new.place(of: compactPosition)
    try writer.write(.zeros(place.lowerBound - position))
    let count = min(byteCount, place.upperBound - place.lowerBound)
    position = place.lowerBound + count
    compactPosition += count
    return count
  }

  /// Writes the hole at the end of the new version, and ends the instructions.
  mutating func end() throws {
    try writer.write(.zeros(byteCount - position))
    position = byteCount
    try writer.end()
  }
}

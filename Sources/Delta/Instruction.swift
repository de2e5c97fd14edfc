/// One step of rebuilding the new version from the old one.
public enum DeltaInstruction {
  /// The next bytes are those of the old version from byte `from` on.
  case copy(from: UInt64, byteCount: UInt64)
  /// The next bytes are these, at most 128 KiB; valid only during the call that hands them over.
  case literal(UnsafeRawBufferPointer)
}

/// Joins copies that continue each other, and divides literals.
struct InstructionJoiner {
  static let literalBytes = 128 << 10

  private var from = 0
  private var byteCount = 0

  mutating func copy(from: Int, byteCount: Int, _ emit: (DeltaInstruction) throws -> Void) throws {
    guard byteCount > 0 else { return }
    if self.byteCount > 0 && self.from + self.byteCount == from {
      self.byteCount += byteCount
    } else {
      try flush(emit)
      self.from = from
      self.byteCount = byteCount
    }
  }

  mutating func literal(_ bytes: UnsafeRawBufferPointer, _ emit: (DeltaInstruction) throws -> Void) throws {
    guard bytes.count > 0 else { return }
    try flush(emit)
    var rest = bytes
    while rest.count > 0 {
      let count = min(rest.count, Self.literalBytes)
      try emit(.literal(UnsafeRawBufferPointer(rebasing: rest[..<count])))
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Hands over the copy that might have been continued.
  mutating func flush(_ emit: (DeltaInstruction) throws -> Void) throws {
    guard byteCount > 0 else { return }
    let copy = DeltaInstruction.copy(from: UInt64(from), byteCount: UInt64(byteCount))
    byteCount = 0
    try emit(copy)
  }
}

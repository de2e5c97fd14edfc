/// An instruction for rebuilding the new version from the old one.
public enum DeltaInstruction {
  /// Copies bytes of the old version, from byte `from` on.
  case copy(from: UInt64, byteCount: UInt64)
  /// Adds these bytes, at most 128 KiB; they are valid only during the call to `emit`.
  case literal(UnsafeRawBufferPointer)
}

/// Joins adjacent copies and divides long literals.
struct InstructionJoiner {
  static let literalBytes = 128 << 10

  private var from = 0
  private var byteCount = 0

  mutating func copy(from: Int, byteCount: Int, emit: (DeltaInstruction) throws -> Void) throws {
    guard byteCount > 0 else { return }
    if self.byteCount > 0 && self.from + self.byteCount == from {
      self.byteCount += byteCount
    } else {
      try flush(emit: emit)
      self.from = from
      self.byteCount = byteCount
    }
  }

  mutating func literal(_ bytes: UnsafeRawBufferPointer, emit: (DeltaInstruction) throws -> Void) throws {
    guard bytes.count > 0 else { return }
    try flush(emit: emit)
    var rest = bytes
    while rest.count > 0 {
      let count = min(rest.count, Self.literalBytes)
      try emit(.literal(UnsafeRawBufferPointer(rebasing: rest[..<count])))
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  /// Emits the pending copy.
  mutating func flush(emit: (DeltaInstruction) throws -> Void) throws {
    guard byteCount > 0 else { return }
    let copy = DeltaInstruction.copy(from: UInt64(from), byteCount: UInt64(byteCount))
    byteCount = 0
    try emit(copy)
  }
}

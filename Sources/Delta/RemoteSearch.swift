/// The search with only a signature of the old version: a match is a whole block.
extension DeltaFinder {
  func findBlocks(of signature: Signature, index: BlockIndex, emit: (DeltaInstruction) throws -> Void) throws {
    while let place = try roll(using: index, emit: emit) {
      try sendLiteral(upTo: position, emit: emit)
      try joiner.copy(from: place, byteCount: signature.blockBytes, emit: emit)
      displacement = place - position
      position += signature.blockBytes
      literalStart = position
    }
    try takeShortBlock(of: signature, index: index, emit: emit)
  }

  /// The number of the block at `position` that would continue the last copy, or has the same place. `nil` if no
  /// block starts there.
  func expectedBlock(of signature: Signature) -> Int? {
    let place = position + displacement
    guard place >= 0, place % signature.blockBytes == 0 else { return nil }
    let block = place / signature.blockBytes
    return block < Int(signature.byteCount) / signature.blockBytes ? block : nil
  }

  /// The place of the window at `position`: the expected block, or a block with its sum.
  func verify(_ blocks: SIMD4<Int32>, of signature: Signature) -> Int? {
    let bytes = window.bytes(in: position..<position + signature.blockBytes)
    comparedBytes += bytes.count
    let sum = strong.sum(of: bytes)
    if let block = expectedBlock(of: signature), signature.strongSums[block] == sum {
      return block * signature.blockBytes
    }
    for lane in 0..<4 where blocks[lane] >= 0 && signature.strongSums[Int(blocks[lane])] == sum {
      return Int(blocks[lane]) * signature.blockBytes
    }
    return nil
  }

  /// Matches the old version's last, shorter block, only at the end of the new version.
  private func takeShortBlock(
    of signature: Signature, index: BlockIndex, emit: (DeltaInstruction) throws -> Void
  ) throws {
    let end = window.byteCount
    let count = index.byteCount % signature.blockBytes
    guard count > 0, end - literalStart >= count,
      let weak = signature.weakSums.last, let strongSum = signature.strongSums.last
    else { return }
    try window.load(through: end, keeping: literalStart)
    let bytes = window.bytes(in: end - count..<end)
    guard WeakSum.sum(of: bytes) >> 32 == UInt64(weak) else { return }
    comparedBytes += count
    guard strong.sum(of: bytes) == strongSum else { return }
    try sendLiteral(upTo: end - count, emit: emit)
    try joiner.copy(from: index.byteCount - count, byteCount: count, emit: emit)
    literalStart = end
  }
}

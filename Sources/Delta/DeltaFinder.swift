/// Finds what of a new version is in an old one.
///
/// The idea is rsync's (A. Tridgell, P. Mackerras, "The rsync algorithm", Australian National University,
/// TR-CS-96-05, 1996): the weak sum of a window that moves over the new version by one byte at a time tells
/// where a block of the old one may be. Where both versions are here, no strong sum is needed: the bytes
/// themselves are compared, and a match is extended to both sides as far as they are equal.
///
/// Reusable, keeps its buffers; one thread at a time, and no second search from within `emit`. Memory: about
/// 1 MiB, and with a signature of large blocks four times a block.
public final class DeltaFinder {
  /// Of a literal that is still here, and that a match may be extended back into; at least half of it stays.
  static let heldLiteralBytes = 256 << 10
  /// A shorter copy than this is made only where a block was found.
  static let leastCopyBytes = 32
  /// Positions that are not looked up after too many comparisons have failed.
  private static let restBytes = 256

  let window = SlidingWindow()
  let base = BaseWindow()
  var joiner = InstructionJoiner()
  let strong = StrongSum(salt: 0)
  var refining = Refining()

  /// Everything before it has been handed over, or is a copy in `joiner`.
  var literalStart = 0
  /// What lies between it and `literalStart` is a literal to be, unless a match is extended back into it.
  var position = 0
  /// Of the last copy: its position in the old version less its position in the new one.
  var displacement = 0
  /// Where in the new version the last copy started.
  var copyStart = 0
  /// Bytes of literals that were not looked up, because what follows them is where it was.
  var passedBytes = 0
  /// What failing comparisons may still cost, in bytes: they are paid by the bytes that the search passes, so
  /// that no input makes it take longer than a multiple of its length.
  private var credit = 0

  /// Bytes that were compared or, with a signature, put into strong sums, in the last search.
  var comparedBytes = 0

  public init() {}

  /// Hands over what rebuilds the bytes of `new` from `offset` on, in order: copies that continue each other
  /// are one, and literals have at most 128 KiB.
  ///
  /// Throws a `DeltaError` if a version turns out to be shorter than its `byteCount`, and whatever the
  /// sources and `emit` throw; what was handed over is correct even then, but not all.
  public func find(
    in new: any ByteSource, from offset: UInt64 = 0, against index: BlockIndex,
    emit: (DeltaInstruction) throws -> Void
  ) throws {
    let byteCount = try new.countedBytes()
    guard offset < UInt64(byteCount) else { return }
    begin(new, byteCount, at: Int(offset), index)
    defer {
      window.close()
      base.close()
    }
    if let signature = index.signature {
      strong.salt = signature.salt
      try findBlocks(of: signature, index, emit)
    } else {
      try findBytes(index, emit)
    }
    try sendLiteral(upTo: byteCount, emit)
    try joiner.flush(emit)
  }

  private func begin(_ new: any ByteSource, _ byteCount: Int, at offset: Int, _ index: BlockIndex) {
    let keptBytes = 2 * max(Self.heldLiteralBytes, index.windowBytes)
    window.begin(new, byteCount: byteCount, at: offset, keptBytes: keptBytes)
    base.begin(index.base, byteCount: index.base == nil ? 0 : index.byteCount)
    joiner = InstructionJoiner()
    refining = Refining()
    literalStart = offset
    position = offset
    displacement = 0
    copyStart = offset
    passedBytes = 0
    credit = 64 << 10
    if index.signature != nil { credit += 4 * index.windowBytes }
    comparedBytes = 0
  }

  // MARK: Rolling

  /// Moves `position` on to the first window that is in the old version, and returns where it is there;
  /// `nil` if there is none.
  func roll(_ index: BlockIndex, _ emit: (DeltaInstruction) throws -> Void) throws -> Int? {
    let windowBytes = index.windowBytes
    let gain = index.creditForByte
    guard position <= window.byteCount - windowBytes else { return nil }
    try index.build()
    try window.load(through: position + windowBytes, keeping: literalStart)
    var rolling = RollingSum(of: window.bytes(position..<position + windowBytes))
    if let place = try expectedBlock(index, rolling.sum) { return place }
    while true {
      // The last position that has its whole window here; to move on from it another byte is needed.
      let last = window.end - windowBytes
      if index.isEmpty { position = last }
      while position < last {
        let passed = index.scan(
          window.pointer(at: position), count: last - position, &rolling, &credit)
        earn(passed, gain)
        position += passed
        guard position < last else { break }
        if let place = try verify(index, rolling.sum) { return place }
        let rest = min(credit < 0 ? Self.restBytes : 1, last - position)
        rolling.move(rest, from: window.pointer(at: position), windowBytes: windowBytes)
        earn(rest, gain)
        position += rest
      }
      try sendHeldLiteral(emit)
      if window.end == window.byteCount {
        return index.isEmpty ? nil : try verify(index, rolling.sum)
      }
      try window.load(through: window.end + 1, keeping: literalStart)
    }
  }

  /// Where in the old version the window at `position` is, which has this sum.
  private func verify(_ index: BlockIndex, _ sum: UInt64) throws -> Int? {
    guard credit >= 0 else { return nil }
    let blocks = index.blocks(sum)
    guard blocks[0] >= 0 else { return nil }
    let (compared, reads) = (comparedBytes, base.reads)
    let place =
      if let signature = index.signature {
        verify(blocks, of: signature)
      } else {
        try verify(blocks, index)
      }
    if place == nil {
      // A look costs something, and reading much more than comparing.
      credit -= 64 + (comparedBytes - compared) + (base.reads - reads) * 4096
    }
    return place
  }

  /// Where the block is that would continue the last copy of a version that is not here, if it has this sum;
  /// the index may not have it, because it keeps only four of a sum.
  private func expectedBlock(_ index: BlockIndex, _ sum: UInt64) throws -> Int? {
    guard let signature = index.signature, credit >= 0,
      let block = expectedBlock(of: signature), signature.weakSums[block] == UInt32(sum >> 32)
    else { return nil }
    return try verify(index, sum)
  }

  private func earn(_ byteCount: Int, _ gain: Int) {
    // The limit is one that a search reaches after days, and that keeps the sum from overflowing.
    credit = min(credit &+ byteCount &* gain, 1 << 50)
  }

  // MARK: Literals

  /// Sends of a long literal what is too far back to be reached.
  private func sendHeldLiteral(_ emit: (DeltaInstruction) throws -> Void) throws {
    while position - literalStart >= Self.heldLiteralBytes {
      try sendLiteral(upTo: literalStart + InstructionJoiner.literalBytes, emit)
    }
  }

  /// Sends what is before `end`, a position up to which the window is loaded.
  func sendLiteral(upTo end: Int, _ emit: (DeltaInstruction) throws -> Void) throws {
    try window.load(through: end, keeping: literalStart)
    if base.byteCount > 0, refining.isWorth(end - literalStart) {
      refining.tried(try sendParts(upTo: end, emit), end - literalStart)
    }
    try joiner.literal(window.bytes(literalStart..<end), emit)
    literalStart = end
  }
}

extension BlockIndex {
  /// By how many bytes of failing comparisons each byte that the search passes raises the credit.
  ///
  /// One, where bytes are compared: sums of 44 bits are equal by chance so seldom that only prepared input
  /// reaches the limit. Sums of 32 bits are equal more often, and each costs the strong sum of a block, so
  /// twice is allowed what that costs on average with random bytes.
  var creditForByte: Int {
    guard signature != nil else { return 1 }
    return 2 + byteCount >> 31
  }
}

/// Whether it is worth comparing a literal with what the last copy's displacement gives for it.
struct Refining {
  private static let firstPause = 64 << 10
  private static let longestPause = 2 << 20

  private var pause = 0
  private var nextPause = firstPause

  /// Asked once for each literal of so many bytes.
  mutating func isWorth(_ byteCount: Int) -> Bool {
    guard byteCount >= DeltaFinder.leastCopyBytes else { return false }
    guard pause > 0 else { return true }
    pause -= byteCount
    return false
  }

  /// Whether something was found; `rest` are the bytes after the last finding.
  mutating func tried(_ hasFound: Bool, _ rest: Int) {
    if hasFound {
      self = Refining()
    } else if rest >= 4096 {
      pause = nextPause
      nextPause = min(nextPause * 2, Self.longestPause)
    }
  }
}

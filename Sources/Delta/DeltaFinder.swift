/// Finds the parts of a new version that are in an old one.
///
/// The idea is rsync's (A. Tridgell, P. Mackerras, "The rsync algorithm", Australian National University,
/// TR-CS-96-05, 1996). A window moves over the new version byte by byte; its weak sum finds possible blocks of the
/// old version. If both versions are local, strong sums are not needed. The bytes themselves are compared, and a
/// match is extended both ways as far as they are equal.
///
/// Reusable, keeps its buffers; one thread at a time, and no second search from within `emit`. It takes about 1 MiB.
/// With a signature of large blocks, it takes four times a block.
public final class DeltaFinder {
  /// The bytes of a pending literal kept for a match that extends back; at least half of them stay.
  static let heldLiteralBytes = 256 << 10
  /// The smallest copy without a matching block.
  static let leastCopyBytes = 32
  /// The positions skipped after too many comparisons have failed.
  private static let restBytes = 256

  let window = SlidingWindow()
  let base = BaseWindow()
  var joiner = InstructionJoiner()
  let strong = StrongSum(salt: 0)
  var refining = Refining()

  /// All earlier bytes were emitted, or are a copy in `joiner`.
  var literalStart = 0
  /// The bytes between `literalStart` and it become a literal, unless a match extends back into them.
  var position = 0
  /// The last copy's position in the old version less its position in the new one.
  var displacement = 0
  /// The start of the last copy in the new version.
  var copyStart = 0
  /// The bytes of literals without a lookup; the bytes after such a literal are at the copy's displacement.
  var passedBytes = 0
  /// The budget for failing comparisons, in bytes. Each byte that the search passes adds to it. The time of a search
  /// is thus bounded by a multiple of the input's length.
  private var credit = 0

  /// The bytes compared or, with a signature, put into strong sums, in the last search.
  var comparedBytes = 0

  public init() {}

  /// Emits the instructions that rebuild the bytes of `new` from `offset` on, in order. Adjacent copies are joined,
  /// and literals have at most 128 KiB.
  ///
  /// Throws a `DeltaError` if a version turns out to be shorter than its `byteCount`. It also throws the errors of
  /// the sources and `emit`. The instructions emitted before an error are correct but not complete.
  public func find(
    in new: any ByteSource, from offset: UInt64 = 0, against index: BlockIndex,
    emit: (DeltaInstruction) throws -> Void
  ) throws {
    let byteCount = try new.countedBytes()
    guard offset < UInt64(byteCount) else { return }
    begin(reading: new, byteCount: byteCount, at: Int(offset), index: index)
    defer {
      window.close()
      base.close()
    }
    if let signature = index.signature {
      strong.salt = signature.salt
      try findBlocks(of: signature, index: index, emit: emit)
    } else {
      try findBytes(using: index, emit: emit)
    }
    try sendLiteral(upTo: byteCount, emit: emit)
    try joiner.flush(emit: emit)
  }

  private func begin(reading new: any ByteSource, byteCount: Int, at offset: Int, index: BlockIndex) {
    let keptBytes = 2 * max(Self.heldLiteralBytes, index.windowBytes)
    window.begin(reading: new, byteCount: byteCount, at: offset, keptBytes: keptBytes)
    base.begin(reading: index.base, byteCount: index.base == nil ? 0 : index.byteCount)
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

  /// Moves `position` to the first window that is in the old version; returns its place there. `nil` if there is
  /// none.
  func roll(using index: BlockIndex, emit: (DeltaInstruction) throws -> Void) throws -> Int? {
    let windowBytes = index.windowBytes
    let gain = index.creditForByte
    guard position <= window.byteCount - windowBytes else { return nil }
    try index.build()
    try window.load(through: position + windowBytes, keeping: literalStart)
    var rolling = RollingSum(of: window.bytes(in: position..<position + windowBytes))
    if let place = try expectedBlock(using: index, sum: rolling.sum) { return place }
    while true {
      // The last position whose whole window is loaded; a move beyond it needs another byte.
      let last = window.end - windowBytes
      if index.isEmpty { position = last }
      while position < last {
        let passed = index.scan(
          window.pointer(at: position), count: last - position, rolling: &rolling, credit: &credit)
        earn(byteCount: passed, gain: gain)
        position += passed
        guard position < last else { break }
        if let place = try verify(using: index, sum: rolling.sum) { return place }
        let rest = min(credit < 0 ? Self.restBytes : 1, last - position)
        rolling.move(count: rest, from: window.pointer(at: position), windowBytes: windowBytes)
        earn(byteCount: rest, gain: gain)
        position += rest
      }
      try sendHeldLiteral(emit: emit)
      if window.end == window.byteCount { return index.isEmpty ? nil : try verify(using: index, sum: rolling.sum) }
      try window.load(through: window.end + 1, keeping: literalStart)
    }
  }

  /// The place in the old version of the window at `position`, whose sum is `sum`.
  private func verify(using index: BlockIndex, sum: UInt64) throws -> Int? {
    guard credit >= 0 else { return nil }
    let blocks = index.blocks(withSum: sum)
    guard blocks[0] >= 0 else { return nil }
    let (compared, reads) = (comparedBytes, base.reads)
    let place =
      if let signature = index.signature {
        verify(blocks, of: signature)
      } else {
        try verify(blocks, index: index)
      }
    if place == nil {
      // A failed lookup has a cost, and a read costs much more than a comparison.
      credit -= 64 + (comparedBytes - compared) + (base.reads - reads) * 4096
    }
    return place
  }

  /// The place of the block that would continue the last copy, if it has this sum; `nil` without a signature. The
  /// index may lack that block, because it keeps only four of a sum.
  private func expectedBlock(using index: BlockIndex, sum: UInt64) throws -> Int? {
    guard let signature = index.signature, credit >= 0,
      let block = expectedBlock(of: signature), signature.weakSums[block] == UInt32(sum >> 32)
    else { return nil }
    return try verify(using: index, sum: sum)
  }

  private func earn(byteCount: Int, gain: Int) {
    // A search reaches this limit only after days; it keeps the sum from overflowing.
    credit = min(credit &+ byteCount &* gain, 1 << 50)
  }

  // MARK: Literals

  /// Sends the part of a long literal that no match can extend back into.
  private func sendHeldLiteral(emit: (DeltaInstruction) throws -> Void) throws {
    while position - literalStart >= Self.heldLiteralBytes {
      try sendLiteral(upTo: literalStart + InstructionJoiner.literalBytes, emit: emit)
    }
  }

  /// Sends the literal before `end`; loads the window up to there.
  func sendLiteral(upTo end: Int, emit: (DeltaInstruction) throws -> Void) throws {
    try window.load(through: end, keeping: literalStart)
    if base.byteCount > 0, refining.isWorth(byteCount: end - literalStart) {
      refining.tried(hasFound: try sendParts(upTo: end, emit: emit), rest: end - literalStart)
    }
    try joiner.literal(window.bytes(in: literalStart..<end), emit: emit)
    literalStart = end
  }
}

extension BlockIndex {
  /// The credit for failing comparisons, in bytes, that each passed byte adds.
  ///
  /// The credit is 1 if bytes are compared. Sums of 44 bits collide so seldom that only crafted input reaches the
  /// limit. Sums of 32 bits collide more often, and each collision costs the strong sum of a block. The credit is
  /// then twice the average cost with random bytes.
  var creditForByte: Int {
    guard signature != nil else { return 1 }
    return 2 + byteCount >> 31
  }
}

/// Decides if a literal is worth comparing with the old version at the last copy's displacement.
struct Refining {
  private static let firstPause = 64 << 10
  private static let longestPause = 2 << 20

  private var pause = 0
  private var nextPause = firstPause

  /// True if a literal of `byteCount` bytes is worth a comparison; to be called once for each literal.
  mutating func isWorth(byteCount: Int) -> Bool {
    guard byteCount >= DeltaFinder.leastCopyBytes else { return false }
    guard pause > 0 else { return true }
    pause -= byteCount
    return false
  }

  /// Records the result of a comparison; `rest` is the number of bytes after the last match.
  mutating func tried(hasFound: Bool, rest: Int) {
    if hasFound {
      self = Refining()
    } else if rest >= 4096 {
      pause = nextPause
      nextPause = min(nextPause * 2, Self.longestPause)
    }
  }
}

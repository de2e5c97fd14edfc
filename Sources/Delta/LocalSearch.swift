/// The search where both versions are here: every match is compared byte by byte.
extension DeltaFinder {
  /// A copy of at least so many windows is a reason to look a little further at the same displacement first.
  /// After a shorter one it would not be: in a file of which one half is zeros and has moved, the zeros would
  /// be found again and again at the old displacement, and what is between them never.
  private static let trustedWindows = 16
  /// While nothing is indexed, a shorter copy is a reason too: what is passed over is counted then.
  private static let leastTrustedBytes = 4096
  /// How far a change in place is looked through. So much and a 128th of the file may be passed over, but of a huge
  /// one no more than costs about as much as its index.
  private static let mostPassedBytes = 64 << 10
  private static let mostPassedInAll = 4 << 20

  func findBytes(_ index: BlockIndex, _ emit: (DeltaInstruction) throws -> Void) throws {
    try takeBeginning(index, emit)
    while position < window.byteCount {
      if try resume(index, emit) { continue }
      // Of the end of a file that has grown, or was changed there, as little may be missed as elsewhere.
      if !index.isBuilt, window.byteCount - position <= passableBytes { break }
      guard let place = try roll(index, emit) else { break }
      try take(place, equal: index.windowBytes, emit)
    }
    try takeEnd(emit)
  }

  /// What the first bytes may be: those at the same place, or those at the same distance from the end.
  private func takeBeginning(
    _ index: BlockIndex, _ emit: (DeltaInstruction) throws -> Void
  ) throws {
    let left = window.byteCount - position
    let equal = try equalBytes(at: position, position, atMost: Self.leastCopyBytes)
    if equal > 0, equal == Self.leastCopyBytes || equal == left {
      return try take(position, equal: equal, emit)
    }
    let growth = window.byteCount - base.byteCount
    let start = max(position, growth)
    let needed = max(index.windowBytes, Self.leastCopyBytes)
    guard growth != 0, start - position <= needed, window.byteCount - start >= needed,
      try equalBytes(at: start, start - growth, atMost: needed) == needed
    else { return }
    position = start
    try take(start - growth, equal: needed, emit)
  }

  /// After a long copy: takes the first bytes of the same displacement if they are within one window and
  /// enough of them are equal.
  ///
  /// While the old version has not been indexed, a file that was changed in place is looked through further, and
  /// one into which or from which something was taken once, at the displacement of its end; it may never need to be
  /// indexed then, and that saves reading all of the old version once more. What is passed over so may be elsewhere
  /// in the old version, so it may be no more than a small part of the file.
  private func resume(_ index: BlockIndex, _ emit: (DeltaInstruction) throws -> Void) throws -> Bool {
    let copied = position - copyStart
    let isTrusted = copied >= Self.trustedWindows * index.windowBytes
    guard literalStart == position, isTrusted || !index.isBuilt && copied >= Self.leastTrustedBytes
    else { return false }
    let atEnd = base.byteCount - window.byteCount
    if try resume(at: displacement, isTrusted, index, emit) { return true }
    if !index.isBuilt, atEnd != displacement, try resume(at: atEnd, false, index, emit) { return true }
    // Once for each copy.
    copyStart = position
    return false
  }

  private func resume(
    at displacement: Int, _ isTrusted: Bool, _ index: BlockIndex, _ emit: (DeltaInstruction) throws -> Void
  ) throws -> Bool {
    let windowBytes = index.windowBytes
    var distance = windowBytes
    repeat {
      let middle = position + distance
      guard window.byteCount - middle >= windowBytes, middle + displacement >= windowBytes,
        base.byteCount - (middle + displacement) >= windowBytes
      else { return false }
      try window.load(through: middle + windowBytes, keeping: literalStart)
      let back = try equalBytes(before: middle, middle + displacement, atMost: min(distance, middle + displacement))
      let needed = max(windowBytes - back, 0)
      if try equalBytes(at: middle, middle + displacement, atMost: needed) == needed,
        isTrusted && distance - back <= windowBytes || mayPass(distance - back)
      {
        position = middle - back
        try take(position + displacement, equal: windowBytes, emit)
        return true
      }
      distance *= 2
    } while !index.isBuilt && distance <= Self.mostPassedBytes
    return false
  }

  /// Whether a literal of so many bytes need not be looked up.
  private func mayPass(_ byteCount: Int) -> Bool {
    guard byteCount <= passableBytes else { return false }
    passedBytes += byteCount
    return true
  }

  /// How much of the file may still be passed over without being looked up.
  private var passableBytes: Int { Self.mostPassedBytes + min(position / 128, Self.mostPassedInAll) - passedBytes }

  /// The end of the old version as the end of the new one: no block needs to start there.
  private func takeEnd(_ emit: (DeltaInstruction) throws -> Void) throws {
    let end = window.byteCount
    let left = end - literalStart
    guard left > 0, base.byteCount > 0 else { return }
    try window.load(through: end, keeping: literalStart)
    let equal = try equalBytes(before: end, base.byteCount, atMost: min(left, base.byteCount))
    guard equal >= Self.leastCopyBytes || equal == left else { return }
    try sendLiteral(upTo: end - equal, emit)
    try joiner.copy(from: base.byteCount - equal, byteCount: equal, emit)
    literalStart = end
  }

  /// Where the window at `position` is, of blocks that have its sum.
  func verify(_ blocks: SIMD4<Int32>, _ index: BlockIndex) throws -> Int? {
    let windowBytes = index.windowBytes
    let expected = position + displacement
    // Of several that are equal, the one that continues the last copy; only then is the question open.
    if blocks[1] >= 0, expected >= 0, base.byteCount - expected >= windowBytes,
      try equalBytes(at: position, expected, atMost: windowBytes) == windowBytes
    {
      return expected
    }
    for lane in 0..<4 where blocks[lane] >= 0 {
      let place = index.position(of: Int(blocks[lane]))
      if try equalBytes(at: position, place, atMost: windowBytes) == windowBytes { return place }
    }
    return nil
  }

  /// Takes `equal` bytes at `position` as those at `place` of the old version, and extends that to both sides.
  private func take(
    _ place: Int, equal: Int, _ emit: (DeltaInstruction) throws -> Void
  ) throws {
    let back = try equalBytes(before: position, place, atMost: min(position - literalStart, place))
    try sendLiteral(upTo: position - back, emit)
    displacement = place - position
    copyStart = position - back
    refining = Refining()
    try joiner.copy(from: place - back, byteCount: back + equal, emit)
    position += equal
    literalStart = position
    let more = try equalBytes(
      at: position, place + equal,
      atMost: min(window.byteCount - position, base.byteCount - (place + equal)), mayPass: true)
    try joiner.copy(from: place + equal, byteCount: more, emit)
    position += more
    literalStart = position
  }

  /// How many bytes are equal from `start` in the new version and `place` in the old one on.
  ///
  /// `mayPass`: the new version's bytes need not stay in the window once they are compared.
  private func equalBytes(
    at start: Int, _ place: Int, atMost most: Int, mayPass: Bool = false
  ) throws -> Int {
    let limit = min(most, window.byteCount - start, base.byteCount - place)
    var equal = 0
    while equal < limit {
      let at = start + equal
      try window.load(through: mayPass ? at + 1 : start + limit, keeping: mayPass ? at : literalStart)
      let old = try base.following(place + equal)
      let count = min(old.count, window.end - at, limit - equal)
      let found = Comparison.prefix(window.pointer(at: at), old.baseAddress!, count)
      comparedBytes += found + 1
      equal += found
      if found < count { break }
    }
    return equal
  }

  /// How many bytes are equal before `end` in the new version, which are in the window, and `place` in the
  /// old one.
  private func equalBytes(before end: Int, _ place: Int, atMost limit: Int) throws -> Int {
    var equal = 0
    while equal < limit {
      let old = try base.preceding(place - equal)
      let count = min(old.count, limit - equal)
      let found = Comparison.suffix(
        window.pointer(at: end - equal), old.baseAddress! + old.count, count)
      comparedBytes += found + 1
      equal += found
      if found < count { break }
    }
    return equal
  }

  /// Sends of a literal that ends at `end` what is equal at the last copy's displacement as copies, with the
  /// literals between them; true if there is any.
  ///
  /// Where changes are nearer to each other than a block's size no block is found, but in a file that is
  /// changed in place most bytes are still where they were.
  func sendParts(upTo end: Int, _ emit: (DeltaInstruction) throws -> Void) throws -> Bool {
    var hasFound = false
    var at = max(literalStart, -displacement)
    while end - at >= Self.leastCopyBytes, at + displacement < base.byteCount {
      let old = try base.following(at + displacement)
      let count = min(old.count, end - at)
      if try sendParts(at, old.baseAddress!, count, emit) { hasFound = true }
      at += count
    }
    return hasFound
  }

  private func sendParts(
    _ start: Int, _ old: UnsafeRawPointer, _ count: Int, _ emit: (DeltaInstruction) throws -> Void
  ) throws -> Bool {
    let new = window.pointer(at: start)
    var hasFound = false
    var searched = 0
    var at = 0
    // Eight bytes of every sixteen: a run of 32 has such eight bytes, wherever it starts.
    while at + 8 <= count {
      comparedBytes += 8
      guard Comparison.difference(new, old, at) == 0 else {
        at += 16
        continue
      }
      let first = at - Comparison.suffix(new + at, old + at, at - searched)
      let end = at + 8 + Comparison.prefix(new + at + 8, old + at + 8, count - at - 8)
      comparedBytes += end - first
      if end - first >= Self.leastCopyBytes {
        try joiner.literal(window.bytes(literalStart..<start + first), emit)
        try joiner.copy(from: start + first + displacement, byteCount: end - first, emit)
        literalStart = start + end
        hasFound = true
      }
      searched = end
      at = end
    }
    return hasFound
  }
}

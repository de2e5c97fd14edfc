/// The search if both versions are local: every match is compared byte by byte.
extension DeltaFinder {
  /// A copy of at least this many windows justifies a look a little further at the same displacement. A shorter one
  /// does not. Suppose that half of a file is zeros and has moved. The zeros would match at the old displacement
  /// again and again, and the data between them never.
  private static let trustedWindows = 16
  /// Without an index, a shorter copy is enough, because the skipped bytes are counted.
  private static let leastTrustedBytes = 4096
  /// The distance within which a change in place is skipped. In all, this much and a 128th of the file may be
  /// skipped. For a huge file, the limit costs about as much as its index.
  private static let mostPassedBytes = 64 << 10
  private static let mostPassedInAll = 4 << 20

  func findBytes(using index: BlockIndex, emit: (DeltaInstruction) throws -> Void) throws {
    try takeBeginning(using: index, emit: emit)
    while position < window.byteCount {
      if try resume(using: index, emit: emit) { continue }
      // At a changed or grown end of the file, no more may be missed than elsewhere.
      if !index.isBuilt, window.byteCount - position <= passableBytes { break }
      guard let place = try roll(using: index, emit: emit) else { break }
      try take(at: place, equal: index.windowBytes, emit: emit)
    }
    try takeEnd(emit: emit)
  }

  /// Takes the first bytes, from the same place or from the same distance from the end.
  private func takeBeginning(using index: BlockIndex, emit: (DeltaInstruction) throws -> Void) throws {
    let left = window.byteCount - position
    let equal = try equalBytes(at: position, place: position, atMost: Self.leastCopyBytes)
    if equal > 0, equal == Self.leastCopyBytes || equal == left {
      return try take(at: position, equal: equal, emit: emit)
    }
    let growth = window.byteCount - base.byteCount
    let start = max(position, growth)
    let needed = max(index.windowBytes, Self.leastCopyBytes)
    guard growth != 0, start - position <= needed, window.byteCount - start >= needed,
      try equalBytes(at: start, place: start - growth, atMost: needed) == needed
    else { return }
    position = start
    try take(at: start - growth, equal: needed, emit: emit)
  }

  /// After a long copy, takes the next bytes at the same displacement. They must begin within one window, and enough
  /// of them must be equal.
  ///
  /// Without an index, the method looks further in a file that was changed in place. It also tries the displacement
  /// of the end, for a file with one insertion or deletion. Such a file may never need an index, which saves one more
  /// reading of the old version. The skipped bytes may be elsewhere in the old version, so only a small part may be
  /// skipped.
  private func resume(using index: BlockIndex, emit: (DeltaInstruction) throws -> Void) throws -> Bool {
    let copied = position - copyStart
    let isTrusted = copied >= Self.trustedWindows * index.windowBytes
    guard literalStart == position, isTrusted || !index.isBuilt && copied >= Self.leastTrustedBytes
    else { return false }
    let atEnd = base.byteCount - window.byteCount
    if try resume(at: displacement, isTrusted: isTrusted, index: index, emit: emit) { return true }
    if !index.isBuilt, atEnd != displacement, try resume(at: atEnd, isTrusted: false, index: index, emit: emit) {
      return true
    }
    // One attempt for each copy.
    copyStart = position
    return false
  }

  private func resume(
    at displacement: Int, isTrusted: Bool, index: BlockIndex, emit: (DeltaInstruction) throws -> Void
  ) throws -> Bool {
    let windowBytes = index.windowBytes
    var distance = windowBytes
    repeat {
      let middle = position + distance
      guard window.byteCount - middle >= windowBytes, middle + displacement >= windowBytes,
        base.byteCount - (middle + displacement) >= windowBytes
      else { return false }
      try window.load(through: middle + windowBytes, keeping: literalStart)
      let back = try equalBytes(
        before: middle, place: middle + displacement, atMost: min(distance, middle + displacement))
      let needed = max(windowBytes - back, 0)
      if try equalBytes(at: middle, place: middle + displacement, atMost: needed) == needed,
        isTrusted && distance - back <= windowBytes || mayPass(byteCount: distance - back)
      {
        position = middle - back
        try take(at: position + displacement, equal: windowBytes, emit: emit)
        return true
      }
      distance *= 2
    } while !index.isBuilt && distance <= Self.mostPassedBytes
    return false
  }

  /// True if a literal of `byteCount` bytes needs no lookup; counts it as skipped.
  private func mayPass(byteCount: Int) -> Bool {
    guard byteCount <= passableBytes else { return false }
    passedBytes += byteCount
    return true
  }

  /// The number of bytes that may still be skipped without a lookup.
  private var passableBytes: Int { Self.mostPassedBytes + min(position / 128, Self.mostPassedInAll) - passedBytes }

  /// Matches the end of the old version with the end of the new one; no block needs to start there.
  private func takeEnd(emit: (DeltaInstruction) throws -> Void) throws {
    let end = window.byteCount
    let left = end - literalStart
    guard left > 0, base.byteCount > 0 else { return }
    try window.load(through: end, keeping: literalStart)
    let equal = try equalBytes(before: end, place: base.byteCount, atMost: min(left, base.byteCount))
    guard equal >= Self.leastCopyBytes || equal == left else { return }
    try sendLiteral(upTo: end - equal, emit: emit)
    try joiner.copy(from: base.byteCount - equal, byteCount: equal, emit: emit)
    literalStart = end
  }

  /// The place of the window at `position` among the blocks with its sum.
  func verify(_ blocks: SIMD4<Int32>, index: BlockIndex) throws -> Int? {
    let windowBytes = index.windowBytes
    let expected = position + displacement
    // If several blocks match, the one that continues the last copy wins.
    if blocks[1] >= 0, expected >= 0, base.byteCount - expected >= windowBytes,
      try equalBytes(at: position, place: expected, atMost: windowBytes) == windowBytes
    {
      return expected
    }
    for lane in 0..<4 where blocks[lane] >= 0 {
      let place = index.position(of: Int(blocks[lane]))
      if try equalBytes(at: position, place: place, atMost: windowBytes) == windowBytes { return place }
    }
    return nil
  }

  /// Copies `equal` bytes at `position` from `place` in the old version, and extends the match both ways.
  private func take(at place: Int, equal: Int, emit: (DeltaInstruction) throws -> Void) throws {
    let back = try equalBytes(before: position, place: place, atMost: min(position - literalStart, place))
    try sendLiteral(upTo: position - back, emit: emit)
    displacement = place - position
    copyStart = position - back
    refining = Refining()
    try joiner.copy(from: place - back, byteCount: back + equal, emit: emit)
    position += equal
    literalStart = position
    let more = try equalBytes(
      at: position, place: place + equal,
      atMost: min(window.byteCount - position, base.byteCount - (place + equal)), mayPass: true)
    try joiner.copy(from: place + equal, byteCount: more, emit: emit)
    position += more
    literalStart = position
  }

  /// The number of equal bytes from `start` in the new version and from `place` in the old one.
  ///
  /// With `mayPass`, compared bytes of the new version may leave the window.
  private func equalBytes(at start: Int, place: Int, atMost most: Int, mayPass: Bool = false) throws -> Int {
    let limit = min(most, window.byteCount - start, base.byteCount - place)
    var equal = 0
    while equal < limit {
      let at = start + equal
      try window.load(through: mayPass ? at + 1 : start + limit, keeping: mayPass ? at : literalStart)
      let old = try base.following(position: place + equal)
      let count = min(old.count, window.end - at, limit - equal)
      let found = Comparison.prefix(of: window.pointer(at: at), and: old.baseAddress!, count: count)
      comparedBytes += found + 1
      equal += found
      if found < count { break }
    }
    return equal
  }

  /// The number of equal bytes before `end` in the new version and before `place` in the old one. The new version's
  /// bytes must be in the window.
  private func equalBytes(before end: Int, place: Int, atMost limit: Int) throws -> Int {
    var equal = 0
    while equal < limit {
      let old = try base.preceding(position: place - equal)
      let count = min(old.count, limit - equal)
      let found = Comparison.suffix(
        of: window.pointer(at: end - equal), and: old.baseAddress! + old.count, count: count)
      comparedBytes += found + 1
      equal += found
      if found < count { break }
    }
    return equal
  }

  /// Sends a literal up to `end` as copies at the last copy's displacement, with the literals between them. True if
  /// there is any copy.
  ///
  /// If changes are closer together than a block's size, no block matches. In a file that is changed in place, most
  /// bytes are still at their old place.
  func sendParts(upTo end: Int, emit: (DeltaInstruction) throws -> Void) throws -> Bool {
    var hasFound = false
    var at = max(literalStart, -displacement)
    while end - at >= Self.leastCopyBytes, at + displacement < base.byteCount {
      let old = try base.following(position: at + displacement)
      let count = min(old.count, end - at)
      if try sendParts(from: at, old: old.baseAddress!, count: count, emit: emit) { hasFound = true }
      at += count
    }
    return hasFound
  }

  private func sendParts(
    from start: Int, old: UnsafeRawPointer, count: Int, emit: (DeltaInstruction) throws -> Void
  ) throws -> Bool {
    let new = window.pointer(at: start)
    var hasFound = false
    var searched = 0
    var at = 0
    // Checks eight bytes of every sixteen: a run of 32 equal bytes contains such eight, whatever its start.
    while at + 8 <= count {
      comparedBytes += 8
      guard Comparison.difference(of: new, and: old, offset: at) == 0 else {
        at += 16
        continue
      }
      let first = at - Comparison.suffix(of: new + at, and: old + at, count: at - searched)
      let end = at + 8 + Comparison.prefix(of: new + at + 8, and: old + at + 8, count: count - at - 8)
      comparedBytes += end - first
      if end - first >= Self.leastCopyBytes {
        try joiner.literal(window.bytes(in: literalStart..<start + first), emit: emit)
        try joiner.copy(from: start + first + displacement, byteCount: end - first, emit: emit)
        literalStart = start + end
        hasFound = true
      }
      searched = end
      at = end
    }
    return hasFound
  }
}

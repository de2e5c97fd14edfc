import TestSupport
import Testing

@testable import Delta

@Suite struct LocalSearchTests {
  private func apply(
    _ old: [UInt8], _ new: [UInt8], from offset: Int = 0, block: Int? = nil, isDelayed: Bool = false,
    _ finder: DeltaFinder = DeltaFinder()
  ) throws -> Applied {
    let index = try BlockIndex(
      of: MemorySource(old), blockBytes: block ?? BlockSize.local(for: UInt64(old.count)),
      delayedFrom: isDelayed ? 0 : 1 << 30)
    let applied = try Applied(old, MemorySource(new), from: offset, against: index, finder)
    #expect(applied.bytes == Array(new[min(offset, new.count)...]))
    #expect(applied.largestLiteral <= 128 << 10)
    #expect(!applied.hasUnjoinedCopies)
    #expect(finder.comparedBytes <= 4 * new.count + (1 << 18))
    return applied
  }

  private func edited(_ old: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var new = old
    for _ in 0..<Int.random(in: 0...6, using: &random) {
      let at = Int.random(in: 0...new.count, using: &random)
      let end = min(new.count, at + Int.random(in: 0...5000, using: &random))
      switch Int.random(in: 0..<8, using: &random) {
      case 0: new.insert(contentsOf: random.bytes(end - at), at: at)
      case 1: new.removeSubrange(at..<end)
      case 2: new.replaceSubrange(at..<end, with: random.bytes(end - at))
      case 3:
        let moved = Array(new[at..<end])
        new.removeSubrange(at..<end)
        new.insert(contentsOf: moved, at: Int.random(in: 0...new.count, using: &random))
      case 4: new.insert(contentsOf: new[at..<end], at: Int.random(in: 0...new.count, using: &random))
      case 5: new.removeSubrange(at...)
      case 6: new += random.bytes(end - at)
      default:
        for place in stride(from: at, to: end, by: Int.random(in: 1...100, using: &random)) { new[place] ^= 1 }
      }
    }
    return new
  }

  @Test("random edits are rebuilt", arguments: sample(60, of: Array(0..<300)))
  func randomEdits(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed))
    let size = [100, 3000, 70_000, 400_000][seed % 4]
    var old = random.bytes(Int.random(in: 0...size, using: &random))
    if seed % 5 == 0 { old = old.map { $0 & 1 } }
    if seed % 7 == 0 {
      for at in old.indices where at % 200 > 40 { old[at] = 0 }
    }
    let new = edited(old, &random)
    let finder = DeltaFinder()
    _ = try apply(old, new, finder)
    let block = 32 << Int.random(in: 0...7, using: &random)
    _ = try apply(old, new, from: Int.random(in: 0...new.count, using: &random), block: block, finder)
    _ = try apply(old, new, block: block, isDelayed: true, finder)
    _ = try apply(new, old, from: Int.random(in: 0...old.count, using: &random), finder)
  }

  @Test("tiny files are rebuilt")
  func tinyFiles() throws {
    var random = SeededGenerator(seed: 1)
    let finder = DeltaFinder()
    for size in 0...200 {
      let old = random.bytes(size)
      for new in [old, [], Array(old.dropFirst()), Array(old.dropLast()), old + [1], [1] + old, random.bytes(size)] {
        _ = try apply(old, new, finder)
        _ = try apply(new, old, finder)
      }
      #expect(try apply(old, old, finder).literalBytes == 0)
    }
  }

  @Test("a block is found at every offset")
  func everyOffset() throws {
    var random = SeededGenerator(seed: 2)
    let old = random.bytes(1000)
    let new = Array(old[..<300]) + random.bytes(20) + Array(old[320..<700]) + Array(old[650...])
    let finder = DeltaFinder()
    for offset in 0...new.count + 2 { _ = try apply(old, new, from: offset, finder) }
  }

  @Test("periodic content is rebuilt", arguments: [1, 2, 3, 7, 31, 32, 33, 1023, 1024, 1025])
  func periodic(period: Int)
    throws
  {
    var random = SeededGenerator(seed: UInt64(period))
    let unit = random.bytes(period)
    func repeated(_ count: Int) -> [UInt8] { (0..<count).map { unit[$0 % period] } }
    let old = repeated(300_000)
    let finder = DeltaFinder()
    for block in [32, 1024] {
      // The first block may be taken, before which there is nothing to extend the match to.
      #expect(try apply(old, repeated(350_001), block: block, finder).literalBytes < block)
      #expect(try apply(old, Array(old[1...]), block: block, finder).literalBytes < period + block)
      var new = old
      for at in stride(from: 5, to: new.count, by: 700) { new[at] ^= 255 }
      #expect(try apply(old, new, block: block, finder).literalBytes < 1000)
    }
  }

  @Test("zeros are rebuilt")
  func zeros() throws {
    let finder = DeltaFinder()
    let old = [UInt8](repeating: 0, count: 1 << 20)
    #expect(try apply(old, old, finder).literalBytes == 0)
    #expect(try apply(old, old + old, finder).literalBytes == 0)
    var new = old
    for at in stride(from: 1000, to: new.count, by: 5000) { new[at] = 1 }
    #expect(try apply(old, new, finder).literalBytes <= 2 * (new.count / 5000 + 1))
    #expect(try apply(new, old, finder).literalBytes <= 2 * (new.count / 5000 + 1))
  }

  @Test("unrelated versions are sent as they are")
  func unrelated() throws {
    var random = SeededGenerator(seed: 3)
    let (old, new) = (random.bytes(1 << 20), random.bytes(1 << 20))
    let finder = DeltaFinder()
    #expect(try apply(old, new, finder).literalBytes == new.count)
    #expect(finder.comparedBytes < new.count)
  }

  @Test("one changed byte costs one block")
  func oneByteChanged() throws {
    var random = SeededGenerator(seed: 4)
    let old = random.bytes(1 << 20)
    for at in [0, 1, 31, 32, 5000, 524_288, (1 << 20) - 33, (1 << 20) - 2, (1 << 20) - 1] {
      var new = old
      new[at] ^= 1
      let applied = try apply(old, new)
      #expect(applied.literalBytes <= 32, "at \(at)")
      if at >= 32 && at < new.count - 32 { #expect(applied.literalBytes == 1, "at \(at)") }
    }
  }

  @Test("insertions and overwritten blocks are rebuilt")
  func insertedAndOverwritten() throws {
    var random = SeededGenerator(seed: 5)
    let old = random.bytes(4 << 20)
    var new = old
    for block in 0..<20 {
      let at = (block * 50 + 3) * 4096
      new.replaceSubrange(at..<at + 4096, with: random.bytes(4096))
    }
    new = random.bytes(100) + new
    let applied = try apply(old, new)
    // A random byte may happen to be what it was.
    #expect(applied.literalBytes <= 100 + 20 * 4096)
    #expect(applied.literalBytes > 99 + 20 * 4090)
  }

  @Test("changes nearer than a block are rebuilt")
  func changesNearerThanABlock() throws {
    var random = SeededGenerator(seed: 6)
    let old = random.bytes(1 << 20)
    var new = old
    for at in stride(from: 40, to: new.count, by: 100) { new[at] ^= 1 }
    #expect(try apply(old, new, block: 1024).literalBytes <= 2 * (new.count / 100 + 1))
  }

  @Test("moved records with zeros are found")
  func movedRecordsWithZeros() throws {
    // Records of 60 random bytes and 70 zeros: the zeros are found at the old displacement, too.
    var random = SeededGenerator(seed: 7)
    var old: [UInt8] = []
    for _ in 0..<8000 { old += random.bytes(60) + [UInt8](repeating: 0, count: 70) }
    let new = Array(old[..<500_010]) + random.bytes(3) + Array(old[500_010...])
    #expect(try apply(old, new).literalBytes <= 1000)
    #expect(try apply(old, random.bytes(3) + old).literalBytes <= 1000)
  }

  @Test("shuffled extents are found")
  func shuffledExtents() throws {
    var random = SeededGenerator(seed: 8)
    let old = random.bytes(1 << 20)
    let order = (0..<256).shuffled(using: &random)
    let new = order.flatMap { old[$0 * 4096..<($0 + 1) * 4096] }
    #expect(try apply(old, new).literalBytes == 0)
  }

  @Test("the last, short block is found")
  func lastShortBlock() throws {
    var random = SeededGenerator(seed: 9)
    let old = random.bytes(10_000 + 17)
    let tail = Array(old[9_900...])
    // In the middle of the new version, where neither end helps.
    let new = random.bytes(3000) + tail + random.bytes(3000)
    #expect(try apply(old, new, block: 64).literalBytes == 6000)
  }

  @Test("large blocks are found")
  func largeBlocks() throws {
    var random = SeededGenerator(seed: 10)
    let old = random.bytes(900_000)
    let new = random.bytes(777) + old[..<500_000] + random.bytes(5) + old[500_000...]
    for block in [1 << 16, 1 << 17, 1 << 18, 1 << 30] {
      #expect(try apply(old, new, block: block).literalBytes <= (block >= 1 << 20 ? 900_782 : 400_000))
    }
  }

  @Test("impossible blocks are refused")
  func impossibleBlocks() throws {
    for block in [0, -32, 16, 48, Int.min] {
      #expect(throws: DeltaError.self) { try BlockIndex(of: MemorySource([1, 2, 3]), blockBytes: block) }
    }
    let large = ShrinkingSource([], promising: 33 << 20)
    #expect(throws: DeltaError.self) { try BlockIndex(of: large, blockBytes: 32) }
    #expect(large.readBytes == 0)
    let endless = ShrinkingSource([], promising: Int.max)
    #expect(throws: DeltaError.self) { try BlockIndex(of: endless, blockBytes: 1 << 50) }
  }

  @Test("shrunk versions are rebuilt")
  func shrunkVersions() throws {
    var random = SeededGenerator(seed: 11)
    let old = random.bytes(1 << 20)
    #expect(throws: DeltaError.self) {
      try BlockIndex(of: ShrinkingSource(old, promising: old.count + 1), blockBytes: 64)
    }
    let index = try BlockIndex(of: MemorySource(old), blockBytes: 64)
    let finder = DeltaFinder()
    for new in [old, random.bytes(1 << 20), []] {
      #expect(throws: DeltaError.self) {
        try finder.find(in: ShrinkingSource(new, promising: new.count + 5), against: index) { _ in }
      }
    }
    #expect(try Applied(old, MemorySource(old), against: index, finder).bytes == old)
  }

  @Test("an error of the receiver ends the comparison")
  func emitThrows() throws {
    struct Stop: Error {}
    let old = [UInt8](repeating: 7, count: 5000)
    let index = try BlockIndex(of: MemorySource(old), blockBytes: 64)
    let finder = DeltaFinder()
    #expect(throws: Stop.self) { try finder.find(in: MemorySource(old), against: index) { _ in throw Stop() } }
    #expect(try Applied(old, MemorySource(old), against: index, finder).bytes == old)
  }

  // MARK: Large files

  /// Pages that are overwritten where they are, and some bytes in front of them: nothing has to be looked up.
  @Test("a large file that is changed in place is not indexed")
  func aLargeFileThatIsChangedInPlaceIsNotIndexed() throws {
    var random = SeededGenerator(seed: 14)
    let old = random.bytes(16 << 20)
    var new = old
    for page in stride(from: 7, to: 4096, by: 256) {
      new.replaceSubrange(page << 12..<(page + 1) << 12, with: random.bytes(4096))
    }
    new = random.bytes(100) + new
    let source = ShrinkingSource(old, promising: old.count)
    let index = try BlockIndex(of: source, blockBytes: BlockSize.local(for: UInt64(old.count)))
    let applied = try Applied(old, MemorySource(new), against: index, DeltaFinder())
    #expect(applied.bytes == new)
    #expect(applied.literalBytes == 16 * 4096 + 100)
    #expect(!index.isBuilt)
    #expect(source.readBytes < 11 * old.count / 10)
  }

  /// Something is inserted or removed in the middle, or the file has grown or was changed at its end.
  @Test("one insertion or removal needs no index", arguments: [300_000, -300_000, 20, -20, 4096, -4096])
  func oneInsertionOrRemovalNeedsNoIndex(count: Int) throws {
    var random = SeededGenerator(seed: 16)
    let old = random.bytes(8 << 20)
    var new = old
    if count > 0 {
      new.insert(contentsOf: random.bytes(count), at: 3_000_001)
    } else {
      new.removeSubrange(3_000_001..<3_000_001 - count)
    }
    let source = ShrinkingSource(old, promising: old.count)
    let index = try BlockIndex(of: source, blockBytes: BlockSize.local(for: UInt64(old.count)))
    let applied = try Applied(old, MemorySource(new), against: index, DeltaFinder())
    #expect(applied.bytes == new)
    #expect(applied.literalBytes <= max(count, 0) + 64)
    // More than is looked through has to be looked up.
    #expect(index.isBuilt == (count == 300_000))
  }

  @Test("what is appended needs no index", arguments: [1, 5000, 60_000])
  func whatIsAppendedNeedsNoIndex(count: Int)
    throws
  {
    var random = SeededGenerator(seed: 17)
    let old = random.bytes(8 << 20)
    let index = try BlockIndex(of: MemorySource(old), blockBytes: BlockSize.local(for: UInt64(old.count)))
    let new = old.dropLast(3) + random.bytes(count + 3)
    let applied = try Applied(old, MemorySource(Array(new)), against: index, DeltaFinder())
    #expect(applied.bytes == Array(new))
    #expect(applied.literalBytes <= count + 3)
    #expect(!index.isBuilt)
  }

  /// Zeros are at every displacement: where they are trusted, what is between them is not found any more.
  @Test("zeros are no reason to pass what is elsewhere", arguments: [1, 2])
  func zerosAreNoReasonToPassWhatIsElsewhere(
    insertions: Int
  ) throws {
    var random = SeededGenerator(seed: 18)
    var old: [UInt8] = []
    for _ in 0..<4096 { old += random.bytes(1024) + [UInt8](repeating: 0, count: 7168) }
    var new = old
    for number in 1...insertions {
      new.insert(contentsOf: random.bytes(8192), at: new.count / 8 * number / 8192 * 8192)
    }
    let applied = try apply(old, new, isDelayed: true)
    #expect(applied.literalBytes <= insertions * 8192 + 64 << 10 + new.count / 128)
  }

  /// The same with pages that are elsewhere in the old version: a small part of the file may be missed.
  @Test("pages that change places are found", arguments: [2, 8, 64, 512])
  func pagesThatChangePlacesAreFound(
    distance: Int
  ) throws {
    var random = SeededGenerator(seed: 15)
    let old = random.bytes(16 << 20)
    var new = old
    var moved = 0
    for page in stride(from: 1, to: 4096 - distance, by: distance) {
      let other = (page * 2654435761) % 4096
      new.replaceSubrange(page << 12..<(page + 1) << 12, with: old[other << 12..<(other + 1) << 12])
      moved += 4096
    }
    let applied = try apply(old, new, isDelayed: true)
    #expect(applied.literalBytes <= min(moved, 64 << 10 + new.count / 128) + 4096)
  }

  // MARK: Work

  /// Blocks whose sums are equal and that are found equal to a byte far behind their beginning.
  @Test("different blocks with equal sums are told apart")
  func equalSumsOfDifferentBlocks() throws {
    var random = SeededGenerator(seed: 12)
    let units = [thueMorse(11, flipped: false), thueMorse(11, flipped: true)]
    #expect(units[0] != units[1])
    #expect(units[0].withUnsafeBytes(WeakSum.sum) == units[1].withUnsafeBytes(WeakSum.sum))
    func blocks(_ count: Int) -> [UInt8] {
      (0..<count * 8).flatMap { _ in units[Int.random(in: 0...1, using: &random)] }
    }
    let finder = DeltaFinder()
    let (old, new) = (blocks(128), blocks(128))
    _ = try apply(old, new, block: 16_384, finder)
    #expect(finder.comparedBytes <= 2 * new.count + (1 << 18))
  }

  /// A sum that is known at half of all positions, and nothing that is equal.
  @Test("equal sums everywhere cost no quadratic time")
  func equalSumsEverywhere() throws {
    var random = SeededGenerator(seed: 13)
    let rest = random.bytes(2048)
    let unit = thueMorse(11, flipped: false) + rest
    // Every rotation of the unit is a block.
    var old: [UInt8] = []
    for turn in 0..<4096 { old += unit[turn...] + unit[..<turn] }
    let other = thueMorse(11, flipped: true) + rest
    let new = (0..<256).flatMap { _ in other }
    let finder = DeltaFinder()
    let index = try BlockIndex(of: MemorySource(old), blockBytes: 4096)
    try index.build()
    let source = ShrinkingSource(old, promising: old.count)
    let counted = try BlockIndex(of: source, blockBytes: 4096)
    try counted.build()
    #expect(!index.isEmpty && !counted.isEmpty)
    let before = source.readBytes
    let applied = try Applied(old, MemorySource(new), against: counted, finder)
    #expect(applied.bytes == new)
    #expect(finder.comparedBytes <= 2 * new.count + (1 << 18))
    #expect(source.readBytes - before <= 8 * new.count)
  }
}

import Catalog
import Model
import TestSupport
import Testing

@testable import Delta

@Suite struct SignatureTests {
  private func signature(_ old: [UInt8], _ block: Int, salt: UInt64 = 0x0123_4567_89AB_CDEF) throws -> Signature {
    try Signature(of: MemorySource(old), blockBytes: block, salt: salt)
  }

  private func apply(
    _ old: [UInt8], _ new: [UInt8], from offset: Int = 0, _ block: Int, _ finder: DeltaFinder = DeltaFinder()
  ) throws -> Applied {
    let travelled = try Signature(
      decoding: try signature(old, block).encoded(), expecting: UInt64(old.count))
    let applied = try Applied(old, MemorySource(new), from: offset, against: BlockIndex(of: travelled), finder)
    #expect(applied.bytes == Array(new[min(offset, new.count)...]))
    #expect(applied.largestLiteral <= 128 << 10)
    #expect(!applied.hasUnjoinedCopies)
    return applied
  }

  // MARK: Definitions

  /// The definition as the documentation has it, one power after the other.
  private func referenceSum(_ bytes: [UInt8]) -> UInt64 {
    var result: UInt64 = 0
    for (at, byte) in bytes.enumerated() {
      var term = UInt64(byte)
      for _ in 0..<bytes.count - at { term = term &* 0x9E37_79B9_7F4A_7C15 }
      result = result &+ term
    }
    return result
  }

  @Test("the weak sum rolls as it is computed anew")
  func weakSum() throws {
    var random = SeededGenerator(seed: 20)
    #expect(WeakSum.inverse &* WeakSum.multiplier == 1)
    for count in 0...70 {
      let bytes = random.bytes(count)
      #expect(bytes.withUnsafeBytes(WeakSum.sum) == referenceSum(bytes))
    }
    let known = Array("treering".utf8)
    #expect(known.withUnsafeBytes(WeakSum.sum) == referenceSum(known))
    let bytes = random.bytes(200)
    for window in [1, 32, 33] {
      let sums = UnsafeMutablePointer<UInt64>.allocate(capacity: 200)
      defer { sums.deallocate() }
      let count = 200 - window - window % 2
      bytes.withUnsafeBytes { raw in
        var rolling = RollingSum(of: UnsafeRawBufferPointer(rebasing: raw[..<window]))
        var moved = rolling
        rolling.roll(count: count, from: raw.baseAddress!, windowBytes: window, into: sums)
        moved.move(count: count, from: raw.baseAddress!, windowBytes: window)
        #expect(rolling.sum == moved.sum)
        #expect(rolling.sum == referenceSum(Array(bytes[count..<count + window])))
        moved.sum = 5
        #expect(moved.sum == 5)
      }
      for at in 0..<count { #expect(sums[at] == referenceSum(Array(bytes[at..<at + window]))) }
    }
  }

  @Test("an encoded signature is read back")
  func encoding() throws {
    var random = SeededGenerator(seed: 21)
    let old = random.bytes(256 + 100)
    let salt: UInt64 = 0x0807_0605_0403_0201
    let encoded = try signature(old, 256, salt: salt).encoded()
    var expected: [UInt8] = [0, 1, 0, 0, 8, 0, 0, 0, 100, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    let hasher = SHA256()
    for block in [Array(old[..<256]), Array(old[256...])] {
      let weak = UInt32(referenceSum(block) >> 32)
      expected += (0..<4).map { UInt8(truncatingIfNeeded: weak >> ($0 * 8)) }
      hasher.update([1, 2, 3, 4, 5, 6, 7, 8] + block)
      expected += hasher.finish().bytes[..<8]
    }
    #expect(encoded == expected)
  }

  @Test("large blocks are summed in parts")
  func largeBlocksAreSummedInParts() throws {
    var random = SeededGenerator(seed: 22)
    let old = random.bytes(600_000)
    let found = try signature(old, 1 << 19)
    #expect(found.weakSums.count == 2)
    let sums = [old[..<(1 << 19)], old[(1 << 19)...]].map { part in
      Array(part).withUnsafeBytes { UInt32(WeakSum.sum(of: $0) >> 32) }
    }
    #expect(found.weakSums == sums)
  }

  @Test("the block size follows the file's size")
  func blockSizes() throws {
    #expect(BlockSize.local(for: 0) == 32)
    #expect(BlockSize.local(for: 1) == 32)
    #expect(BlockSize.local(for: 1 << 20) == 64)
    #expect(BlockSize.local(for: 1 << 30) == 2048)
    #expect(BlockSize.remote(for: 0) == 256)
    #expect(BlockSize.remote(for: 1 << 20) == 256)
    #expect(BlockSize.remote(for: 1 << 30) == 8192)
    for shift in 0..<64 {
      for size in [UInt64(1) << shift, UInt64(1) << shift &- 1, UInt64(1) << shift | 1, UInt64.max] {
        for block in [BlockSize.local(for: size), BlockSize.remote(for: size)] {
          #expect(block.nonzeroBitCount == 1)
          #expect(size == 0 || (size - 1) / UInt64(block) < 1 << 20)
        }
      }
    }
  }

  // MARK: Hostile input

  @Test("a signature comes back")
  func roundTrip() throws {
    var random = SeededGenerator(seed: 23)
    for size in [0, 1, 255, 256, 257, 5000] {
      let found = try signature(random.bytes(size), 256)
      #expect(try Signature(decoding: found.encoded(), expecting: UInt64(size)) == found)
      #expect(throws: DeltaError.self) { try Signature(decoding: found.encoded(), expecting: UInt64(size) + 1) }
    }
  }

  @Test("a damaged signature is refused")
  func damaged() throws {
    var random = SeededGenerator(seed: 24)
    let old = random.bytes(1000)
    let new = Array(old[..<600]) + random.bytes(50) + Array(old[600...])
    let encoded = try signature(old, 256).encoded()
    for count in 0..<encoded.count {
      #expect(throws: DeltaError.self) { try Signature(decoding: Array(encoded[..<count]), expecting: 1000) }
    }
    #expect(throws: DeltaError.self) { try Signature(decoding: encoded + [0], expecting: 1000) }
    let finder = DeltaFinder()
    for at in encoded.indices {
      for bit in 0..<8 {
        var damaged = encoded
        damaged[at] ^= 1 << UInt8(bit)
        guard let found = try? Signature(decoding: damaged, expecting: 1000) else { continue }
        #expect(at >= 16, "a changed header is noticed")
        // Its sums are wrong, so nothing but rubbish may come of it, but that within the old version.
        #expect(try Applied(old, MemorySource(new), against: BlockIndex(of: found), finder).bytes == new)
      }
    }
  }

  @Test("impossible sizes are refused")
  func impossibleSizes() throws {
    func header(_ block: UInt32, _ byteCount: UInt64) -> [UInt8] {
      (0..<4).map { UInt8(truncatingIfNeeded: block >> ($0 * 8)) } + [8, 0, 0, 0]
        + (0..<8).map { UInt8(truncatingIfNeeded: byteCount >> ($0 * 8)) } + [UInt8](repeating: 0, count: 8)
    }
    for block in [0, 1, 16, 33, 1 << 27, 1 << 31, UInt32.max] {
      for size in [0, 1, UInt64.max] {
        #expect(throws: DeltaError.self) { try Signature(decoding: header(block, size), expecting: size) }
      }
    }
    for size in [33 << 20, 1 << 46, 1 << 63, UInt64.max] {
      #expect(throws: DeltaError.self) { try Signature(decoding: header(32, size), expecting: size) }
      #expect(throws: DeltaError.self) { try Signature(decoding: header(1 << 26, size), expecting: size) }
    }
    #expect(try Signature(decoding: header(1 << 26, 0), expecting: 0).weakSums.isEmpty)
    #expect(throws: DeltaError.self) {
      try Signature(of: ShrinkingSource([1], promising: 2), blockBytes: 32, salt: 0)
    }
    #expect(throws: DeltaError.self) {
      try Signature(of: ShrinkingSource([], promising: .max), blockBytes: 1 << 26, salt: 0)
    }
  }

  // MARK: Search

  @Test("random edits are rebuilt", arguments: sample(40, of: Array(0..<150)))
  func randomEdits(seed: Int) throws {
    var random = SeededGenerator(seed: UInt64(seed + 1000))
    let old = random.bytes(Int.random(in: 0...[50, 3000, 100_000][seed % 3], using: &random))
    var new = old
    let edits = Int.random(in: 0...4, using: &random)
    var inserted = 0
    for _ in 0..<edits {
      let at = Int.random(in: 0...new.count, using: &random)
      let end = min(new.count, at + Int.random(in: 0...2000, using: &random))
      let bytes = random.bytes(Int.random(in: 0...300, using: &random))
      inserted += bytes.count
      new.replaceSubrange(at..<end, with: bytes)
    }
    let finder = DeltaFinder()
    let block = 32 << (seed % 4)
    let applied = try apply(old, new, block, finder)
    #expect(applied.literalBytes <= inserted + (2 * edits + 1) * block)
    _ = try apply(old, new, from: Int.random(in: 0...new.count, using: &random), block, finder)
    _ = try apply(new, old, block, finder)
  }

  @Test("equal versions cost nothing")
  func equalVersions() throws {
    var random = SeededGenerator(seed: 25)
    for old in [random.bytes(100_000), [UInt8](repeating: 0, count: 100_000), random.bytes(300), random.bytes(200)] {
      let finder = DeltaFinder()
      let applied = try apply(old, old, 256, finder)
      #expect(applied.literalBytes == 0)
      #expect(applied.copies == 1)
      #expect(finder.comparedBytes == old.count)
    }
  }

  /// Every position has a sum that is known, and no block is there.
  @Test("equal sums everywhere cost no quadratic time")
  func equalSumsEverywhere() throws {
    var random = SeededGenerator(seed: 26)
    let rest = random.bytes(2048)
    let unit = thueMorse(11, flipped: false) + rest
    let old = (0..<4096).flatMap { unit[$0...] + unit[..<$0] }
    let other = thueMorse(11, flipped: true) + rest
    let new = (0..<256).flatMap { _ in other }
    let finder = DeltaFinder()
    _ = try apply(old, new, 4096, finder)
    #expect(finder.comparedBytes <= 3 * new.count + (1 << 18))
  }
}

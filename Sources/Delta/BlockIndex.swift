/// An index of an old version's blocks by their weak sums.
///
/// It takes at most 18 MiB, for 2^20 blocks. An index made from a signature also keeps the signature's 12 MiB.
public final class BlockIndex {
  /// The number of blocks kept for one weak sum, the first ones. In a file of zeros all blocks have the same sum.
  static let mostOfOneSum = 4
  /// The most slots probed for one sum. It bounds the cost of sums crafted to collide.
  private static let mostProbes = 64
  /// If both versions are local, only the first 64 KiB of a larger block are summed. Such a match is still found,
  /// because it is verified and extended byte by byte. Buffers and reads stay small.
  private static let mostWindowBytes = 64 << 10
  private static let empty = UInt64.max

  /// The old version, if it is local.
  let base: (any ByteSource)?
  /// The old version's signature, if the version is not local.
  let signature: Signature?
  /// The size of the old version in bytes.
  let byteCount: Int
  /// The distance from one block to the next in bytes.
  let blockBytes: Int
  /// The number of bytes that a sum covers, from the start of each block.
  let windowBytes: Int
  private(set) var isEmpty = true
  /// False until the old version has been read for the index.
  private(set) var isBuilt = false
  /// Versions smaller than this are indexed at once; a delay would save nothing.
  private static let delayedBytes = 4 << 20

  // A slot has the upper bits of the sum above the block's number. A local sum has 44 bits. With 2^20 blocks and 32
  // bits, one position in 4,096 would read the old version for nothing.
  private let slots: UnsafeMutablePointer<UInt64>
  private let slotMask: Int
  private let slotShift, sumMask: UInt64
  // Each block sets two bits in one word; the filter has about 16 bits for each block. One position in 50 passes on
  // to the slots, which are not in the processor's cache.
  private let filter: UnsafeMutablePointer<UInt64>
  private let filterMask: UInt64

  private static let numberBits: UInt64 = 20

  private let scanned = ScanPart()

  private init(
    base: (any ByteSource)?, signature: Signature?, byteCount: Int, blockBytes: Int, windowBytes: Int,
    sumBits: UInt64, blockCount: Int
  ) {
    self.base = base
    self.signature = signature
    self.byteCount = byteCount
    self.blockBytes = blockBytes
    self.windowBytes = windowBytes
    sumMask = ~0 << (64 - sumBits)
    // At least two slots for a block, and one filter word for four blocks; never a shift by 64.
    var slotBits = 4
    while 1 << slotBits < 2 * blockCount { slotBits += 1 }
    let slotCount = 1 << slotBits
    slots = .allocate(capacity: slotCount)
    slotMask = slotCount - 1
    slotShift = UInt64(64 - slotBits)
    let wordCount = slotCount / 8
    filter = .allocate(capacity: wordCount)
    filterMask = UInt64(wordCount - 1)
  }

  deinit {
    slots.deallocate()
    filter.deallocate()
  }

  /// Reads `base` once: a small one at once, a large one when a search first needs its blocks.
  ///
  /// `blockBytes` must be a power of two, at least 32, and give at most 2^20 blocks. `BlockSize.local` gives the best
  /// size. Throws a `DeltaError` for an invalid size, and the source's errors.
  public convenience init(of base: any ByteSource, blockBytes: Int) throws {
    try self.init(of: base, blockBytes: blockBytes, delayedFrom: Self.delayedBytes)
  }

  convenience init(of base: any ByteSource, blockBytes: Int, delayedFrom delayedBytes: Int) throws {
    let byteCount = try base.countedBytes()
    guard blockBytes >= BlockSize.minimum, blockBytes & (blockBytes - 1) == 0,
      (byteCount - 1) / blockBytes < BlockSize.maximumBlocks
    else { throw DeltaError("blocks of \(blockBytes) bytes are not possible for this file") }
    let windowBytes = min(blockBytes, Self.mostWindowBytes)
    let blockCount = byteCount < windowBytes ? 0 : (byteCount - 1) / blockBytes + 1
    self.init(
      base: base, signature: nil, byteCount: byteCount, blockBytes: blockBytes, windowBytes: windowBytes,
      sumBits: 64 - Self.numberBits, blockCount: blockCount)
    if byteCount < delayedBytes { try build() }
  }

  /// Reads the old version, unless that is done.
  func build() throws {
    guard !isBuilt, let base else { return }
    empty()
    try addBlocks(of: base, count: byteCount < windowBytes ? 0 : (byteCount - 1) / blockBytes + 1)
    isBuilt = true
  }

  private func empty() {
    slots.initialize(repeating: Self.empty, count: slotMask + 1)
    filter.initialize(repeating: 0, count: Int(filterMask) + 1)
  }

  private func addBlocks(of base: any ByteSource, count: Int) throws {
    // Blocks that are summed whole are read together; a power of two of them fits.
    let together = max(Self.mostWindowBytes * 4 / blockBytes, 1)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: together * windowBytes, alignment: 16)
    defer { buffer.deallocate() }
    var number = 0
    while number < count {
      // The last block may be short; its window then ends with the version and starts earlier.
      let blocks = max(min(together, count - 1 - number), 1)
      let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(blocks * windowBytes)])
      try base.fill(chunk, at: position(of: number))
      for block in 0..<blocks {
        let window = chunk[(block * windowBytes)..<((block + 1) * windowBytes)]
        insert(sum: WeakSum.sum(of: UnsafeRawBufferPointer(rebasing: window)), number: number + block)
      }
      number += blocks
    }
  }

  /// An index of a version that is available only as a signature.
  public convenience init(of signature: Signature) {
    // A signature describes fewer than 2^46 bytes.
    let byteCount = Int(signature.byteCount)
    let blockCount = byteCount / signature.blockBytes
    self.init(
      base: nil, signature: signature, byteCount: byteCount, blockBytes: signature.blockBytes,
      windowBytes: signature.blockBytes, sumBits: 32, blockCount: blockCount)
    empty()
    isBuilt = true
    for number in 0..<blockCount { insert(sum: UInt64(signature.weakSums[number]) << 32, number: number) }
  }

  /// The start of a block's window in the old version.
  func position(of number: Int) -> Int { min(number * blockBytes, byteCount - windowBytes) }

  private func insert(sum: UInt64, number: Int) {
    let entry = sum & sumMask | UInt64(number)
    guard entry != Self.empty else { return }
    var slot = home(of: sum)
    var same = 0
    for _ in 0..<Self.mostProbes {
      if slots[slot] == Self.empty {
        slots[slot] = entry
        filter[Self.word(for: sum, mask: filterMask)] |=
          (1 &<< Self.firstBit(of: sum)) | (1 &<< Self.secondBit(of: sum))
        isEmpty = false
        return
      }
      if (slots[slot] ^ sum) & sumMask == 0 {
        same += 1
        if same == Self.mostOfOneSum { return }
      }
      slot = (slot &+ 1) & slotMask
    }
  }

  // A sum has 64 bits. Its upper six bits and bits 39...34 choose the two bits in a word. Up to eighteen bits from
  // bit 40 on choose the word. Bits below 32 are unused: a signature does not have them.
  @inline(__always)
  private static func firstBit(of sum: UInt64) -> UInt64 { sum &>> 58 }
  @inline(__always)
  private static func secondBit(of sum: UInt64) -> UInt64 { sum &>> 34 }
  @inline(__always)
  private static func word(for sum: UInt64, mask: UInt64) -> Int { Int(truncatingIfNeeded: sum &>> 40 & mask) }

  /// The numbers of the blocks with this sum, in order; unused lanes are -1.
  func blocks(withSum sum: UInt64) -> SIMD4<Int32> {
    var result = SIMD4<Int32>(repeating: -1)
    var found = 0
    var slot = home(of: sum)
    for _ in 0..<Self.mostProbes where found < Self.mostOfOneSum {
      let entry = slots[slot]
      if entry == Self.empty { break }
      if (entry ^ sum) & sumMask == 0 {
        result[found] = Int32(truncatingIfNeeded: entry & ~(~0 << Self.numberBits))
        found += 1
      }
      slot = (slot &+ 1) & slotMask
    }
    return result
  }

  @inline(__always)
  private func home(of sum: UInt64) -> Int { Int(truncatingIfNeeded: sum &>> slotShift) }

  /// True if a block has this sum; `first` is the sum's first slot. Charges the cost of the probes to `credit`.
  private func isKnown(sum: UInt64, first: UInt64, credit: inout Int) -> Bool {
    var entry = first
    var slot = home(of: sum)
    for _ in 0..<Self.mostProbes {
      if entry == Self.empty { return false }
      if (entry ^ sum) & sumMask == 0 { return true }
      credit &-= 1
      slot = (slot &+ 1) & slotMask
      entry = slots[slot]
    }
    return false
  }

  /// Moves a window until a block has its sum, at most `count` bytes; returns the distance in bytes.
  ///
  /// `bytes` is the start of the window; `count` + `windowBytes` bytes are readable there.
  func scan(_ bytes: UnsafeRawPointer, count: Int, rolling: inout RollingSum, credit: inout Int) -> Int {
    var done = 0
    while done < count {
      let part = min(count &- done, ScanPart.capacity)
      rolling.roll(count: part, from: bytes + done, windowBytes: windowBytes, into: scanned.sums)
      let found = filterPart(count: part)
      for number in 0..<found {
        let sum = scanned.sums[scanned.offsets[number]]
        credit &-= 1
        guard isKnown(sum: sum, first: scanned.slots[number], credit: &credit) else { continue }
        rolling.sum = sum
        return done &+ scanned.offsets[number]
      }
      done &+= part
    }
    return count
  }

  /// Collects the sums in `scanned` that pass the filter; returns their number.
  ///
  /// The loops have no branches. The processor would mispredict one whenever a sum passes, and notice only after a
  /// wait for memory. Without branches it waits for many words at once.
  private func filterPart(count: Int) -> Int {
    let (filter, filterMask) = (filter, filterMask)
    let (sums, offsets) = (scanned.sums, scanned.offsets)
    // One position in 16 passes by its first bit; only then is the second bit checked.
    var passed = 0
    for at in 0..<count {
      let sum = sums[at]
      offsets[passed] = at
      passed &+= Int(truncatingIfNeeded: filter[Self.word(for: sum, mask: filterMask)] &>> Self.firstBit(of: sum) & 1)
    }
    var found = 0
    for number in 0..<passed {
      let sum = sums[offsets[number]]
      offsets[found] = offsets[number]
      found &+= Int(truncatingIfNeeded: filter[Self.word(for: sum, mask: filterMask)] &>> Self.secondBit(of: sum) & 1)
    }
    for number in 0..<found { scanned.slots[number] = slots[home(of: sums[offsets[number]])] }
    return found
  }
}

/// The sums of a part of the new version, with marks for those that pass the filter.
private final class ScanPart {
  /// The number of positions scanned together; after a match, the work on later positions is lost.
  static let capacity = 256

  let sums = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)
  let offsets = UnsafeMutablePointer<Int>.allocate(capacity: capacity)
  /// For each sum that passes, its first possible slot.
  let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)

  deinit {
    sums.deallocate()
    offsets.deallocate()
    slots.deallocate()
  }
}

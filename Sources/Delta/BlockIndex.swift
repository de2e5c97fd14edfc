/// The blocks of an old version, found by their weak sums.
///
/// Memory: at most 18 MiB, for 2^20 blocks; and the signature's 12 MiB if it is made of one.
public final class BlockIndex {
  /// Blocks of one weak sum that are kept, the first ones: in a file of zeros every block has the same.
  static let mostOfOneSum = 4
  /// Entries that are looked at for one sum, so that sums made to meet in one place cost no more.
  private static let mostProbes = 64
  /// Of a block larger than this only the beginning is summed where both versions are here: a match is
  /// verified and extended byte by byte, so it is found all the same, and buffers and reading stay small.
  private static let mostWindowBytes = 64 << 10
  private static let empty = UInt64.max

  /// The old version, if it is here.
  let base: (any ByteSource)?
  /// What is known of the old version, if it is not.
  let signature: Signature?
  /// Bytes of the old version.
  let byteCount: Int
  /// Bytes from one block to the next.
  let blockBytes: Int
  /// Bytes of which the sum is known, from the beginning of each block.
  let windowBytes: Int
  /// True if no block is in the index.
  private(set) var isEmpty = true
  /// False while the old version has not been read for it.
  private(set) var isBuilt = false
  /// Of a smaller version the index costs nothing worth saving.
  private static let delayedBytes = 4 << 20

  // A slot has the sum's upper bits and below them the block's number. A local sum has 44 bits: with 2^20
  // blocks and 32 bits one position in 4,096 would need a look into the old version for nothing.
  private let slots: UnsafeMutablePointer<UInt64>
  private let slotMask: Int
  private let slotShift: UInt64
  private let sumMask: UInt64
  // Two bits for each block in one word out of so many that about 16 bits are there for a block: one position
  // in 50 goes on to the slots, which are not in the processor's cache.
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
    // At least two slots for a block, and one word of the filter for four; never a shift by 64.
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

  /// Reads `base` once: a small one at once, a large one when a search needs to know where its blocks are.
  /// `blockBytes`, best `BlockSize.local` of its size, must be a power of two, at least 32, and give at most 2^20
  /// blocks; throws a `DeltaError` otherwise, and what the source throws.
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

  /// Reads the old version, if it has not been read.
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
    // Blocks that are summed as a whole are read together; a power of two of them fits.
    let together = max(Self.mostWindowBytes * 4 / blockBytes, 1)
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: together * windowBytes, alignment: 16)
    defer { buffer.deallocate() }
    var number = 0
    while number < count {
      // The last block may be a short one, whose window then ends with the version and starts earlier.
      let blocks = max(min(together, count - 1 - number), 1)
      let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<(blocks * windowBytes)])
      try base.fill(chunk, at: position(of: number))
      for block in 0..<blocks {
        let window = chunk[(block * windowBytes)..<((block + 1) * windowBytes)]
        insert(WeakSum.sum(of: UnsafeRawBufferPointer(rebasing: window)), number + block)
      }
      number += blocks
    }
  }

  /// An index of a version that is only known by its signature.
  public convenience init(_ signature: Signature) {
    // A signature has fewer than 2^46 bytes.
    let byteCount = Int(signature.byteCount)
    let blockCount = byteCount / signature.blockBytes
    self.init(
      base: nil, signature: signature, byteCount: byteCount, blockBytes: signature.blockBytes,
      windowBytes: signature.blockBytes, sumBits: 32, blockCount: blockCount)
    empty()
    isBuilt = true
    for number in 0..<blockCount { insert(UInt64(signature.weakSums[number]) << 32, number) }
  }

  /// Where the window of a block starts in the old version.
  func position(of number: Int) -> Int { min(number * blockBytes, byteCount - windowBytes) }

  private func insert(_ sum: UInt64, _ number: Int) {
    let entry = sum & sumMask | UInt64(number)
    guard entry != Self.empty else { return }
    var slot = home(of: sum)
    var same = 0
    for _ in 0..<Self.mostProbes {
      if slots[slot] == Self.empty {
        slots[slot] = entry
        filter[Self.word(sum, filterMask)] |= (1 &<< Self.firstBit(sum)) | (1 &<< Self.secondBit(sum))
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

  // Of a sum's 64 bits the upper six and bits 39...34 are its two bits in a word, and up to eighteen bits from
  // bit 40 on the word. No lower bits than 32: a signature does not have them.
  @inline(__always)
  private static func firstBit(_ sum: UInt64) -> UInt64 { sum &>> 58 }
  @inline(__always)
  private static func secondBit(_ sum: UInt64) -> UInt64 { sum &>> 34 }
  @inline(__always)
  private static func word(_ sum: UInt64, _ mask: UInt64) -> Int { Int(truncatingIfNeeded: sum &>> 40 & mask) }

  /// The numbers of the blocks that have this sum, in order; those that are missing are -1.
  func blocks(_ sum: UInt64) -> SIMD4<Int32> {
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

  /// True if a block has this sum, of which `first` is the first slot. Takes what the look costs from `credit`.
  private func isKnown(_ sum: UInt64, _ first: UInt64, _ credit: inout Int) -> Bool {
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

  /// Moves a window on until a block has its sum, at most `count` bytes; returns by how many bytes.
  ///
  /// `bytes` is where the window starts; `count` + `windowBytes` bytes are readable there.
  func scan(
    _ bytes: UnsafeRawPointer, count: Int, _ rolling: inout RollingSum, _ credit: inout Int
  ) -> Int {
    var done = 0
    while done < count {
      let part = min(count &- done, ScanPart.capacity)
      rolling.roll(part, from: bytes + done, windowBytes: windowBytes, into: scanned.sums)
      let found = filterPart(part)
      for number in 0..<found {
        let sum = scanned.sums[scanned.offsets[number]]
        credit &-= 1
        guard isKnown(sum, scanned.slots[number], &credit) else { continue }
        rolling.sum = sum
        return done &+ scanned.offsets[number]
      }
      done &+= part
    }
    return count
  }

  /// Collects which of the sums in `scanned` pass the filter; returns how many.
  ///
  /// Loops without branches, because one here would be mispredicted each time that a sum passes, with memory
  /// to wait for before that is noticed; like this the processor waits for many words at once.
  private func filterPart(_ count: Int) -> Int {
    let (filter, filterMask) = (filter, filterMask)
    let (sums, offsets) = (scanned.sums, scanned.offsets)
    // One position in 16 passes by its first bit; only of those the second is looked at.
    var passed = 0
    for at in 0..<count {
      let sum = sums[at]
      offsets[passed] = at
      passed &+= Int(truncatingIfNeeded: filter[Self.word(sum, filterMask)] &>> Self.firstBit(sum) & 1)
    }
    var found = 0
    for number in 0..<passed {
      let sum = sums[offsets[number]]
      offsets[found] = offsets[number]
      found &+= Int(truncatingIfNeeded: filter[Self.word(sum, filterMask)] &>> Self.secondBit(sum) & 1)
    }
    for number in 0..<found { scanned.slots[number] = slots[home(of: sums[offsets[number]])] }
    return found
  }
}

/// The sums of a part of the new version, and which of them pass the filter.
private final class ScanPart {
  /// Positions that are looked at together: after a match those behind it were for nothing.
  static let capacity = 256

  let sums = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)
  let offsets = UnsafeMutablePointer<Int>.allocate(capacity: capacity)
  /// For each sum that passes, the first slot where it may be.
  let slots = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity)

  deinit {
    sums.deallocate()
    offsets.deallocate()
    slots.deallocate()
  }
}

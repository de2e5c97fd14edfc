internal import Catalog
internal import Model

/// A weak and a strong sum of each block of a version. The recipient can find the blocks in another version.
///
/// The strong sum is the first eight bytes of a SHA-256 digest (FIPS 180-4). The digest covers the salt, as eight
/// bytes with the least significant first, and the block. The salt prevents crafted collisions of blocks. The
/// receiver of the instructions should still compare the digest of the whole result.
public struct Signature: Sendable, Equatable {
  /// The size of every block but the last, which may be shorter: a power of two from 32 to 2^26.
  public let blockBytes: Int
  /// The size of the described version in bytes.
  public let byteCount: UInt64
  /// The salt of the strong sums.
  public let salt: UInt64
  /// The size of a strong sum in bytes.
  public static let strongBytes = 8

  /// The sums of each block, in order.
  let weakSums: [UInt32]
  let strongSums: [UInt64]

  private static let headerBytes = 24
  private static let blockEntryBytes = 12
  private static let readBytes = 256 << 10

  /// The number of blocks; throws if a signature cannot have these sizes.
  private static func blockCount(of byteCount: UInt64, blockBytes: Int) throws(DeltaError) -> Int {
    guard blockBytes >= BlockSize.minimum, blockBytes <= BlockSize.maximum,
      blockBytes & (blockBytes - 1) == 0
    else { throw DeltaError("a signature has blocks of an impossible size") }
    let count = byteCount == 0 ? 0 : (byteCount - 1) / UInt64(blockBytes) + 1
    guard count <= UInt64(BlockSize.maximumBlocks) else { throw DeltaError("a signature has too many blocks") }
    return Int(count)
  }

  /// Reads `base` once. `BlockSize.remote` gives the best `blockBytes`.
  ///
  /// Throws a `DeltaError` unless `blockBytes` is a power of two from 32 to 2^26 and gives at most 2^20 blocks.
  /// Throws the source's errors too.
  public init(of base: any ByteSource, blockBytes: Int, salt: UInt64) throws {
    let byteCount = base.byteCount
    let count = try Self.blockCount(of: byteCount, blockBytes: blockBytes)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.readBytes, alignment: 16)
    defer { buffer.deallocate() }
    // Fewer than 2^20 blocks of at most 2^26 bytes fit an `Int`.
    var sums = BlockSums(blockBytes: blockBytes, end: Int(byteCount), count: count, salt: salt)
    while sums.position < sums.end {
      if try sums.takeZeros(of: base, buffer: buffer) { continue }
      let count = min(buffer.count, sums.end - sums.position)
      let chunk = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      try base.fill(chunk, at: sums.position)
      sums.take(UnsafeRawBufferPointer(chunk))
    }
    self.blockBytes = blockBytes
    self.byteCount = byteCount
    self.salt = salt
    weakSums = sums.weak
    strongSums = sums.strong
  }

  /// The bytes on the wire; all integers have the least significant byte first.
  ///
  /// The header is the block size (4 bytes), strong sum size (4), version size (8) and salt (8). Each block follows
  /// with its weak sum (4) and its strong sum (8).
  public func encoded() -> [UInt8] {
    let count = Self.headerBytes + weakSums.count * Self.blockEntryBytes
    return [UInt8](unsafeUninitializedCapacity: count) { buffer, initializedCount in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      raw.storeBytes(of: UInt32(blockBytes).littleEndian, toByteOffset: 0, as: UInt32.self)
      raw.storeBytes(of: UInt32(Self.strongBytes).littleEndian, toByteOffset: 4, as: UInt32.self)
      raw.storeBytes(of: byteCount.littleEndian, toByteOffset: 8, as: UInt64.self)
      raw.storeBytes(of: salt.littleEndian, toByteOffset: 16, as: UInt64.self)
      var place = Self.headerBytes
      for (weak, strong) in zip(weakSums, strongSums) {
        raw.storeBytes(of: weak.littleEndian, toByteOffset: place, as: UInt32.self)
        raw.storeBytes(of: strong.littleEndian, toByteOffset: place + 4, as: UInt64.self)
        place += Self.blockEntryBytes
      }
      initializedCount = count
    }
  }

  /// Decodes the result of `encoded()` from an untrusted sender. The signature must describe a version of `byteCount`
  /// bytes. Throws for any bytes that `encoded()` would not have written.
  public init(decoding bytes: [UInt8], expecting byteCount: UInt64) throws(DeltaError) {
    guard bytes.count >= Self.headerBytes else { throw DeltaError("a signature ends too early") }
    blockBytes = Int(bytes.integer(at: 0, as: UInt32.self))
    guard bytes.integer(at: 4) == UInt32(Self.strongBytes)
    else { throw DeltaError("a signature has strong sums of an unknown size") }
    self.byteCount = bytes.integer(at: 8)
    guard self.byteCount == byteCount else { throw DeltaError("a signature is of a file of another size") }
    salt = bytes.integer(at: 16)
    let count = try Self.blockCount(of: byteCount, blockBytes: blockBytes)
    guard bytes.count == Self.headerBytes + count * Self.blockEntryBytes
    else { throw DeltaError("a signature has the wrong number of blocks") }
    var weak: [UInt32] = []
    var strong: [UInt64] = []
    weak.reserveCapacity(count)
    strong.reserveCapacity(count)
    for block in 0..<count {
      let place = Self.headerBytes + block * Self.blockEntryBytes
      weak.append(bytes.integer(at: place))
      strong.append(bytes.integer(at: place + 4))
    }
    weakSums = weak
    strongSums = strong
  }
}

/// Computes the strong sums of blocks; see `Signature`.
final class StrongSum {
  private let hasher = SHA256()
  var salt: UInt64

  init(salt: UInt64) { self.salt = salt }

  func begin() {
    hasher.reset()
    withUnsafeBytes(of: salt.littleEndian) { hasher.update($0) }
  }

  func add(_ bytes: UnsafeRawBufferPointer) { hasher.update(bytes) }

  func finish() -> UInt64 { UInt64(littleEndian: hasher.finish().prefix) }

  func sum(of bytes: UnsafeRawBufferPointer) -> UInt64 {
    begin()
    add(bytes)
    return finish()
  }
}

/// The sums of the blocks of a version, as it is read from its beginning.
private struct BlockSums {
  private(set) var weak: [UInt32] = []
  private(set) var strong: [UInt64] = []
  private(set) var position = 0
  /// The size of the version.
  let end: Int
  private let blockBytes: Int
  private let hasher: StrongSum
  private var inner: UInt64 = 0
  private var blockEnd = 0
  private var ofZeros: (byteCount: Int, weak: UInt32, strong: UInt64)?

  init(blockBytes: Int, end: Int, count: Int, salt: UInt64) {
    (self.blockBytes, self.end) = (blockBytes, end)
    hasher = StrongSum(salt: salt)
    weak.reserveCapacity(count)
    strong.reserveCapacity(count)
    beginBlock()
  }

  private mutating func beginBlock() {
    inner = 0
    blockEnd = min(position + blockBytes, end)
    hasher.begin()
  }

  mutating func take(_ bytes: UnsafeRawBufferPointer) {
    var rest = bytes
    while rest.count > 0 {
      let part = UnsafeRawBufferPointer(rebasing: rest[..<min(rest.count, blockEnd - position)])
      inner = WeakSum.add(part, to: inner)
      hasher.add(part)
      position += part.count
      rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
      if position == blockEnd { endBlock(weak: weakSum, strong: hasher.finish()) }
    }
  }

  private var weakSum: UInt32 { UInt32(truncatingIfNeeded: (inner &* WeakSum.multiplier) >> 32) }

  private mutating func endBlock(weak weakSum: UInt32, strong strongSum: UInt64) {
    weak.append(weakSum)
    strong.append(strongSum)
    beginBlock()
  }

  /// Takes the next block if it is whole in a hole. All such blocks have the same sums.
  mutating func takeZeros(of base: any ByteSource, buffer: UnsafeMutableRawBufferPointer) throws -> Bool {
    let byteCount = blockEnd - position
    guard position == (blockEnd - 1) & ~(blockBytes - 1),
      try base.zeroBytes(at: UInt64(position)) >= UInt64(byteCount)
    else { return false }
    if ofZeros?.byteCount != byteCount { sumZeros(byteCount: byteCount, buffer: buffer) }
    position = blockEnd
    endBlock(weak: ofZeros!.weak, strong: ofZeros!.strong)
    return true
  }

  private mutating func sumZeros(byteCount: Int, buffer: UnsafeMutableRawBufferPointer) {
    buffer.initializeMemory(as: UInt8.self, repeating: 0)
    var left = byteCount
    hasher.begin()
    while left > 0 {
      let part = UnsafeRawBufferPointer(rebasing: buffer[..<min(buffer.count, left)])
      inner = WeakSum.add(part, to: inner)
      hasher.add(part)
      left -= part.count
    }
    ofZeros = (byteCount, weakSum, hasher.finish())
  }
}

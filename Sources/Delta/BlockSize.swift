/// The size of the blocks into which a version is divided.
public enum BlockSize {
  /// The most blocks of a version; it bounds the size of an index.
  static let maximumBlocks = 1 << 20
  static let minimum = 32
  /// The largest block of a signature: 64 MiB, for a version of 64 TiB.
  static let maximum = 1 << 26

  /// The block size if both versions are local: a power of two near sqrt(`byteCount`) / 16, at least 32. A block then
  /// costs only memory, so blocks are small.
  public static func local(for byteCount: UInt64) -> Int { size(for: byteCount, fraction: 16, atLeast: minimum) }

  /// The block size if a signature is sent: a power of two near sqrt(`byteCount`) / 4, at least 256.
  public static func remote(for byteCount: UInt64) -> Int { size(for: byteCount, fraction: 4, atLeast: 256) }

  /// The power of two nearest to sqrt(byteCount) / fraction, by ratio.
  private static func size(for byteCount: UInt64, fraction: UInt64, atLeast smallest: Int) -> Int {
    var block = UInt64(smallest)
    // The next power of two is nearer if byteCount > (block * sqrt(2) * fraction)^2.
    while true {
      let (bound, overflow) = (block &* fraction).multipliedReportingOverflow(by: block &* fraction &* 2)
      guard !overflow, byteCount > bound else { break }
      block &*= 2
    }
    while (byteCount &- 1) / block >= UInt64(maximumBlocks), byteCount > 0 { block &*= 2 }
    return Int(block)
  }
}

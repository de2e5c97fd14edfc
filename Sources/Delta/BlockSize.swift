/// How large the blocks are that a version is divided into.
public enum BlockSize {
  /// More blocks than this are never used, so that an index has a largest size.
  static let maximumBlocks = 1 << 20
  static let minimum = 32
  /// Of a block in a signature: 64 MiB, which a version of 64 TiB needs.
  static let maximum = 1 << 26

  /// Bytes of a block where both versions are here: a power of two of about sqrt(`byteCount`) / 16, and at
  /// least 32. A block costs no more than memory then, so blocks are small.
  public static func local(_ byteCount: UInt64) -> Int {
    size(byteCount, fraction: 16, atLeast: minimum)
  }

  /// Bytes of a block where a signature has to travel: a power of two of about sqrt(`byteCount`) / 4, and at
  /// least 256.
  public static func remote(_ byteCount: UInt64) -> Int {
    size(byteCount, fraction: 4, atLeast: 256)
  }

  /// The power of two nearest to sqrt(byteCount) / fraction, by the ratio.
  private static func size(_ byteCount: UInt64, fraction: UInt64, atLeast smallest: Int) -> Int {
    var block = UInt64(smallest)
    // The next power of two is nearer where byteCount > (block * sqrt(2) * fraction)^2.
    while true {
      let (bound, overflow) = (block &* fraction).multipliedReportingOverflow(by: block &* fraction &* 2)
      guard !overflow, byteCount > bound else { break }
      block &*= 2
    }
    while (byteCount &- 1) / block >= UInt64(maximumBlocks), byteCount > 0 { block &*= 2 }
    return Int(block)
  }
}

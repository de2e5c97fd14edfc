/// Cuts content into chunks as restic does: where the Rabin fingerprint of the last 64 bytes ends with 20 zero bits.
///
/// A cut depends on these 64 bytes alone. So a change moves only the cuts near it.
struct Chunker: Sendable {
  static let minimumBytes = 512 << 10
  static let maximumBytes = 8 << 20
  static let windowBytes = 64
  private static let mask: UInt64 = 1 << 20 - 1

  /// The fingerprint's change when a byte leaves the window.
  private let leaving: [UInt64]
  /// The reduction of a fingerprint by its highest byte.
  private let reduction: [UInt64]

  init(_ polynomial: Polynomial) {
    leaving = (0..<256).map { byte in
      var hash = Polynomial(bits: UInt64(byte)).remainder(by: polynomial)
      for _ in 0..<(Self.windowBytes - 1) { hash = Polynomial(bits: hash.bits << 8).remainder(by: polynomial) }
      return hash.bits
    }
    reduction = (0..<256).map { byte in
      let high = UInt64(byte) << UInt64(Polynomial.chunkerDegree)
      return Polynomial(bits: high).remainder(by: polynomial).bits | high
    }
  }

  /// The size of the first chunk of `bytes`, which must be the rest of the content or have `maximumBytes`.
  func firstChunk(of bytes: UnsafeRawBufferPointer) -> Int {
    guard bytes.count > Self.minimumBytes else { return bytes.count }
    let end = min(bytes.count, Self.maximumBytes)
    let shift = UInt64(Polynomial.chunkerDegree - 8)
    return leaving.withUnsafeBufferPointer { leaving in
      reduction.withUnsafeBufferPointer { reduction in
        var digest: UInt64 = 0
        // The first possible cut is after `minimumBytes`; its window begins 64 bytes before.
        for index in (Self.minimumBytes - Self.windowBytes)..<Self.minimumBytes {
          let high = Int(truncatingIfNeeded: digest >> shift) & 255
          digest = (digest << 8 | UInt64(bytes[index])) ^ reduction[high]
        }
        if digest & Self.mask == 0 { return Self.minimumBytes }
        var index = Self.minimumBytes
        while index < end {
          digest ^= leaving[Int(bytes[index &- Self.windowBytes])]
          let high = Int(truncatingIfNeeded: digest >> shift) & 255
          digest = (digest << 8 | UInt64(bytes[index])) ^ reduction[high]
          index &+= 1
          if digest & Self.mask == 0 { return index }
        }
        return end
      }
    }
  }
}

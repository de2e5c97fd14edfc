/// The weak sum of a run of bytes: a polynomial of the bytes at one fixed point, modulo 2^64.
///
/// The source is R. M. Karp, M. O. Rabin, "Efficient randomized pattern-matching algorithms", IBM Journal of Research
/// and Development 31(2), 1987. The modulus 2^64 needs no division. The bytes b[0] ... b[n-1] are numbers from 0 to
/// 255, and M = 0x9E3779B97F4A7C15:
///
///     S = b[0] * M^n + b[1] * M^(n-1) + ... + b[n-1] * M    (modulo 2^64)
///
/// The weak sum is the upper 32 bits of S, that is S / 2^32 rounded down. The last byte is multiplied too, or it
/// would not reach the upper half. The sum of the window that starts one byte later is
///
///     S' = (S + c - b[0] * M^n) * M    (modulo 2^64)
///
/// with c as the byte that follows the window.
///
/// Equal sums prove nothing: it is easy to make different bytes with equal sums.
enum WeakSum {
  /// 2^64 divided by the golden ratio, as an odd number. It is 5 modulo 8, so its powers have the longest possible
  /// period.
  static let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15

  static func power(_ exponent: Int) -> UInt64 {
    var result: UInt64 = 1
    var square = multiplier
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result &*= square }
      square &*= square
      rest >>= 1
    }
    return result
  }

  /// The multiplier's inverse modulo 2^64.
  static let inverse: UInt64 = {
    // Newton's iteration: each step doubles the number of correct bits, and an odd number starts with three.
    var inverse = multiplier
    for _ in 0..<5 { inverse &*= 2 &- multiplier &* inverse }
    return inverse
  }()

  private static let powers = (power(2), power(3), power(4), power(5), power(6), power(7), power(8))

  /// Adds bytes to S / M, which is 0 for no bytes.
  static func add(_ bytes: UnsafeRawBufferPointer, to start: UInt64) -> UInt64 {
    guard let base = bytes.baseAddress else { return start }
    let m1 = multiplier
    let (m2, m3, m4, m5, m6, m7, m8) = powers
    var sum = start
    var at = 0
    // Eight independent products, and one that depends on the eight bytes before.
    while at &+ 8 <= bytes.count {
      let b = base + at
      let left =
        byte(at: b, offset: 0) &* m7 &+ byte(at: b, offset: 1) &* m6 &+ byte(at: b, offset: 2) &* m5 &+ byte(
          at: b, offset: 3) &* m4
      let right =
        byte(at: b, offset: 4) &* m3 &+ byte(at: b, offset: 5) &* m2 &+ byte(at: b, offset: 6) &* m1
        &+ byte(at: b, offset: 7)
      sum = sum &* m8 &+ (left &+ right)
      at &+= 8
    }
    while at < bytes.count {
      sum = sum &* m1 &+ byte(at: base, offset: at)
      at &+= 1
    }
    return sum
  }

  /// S of the bytes.
  static func sum(of bytes: UnsafeRawBufferPointer) -> UInt64 { add(bytes, to: 0) &* multiplier }

  @inline(__always)
  private static func byte(at base: UnsafeRawPointer, offset: Int) -> UInt64 {
    UInt64(base.load(fromByteOffset: offset, as: UInt8.self))
  }
}

/// The weak sum of a window that moves by one byte at a time.
struct RollingSum {
  /// S / M.
  var inner: UInt64
  /// M^n.
  let leaving: UInt64

  init(of bytes: UnsafeRawBufferPointer) {
    inner = WeakSum.add(bytes, to: 0)
    leaving = WeakSum.power(bytes.count)
  }

  /// S, the weak sum's 64 bits.
  var sum: UInt64 {
    get { inner &* WeakSum.multiplier }
    set { inner = newValue &* WeakSum.inverse }
  }

  /// Moves the window by `count` bytes. `bytes` is its start; the `count` bytes after the window must be readable.
  ///
  /// `sums` gets the sums of the windows that it leaves behind.
  mutating func roll(
    count: Int, from bytes: UnsafeRawPointer, windowBytes: Int, into sums: UnsafeMutablePointer<UInt64>
  ) {
    let square = WeakSum.multiplier &* WeakSum.multiplier
    let leaving = leaving
    var inner = inner
    var at = 0
    // Two bytes at once, so that the next two wait for one product and not for two.
    while at &+ 2 <= count {
      let first = change(bytes + at, windowBytes: windowBytes, leaving: leaving)
      let second = change(bytes + (at &+ 1), windowBytes: windowBytes, leaving: leaving)
      let sum = inner &* WeakSum.multiplier
      sums[at] = sum
      sums[at &+ 1] = (sum &+ first) &* WeakSum.multiplier
      inner = inner &* square &+ (first &* WeakSum.multiplier &+ second)
      at &+= 2
    }
    if at < count {
      sums[at] = inner &* WeakSum.multiplier
      inner = sums[at] &+ change(bytes + at, windowBytes: windowBytes, leaving: leaving)
    }
    self.inner = inner
  }

  @inline(__always)
  private func change(_ bytes: UnsafeRawPointer, windowBytes: Int, leaving: UInt64) -> UInt64 {
    UInt64(bytes.load(fromByteOffset: windowBytes, as: UInt8.self))
      &- UInt64(bytes.load(as: UInt8.self)) &* leaving
  }

  /// Moves the window by `count` bytes without storing the sums on the way.
  mutating func move(count: Int, from bytes: UnsafeRawPointer, windowBytes: Int) {
    for at in 0..<max(count, 0) { inner = sum &+ change(bytes + at, windowBytes: windowBytes, leaving: leaving) }
  }
}

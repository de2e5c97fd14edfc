internal import CCodec

/// A polynomial over the field of two elements; bit `i` is the coefficient of `x^i`.
struct Polynomial: Equatable, Sendable {
  var bits: UInt64

  /// The largest prime for which a digest, shifted by a byte, fits in 64 bits.
  static let chunkerDegree = 53

  /// -1 for zero.
  var degree: Int { 63 - bits.leadingZeroBitCount }

  /// The remainder of a division by `divisor`, which must not be zero.
  func remainder(by divisor: Polynomial) -> Polynomial {
    var rest = bits
    let degree = divisor.degree
    while rest != 0 {
      let shift = 63 - rest.leadingZeroBitCount - degree
      if shift < 0 { break }
      rest ^= divisor.bits << UInt64(shift)
    }
    return Polynomial(bits: rest)
  }

  /// The square modulo `divisor`, of a degree below that of `divisor`, which is at most 62.
  func squared(modulo divisor: Polynomial) -> Polynomial {
    var result: UInt64 = 0
    var (factor, rest) = (bits, bits)
    while rest != 0 {
      if rest & 1 == 1 { result ^= factor }
      rest >>= 1
      factor = Polynomial(bits: factor << 1).remainder(by: divisor).bits
    }
    return Polynomial(bits: result)
  }

  private func greatestCommonDivisor(with other: Polynomial) -> Polynomial {
    var (a, b) = (self, other)
    while b.bits != 0 { (a, b) = (b, a.remainder(by: b)) }
    return a
  }

  /// The test of Ben-Or: no factor of degree `i` divides `x^(2^i) - x`, for each `i` up to half the degree.
  var isIrreducible: Bool {
    guard degree >= 1, degree <= 62 else { return false }
    var power = Polynomial(bits: 2).remainder(by: self)
    for _ in 0..<(degree / 2) {
      power = power.squared(modulo: self)
      let difference = Polynomial(bits: power.bits ^ 2).remainder(by: self)
      guard greatestCommonDivisor(with: difference).bits == 1 else { return false }
    }
    return true
  }

  /// A random irreducible polynomial for a new repository. One in 53 is irreducible.
  static func random() throws(ResticError) -> Polynomial {
    for _ in 0..<100_000 {
      var bytes = [UInt8](repeating: 0, count: 8)
      guard tr_random_key(&bytes, 8) == 1 else { throw ResticError("libcrypto has no random numbers") }
      let number = bytes.reduce(0) { $0 << 8 | UInt64($1) }
      let candidate = Polynomial(bits: number & (1 << 54 - 1) | 1 << 53 | 1)
      if candidate.isIrreducible { return candidate }
    }
    throw ResticError("no irreducible polynomial was found")
  }
}

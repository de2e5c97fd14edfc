/// A SHA-256 digest (FIPS 180-4).
@frozen
public struct Digest: Hashable, Sendable {
  /// The 32 bytes in memory order. Four words need no allocation, and equality is four comparisons.
  public var words: (UInt64, UInt64, UInt64, UInt64)

  public static var byteCount: Int { 32 }

  @inlinable
  public init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// Takes exactly 32 bytes; `nil` for any other number.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    words = bytes.withUnsafeBytes { $0.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self) }
  }

  /// Parses the result of `description`.
  public init?(hexadecimal text: some Collection<UInt8>) {
    func value(_ digit: UInt8) -> UInt8? {
      switch digit {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
      default: nil
      }
    }
    let digits = text.compactMap(value)
    guard text.count == 64, digits.count == 64 else { return nil }
    self.init(stride(from: 0, to: 64, by: 2).map { digits[$0] << 4 | digits[$0 + 1] })
  }

  /// The first eight bytes; they suffice if a collision costs only extra work.
  @inlinable
  public var prefix: UInt64 { words.0 }

  @inlinable
  public static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }

  @inlinable
  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

  public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }
}

extension Digest: CustomStringConvertible {
  /// 64 lower-case hexadecimal digits, as `sha256sum(1)` prints them.
  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}

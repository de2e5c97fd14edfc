internal import CCodec

/// A SHA-256 digest (FIPS 180-4).
public struct Digest: Hashable, Sendable {
  // Four words instead of an array need no allocation, and equality is four comparisons.
  var words: (UInt64, UInt64, UInt64, UInt64)

  static var byteCount: Int { 32 }

  init(words: (UInt64, UInt64, UInt64, UInt64)) { self.words = words }

  /// Takes exactly 32 bytes; `nil` for any other number.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == 32 else { return nil }
    words = bytes.withUnsafeBytes {
      $0.loadUnaligned(as: (UInt64, UInt64, UInt64, UInt64).self)
    }
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
  public var prefix: UInt64 { words.0 }

  public static func == (a: Digest, b: Digest) -> Bool { a.words == b.words }

  public func hash(into hasher: inout Hasher) { hasher.combine(words.0) }

  public var bytes: [UInt8] { withUnsafeBytes(of: words) { Array($0) } }

  /// The digest of no bytes at all, as an empty file has it.
  public static let ofNothing: Digest = SHA256().finish()
}

extension Digest: CustomStringConvertible {
  /// 64 lower-case hexadecimal digits, as `sha256sum(1)` prints them.
  public var description: String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
      decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
  }
}

/// A SHA-256 computation, reusable; one thread at a time.
public final class SHA256 {
  private let hasher: OpaquePointer

  public init() {
    guard let hasher = tr_hasher_new() else { fatalError("libcrypto offers no SHA-256") }
    self.hasher = hasher
  }

  deinit { tr_hasher_free(hasher) }

  /// Forgets all added bytes.
  public func reset() { check(tr_hasher_reset(hasher)) }

  public func update(_ bytes: UnsafeRawBufferPointer) {
    if bytes.count > 0 { check(tr_hasher_update(hasher, bytes.baseAddress, bytes.count)) }
  }

  public func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

  /// The digest of all bytes added since the last `finish` or `reset`; starts over.
  public func finish() -> Digest {
    var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    withUnsafeMutableBytes(of: &words) {
      check(tr_hasher_final(hasher, $0.baseAddress!.assumingMemoryBound(to: UInt8.self)))
    }
    reset()
    return Digest(words: words)
  }

  /// The digest of one contiguous run of bytes.
  func digest(of bytes: UnsafeRawBufferPointer) -> Digest {
    reset()
    update(bytes)
    return finish()
  }

  /// Eight bytes of the digest of two numbers, so that different pairs get different results.
  public func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
    withUnsafeBytes(of: (a.littleEndian, b.littleEndian)) {
      UInt64(littleEndian: digest(of: $0).words.0)
    }
  }

  // libcrypto fails only without memory or with a broken provider; an invented digest would be worse.
  private func check(_ result: Int32) {
    guard result == 1 else { fatalError("libcrypto failed to compute SHA-256") }
  }
}

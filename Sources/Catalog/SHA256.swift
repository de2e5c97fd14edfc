internal import CCodec
public import Model

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

  public func digest(of bytes: [UInt8]) -> Digest { bytes.withUnsafeBytes { digest(of: $0) } }

  /// The digest of one contiguous run of bytes.
  public func digest(of bytes: UnsafeRawBufferPointer) -> Digest {
    reset()
    update(bytes)
    return finish()
  }

  /// Eight bytes of the digest of two numbers, so that different pairs get different results.
  public func combine(_ a: UInt64, _ b: UInt64) -> UInt64 {
    withUnsafeBytes(of: (a.littleEndian, b.littleEndian)) { UInt64(littleEndian: digest(of: $0).words.0) }
  }

  // libcrypto fails only without memory or with a broken provider; an invented digest would be worse.
  private func check(_ result: Int32) {
    guard result == 1 else { fatalError("libcrypto failed to compute SHA-256") }
  }
}

extension Digest {
  /// The digest of no bytes at all, as an empty file has it.
  public static let ofNothing = SHA256().finish()
}

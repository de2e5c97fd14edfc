/// The digest of a file's content.
///
/// A content without a whole aligned MiB of zeros has its SHA-256. Any other is sparse: its digest leaves those MiBs
/// out, so that it costs what the content has and not what it spans; `man/treering-catalog.5` has the byte form.
/// Catalogs of version 1 have the SHA-256 of such a content too, so digests are equal only where the forms are.
public struct ContentDigest: Hashable, Sendable {
  public let digest: Digest
  /// True where MiBs of zeros are left out.
  public let isSparse: Bool

  public init(_ digest: Digest, isSparse: Bool = false) {
    self.digest = digest
    self.isSparse = isSparse
  }

  /// The digest of an empty file.
  public static let ofNothing = ContentDigest(.ofNothing)

  /// The first eight bytes; see `Digest.prefix`.
  public var prefix: UInt64 { digest.prefix }

  /// False where two contents of one size differ. Digests of two forms say nothing of each other; then equal times of
  /// modification stand for equal contents.
  public func isConsistent(with other: ContentDigest, sameTime: Bool) -> Bool {
    isSparse == other.isSparse ? digest == other.digest : sameTime
  }

  private static let sparseSuffix = UInt8(ascii: "s")

  /// 64 hexadecimal digits; of a sparse content with an `s` after them.
  public var fileName: [UInt8] { Array(digest.description.utf8) + (isSparse ? [Self.sparseSuffix] : []) }

  /// Takes what `fileName` gives.
  public init?(fileName: some Collection<UInt8>) {
    isSparse = fileName.count == 65 && Array(fileName).last == Self.sparseSuffix
    guard let digest = Digest(hexadecimal: Array(fileName.prefix(isSparse ? 64 : fileName.count))) else { return nil }
    self.digest = digest
  }
}

/// Computes the digest of a content that comes in order; reusable, one thread at a time.
public final class ContentHasher {
  /// Bytes of an aligned part that is left out where all of them are zero.
  public static let partBytes = 1 << 20
  private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

  /// Of what is not left out.
  private let content = SHA256()
  /// Of the runs of parts that are left out.
  private let runs = SHA256()
  private var run: (first: UInt64, count: UInt64)?
  private var elidesZeros = true
  private var isSparse = false
  private var position: UInt64 = 0
  /// Zeros that the present part begins with, as long as it has nothing else.
  private var heldZeros = 0

  public init() {}

  /// Forgets what was added. Without `elidingZeros` any content has its SHA-256.
  public func reset(elidingZeros: Bool = true) {
    content.reset()
    runs.reset()
    run = nil
    elidesZeros = elidingZeros
    isSparse = false
    position = 0
    heldZeros = 0
  }

  private var positionInPart: Int { Int(position & UInt64(Self.partBytes - 1)) }

  public func update(_ bytes: UnsafeRawBufferPointer) {
    guard elidesZeros else { return content.update(bytes) }
    var rest = bytes
    while !rest.isEmpty {
      let part = UnsafeRawBufferPointer(rebasing: rest[..<min(rest.count, Self.partBytes - positionInPart)])
      rest = UnsafeRawBufferPointer(rebasing: rest[part.count...])
      if heldZeros < positionInPart {
        content.update(part)
      } else {
        let zeroCount = Self.leadingZeros(part)
        if zeroCount == part.count {
          heldZeros += zeroCount
        } else {
          addZeros(heldZeros)
          heldZeros = 0
          content.update(part)
        }
      }
      advance(part.count)
    }
  }

  /// Adds zeros; where they are elided, in a time that does not grow with their number.
  public func updateZeros(_ byteCount: UInt64) {
    guard elidesZeros else { return addZeros(byteCount) }
    var left = byteCount
    if positionInPart > 0 { left -= holdZeros(left) }
    let whole = left / UInt64(Self.partBytes)
    if whole > 0 {
      leaveOut(whole)
      position += whole * UInt64(Self.partBytes)
    }
    holdZeros(left % UInt64(Self.partBytes))
  }

  /// Adds zeros up to the end of the present part, and returns their number.
  @discardableResult
  private func holdZeros(_ byteCount: UInt64) -> UInt64 {
    let count = Int(min(byteCount, UInt64(Self.partBytes - positionInPart)))
    if heldZeros == positionInPart { heldZeros += count } else { addZeros(count) }
    advance(count)
    return UInt64(count)
  }

  private func advance(_ byteCount: Int) {
    if heldZeros == Self.partBytes { leaveOut(1) }
    position += UInt64(byteCount)
    if positionInPart == 0 { heldZeros = 0 }
  }

  /// Leaves out parts, of which the first is the present one.
  private func leaveOut(_ count: UInt64) {
    isSparse = true
    let first = position / UInt64(Self.partBytes)
    if let last = run, last.first + last.count == first {
      run = (last.first, last.count + count)
    } else {
      closeRun()
      run = (first, count)
    }
  }

  private func closeRun() {
    guard let run else { return }
    withUnsafeBytes(of: (run.first.littleEndian, run.count.littleEndian)) { runs.update($0) }
    self.run = nil
  }

  private func addZeros(_ byteCount: some BinaryInteger) {
    var left = UInt64(byteCount)
    Self.zeros.withUnsafeBytes { zeros in
      while left > 0 {
        let count = min(left, UInt64(zeros.count))
        content.update(UnsafeRawBufferPointer(rebasing: zeros[..<Int(count)]))
        left -= count
      }
    }
  }

  /// The digest of everything added since the last `reset` or `finish`; starts over.
  public func finish() -> ContentDigest {
    addZeros(heldZeros)
    if isSparse {
      closeRun()
      content.update(runs.finish().bytes)
      withUnsafeBytes(of: position.littleEndian) { content.update($0) }
    }
    let digest = ContentDigest(content.finish(), isSparse: isSparse)
    reset(elidingZeros: elidesZeros)
    return digest
  }

  /// The number of zeros that the bytes begin with.
  private static func leadingZeros(_ bytes: UnsafeRawBufferPointer) -> Int {
    var at = 0
    while at + 8 <= bytes.count, bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) == 0 { at += 8 }
    while at < bytes.count, bytes[at] == 0 { at += 1 }
    return at
  }
}

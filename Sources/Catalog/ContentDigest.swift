public import Model

/// The digest of a file's content.
///
/// A content without a whole aligned MiB of zeros has its SHA-256. Any other content is sparse: its digest leaves
/// those MiBs out. Its cost therefore depends on the data and not on the length; `man/treering-catalog.5` has the
/// byte form. Catalogs of version 1 have the SHA-256 of sparse contents too. Two digests are comparable only if their
/// forms are equal.
public struct ContentDigest: Hashable, Sendable {
  public let digest: Digest
  public let form: Form

  public enum Form: UInt8, Sendable {
    /// The SHA-256 of the content.
    case plain
    /// MiBs of zeros are left out.
    case sparse
    /// The SHA-256 of the IDs of the content's chunks in a repository of restic's format.
    ///
    /// No catalog in a file has it. The content cannot be compared with it, but each chunk with its ID.
    case chunks
  }

  public var isSparse: Bool { form == .sparse }

  public init(_ digest: Digest, isSparse: Bool = false) { self.init(digest, form: isSparse ? .sparse : .plain) }

  public init(_ digest: Digest, form: Form) { (self.digest, self.form) = (digest, form) }

  /// The digest of an empty file.
  public static let ofNothing = ContentDigest(.ofNothing)

  /// The first eight bytes; see `Digest.prefix`.
  public var prefix: UInt64 { digest.prefix }

  /// False if two contents of the same size differ. Digests of different forms cannot be compared; equal modification
  /// times then stand for equal contents.
  public func isConsistent(with other: ContentDigest, sameTime: Bool) -> Bool {
    form == other.form ? digest == other.digest : sameTime
  }

  private static let sparseSuffix = UInt8(ascii: "s")

  /// 64 hexadecimal digits, followed by an `s` if the content is sparse.
  public var fileName: [UInt8] { Array(digest.description.utf8) + (isSparse ? [Self.sparseSuffix] : []) }

  /// Parses the result of `fileName`.
  public init?(fileName: some Collection<UInt8>) {
    let isSparse = fileName.count == 65 && Array(fileName).last == Self.sparseSuffix
    guard let digest = Digest(hexadecimal: Array(fileName.prefix(isSparse ? 64 : fileName.count))) else { return nil }
    self.init(digest, isSparse: isSparse)
  }
}

/// Computes the digest of a content from its bytes in order; reusable, one thread at a time.
public final class ContentHasher {
  /// The size of an aligned part; a part of zeros alone is left out.
  public static let partBytes = 1 << 20
  private static let zeros = [UInt8](repeating: 0, count: 64 << 10)

  /// Hashes the bytes that are not left out.
  private let content = SHA256()
  /// Hashes the runs of parts that are left out.
  private let runs = SHA256()
  private var run: (first: UInt64, count: UInt64)?
  private var elidesZeros = true
  private var isSparse = false
  private var position: UInt64 = 0
  /// The number of zeros at the start of the present part, while it has no other bytes.
  private var heldZeros = 0

  public init() {}

  /// Forgets all added bytes. Without `elidingZeros`, any content has its SHA-256.
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
      advance(by: part.count)
    }
  }

  /// Adds zeros. If they are elided, the time does not grow with their number.
  public func updateZeros(byteCount: UInt64) {
    guard elidesZeros else { return addZeros(byteCount) }
    var left = byteCount
    if positionInPart > 0 { left -= holdZeros(byteCount: left) }
    let whole = left / UInt64(Self.partBytes)
    if whole > 0 {
      leaveOut(count: whole)
      position += whole * UInt64(Self.partBytes)
    }
    holdZeros(byteCount: left % UInt64(Self.partBytes))
  }

  /// Adds zeros up to the end of the present part and returns their number.
  @discardableResult
  private func holdZeros(byteCount: UInt64) -> UInt64 {
    let count = Int(min(byteCount, UInt64(Self.partBytes - positionInPart)))
    if heldZeros == positionInPart { heldZeros += count } else { addZeros(count) }
    advance(by: count)
    return UInt64(count)
  }

  private func advance(by byteCount: Int) {
    if heldZeros == Self.partBytes { leaveOut(count: 1) }
    position += UInt64(byteCount)
    if positionInPart == 0 { heldZeros = 0 }
  }

  /// Leaves out `count` parts, beginning with the present one.
  private func leaveOut(count: UInt64) {
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

  /// The digest of all bytes added since the last `reset` or `finish`; starts over.
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

  /// The number of zeros at the start of the bytes.
  private static func leadingZeros(_ bytes: UnsafeRawBufferPointer) -> Int {
    var at = 0
    while at + 8 <= bytes.count, bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) == 0 { at += 8 }
    while at < bytes.count, bytes[at] == 0 { at += 1 }
    return at
  }
}

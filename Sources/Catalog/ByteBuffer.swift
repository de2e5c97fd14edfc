internal import Model

/// A growing buffer to which little-endian integers are appended.
///
/// Owns one allocation; `append` checks the capacity once per call.
struct ByteBuffer: ~Copyable {
  private var base: UnsafeMutableRawPointer
  private(set) var count = 0
  private(set) var capacity: Int

  init(capacity: Int = 256) {
    self.capacity = max(capacity, 16)
    base = .allocate(byteCount: self.capacity, alignment: 16)
  }

  deinit { base.deallocate() }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

  mutating func removeAll() { count = 0 }

  private mutating func grow(to needed: Int) {
    let larger = max(needed, capacity * 2)
    let replacement = UnsafeMutableRawPointer.allocate(byteCount: larger, alignment: 16)
    replacement.copyMemory(from: base, byteCount: count)
    base.deallocate()
    base = replacement
    capacity = larger
  }

  /// Makes room for `more` bytes and counts them at once; the caller must write them.
  @inline(__always)
  private mutating func extend(by more: Int) -> UnsafeMutableRawPointer {
    if count &+ more > capacity { grow(to: count + more) }
    defer { count &+= more }
    return base + count
  }

  @inline(__always)
  mutating func append<T: FixedWidthInteger & BitwiseCopyable>(_ value: T) {
    extend(by: MemoryLayout<T>.size).storeBytes(of: value.littleEndian, as: T.self)
  }

  mutating func append(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress, bytes.count > 0 else { return }
    extend(by: bytes.count).copyMemory(from: start, byteCount: bytes.count)
  }

  mutating func append(_ span: Span<UInt8>) { span.withUnsafeBytes { append($0) } }

  @inline(__always)
  mutating func append(_ time: Timestamp) {
    append(time.seconds)
    append(time.nanoseconds)
  }

  mutating func append(_ digest: Digest) {
    extend(by: Digest.byteCount).storeBytes(of: digest.words, as: (UInt64, UInt64, UInt64, UInt64).self)
  }

  mutating func overwrite(with value: UInt32, at offset: Int) {
    precondition(offset + 4 <= count)
    (base + offset).storeBytes(of: value.littleEndian, as: UInt32.self)
  }
}

/// Reads little-endian integers from untrusted bytes.
struct ByteCursor {
  let bytes: UnsafeRawBufferPointer
  var position: Int
  let end: Int

  init(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  var left: Int { end &- position }

  /// Moves past `count` bytes and returns their range.
  @inline(__always)
  mutating func take(_ count: Int) throws(CatalogError) -> Range<Int> {
    guard count >= 0, count <= left else { throw CatalogError("a record ends too early") }
    defer { position &+= count }
    return position..<position &+ count
  }

  @inline(__always)
  mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type = T.self) throws(CatalogError) -> T {
    let range = try take(MemoryLayout<T>.size)
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: range.lowerBound, as: T.self))
  }

  mutating func digest() throws(CatalogError) -> Digest {
    let start = try take(Digest.byteCount).lowerBound
    return Digest(words: bytes.loadUnaligned(fromByteOffset: start, as: (UInt64, UInt64, UInt64, UInt64).self))
  }
}

extension [UInt8] {
  /// The little-endian integer at an offset, which must be inside.
  public func integer<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as type: T.Type = T.self) -> T {
    T(littleEndian: withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: T.self) })
  }

  /// `withUnsafeBytes` with a typed error.
  @inline(__always)
  func reading<R>(body: (UnsafeRawBufferPointer) throws(CatalogError) -> R) throws(CatalogError) -> R {
    try withUnsafeBufferPointer { buffer throws(CatalogError) in try body(UnsafeRawBufferPointer(buffer)) }
  }
}

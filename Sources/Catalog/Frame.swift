internal import CCodec
internal import Model

/// The destination of finished frames; the repository owns the file.
public protocol FrameSink: AnyObject, Sendable {
  /// Reserves a number for the next frame of any writer: 0, 1, 2, …
  func reserveFrame() -> UInt32
  /// Stores a finished frame under its number.
  func store(_ frame: UInt32, _ bytes: [UInt8]) throws
}

/// A frame has a header of 16 bytes, a checksum of 16 bytes, and the content.
///
/// The content is compressed by zstd, or stored as it is if the two sizes in the header are equal. Records never span
/// frames.
enum Frame {
  static let magic: UInt32 = 0x3146_5254  // "TRF1"
  static let headerBytes = 32
  /// The content size at which a frame is closed: small enough for random access, large enough to compress.
  static let targetBytes = 64 << 10
  /// The numbers of the frames that hold no records.
  static let tableNumber: UInt32 = 0xFFFF_FFFE
  static let trailerNumber: UInt32 = 0xFFFF_FFFF

  /// The most that a frame may grow to when decompressed. A larger claim is an attack on the reader's memory. The
  /// writer therefore stores content uncompressed if zstd shrinks it further.
  private static func plausibleContent(of storedBytes: Int) -> Int { storedBytes * 1024 + 65536 }

  static func encode(
    number: UInt32, content: UnsafeRawBufferPointer, compressor: OpaquePointer,
    hasher: SHA256
  ) throws(CatalogError) -> [UInt8] {
    let bound = max(tr_compress_bound(content.count), content.count)
    var stored = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: headerBytes + bound) { buffer, count in
      let raw = UnsafeMutableRawBufferPointer(buffer)
      stored = tr_compress(compressor, raw.baseAddress! + headerBytes, bound, content.baseAddress, content.count)
      if stored == 0 { return }
      if stored >= content.count || content.count > plausibleContent(of: stored) {
        stored = content.count
        UnsafeMutableRawBufferPointer(rebasing: raw[headerBytes...]).copyMemory(from: content)
      }
      for (index, number) in [magic, number, UInt32(content.count), UInt32(stored)].enumerated() {
        raw.storeBytes(of: number.littleEndian, toByteOffset: 4 * index, as: UInt32.self)
      }
      count = headerBytes + stored
      let checksum = Self.checksum(UnsafeRawBufferPointer(rebasing: raw[0..<count]), hasher: hasher)
      raw.storeBytes(of: checksum, toByteOffset: 16, as: (UInt64, UInt64).self)
    }
    guard bytes.count >= headerBytes else { throw CatalogError("zstd could not compress a frame") }
    return bytes
  }

  /// The first half of the SHA-256 of the header's first 16 bytes and the compressed content.
  private static func checksum(_ frame: UnsafeRawBufferPointer, hasher: SHA256) -> (UInt64, UInt64) {
    hasher.reset()
    hasher.update(UnsafeRawBufferPointer(rebasing: frame[0..<16]))
    hasher.update(UnsafeRawBufferPointer(rebasing: frame[headerBytes...]))
    let digest = hasher.finish()
    return (digest.words.0, digest.words.1)
  }

  /// The size of the whole frame according to its header, checked against the bytes left in the file.
  static func byteCount(header: [UInt8], number: UInt32, left: UInt64) throws(CatalogError) -> Int {
    guard header.count >= headerBytes else { throw CatalogError("a frame is cut off") }
    guard header.integer(at: 0) == magic, header.integer(at: 4) == number
    else { throw CatalogError("there is no frame where one should be") }
    let (content, stored) = (header.integer(at: 8, as: UInt32.self), header.integer(at: 12, as: UInt32.self))
    guard content <= RecordLimit.recordBytes + 64, stored <= content, UInt64(stored) + UInt64(headerBytes) <= left,
      Int(content) <= plausibleContent(of: Int(stored))
    else { throw CatalogError("a frame claims an impossible size") }
    return headerBytes + Int(stored)
  }

  /// Checks a whole frame and returns its content.
  static func decode(_ frame: [UInt8], hasher: SHA256) throws(CatalogError) -> [UInt8] {
    let isIntact = frame.withUnsafeBytes {
      checksum($0, hasher: hasher) == $0.loadUnaligned(fromByteOffset: 16, as: (UInt64, UInt64).self)
    }
    guard isIntact else { throw CatalogError("a frame's checksum is wrong") }
    var decoded = 0
    let size = Int(frame.integer(at: 8, as: UInt32.self))
    if size == frame.count - headerBytes { return Array(frame[headerBytes...]) }
    let content = [UInt8](unsafeUninitializedCapacity: max(size, 1)) { buffer, count in
      decoded = frame.withUnsafeBytes {
        tr_decompress(buffer.baseAddress, size, $0.baseAddress! + headerBytes, $0.count - headerBytes)
      }
      count = decoded == size ? size : 0
    }
    guard decoded == size else { throw CatalogError("a frame does not decompress") }
    return content
  }
}

/// Gathers records into frames and hands the full ones to the sink. Each thread needs its own writer.
public final class FrameWriter {
  private let sink: any FrameSink
  private let compressor: OpaquePointer
  private let hasher = SHA256()
  private var content = ByteBuffer(capacity: Frame.targetBytes * 2)
  private var number: UInt32?

  public init(sink: any FrameSink) {
    self.sink = sink
    // Level 1: names and metadata shrink as well as at level 3, and digests not at all.
    guard let compressor = tr_compressor_new(1) else { fatalError("no memory for zstd") }
    self.compressor = compressor
  }

  deinit { tr_compressor_free(compressor) }

  func append(
    _ record: UnsafeRawBufferPointer, hints a: UnsafeRawBufferPointer,
    and b: UnsafeRawBufferPointer, and c: UnsafeRawBufferPointer
  ) throws -> Place {
    let size = 8 + record.count + a.count + b.count + c.count
    if content.count > 0 && content.count + size > Frame.targetBytes { try flush() }
    let number = self.number ?? sink.reserveFrame()
    self.number = number
    let place = Place(frame: number, offset: UInt32(content.count))
    content.append(UInt32(record.count))
    content.append(UInt32(a.count + b.count + c.count))
    content.append(record)
    content.append(a)
    content.append(b)
    content.append(c)
    return place
  }

  /// Writes the gathered records as a frame.
  public func flush() throws {
    guard let number else { return }
    try sink.store(
      number, try Frame.encode(number: number, content: content.bytes, compressor: compressor, hasher: hasher))
    self.number = nil
    content.removeAll()
    if content.capacity > 4 << 20 { content = ByteBuffer(capacity: Frame.targetBytes * 2) }
  }

  func encode(number: UInt32, content: UnsafeRawBufferPointer) throws(CatalogError) -> [UInt8] {
    try Frame.encode(number: number, content: content, compressor: compressor, hasher: hasher)
  }
}

public import Model

/// Access to the bytes of a catalog, independent of their location.
public protocol CatalogSource: AnyObject, Sendable {
  var byteCount: UInt64 { get }
  /// Reads up to `count` bytes at `offset`; fewer at the end.
  func read(at offset: UInt64, count: Int) throws -> [UInt8]
}

/// The parts of a catalog file around its frames.
public enum CatalogFormat {
  /// The version that this program writes. It reads every lower version too.
  public static let version: UInt32 = 2
  static let headerMagic = Array("treering-catalog".utf8)
  static let footerMagic = Array("TRCATEND".utf8)
  static let headerBytes = 24
  static let footerBytes = 16

  /// Magic, version, four bytes of zero.
  public static var header: [UInt8] {
    var buffer = ByteBuffer()
    buffer.append(headerMagic.span)
    buffer.append(version)
    buffer.append(UInt32(0))
    return [UInt8](buffer.bytes)
  }

  /// The bytes after the last frame: the table of frames, the trailer, and the trailer's offset.
  ///
  /// These bytes will begin at `offset`; `frameOffsets` has the offset of each frame.
  public static func ending(
    _ summary: CatalogSummary, frameOffsets: [UInt64], at offset: UInt64, writer: FrameWriter
  ) throws(CatalogError) -> [UInt8] {
    var table = ByteBuffer(capacity: frameOffsets.count * 8)
    for frameOffset in frameOffsets { table.append(frameOffset) }
    var bytes = try writer.encode(number: Frame.tableNumber, content: table.bytes)
    let trailerOffset = offset + UInt64(bytes.count)
    let trailer = summary.encode(tableOffset: offset, frameCount: UInt32(frameOffsets.count))
    bytes += try trailer.reading { raw throws(CatalogError) in
      try writer.encode(number: Frame.trailerNumber, content: raw)
    }
    var footer = ByteBuffer()
    footer.append(trailerOffset)
    footer.append(footerMagic.span)
    return bytes + [UInt8](footer.bytes)
  }
}

/// An open catalog whose header and trailer have been checked; any number of readers may share it.
public struct OpenCatalog: Sendable {
  public let summary: CatalogSummary
  /// The size of the catalog's file.
  public var byteCount: UInt64 { source.byteCount }

  /// Reads raw bytes of the file; fewer at the end.
  public func read(at offset: UInt64, count: Int) throws -> [UInt8] { try source.read(at: offset, count: count) }

  let source: any CatalogSource
  /// True for a catalog that this process has made of a repository of restic's format.
  public let mayHaveChunks: Bool
  let tableOffset: UInt64
  let frameCount: UInt32

  public init(reading source: any CatalogSource, mayHaveChunks: Bool = false) throws {
    (self.source, self.mayHaveChunks) = (source, mayHaveChunks)
    let header = try source.read(at: 0, count: CatalogFormat.headerBytes)
    guard header.count == CatalogFormat.headerBytes,
      header.starts(with: CatalogFormat.headerMagic)
    else { throw CatalogError("this is not a catalog") }
    let version: UInt32 = header.integer(at: 16)
    guard version <= CatalogFormat.version else {
      throw CatalogError(
        "the catalog has format \(version), and this treering knows formats up to "
          + "\(CatalogFormat.version); use a newer treering")
    }
    guard version > 0, header[20...].allSatisfy({ $0 == 0 }) else { throw CatalogError("the header is damaged") }
    let size = source.byteCount
    guard size >= UInt64(CatalogFormat.headerBytes + CatalogFormat.footerBytes)
    else { throw CatalogError("the catalog is cut off") }
    let end = size - UInt64(CatalogFormat.footerBytes)
    let footer = try source.read(at: end, count: CatalogFormat.footerBytes)
    guard footer.count == CatalogFormat.footerBytes,
      Array(footer[8...]) == CatalogFormat.footerMagic
    else { throw CatalogError("the catalog is cut off") }
    let trailer = try CatalogReader.frame(
      source, number: Frame.trailerNumber, at: footer.integer(at: 0), end: end, hasher: SHA256())
    (summary, tableOffset, frameCount) = try CatalogSummary.decode(trailer)
  }
}

/// Reads a catalog's records. Reading any directory costs at most one frame. Each thread needs its own reader.
public final class CatalogReader {
  public let catalog: OpenCatalog
  private var frameOffsets: [UInt64]?
  private let hasher = SHA256()
  private var recordsRead: UInt64 = 0

  /// The last frames, newest last: neighbours in the tree are neighbours in the file.
  private var cache: [(number: UInt32, content: [UInt8])] = []
  private let cachedFrames: Int
  var paths = PathCache<PathLevel> { $0.index.byteCount }

  /// `cachedFrames` is the number of frames of 64 KiB that are kept. More help a caller that comes back to a directory.
  public init(reading catalog: OpenCatalog, cachedFrames: Int = 6) {
    (self.catalog, self.cachedFrames) = (catalog, cachedFrames)
  }

  public var summary: CatalogSummary { catalog.summary }

  static func frame(
    _ source: any CatalogSource, number: UInt32, at offset: UInt64, end: UInt64, hasher: SHA256
  ) throws -> [UInt8] {
    guard offset >= UInt64(CatalogFormat.headerBytes), offset < end
    else { throw CatalogError("a frame lies outside the catalog") }
    // One read gets a typical frame whole: compression halves its content.
    let guess = Int(min(UInt64(Frame.targetBytes / 2), end - offset))
    var bytes = try source.read(at: offset, count: guess)
    let count = try Frame.byteCount(header: bytes, number: number, left: end - offset)
    if count > bytes.count { bytes += try source.read(at: offset + UInt64(bytes.count), count: count - bytes.count) }
    guard bytes.count >= count else { throw CatalogError("a frame is cut off") }
    bytes.removeLast(bytes.count - count)
    return try Frame.decode(bytes, hasher: hasher)
  }

  private func frame(number: UInt32, at offset: UInt64) throws -> [UInt8] {
    let end = catalog.source.byteCount - UInt64(CatalogFormat.footerBytes)
    return try Self.frame(catalog.source, number: number, at: offset, end: end, hasher: hasher)
  }

  private func frame(number: UInt32) throws -> [UInt8] {
    if let index = cache.lastIndex(where: { $0.number == number }) {
      let hit = cache.remove(at: index)
      cache.append(hit)
      return hit.content
    }
    let offsets = try frameTable()
    guard Int(number) < offsets.count else { throw CatalogError("a record's place names a frame that does not exist") }
    let content = try frame(number: number, at: offsets[Int(number)])
    cache.append((number, content))
    if cache.count > cachedFrames { cache.removeFirst() }
    return content
  }

  private func frameTable() throws -> [UInt64] {
    if let frameOffsets { return frameOffsets }
    let table = try frame(number: Frame.tableNumber, at: catalog.tableOffset)
    guard table.count == Int(catalog.frameCount) * 8
    else { throw CatalogError("the table of frames has the wrong size") }
    let offsets: [UInt64] = (0..<Int(catalog.frameCount)).map { table.integer(at: $0 * 8) }
    frameOffsets = offsets
    return offsets
  }

  /// The record at `place`, checked against the digest in its parent's record or in the trailer.
  public func record(at place: Place, for digest: Digest) throws -> DirectoryRecord {
    // Many parents may name one record, so a few bytes could claim an endless tree. An honest walk reads no more
    // records than the file can hold, at 1,024 times its size when decompressed.
    recordsRead += 1
    guard recordsRead <= 4096 + catalog.source.byteCount &* 16
    else { throw CatalogError("the catalog names more directories than it can hold") }
    return try lookUp(at: place, digest: digest)
  }

  /// Like `record`, but without counting, because the lookup of a path always ends.
  func lookUp(at place: Place, digest: Digest) throws -> DirectoryRecord {
    try DirectoryRecord(
      frame: try frame(number: place.frame), offset: Int(place.offset), digest: digest, hasher: hasher,
      mayHaveChunks: catalog.mayHaveChunks)
  }

  public func root() throws -> DirectoryRecord { try record(at: summary.root.place, for: summary.root.digest) }
}

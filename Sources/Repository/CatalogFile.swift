public import Catalog
public import Posix
internal import Synchronization

/// A catalog in the repository, open for any number of readers.
public final class CatalogFile: CatalogSource {
  private let file: Descriptor
  public let byteCount: UInt64

  init(file: consuming Descriptor) throws(Errno) {
    byteCount = try file.status().size
    self.file = file
  }

  public func read(at offset: UInt64, count: Int) throws -> [UInt8] { try file.read(at: offset, count: count) }
}

extension OpenCatalog {
  private static let pieceBytes: UInt64 = 1 << 20

  /// A copy that any number of threads may read, also of a remote's catalog. It is on the disk, because the remote tells
  /// the size.
  public func copied() throws -> OpenCatalog {
    let file: Descriptor
    do { file = try .temporaryFile() } catch {
      throw Failure.writing("make a file in", at: Descriptor.temporaryDirectory, because: error)
    }
    var position: UInt64 = 0
    while position < byteCount {
      let bytes = try read(at: position, count: Int(min(byteCount - position, Self.pieceBytes)))
      if bytes.isEmpty { throw CatalogError("the catalog ends too early") }
      do { try file.write(bytes, at: position) } catch {
        throw Failure.writing("copy the catalog to", at: Descriptor.temporaryDirectory, because: error)
      }
      position += UInt64(bytes.count)
    }
    return try OpenCatalog(reading: CatalogFile(file: file), mayHaveChunks: mayHaveChunks)
  }
}

/// A catalog file that several threads write.
final class NewCatalogFile: FrameSink {
  private struct State {
    var end: UInt64
    var offsets: [UInt64] = []
  }
  private let file: Descriptor
  private let state: Mutex<State>

  init(file: consuming Descriptor) throws(Errno) {
    try file.write(CatalogFormat.header, at: 0)
    state = Mutex(State(end: UInt64(CatalogFormat.header.count)))
    self.file = file
  }

  func reserveFrame() -> UInt32 {
    state.withLock {
      $0.offsets.append(0)
      return UInt32($0.offsets.count - 1)
    }
  }

  func store(_ frame: UInt32, _ bytes: [UInt8]) throws {
    let offset = state.withLock { state in
      let offset = state.end
      state.offsets[Int(frame)] = offset
      state.end += UInt64(bytes.count)
      return offset
    }
    try file.write(bytes, at: offset)
  }

  /// Writes the part of the catalog that follows the frames.
  ///
  /// The caller's single `syncfs` makes the catalog durable together with the tree.
  func finish(_ summary: CatalogSummary, with writer: FrameWriter) throws {
    let (end, offsets) = state.withLock { ($0.end, $0.offsets) }
    let ending = try CatalogFormat.ending(summary, frameOffsets: offsets, at: end, writer: writer)
    try file.write(ending, at: end)
    state.withLock { $0.end = end + UInt64(ending.count) }
    // Frees the unused part of the reservation.
    try file.setLength(end + UInt64(ending.count))
  }

  func synchronize() throws(Errno) { try file.synchronize() }

  /// Preallocates space, so that a run that meets a full disk can still finish its catalog.
  func reserve(byteCount: UInt64) throws(Errno) {
    do { try file.reserve(at: 0, byteCount: byteCount) } catch { if error.meansNoRoom { throw error } }
  }
}

extension NewCatalogFile: CatalogSource {
  var byteCount: UInt64 { state.withLock { $0.end } }

  func read(at offset: UInt64, count: Int) throws -> [UInt8] { try file.read(at: offset, count: count) }
}

/// A catalog in memory, of a tree that is not stored.
public final class TemporaryCatalog: Sendable {
  private let file: NewCatalogFile

  public init() throws(Errno) { file = try NewCatalogFile(file: Descriptor.memoryFile()) }

  /// The sink for finished frames.
  public var sink: any FrameSink { file }

  /// Writes the part that follows the frames, and opens the catalog.
  public func finish(
    _ summary: CatalogSummary, with writer: FrameWriter, mayHaveChunks: Bool = false
  ) throws -> OpenCatalog {
    try file.finish(summary, with: writer)
    return try OpenCatalog(reading: file, mayHaveChunks: mayHaveChunks)
  }
}

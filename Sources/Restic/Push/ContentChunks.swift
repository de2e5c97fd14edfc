internal import Catalog
internal import Model
internal import Posix

/// Reads a stored file, cuts it into chunks, and checks the whole against its digest. Each thread needs its own.
final class ContentChunks {
  /// Room for several of the largest chunks, so that the rest is seldom moved.
  private static let bufferBytes = 4 * Chunker.maximumBytes
  /// The most chunks of one file. More come only of terabytes of zeros.
  private static let mostChunks = 4 << 20

  private let chunker: Chunker
  private let hasher = SHA256()
  private let contentHasher = ContentHasher()
  private var buffer: UnsafeMutableRawBufferPointer?
  /// The ID of the smallest chunk of zeros: the fingerprint of zeros is zero, so each is cut as early as possible.
  private lazy var zeroChunk = [UInt8](repeating: 0, count: Chunker.minimumBytes)
  private lazy var zeroID = hasher.digest(of: zeroChunk)

  init(_ polynomial: Polynomial) { chunker = Chunker(polynomial) }

  deinit { buffer?.deallocate() }

  /// The reasons for which a file cannot be pushed.
  enum Problem: Error { case changed, tooManyChunks }

  /// Calls `save` with each chunk, and returns their IDs. Throws `Problem.changed` if the content is not the expected
  /// one. With `mayBeLonger`, only the first bytes are read.
  func read(
    _ file: borrowing Descriptor, byteCount: UInt64, digest: ContentDigest, mayBeLonger: Bool = false,
    save: (Digest, UnsafeRawBufferPointer) throws -> Void
  ) throws -> [Digest] {
    if buffer == nil { buffer = .allocate(byteCount: Self.bufferBytes, alignment: 4096) }
    let buffer = buffer!
    let status = try file.status()
    guard status.size == byteCount || mayBeLonger && status.size > byteCount else { throw Problem.changed }
    contentHasher.reset(elidingZeros: digest.isSparse)
    var ids: [Digest] = []
    // The unread content begins at `position`; the bytes of the next chunk are at `start..<end` of the buffer.
    var (position, start, end): (UInt64, Int, Int) = (0, 0, 0)
    // No data lies between `position` and this place.
    var data: UInt64 = status.hasHoles ? 0 : .max
    while position < byteCount || end > start {
      if start == end, data != .max, position < byteCount {
        if data <= position { data = min(try file.seekData(from: position) ?? byteCount, byteCount) }
        while data - position >= UInt64(Chunker.minimumBytes) {
          contentHasher.updateZeros(byteCount: UInt64(Chunker.minimumBytes))
          if ids.last != zeroID { try zeroChunk.withUnsafeBytes { try save(zeroID, $0) } }
          ids.append(zeroID)
          guard ids.count < Self.mostChunks else { throw Problem.tooManyChunks }
          position += UInt64(Chunker.minimumBytes)
        }
        if position == byteCount { break }
      }
      if buffer.count - start < Chunker.maximumBytes, start > 0 {
        buffer.baseAddress!.copyMemory(from: buffer.baseAddress! + start, byteCount: end - start)
        (start, end) = (0, end - start)
      }
      while end - start < Chunker.maximumBytes, position < byteCount {
        let want = Int(min(UInt64(buffer.count - end), byteCount - position, 1 << 20))
        let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[end..<end + want]), at: position)
        guard count > 0 else { throw Problem.changed }
        end += count
        position += UInt64(count)
      }
      let size = chunker.firstChunk(of: UnsafeRawBufferPointer(rebasing: buffer[start..<end]))
      let chunk = UnsafeRawBufferPointer(rebasing: buffer[start..<start + size])
      let id = hasher.digest(of: chunk)
      // A single chunk has the digest of the whole.
      let isWhole = ids.isEmpty && position == byteCount && start + size == end && !digest.isSparse
      if isWhole {
        guard id == digest.digest else { throw Problem.changed }
        try save(id, chunk)
        return [id]
      }
      contentHasher.update(chunk)
      try save(id, chunk)
      ids.append(id)
      guard ids.count < Self.mostChunks else { throw Problem.tooManyChunks }
      start += size
    }
    guard contentHasher.finish() == digest else { throw Problem.changed }
    return ids
  }
}

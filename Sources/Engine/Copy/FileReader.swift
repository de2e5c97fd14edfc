internal import Catalog
internal import Posix

/// The result of one pass over an open regular file.
struct PassResult {
  var digest: ContentDigest
  var byteCount: UInt64
}

/// A failed read concerns one entry; a failed write concerns the whole run.
enum CopyError: Error {
  case reading(Errno)
  case writing(Errno)
  case interrupted

  var errno: Errno {
    switch self {
    case .reading(let error), .writing(let error): error
    case .interrupted: .interrupted
    }
  }
}

/// The stored version of a file, whose blocks the new version shares.
final class OldVersion {
  let file: Descriptor
  let byteCount: UInt64

  init(of file: consuming Descriptor, byteCount: UInt64) {
    self.file = file
    self.byteCount = byteCount
  }
}

/// Hashes a file, and copies it, in one pass with one buffer; holes stay holes.
///
/// Each thread has its own reader.
final class FileReader {
  static let bufferBytes = 256 << 10
  /// The unit of comparison and writing when a file is updated: the block of most file systems.
  private static let blockBytes = 4096
  /// The page cache is relieved after so many bytes, and after each file.
  private static let reliefBytes: UInt64 = 8 << 20

  private let hasher = ContentHasher()
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: FileReader.bufferBytes, alignment: 4096)
  private let progress: Progress
  private let limiter: SharedRateLimiter?
  private let use: Use
  /// True in a pass over a file of which the page cache had nothing.
  private var dropsSource = false

  /// The purpose of the passes, which decides about their pages in the page cache.
  enum Use {
    /// Files of a source become stored files. Pages read only for that are dropped, and so are large copies.
    case storing
    /// Files of a source are hashed, and read again soon.
    case sending
    /// Stored files are compared with their digests.
    case verifying
    /// Stored files are copied for their owner, who will use them.
    case restoring
  }

  init(for use: Use, counting progress: Progress, limiter: SharedRateLimiter? = nil) {
    (self.use, self.progress, self.limiter) = (use, progress, limiter)
  }

  deinit { buffer.deallocate() }

  /// Hashes at most `byteCount` bytes of a file from its start; `elidingZeros` is as in `ContentHasher.reset`.
  func hash(
    _ source: borrowing Descriptor, byteCount: UInt64, hasHoles: Bool, elidingZeros: Bool
  ) throws(CopyError) -> PassResult {
    try pass(source, byteCount: byteCount, hasHoles: hasHoles, elidesZeros: elidingZeros) { _, _ throws(CopyError) in }
  }

  /// Hashes and copies at most `byteCount` bytes of a file from its start into an empty file.
  func copy(
    _ source: borrowing Descriptor, to target: borrowing Descriptor, byteCount: UInt64,
    hasHoles: Bool, elidingZeros: Bool
  ) throws(CopyError) -> PassResult {
    // The end of the last write; the gap between two runs of data becomes a hole.
    var written: UInt64 = 0
    let result = try pass(source, byteCount: byteCount, hasHoles: hasHoles, elidesZeros: elidingZeros) {
      bytes, offset throws(CopyError) in
      do throws(Errno) {
        if offset != written { try target.seek(to: offset) }
        try target.write(bytes)
      } catch { throw .writing(error) }
      if use == .storing { relieve(target, of: written..<offset + UInt64(bytes.count)) }
      written = offset + UInt64(bytes.count)
      progress.bytesCopied.count(UInt64(bytes.count))
    }
    if written < result.byteCount {
      do throws(Errno) { try target.setLength(result.byteCount) } catch { throw .writing(error) }
    }
    return result
  }

  /// Hashes at most `byteCount` bytes of a file from its start, and writes the changed blocks to `target`.
  ///
  /// `target` shares all blocks of the old version.
  func update(
    _ target: borrowing Descriptor, holding old: OldVersion, from source: borrowing Descriptor,
    byteCount: UInt64, hasHoles: Bool
  ) throws(CopyError) -> PassResult {
    let oldBytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.bufferBytes, alignment: Self.blockBytes)
    defer { oldBytes.deallocate() }
    // The target has the content of the source up to this offset.
    var done: UInt64 = 0
    let result = try pass(source, byteCount: byteCount, hasHoles: hasHoles, elidesZeros: true) {
      bytes, offset throws(CopyError) in
      try clear(target, from: done, to: min(offset, old.byteCount))
      done = offset + UInt64(bytes.count)
      let known = readOld(old, at: offset, into: oldBytes, count: bytes.count)
      var start = 0
      while start < bytes.count {
        // The run grows while the blocks differ: one write for each run.
        var end = start
        while end < bytes.count {
          let next = min(end + Self.blockBytes, bytes.count)
          let isSame =
            next <= known
            && areEqual(bytes.baseAddress! + end, oldBytes.baseAddress! + end, count: next - end)
          if isSame { break }
          end = next
        }
        if end > start {
          let run = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
          do throws(Errno) {
            try target.seek(to: offset + UInt64(start))
            try target.write(run)
          } catch { throw .writing(error) }
          progress.bytesCopied.count(UInt64(run.count))
        }
        start = end + Self.blockBytes
      }
    }
    try clear(target, from: done, to: min(result.byteCount, old.byteCount))
    do throws(Errno) { try target.setLength(result.byteCount) } catch { throw .writing(error) }
    return result
  }

  private func clear(_ target: borrowing Descriptor, from start: UInt64, to end: UInt64) throws(CopyError) {
    guard start < end else { return }
    do throws(Errno) { try target.punchHole(at: start, byteCount: end - start) } catch { throw .writing(error) }
  }

  /// The number of bytes that could be read from the old version. Missing bytes count as different.
  private func readOld(
    _ old: OldVersion, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer, count: Int
  ) -> Int {
    guard offset < old.byteCount else { return 0 }
    let count = Int(min(UInt64(count), old.byteCount - offset))
    var done = 0
    while done < count {
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<count])
      guard let read = try? old.file.read(into: part, at: offset + UInt64(done)), read > 0 else { break }
      done += read
    }
    return done
  }

  private typealias DataHandler = (UnsafeRawBufferPointer, UInt64) throws(CopyError) -> Void

  private func pass(
    _ source: borrowing Descriptor, byteCount: UInt64, hasHoles: Bool, elidesZeros: Bool, data: DataHandler
  ) throws(CopyError) -> PassResult {
    hasher.reset(elidingZeros: elidesZeros)
    // Other programs use the pages that were there before. On older kernels, only stored files count as unused.
    dropsSource =
      byteCount >= Self.reliefBytes && use != .restoring && use != .sending && !(source.isCached() ?? (use == .storing))
    defer { if dropsSource { source.dropCache(of: 0..<UInt64(Int64.max)) } }
    var position: UInt64 = 0
    if !hasHoles {
      position = try run(source, from: 0, to: byteCount, data: data)
    } else {
      var tail: UInt64 = 0
      while position < byteCount {
        let start, end: UInt64
        do throws(Errno) {
          guard let data = try source.seekData(from: position), data < byteCount else {
            // Only a hole is left up to the end, unless the file has shrunk meanwhile.
            let size = min(byteCount, try source.status().size)
            tail = size > position ? size - position : 0
            position = max(position, size)
            break
          }
          start = data
          end = min(byteCount, try source.seekHole(from: start))
          try source.seek(to: start)
        } catch { throw .reading(error) }
        try hashZeros(byteCount: start - position, elidesZeros: elidesZeros)
        position = try run(source, from: start, to: end, data: data)
        if position < end { break }
      }
      try hashZeros(byteCount: tail, elidesZeros: elidesZeros)
    }
    return PassResult(digest: hasher.finish(), byteCount: position)
  }

  /// Reads one run of data; returns its end, which is before `end` if the file ended there.
  private func run(
    _ source: borrowing Descriptor, from start: UInt64, to end: UInt64, data: DataHandler
  ) throws(CopyError) -> UInt64 {
    var position = start
    while position < end {
      var want = Int(min(UInt64(buffer.count), end - position))
      if let limiter { want = limiter.take(upTo: want) }
      let count: Int
      do throws(Errno) {
        count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<want]))
      } catch { throw .reading(error) }
      if count == 0 { break }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      hasher.update(bytes)
      progress.bytesRead.count(UInt64(count))
      try data(bytes, position)
      if CurrentProcess.rememberedSignal != nil { throw .interrupted }
      position += UInt64(count)
      let relieved = position / Self.reliefBytes * Self.reliefBytes
      if dropsSource, relieved > position - UInt64(count) {
        source.dropCache(of: relieved - Self.reliefBytes..<relieved)
      }
    }
    return position
  }

  /// Keeps the page cache from filling with a large copy: at most two pieces of it are not on the disk yet.
  private func relieve(_ target: borrowing Descriptor, of written: Range<UInt64>) {
    let end = written.upperBound / Self.reliefBytes * Self.reliefBytes
    guard end > written.lowerBound, end >= 2 * Self.reliefBytes else { return }
    let middle = end - Self.reliefBytes
    target.writeBack(middle..<end, waiting: false)
    target.writeBack(middle - Self.reliefBytes..<middle, waiting: true)
    target.dropCache(of: middle - Self.reliefBytes..<middle)
  }

  /// A digest of all bytes may take any time, so a signal ends it.
  private func hashZeros(byteCount: UInt64, elidesZeros: Bool) throws(CopyError) {
    if elidesZeros { return hasher.updateZeros(byteCount: byteCount) }
    var left = byteCount
    while left > 0 {
      let count = min(UInt64(Self.bufferBytes), left)
      hasher.updateZeros(byteCount: count)
      left -= count
      if CurrentProcess.rememberedSignal != nil { throw .interrupted }
    }
  }
}

internal import Catalog
internal import Delta
internal import Engine
internal import Model
internal import Posix

/// A stored file as the new or the old version of a delta.
final class StoredSource: ByteSource {
  private let file: Descriptor
  let byteCount: UInt64
  /// The disk space of the file in bytes, at most its size.
  let storedBytes: UInt64
  /// True if a read failed, or the file has become shorter.
  private(set) var hasFailed = false
  /// Called with the number of bytes of each read.
  private let onRead: (UInt64) -> Void
  private let hasHoles: Bool
  /// The data that the last search for holes found.
  private var data: Range<UInt64> = 0..<0

  /// With `byteCount`, the file is read only so far.
  init(
    file: consuming Descriptor, status: FileStatus, byteCount: UInt64? = nil,
    onRead: @escaping (UInt64) -> Void = { _ in }
  ) {
    self.file = file
    let size = byteCount ?? status.size
    self.byteCount = size
    storedBytes = min(size, status.blocks &* 512)
    hasHoles = status.hasHoles
    self.onRead = onRead
  }

  /// True if the inode still has the time and the size that a catalog has of it.
  func isStill(_ row: FileRow) -> Bool {
    guard let status = try? file.status() else { return false }
    return status.inode == row.hints.sourceInode && status.changed == row.hints.changed && status.size == row.size
      && status.modified == row.metadata.modified
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    try checkForSignal()
    let wanted = Int(min(UInt64(buffer.count), byteCount - min(byteCount, offset)))
    var done = 0
    while done < wanted {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<wanted])
      let count: Int
      do throws(Errno) { count = try file.read(into: rest, at: offset + UInt64(done)) } catch {
        hasFailed = true
        throw error
      }
      if count == 0 {
        hasFailed = hasFailed || offset + UInt64(done) < byteCount
        break
      }
      done += count
    }
    onRead(UInt64(done))
    return done
  }
}

extension StoredSource {
  /// The number of bytes from `offset` to the end of its hole; 0 if there is data.
  func zeroBytes(at offset: UInt64) throws -> UInt64 {
    guard hasHoles, offset < byteCount, !data.contains(offset) else { return 0 }
    guard let start = try file.seekData(from: offset), start < byteCount else { return byteCount - offset }
    data = start..<min(max(try file.seekHole(from: start), start + 1), byteCount)
    return start - offset
  }

  /// The runs of the file's data. Only aligned MiBs that lie whole in a hole are left out.
  func runs() throws -> [Range<UInt64>] {
    let part = UInt64(ContentHasher.partBytes)
    var runs: [Range<UInt64>] = []
    var position: UInt64 = 0
    while position < byteCount {
      try checkForSignal()
      position += try zeroBytes(at: position)
      guard position < byteCount else { break }
      let (up, overflow) = (hasHoles ? data.upperBound : byteCount).addingReportingOverflow(part - 1)
      let run = position & ~(part - 1)..<(overflow ? byteCount : min(up & ~(part - 1), byteCount))
      if let last = runs.last, last.upperBound >= run.lowerBound {
        runs[runs.count - 1] = last.lowerBound..<run.upperBound
      } else {
        runs.append(run)
      }
      position = run.upperBound
    }
    return runs
  }
}

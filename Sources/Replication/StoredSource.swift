internal import Catalog
internal import Delta
internal import Engine
internal import Posix

/// A stored file as a version that a delta is made of or from.
final class StoredSource: ByteSource {
  private let file: Descriptor
  let byteCount: UInt64
  /// The room that it takes.
  let storedBytes: UInt64
  /// True where it could not be read, or has become shorter.
  private(set) var hasFailed = false
  /// Called with the bytes of each reading.
  private let onRead: (UInt64) -> Void
  private let hasHoles: Bool
  /// Data of which the last look at holes told.
  private var data: Range<UInt64> = 0..<0

  init(_ file: consuming Descriptor, _ status: FileStatus, onRead: @escaping (UInt64) -> Void = { _ in }) {
    self.file = file
    byteCount = status.size
    storedBytes = min(status.size, status.blocks &* 512)
    hasHoles = status.hasHoles
    self.onRead = onRead
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    try checkForSignal()
    var done = 0
    while done < buffer.count {
      let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
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
  /// A hole that the bytes at `offset` are in, up to its end.
  func zeroBytes(at offset: UInt64) throws -> UInt64 {
    guard hasHoles, offset < byteCount, !data.contains(offset) else { return 0 }
    guard let start = try file.seekData(from: offset), start < byteCount else { return byteCount - offset }
    data = start..<min(max(try file.seekHole(from: start), start + 1), byteCount)
    return start - offset
  }

  /// All of it but the aligned MiBs that are whole in a hole, as runs.
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

/// A file of a snapshot's tree, as far as it can be opened.
enum StoredVersion {
  case opened(StoredSource)
  /// The file could not be looked at. This says nothing about its content.
  case unknown(Errno)
  /// The tree has no regular file of the recorded size here, or the disk cannot open it.
  case damaged

  /// The file, if it is open.
  var source: StoredSource? { if case .opened(let source) = self { source } else { nil } }
}

/// Opens files of a snapshot's tree; neighbours have their directory opened once.
final class StoredFiles {
  private let root: Directory
  private var last: (path: ArraySlice<[UInt8]>, directory: Directory)?

  init(_ root: Directory) { self.root = root }

  /// The room that a file takes, in whole blocks; holes of a large one take none.
  func storedBytes(_ path: [[UInt8]], _ byteCount: UInt64) -> UInt64 {
    let blocks = byteCount > UInt64.max - 4096 ? byteCount : (byteCount + 4095) & ~4095
    guard byteCount >= Self.largeBytes, let source = open(path, byteCount).source else { return blocks }
    return min(blocks, source.storedBytes)
  }

  /// Of smaller files the holes are not worth a look.
  private static let largeBytes: UInt64 = 1 << 20

  /// Opens the regular file of `byteCount` bytes at `path`.
  func open(_ path: [[UInt8]], _ byteCount: UInt64, onRead: @escaping (UInt64) -> Void = { _ in }) -> StoredVersion {
    guard let name = path.last else { return .damaged }
    let folder = path.dropLast()
    do throws(Errno) {
      if last?.path != folder { last = (folder, try root.directory(path: folder)) }
      guard let directory = last?.directory else { return .damaged }
      let file = try directory.descriptor.openToRead(name.span)
      let status = try file.status()
      guard status.kind == .regular, status.size == byteCount else { return .damaged }
      return .opened(StoredSource(file, status, onRead: onRead))
    } catch { return error.leavesDataUnknown ? .unknown(error) : .damaged }
  }
}

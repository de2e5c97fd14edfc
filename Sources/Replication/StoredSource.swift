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

  init(
    _ file: consuming Descriptor, byteCount: UInt64, storedBytes: UInt64 = 0, onRead: @escaping (UInt64) -> Void = { _ in }
  ) {
    self.file = file
    self.byteCount = byteCount
    self.storedBytes = storedBytes
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

/// Opens files of a snapshot's tree; neighbours have their directory opened once.
final class StoredFiles {
  private let root: Directory
  private var last: (path: ArraySlice<[UInt8]>, directory: Directory)?

  init(_ root: Directory) { self.root = root }

  /// The room that a file takes, in whole blocks; holes of a large one take none.
  func storedBytes(_ path: [[UInt8]], _ byteCount: UInt64) -> UInt64 {
    let blocks = byteCount > UInt64.max - 4096 ? byteCount : (byteCount + 4095) & ~4095
    guard byteCount >= Self.largeBytes, let source = open(path, byteCount) else { return blocks }
    return min(blocks, source.storedBytes)
  }

  /// Of smaller files the holes are not worth a look.
  private static let largeBytes: UInt64 = 1 << 20

  /// `nil` where there is no regular file of this size.
  func open(_ path: [[UInt8]], _ byteCount: UInt64, onRead: @escaping (UInt64) -> Void = { _ in }) -> StoredSource? {
    guard let name = path.last else { return nil }
    let folder = path.dropLast()
    if last?.path != folder {
      guard let directory = try? root.directory(path: folder) else { return nil }
      last = (folder, directory)
    }
    guard let file = try? last?.directory.descriptor.openToRead(name.span), let status = try? file.status(),
      status.kind == .regular, status.size == byteCount
    else { return nil }
    return StoredSource(file, byteCount: byteCount, storedBytes: status.blocks &* 512, onRead: onRead)
  }
}

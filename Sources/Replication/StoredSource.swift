internal import Delta
internal import Engine
internal import Posix

/// A stored file as a version that a delta is made of or from.
final class StoredSource: ByteSource {
  private let file: Descriptor
  let byteCount: UInt64
  /// Called with the bytes of each reading.
  private let onRead: (UInt64) -> Void

  init(_ file: consuming Descriptor, byteCount: UInt64, onRead: @escaping (UInt64) -> Void = { _ in }) {
    self.file = file
    self.byteCount = byteCount
    self.onRead = onRead
  }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    try checkForSignal()
    var done = 0
    while done < buffer.count {
      let count = try file.read(
        into: UnsafeMutableRawBufferPointer(rebasing: buffer[done...]), at: offset + UInt64(done))
      if count == 0 { break }
      done += count
    }
    onRead(UInt64(done))
    return done
  }
}

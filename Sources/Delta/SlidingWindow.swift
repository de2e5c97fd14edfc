/// The part of the new version that is being searched: read once, from front to back.
final class SlidingWindow {
  /// Bytes of one read.
  private static let readBytes = 256 << 10

  private var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var source: (any ByteSource)?
  /// Bytes of the whole version.
  private(set) var byteCount = 0
  /// Position of the first byte that is here, and of the first that has not been read.
  private(set) var start = 0
  private(set) var end = 0

  deinit { buffer.deallocate() }

  /// Starts at `offset`; `keptBytes` are the most that a `load` keeps or asks for.
  func begin(_ source: any ByteSource, byteCount: Int, at offset: Int, keptBytes: Int) {
    // Twice what is kept: bytes are moved to the front less often than once a byte.
    let needed = min(2 * keptBytes + Self.readBytes, max(byteCount - offset, 16))
    if buffer.count < needed {
      buffer.deallocate()
      buffer = .allocate(byteCount: needed, alignment: 16)
    }
    self.source = source
    self.byteCount = byteCount
    start = offset
    end = offset
  }

  /// Lets the source go.
  func close() { source = nil }

  /// Reads so far that the bytes before `target` (or the version's end) are here; those before `keep` may go.
  func load(through target: Int, keeping keep: Int) throws {
    let wanted = min(target, byteCount) - end
    guard wanted > 0, let source else { return }
    var room = buffer.count - (end - start)
    if room < max(wanted, min(Self.readBytes, byteCount - end)) {
      precondition(keep >= start && keep <= end)
      UnsafeMutableRawBufferPointer(rebasing: buffer[..<(end - keep)]).copyMemory(
        from: UnsafeRawBufferPointer(rebasing: buffer[(keep - start)..<(end - start)]))
      start = keep
      room = buffer.count - (end - start)
    }
    let count = min(max(wanted, Self.readBytes), byteCount - end, room)
    precondition(count >= wanted)
    let place = end - start
    try source.fill(UnsafeMutableRawBufferPointer(rebasing: buffer[place..<place + count]), at: end)
    end += count
  }

  /// Where the byte at `position` is, which must have been loaded (or be the end of what has been).
  func pointer(at position: Int) -> UnsafeRawPointer {
    precondition(position >= start && position <= end)
    return UnsafeRawPointer(buffer.baseAddress!) + (position - start)
  }

  func bytes(_ range: Range<Int>) -> UnsafeRawBufferPointer {
    precondition(range.lowerBound >= start && range.upperBound <= end)
    return UnsafeRawBufferPointer(rebasing: buffer[(range.lowerBound - start)..<(range.upperBound - start)])
  }
}

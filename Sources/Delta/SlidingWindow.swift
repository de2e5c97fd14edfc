/// The loaded part of the new version, which is read once, from front to back.
final class SlidingWindow {
  private static let readBytes = 256 << 10

  private var buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
  private var source: (any ByteSource)?
  /// The size of the whole version in bytes.
  private(set) var byteCount = 0
  /// The positions of the first loaded byte and of the first unread one.
  private(set) var start = 0
  private(set) var end = 0

  deinit { buffer.deallocate() }

  /// Starts at `offset`; `keptBytes` is the most that a `load` keeps or requests.
  func begin(reading source: any ByteSource, byteCount: Int, at offset: Int, keptBytes: Int) {
    // The buffer has twice the kept bytes, so each byte moves to the front less than once on average.
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

  func close() { source = nil }

  /// Loads the bytes before `target` or the version's end; may discard those before `keep`.
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

  /// Pointer to the byte at `position`, which must be loaded or be the end of the loaded bytes.
  func pointer(at position: Int) -> UnsafeRawPointer {
    precondition(position >= start && position <= end)
    return UnsafeRawPointer(buffer.baseAddress!) + (position - start)
  }

  func bytes(in range: Range<Int>) -> UnsafeRawBufferPointer {
    precondition(range.lowerBound >= start && range.upperBound <= end)
    return UnsafeRawBufferPointer(rebasing: buffer[(range.lowerBound - start)..<(range.upperBound - start)])
  }
}

/// The part of the old version that is being compared with.
///
/// A look at a new place reads little; looks that go on where the last one ended read more each time.
final class BaseWindow {
  private static let smallestRead = 16 << 10
  private static let largestRead = 256 << 10
  /// Of the first read at a place: what lies before it, because a match is extended to both sides.
  private static let bytesBefore = 4 << 10

  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: largestRead, alignment: 16)
  private var source: (any ByteSource)?
  /// Bytes of the whole version.
  private(set) var byteCount = 0
  private var start = 0
  private var end = 0
  private var readBytes = smallestRead
  /// How often the source was read.
  private(set) var reads = 0

  deinit { buffer.deallocate() }

  func begin(_ source: (any ByteSource)?, byteCount: Int) {
    self.source = source
    self.byteCount = byteCount
    start = 0
    end = 0
    reads = 0
  }

  /// Lets the source go.
  func close() { source = nil }

  /// Bytes from `position` on, at least one; valid until the next look. `position` must be inside.
  func following(_ position: Int) throws -> UnsafeRawBufferPointer {
    precondition(position >= 0 && position < byteCount)
    if position < start || position >= end {
      let goesOn = position == end && end > start
      readBytes = goesOn ? min(readBytes * 2, Self.largestRead) : Self.smallestRead
      let first = goesOn ? position : max(position - Self.bytesBefore, 0)
      try read(first..<min(first + readBytes, byteCount))
    }
    return UnsafeRawBufferPointer(rebasing: buffer[(position - start)..<(end - start)])
  }

  /// Bytes that end before `position`, at least one; valid until the next look. `position` must not be 0.
  func preceding(_ position: Int) throws -> UnsafeRawBufferPointer {
    precondition(position > 0 && position <= byteCount)
    if position <= start || position > end {
      let goesOn = position == start && end > start
      readBytes = goesOn ? min(readBytes * 2, Self.largestRead) : Self.smallestRead
      try read(max(position - readBytes, 0)..<position)
    }
    return UnsafeRawBufferPointer(rebasing: buffer[..<(position - start)])
  }

  private func read(_ range: Range<Int>) throws {
    start = 0
    end = 0
    reads += 1
    guard let source else { throw DeltaError("the old version is not here") }
    try source.fill(UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count]), at: range.lowerBound)
    start = range.lowerBound
    end = range.upperBound
  }
}

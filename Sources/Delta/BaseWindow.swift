/// The loaded part of the old version.
///
/// A read at a new place is small; each read that continues the last one is larger.
final class BaseWindow {
  private static let smallestRead = 16 << 10
  private static let largestRead = 256 << 10
  /// The bytes before the position that the first read at a place includes, because a match extends both ways.
  private static let bytesBefore = 4 << 10

  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: largestRead, alignment: 16)
  private var source: (any ByteSource)?
  /// The size of the whole version in bytes.
  private(set) var byteCount = 0
  private var start = 0
  private var end = 0
  private var readBytes = smallestRead
  /// The number of reads from the source.
  private(set) var reads = 0

  deinit { buffer.deallocate() }

  func begin(reading source: (any ByteSource)?, byteCount: Int) {
    (self.source, self.byteCount) = (source, byteCount)
    start = 0
    end = 0
    reads = 0
  }

  func close() { source = nil }

  /// At least one byte from `position` on, valid until the next call; `position` must be inside.
  func following(position: Int) throws -> UnsafeRawBufferPointer {
    precondition(position >= 0 && position < byteCount)
    if position < start || position >= end {
      let goesOn = position == end && end > start
      readBytes = goesOn ? min(readBytes * 2, Self.largestRead) : Self.smallestRead
      let first = goesOn ? position : max(position - Self.bytesBefore, 0)
      try read(first..<min(first + readBytes, byteCount))
    }
    return UnsafeRawBufferPointer(rebasing: buffer[(position - start)..<(end - start)])
  }

  /// At least one byte that ends before `position`, valid until the next call; `position` must not be 0.
  func preceding(position: Int) throws -> UnsafeRawBufferPointer {
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

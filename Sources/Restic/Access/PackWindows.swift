internal import Model
internal import Posix
internal import Repository

/// The last parts of packs that were read.
///
/// Trees lie in their packs in the order in which a walk leaves directories. So a part that has one tree often has its
/// parents behind it and its neighbours before it. The contents of a directory's files lie near each other, too, but a
/// push with several threads mixes directories. So these are read in whole segments of a pack, each of them once.
/// Any number of threads may use it.
final class PackWindows: @unchecked Sendable {
  private struct Window {
    let pack: Digest
    let range: Range<UInt64>
    /// `nil` while a thread reads it.
    var bytes: [UInt8]?

    func covers(_ other: Digest, _ part: Range<UInt64>) -> Bool {
      pack == other && range.lowerBound <= part.lowerBound && part.upperBound <= range.upperBound
    }
  }

  /// The bytes around a wanted part that are read with it.
  enum Margin {
    case none
    /// Before and behind it.
    case around
    /// The segments that have it.
    case segment

    fileprivate static let byteCount: UInt64 = 192 << 10
    fileprivate static let segmentBytes: UInt64 = 1 << 20
    /// A longer part is read alone.
    fileprivate static let longestPart = 256 << 10
  }

  private static let mostWindows = 16

  private let store: any ObjectStore
  private let limiter: SharedRateLimiter?
  private let gate = Gate()
  private var windows: [Window] = []

  init(_ store: any ObjectStore, limiter: SharedRateLimiter?) { (self.store, self.limiter) = (store, limiter) }

  /// Reads a range of a pack; fewer bytes at its end, and `nil` if there is no such pack.
  func read(_ pack: Digest, at offset: UInt64, count: Int, with margin: Margin) throws -> [UInt8]? {
    let part = offset..<offset + UInt64(count)
    if count > Margin.longestPart { return try fetch(pack, part) }
    switch margin {
    case .none: return try known(pack, part, orBegin: nil) ?? fetch(pack, part)
    case .around:
      return try read(
        pack, part, within: offset - min(Margin.byteCount, offset)..<part.upperBound + Margin.byteCount)
    case .segment:
      var bytes: [UInt8] = []
      let size = Margin.segmentBytes
      for start in stride(from: offset - offset % size, to: part.upperBound, by: Int(size)) {
        let segment = start..<start + size
        guard let more = try read(pack, part.clamped(to: segment), within: segment) else { return nil }
        bytes += more
      }
      return bytes
    }
  }

  /// Reads a part, and keeps the range around it as a window.
  private func read(_ pack: Digest, _ part: Range<UInt64>, within range: Range<UInt64>) throws -> [UInt8]? {
    if let known = known(pack, part, orBegin: range) { return known }
    let read = Result { try fetch(pack, range) }
    gate.locked {
      windows.removeAll { $0.pack == pack && $0.range == range }
      if case .success(let bytes?) = read {
        // A short answer shows the end of the pack.
        let end = range.lowerBound + UInt64(bytes.count)
        windows.append(Window(pack: pack, range: range.lowerBound..<end, bytes: bytes))
        if windows.count > Self.mostWindows, let oldest = windows.firstIndex(where: { $0.bytes != nil }) {
          windows.remove(at: oldest)
        }
      }
      gate.wakeAll()
    }
    return try read.get().map { Array($0.dropFirst(Int(part.lowerBound - range.lowerBound)).prefix(part.count)) }
  }

  private func fetch(_ pack: Digest, _ range: Range<UInt64>) throws -> [UInt8]? {
    limiter?.pace(byteCount: range.count)
    return try store.read(ObjectName(.data, pack), at: range.lowerBound, count: range.count)
  }

  /// The bytes of a part, which another thread may be about to read. `nil` if this thread must read the range, or the
  /// part if there is no range.
  private func known(_ pack: Digest, _ part: Range<UInt64>, orBegin range: Range<UInt64>?) -> [UInt8]? {
    gate.locked {
      while let place = windows.lastIndex(where: { $0.covers(pack, part) }) {
        guard let bytes = windows[place].bytes else {
          gate.wait()
          continue
        }
        // The window that was used last is forgotten last.
        let window = windows.remove(at: place)
        windows.append(window)
        let start = Int(part.lowerBound - window.range.lowerBound)
        return Array(bytes[start..<start + part.count])
      }
      if let range { windows.append(Window(pack: pack, range: range)) }
      return nil
    }
  }
}

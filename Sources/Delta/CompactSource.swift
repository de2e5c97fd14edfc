internal import Model

/// A version without its long holes: a concatenation of its runs of data.
///
/// The cost of a search or an index depends on the data and not on the length.
public final class CompactSource: ByteSource {
  private let source: any ByteSource
  /// The version's runs of data, in order, each with its start among the compact bytes.
  private let runs: [(range: Range<UInt64>, start: UInt64)]
  public let byteCount: UInt64
  /// The run of the last lookup.
  private var current = 0

  /// `runs` must be in order, not empty, without overlaps, and inside `source`; zeros lie between them.
  public init(_ source: any ByteSource, runs: [Range<UInt64>]) {
    self.source = source
    var start: UInt64 = 0
    self.runs = runs.map { range in
      defer { start += range.upperBound - range.lowerBound }
      return (range, start)
    }
    byteCount = start
  }

  public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    var done = 0
    while done < buffer.count, offset + UInt64(done) < byteCount {
      let place = self.place(of: offset + UInt64(done))
      let want = Int(min(UInt64(buffer.count - done), place.upperBound - place.lowerBound))
      let part = UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + want])
      let count = try source.read(into: part, at: place.lowerBound)
      done += count
      if count < want { break }
    }
    return done
  }

  /// The place of a compact byte in the version, up to the end of its run; `offset` must be inside.
  public func place(of offset: UInt64) -> Range<UInt64> {
    precondition(offset < byteCount)
    func isIn(run number: Int) -> Bool {
      runs[number].start <= offset && (number + 1 == runs.count || offset < runs[number + 1].start)
    }
    if !isIn(run: current) {
      if current + 1 < runs.count, isIn(run: current + 1) {
        current += 1
      } else {
        current = runs.indices.partitionPoint { runs[$0].start <= offset } - 1
      }
    }
    let run = runs[current]
    return run.range.lowerBound + (offset - run.start)..<run.range.upperBound
  }

  /// The first compact byte at or after `offset` of the version; `byteCount` if there is none.
  public func compactOffset(of offset: UInt64) -> UInt64 {
    let number = runs.indices.partitionPoint { runs[$0].range.upperBound <= offset }
    guard number < runs.count else { return byteCount }
    let run = runs[number]
    return run.start + (max(offset, run.range.lowerBound) - run.range.lowerBound)
  }
}

import Delta
import TestSupport

/// What a search handed over, applied to the old version.
struct Applied {
  var bytes: [UInt8] = []
  var literalBytes = 0
  var copies = 0
  var largestLiteral = 0
  var hasUnjoinedCopies = false

  init(
    _ old: [UInt8], _ new: any ByteSource, from offset: Int = 0, against index: BlockIndex, _ finder: DeltaFinder
  ) throws {
    var end: UInt64?
    try finder.find(in: new, from: UInt64(offset), against: index) { instruction in
      switch instruction {
      case .copy(let from, let byteCount):
        if end == from || byteCount == 0 { hasUnjoinedCopies = true }
        end = from + byteCount
        copies += 1
        bytes += old[Int(from)..<Int(from + byteCount)]
      case .literal(let piece):
        end = nil
        literalBytes += piece.count
        largestLiteral = max(largestLiteral, piece.count)
        if piece.isEmpty { hasUnjoinedCopies = true }
        bytes += piece
      }
    }
  }
}

/// A source that promises more than it has from some moment on, and counts what is read.
final class ShrinkingSource: ByteSource {
  let bytes: MemorySource
  let promised: UInt64
  private(set) var readBytes = 0

  init(_ bytes: [UInt8], promising promised: Int) {
    self.bytes = MemorySource(bytes)
    self.promised = UInt64(promised)
  }

  var byteCount: UInt64 { promised }

  func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws -> Int {
    let count = try bytes.read(into: buffer, at: offset)
    readBytes += count
    return count
  }
}

/// The Thue-Morse sequence of 2^power bytes, and its complement for `flipped`: all polynomials modulo 2^64 with
/// an odd multiplier give both the same value from 2^11 bytes on.
func thueMorse(_ power: Int, flipped: Bool, _ zero: UInt8 = 65, _ one: UInt8 = 66) -> [UInt8] {
  (0..<1 << power).map { ($0.nonzeroBitCount & 1 == 1) != flipped ? one : zero }
}

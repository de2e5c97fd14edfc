import Model
import TestSupport
import Testing

@testable import Catalog

/// The digest of a content against one that is computed part by part, as treering-catalog(5) has it.
@Suite struct ContentDigestTests {
  private static let part = 1 << 20

  private func little(_ value: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }

  private func sha256(_ bytes: [UInt8]) -> Digest {
    let hasher = SHA256()
    hasher.update(bytes)
    return hasher.finish()
  }

  private func model(_ content: [UInt8]) -> ContentDigest {
    var kept: [UInt8] = []
    var runs: [(first: Int, count: Int)] = []
    for (number, start) in stride(from: 0, to: content.count, by: Self.part).enumerated() {
      let bytes = content[start..<min(start + Self.part, content.count)]
      guard bytes.count == Self.part, bytes.allSatisfy({ $0 == 0 }) else {
        kept += bytes
        continue
      }
      if let last = runs.last, last.first + last.count == number {
        runs[runs.count - 1].count += 1
      } else {
        runs.append((number, 1))
      }
    }
    if runs.isEmpty { return ContentDigest(sha256(content)) }
    let table = runs.flatMap { little($0.first) + little($0.count) }
    return ContentDigest(sha256(kept + sha256(table).bytes + little(content.count)), isSparse: true)
  }

  /// The same bytes in any pieces, zeros as bytes or as their number.
  @Test("the content is the same, whatever the pieces in which it comes", arguments: sample(4, of: Array(0..<16)))
  func anyPieces(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var content: [UInt8] = []
    for _ in 0..<Int.random(in: 0...4, using: &random) {
      let count = [1, 4096, Self.part - 1, Self.part, Self.part + 1, 2 * Self.part].randomElement(using: &random)!
      switch Int.random(in: 0..<3, using: &random) {
      case 0: content += [UInt8](repeating: 0, count: count)
      case 1: content += [UInt8](repeating: 7, count: count)
      default: content += [UInt8](repeating: 0, count: count - 1) + [1]
      }
    }
    let expected = model(content)
    let hasher = ContentHasher()
    hasher.update(UnsafeRawBufferPointer(start: nil, count: 0))
    for _ in 0..<3 {
      hasher.reset()
      var rest = content[...]
      while !rest.isEmpty {
        let most = [100, 300_000, 3 * Self.part].randomElement(using: &random)!
        let piece = rest.prefix(Int.random(in: 1...most, using: &random))
        rest = rest.dropFirst(piece.count)
        if piece.allSatisfy({ $0 == 0 }), Bool.random(using: &random) {
          hasher.updateZeros(byteCount: UInt64(piece.count))
        } else {
          piece.withUnsafeBytes { hasher.update($0) }
        }
      }
      #expect(hasher.finish() == expected)
    }
    hasher.reset(elidingZeros: false)
    content.withUnsafeBytes { hasher.update($0) }
    #expect(hasher.finish() == ContentDigest(sha256(content)))
  }

  /// Eight exbibytes but one byte of zeros cost nothing.
  @Test("huge holes cost no time")
  func hugeHoles() {
    let hasher = ContentHasher()
    hasher.reset()
    hasher.updateZeros(byteCount: UInt64(Int64.max))
    let first = hasher.finish()
    #expect(first.isSparse)
    hasher.updateZeros(byteCount: 1 << 62)
    hasher.updateZeros(byteCount: UInt64(Int64.max) - (1 << 62))
    #expect(hasher.finish() == first)
  }

  @Test("files of a catalog have the names of the format")
  func namesOfFiles() {
    for isSparse in [false, true] {
      let digest = ContentDigest(sha256([1]), isSparse: isSparse)
      #expect(ContentDigest(fileName: digest.fileName) == digest)
    }
    for name in ["", "s", String(repeating: "a", count: 63), String(repeating: "a", count: 65)] {
      #expect(ContentDigest(fileName: Array(name.utf8)) == nil)
    }
  }
}

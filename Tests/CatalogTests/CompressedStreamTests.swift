import Foundation
import Model
import TestSupport
import Testing

@testable import Catalog

/// What a compressor gave its sink.
private final class Collected {
  var bytes: [UInt8] = []
  var pieces: [Int] = []
}

private func compressor(
  level: Int32 = 3, windowLog: Int32 = 17, into collected: Collected
) -> StreamCompressor {
  StreamCompressor(level: level, windowLog: windowLog) {
    collected.bytes += $0
    collected.pieces.append($0.count)
  }
}

private func compressed(_ content: [UInt8], level: Int32 = 3, windowLog: Int32 = 17) throws -> [UInt8] {
  let collected = Collected()
  let stream = compressor(level: level, windowLog: windowLog, into: collected)
  try content.withUnsafeBytes { try stream.write($0) }
  try stream.finish()
  return collected.bytes
}

/// A source that gives `bytes` in parts of `partBytes`, and then `nil`, however often it is asked.
private func source(_ bytes: [UInt8], partBytes: Int) -> () throws -> [UInt8]? {
  var left = bytes[...]
  return {
    if left.isEmpty { return nil }
    defer { left = left.dropFirst(partBytes) }
    return Array(left.prefix(partBytes))
  }
}

private func decompressor(_ bytes: [UInt8], partBytes: Int = 1000) -> StreamDecompressor {
  StreamDecompressor(maximumWindowLog: 20, source: source(bytes, partBytes: partBytes))
}

private func readToEnd(_ stream: StreamDecompressor, roomBytes: Int = 1000) throws -> [UInt8] {
  var content: [UInt8] = []
  var room = [UInt8](repeating: 0, count: roomBytes)
  while true {
    let count = try room.withUnsafeMutableBytes { try stream.read(into: $0) }
    if count == 0 { return content }
    content += room[..<count]
  }
}

@Suite struct CompressedStreamTests {
  /// Text-like, with incompressible and constant stretches.
  private static func content(_ generator: inout SeededGenerator, byteCount: Int) -> [UInt8] {
    var content: [UInt8] = []
    while content.count < byteCount {
      switch Int.random(in: 0..<3, using: &generator) {
      case 0: content += generator.bytes(Int.random(in: 1...5000, using: &generator))
      case 1: content += [UInt8](repeating: 7, count: Int.random(in: 1...200_000, using: &generator))
      default:
        let start = Int.random(in: 0...content.count, using: &generator)
        content += Array(content[start...].prefix(30_000))
      }
    }
    return Array(content.prefix(byteCount))
  }

  @Test("what is written in any parts is read in any parts")
  func whatIsWrittenInAnyPartsIsReadInAnyParts() throws {
    var generator = printedGenerator()
    for byteCount in [0, 1, 63, 65_536, 300_000, 2_000_000] {
      let content = Self.content(&generator, byteCount: byteCount)
      let collected = Collected()
      let stream = compressor(level: Int32.random(in: 1...6, using: &generator), into: collected)
      var place = 0
      while place < content.count {
        let count = Int.random(in: 0...min(150_000, content.count - place), using: &generator)
        try content[place..<place + count].withUnsafeBytes { try stream.write($0) }
        place += count
        if Int.random(in: 0..<4, using: &generator) == 0 { try stream.flush() }
      }
      try stream.finish()
      #expect(collected.pieces.allSatisfy { (1...65_536).contains($0) })

      let reader = decompressor(collected.bytes, partBytes: Int.random(in: 1...100_000, using: &generator))
      var read: [UInt8] = []
      var room = [UInt8](repeating: 0, count: 200_000)
      while read.count < content.count {
        let wanted = Int.random(in: 1...200_000, using: &generator)
        if wanted % 3 == 0 {
          read += try reader.read(count: min(wanted, content.count - read.count))
        } else {
          let count = try room.withUnsafeMutableBytes {
            try reader.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[..<wanted]))
          }
          try #require((1...wanted).contains(count))
          read += room[..<count]
        }
      }
      #expect(read == content)
      #expect(try readToEnd(reader) == [])
      #expect(try readToEnd(reader) == [])
    }
  }

  @Test("the tool reads what is written")
  func theToolReadsWhatIsWritten() throws {
    var generator = printedGenerator()
    let content = Self.content(&generator, byteCount: 500_000)
    #expect(try output(of: "zstd", ["-dc"], input: compressed(content)) == content)
  }

  @Test("what was flushed can be read before the stream goes on")
  func whatWasFlushedCanBeReadBeforeTheStreamGoesOn()
    throws
  {
    let collected = Collected()
    let stream = compressor(into: collected)
    var given = 0
    struct NothingYet: Error {}
    let reader = StreamDecompressor(maximumWindowLog: 20) {
      if given == collected.bytes.count { throw NothingYet() }
      defer { given = collected.bytes.count }
      return Array(collected.bytes[given...])
    }
    for turn in 1...50 {
      let message = Array("message \(turn)".utf8)
      try message.withUnsafeBytes { try stream.write($0) }
      #expect(given == collected.bytes.count, "a message of some bytes stays inside")
      // What the source throws is passed on and spoils nothing.
      #expect(throws: NothingYet.self) { _ = try reader.read(count: 1) }
      try stream.flush()
      #expect(try reader.read(count: message.count) == message)
    }
    // A second flush has nothing to say.
    try stream.flush()
    #expect(given == collected.bytes.count)
    try stream.finish()
    #expect(throws: NothingYet.self) { _ = try reader.read(count: 1) }
  }

  @Test("nothing goes on after the end or a failure")
  func nothingGoesOnAfterTheEndOrAFailure() throws {
    let stream = compressor(into: Collected())
    try stream.finish()
    #expect(throws: CatalogError.self) { try [1].withUnsafeBytes { try stream.write($0) } }
    #expect(throws: CatalogError.self) { try stream.finish() }

    struct Full: Error {}
    let failing = StreamCompressor(level: 3, windowLog: 17) { _ in throw Full() }
    try [1].withUnsafeBytes { try failing.write($0) }
    #expect(throws: Full.self) { try failing.flush() }
    #expect(throws: CatalogError.self) { try failing.flush() }
  }

  @Test("a stream that is cut off is an error")
  func aStreamThatIsCutOffIsAnError() throws {
    let content = Array("a small stream, a small stream of some sentences, sentences of a stream".utf8)
    let whole = try compressed(content)
    for count in 1..<whole.count {
      for partBytes in [1, 1000] {
        let reader = decompressor(Array(whole[..<count]), partBytes: partBytes)
        #expect(throws: CatalogError.self, "\(count) of \(whole.count) bytes") { try readToEnd(reader) }
        // And again.
        #expect(throws: CatalogError.self) { try readToEnd(reader) }
      }
    }
    // A source that gives nothing at all has ended, which is an error for whoever needs a byte.
    #expect(try readToEnd(decompressor([])) == [])
    #expect(throws: CatalogError.self) { try decompressor([]).read(count: 1) }
    #expect(throws: CatalogError.self) { try decompressor(whole).read(count: content.count + 1) }
  }

  @Test("a flipped bit is found by the end of the stream")
  func aFlippedBitIsFoundByTheEndOfTheStream() throws {
    var generator = printedGenerator()
    let content =
      Array("all the small things of the small stream".utf8) + generator.bytes(40)
      + [UInt8](repeating: 1, count: 500)
    let whole = try compressed(content)
    for bit in 0..<whole.count * 8 {
      var damaged = whole
      damaged[bit / 8] ^= 1 << UInt8(bit % 8)
      let reader = decompressor(damaged, partBytes: [1, 17, 1000][bit % 3])
      do {
        // Bits without a meaning there are.
        #expect(try readToEnd(reader) == content, "bit \(bit)")
      } catch {
        #expect(error is CatalogError && !"\(error)".isEmpty, "bit \(bit): \(error)")
      }
    }
  }

  @Test("random bytes never crash")
  func randomBytesNeverCrash() throws {
    var generator = printedGenerator()
    let large = try compressed(Self.content(&generator, byteCount: 100_000))
    for turn in 0..<300 {
      var bytes = large
      for _ in 0...turn % 20 {
        bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
      }
      _ = try? readToEnd(decompressor(bytes), roomBytes: 100_000)
      _ = try? readToEnd(decompressor([0x28, 0xB5, 0x2F, 0xFD] + generator.bytes(50)))
    }
  }

  /// Skippable frames and the magic numbers of all older formats, which libzstd may know.
  @Test(
    "frames of other kinds are refused",
    arguments: [
      0x184D_2A50, 0x184D_2A5F, 0xFD2F_B522, 0xFD2F_B525, 0xFD2F_B527, 0xFD2F_B529, 0xEC30_A437,
    ] as [UInt32])
  func framesOfOtherKindsAreRefused(_ magic: UInt32) throws {
    let other = (0..<4).map { UInt8(truncatingIfNeeded: magic >> (8 * $0)) } + [0, 0, 0, 0]
    let content = Array("content".utf8)
    for partBytes in [1, 1000] {
      #expect(throws: CatalogError.self) { try readToEnd(decompressor(other, partBytes: partBytes)) }
      let second = try decompressor(compressed(content) + other, partBytes: partBytes)
      #expect(try second.read(count: content.count) == content)
      #expect(throws: CatalogError.self) { try second.read(count: 1) }
    }
  }

  @Test("frames that follow each other are one stream")
  func framesThatFollowEachOtherAreOneStream() throws {
    let bytes = try compressed([1, 2, 3]) + compressed([]) + compressed([4])
    for partBytes in 1...bytes.count {
      #expect(try readToEnd(decompressor(bytes, partBytes: partBytes)) == [1, 2, 3, 4])
    }
  }

  @Test("a larger window than allowed is refused")
  func aLargerWindowThanAllowedIsRefused() throws {
    let collected = Collected()
    let stream = compressor(windowLog: 24, into: collected)
    // The window of a stream whose length is not known is the one that was asked for.
    try [1].withUnsafeBytes { try stream.write($0) }
    try stream.flush()
    let error = #expect(throws: CatalogError.self) { try decompressor(collected.bytes).read(count: 1) }
    #expect(error?.description == "a compressed stream asks for a larger window than is allowed")
    let patient = StreamDecompressor(maximumWindowLog: 24, source: source(collected.bytes, partBytes: 100))
    #expect(try patient.read(count: 1) == [1])
  }

  @Test("impossible windows are refused")
  func impossibleWindowsAreRefused() {
    let writer = StreamCompressor(level: 3, windowLog: 40) { _ in }
    #expect(throws: CatalogError.self) { try writer.flush() }
    let reader = StreamDecompressor(maximumWindowLog: 40) { nil }
    #expect(throws: CatalogError.self) { try readToEnd(reader) }
  }

  @Test("a source that gives nothing is given up")
  func aSourceThatGivesNothingIsGivenUp() throws {
    var calls = 0
    let reader = StreamDecompressor(maximumWindowLog: 20) {
      calls += 1
      return []
    }
    #expect(throws: CatalogError.self) { try reader.read(count: 1) }
    #expect(calls == 16)
    // Some empty parts between others do no harm.
    let whole = try compressed([1, 2, 3])
    var turn = 0
    let patient = StreamDecompressor(maximumWindowLog: 20) {
      turn += 1
      if turn % 10 != 0 { return [] }
      return turn / 10 <= whole.count ? [whole[turn / 10 - 1]] : nil
    }
    #expect(try readToEnd(patient) == [1, 2, 3])
  }

  /// In a process of its own, whose memory is nobody else's.
  @Test("a gibibyte of zeros needs no more memory than its window")
  func aGibibyteOfZerosNeedsNoMoreMemoryThanItsWindow() async {
    await #expect(processExitsWith: .success) {
      func peakKibibytes() throws -> Int {
        let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }!
        return Int(line.split(whereSeparator: { !$0.isNumber })[0])!
      }
      let collected = Collected()
      let stream = compressor(level: 1, windowLog: 20, into: collected)
      let part = [UInt8](repeating: 0, count: 1 << 20)
      for _ in 0..<1024 { try part.withUnsafeBytes { try stream.write($0) } }
      try stream.finish()
      precondition(collected.bytes.count < 200_000)

      let before = try peakKibibytes()
      let reader = decompressor(collected.bytes, partBytes: 1 << 20)
      var room = [UInt8](repeating: 1, count: 64 << 10)
      var read = 0
      while true {
        let count = try room.withUnsafeMutableBytes { try reader.read(into: $0) }
        if count == 0 { break }
        read += count
      }
      precondition(read == 1 << 30 && room.allSatisfy { $0 == 0 })
      let grown = try peakKibibytes() - before
      precondition(grown < 4096, "\(grown) KiB")
    }
  }
}

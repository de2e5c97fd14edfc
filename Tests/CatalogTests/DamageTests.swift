import Model
import TestSupport
import Testing

@testable import Catalog

/// Damage by accident: whatever byte of a catalog is lost or changed, reading says so.
@Suite struct DamageTests {
  private static func smallTree() -> TestDirectory {
    var generator = SeededGenerator(seed: 20)
    var root = TestDirectory()
    var link = NewEntry.file()
    link.kind = .symbolicLink
    link.target = name("target")
    var attributed = NewEntry.file("x")
    attributed.attributes = AttributeBlock([(name("user.a"), generator.bytes(8))])
    var child = TestDirectory()
    child.files = [(name("in"), .file("in"))]
    root.files = [(name("a"), attributed), (name("b"), link)]
    root.directories = [(name("c"), child)]
    return root
  }

  private func fill(_ summary: inout CatalogSummary) {
    summary.label = name("localhost")
    summary.sources = [name("/home")]
    summary.repositoryID = name("0123456789abcdef")
    summary.files = 3
  }

  private enum Reading {
    case refused
    case same
    case different
  }

  /// Any error but the catalog's own would be a bug too, and a trap would end the test.
  private func read(_ bytes: [UInt8], original: CatalogContent) throws -> Reading {
    do {
      return try readAll(MemoryCatalog(bytes: bytes)) == original ? .same : .different
    } catch is CatalogError { return .refused }
  }

  @Test("a small catalog that is cut anywhere is refused")
  func aSmallCatalogCutAnywhere() throws {
    let file = try writeCatalog(Self.smallTree(), edit: fill)
    let original = try readAll(file)
    let bytes = file.bytes
    #expect(try read(bytes, original: original) == .same)
    for length in 0..<bytes.count {
      let result = try read(Array(bytes[..<length]), original: original)
      #expect(result == .refused, "cut at \(length) of \(bytes.count)")
    }
  }

  @Test("a small catalog with any flipped bit is refused")
  func aSmallCatalogWithAnyBitFlipped() throws {
    let file = try writeCatalog(Self.smallTree(), edit: fill)
    let original = try readAll(file)
    var bytes = file.bytes
    print("\(bytes.count * 8) bits")
    for bit in 0..<bytes.count * 8 {
      bytes[bit / 8] ^= 1 << (bit % 8)
      let result = try read(bytes, original: original)
      #expect(result == .refused, "bit \(bit % 8) of byte \(bit / 8) of \(bytes.count)")
      bytes[bit / 8] ^= 1 << (bit % 8)
    }
  }

  @Test("added bytes are noticed anywhere")
  func bytesAddedAnywhere() throws {
    let file = try writeCatalog(Self.smallTree(), edit: fill)
    let original = try readAll(file)
    for index in stride(from: 0, through: file.bytes.count, by: 3) {
      var bytes = file.bytes
      bytes.insert(0, at: index)
      #expect(try read(bytes, original: original) == .refused, "a byte more at \(index)")
    }
  }

  @Test("a large catalog that is cut, overwritten or mixed up at random does no harm")
  func aLargeCatalogCutOverwrittenAndMixedUpAtRandom() throws {
    var generator = printedGenerator()
    let file = try writeCatalog(generator.tree(depth: 2, files: 60, directories: 7), writers: 2)
    #expect(file.frameOffsets.count > 3)
    let original = try readAll(file)
    let whole = file.bytes
    for _ in 0..<40 {
      let length = Int.random(in: 0..<whole.count, using: &generator)
      #expect(try read(Array(whole[..<length]), original: original) == .refused, "cut at \(length)")
    }
    for _ in 0..<40 {
      var bytes = whole
      let bit = Int.random(in: 0..<bytes.count * 8, using: &generator)
      bytes[bit / 8] ^= 1 << (bit % 8)
      #expect(try read(bytes, original: original) == .refused, "bit \(bit)")
    }
    for _ in 0..<40 {
      var bytes = whole
      let start = Int.random(in: 0..<bytes.count, using: &generator)
      let end = min(bytes.count, start + Int.random(in: 1...4096, using: &generator))
      for index in start..<end { bytes[index] = UInt8.random(in: 0...255, using: &generator) }
      if bytes == whole { continue }
      #expect(try read(bytes, original: original) == .refused, "noise from \(start) to \(end)")
    }
    // A block of another part of the file, as a confused disk delivers it.
    for _ in 0..<40 {
      var bytes = whole
      let from = Int.random(in: 0..<bytes.count - 600, using: &generator)
      let to = Int.random(in: 0..<bytes.count - 600, using: &generator)
      bytes.replaceSubrange(to..<to + 512, with: whole[from..<from + 512])
      if bytes == whole { continue }
      #expect(try read(bytes, original: original) == .refused, "block of \(from) at \(to)")
    }
  }

  /// Frames are sound, each of them, but not of this catalog.
  @Test("a frame of another catalog is not taken")
  func aFrameOfAnotherCatalogIsNotTaken() throws {
    var other = Self.smallTree()
    other.directories[0].directory.files[0].entry = .file("IN")
    let a = try writeCatalog(Self.smallTree(), edit: fill)
    let b = try writeCatalog(other, edit: fill)
    let (first, second) = (a.bytes, b.bytes)
    guard first.count == second.count else { return }
    let original = try readAll(a)
    let frame = Int(a.frameOffsets[0])
    let end = frame + Int(try Frame.byteCount(header: Array(first[frame...]), number: 0, left: 1 << 20))
    var mixed = first
    mixed.replaceSubrange(frame..<end, with: second[frame..<end])
    #expect(try read(mixed, original: original) == .refused)
  }

  @Test("files that are no catalogs are refused", arguments: [0, 1, 15, 16, 23, 24, 39, 40])
  func filesThatAreNoCatalogs(_ length: Int) throws {
    for byte in [0, 0x74, 0xFF] as [UInt8] {
      #expect(throws: CatalogError.self) {
        _ = try readAll(MemoryCatalog(bytes: [UInt8](repeating: byte, count: length)))
      }
    }
  }

  @Test("a newer format is named")
  func aNewerFormatIsNamed() throws {
    var bytes = try writeCatalog(Self.smallTree()).bytes
    bytes[16] = 3
    let error = #expect(throws: CatalogError.self) { _ = try readAll(MemoryCatalog(bytes: bytes)) }
    #expect(error?.description.contains("use a newer treering") == true)
  }
}

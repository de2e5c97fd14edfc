import Model
import Testing

@testable import Catalog

@Suite struct SharedRecordTests {
  /// Forty-five records, each naming the next twice, are 2^45 paths: a few bytes that claim a tree without end.
  @Test("a tree that few bytes claim without end is refused")
  func aTreeThatFewBytesClaimWithoutEndIsRefused() throws {
    let file = MemoryCatalog()
    let writer = FrameWriter(sink: file)
    let hasher = SHA256()
    let (a, b) = (name("a"), name("b"))
    let plain = TestDirectory()
    var subtree: Subtree?
    for _ in 0..<45 {
      let encoder = RecordEncoder()
      encoder.begin(with: plain.metadata, flags: plain.flags, attributes: plain.attributes)
      if let subtree {
        encoder.append(a.span, subtree)
        encoder.append(b.span, subtree)
      }
      subtree = try encoder.finish(plain.hints, blocks: 8, into: writer, hasher: hasher)
    }
    try writer.flush()
    file.append(
      try CatalogFormat.ending(
        CatalogSummary(root: subtree!), frameOffsets: file.frameOffsets, at: file.byteCount, writer: writer))
    let bomb = CatalogReader(reading: try OpenCatalog(reading: file))
    let empty = CatalogReader(reading: try OpenCatalog(reading: try writeCatalog(plain)))
    var changes = 0
    #expect(throws: CatalogError.self) {
      try compareCatalogs(empty, right: bomb) { _ in changes += 1 }
    }
    #expect(changes < 1_000_000)
  }
}

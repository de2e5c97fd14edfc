import Model
import TestSupport
import Testing

@testable import Catalog

@Suite struct RoundTripTests {
  private func expectRoundTrip(_ tree: TestDirectory, writers: Int = 1) throws {
    let file = try writeCatalog(tree, writers: writers)
    let expected = try expectedEntries(tree)
    let found = try readAll(file).entries
    #expect(found.count == expected.count)
    // One message for the first difference, and not two pages of entries.
    if let i = zip(found, expected).enumerated().first(where: { $0.1.0 != $0.1.1 })?.offset {
      Issue.record("entry \(i): found \(found[i]), expected \(expected[i])")
    }
  }

  @Test("an empty directory has no entries")
  func anEmptyDirectory() throws { try expectRoundTrip(TestDirectory()) }

  @Test("every kind of entry comes back with every extra")
  func everyKindWithEveryExtra() throws {
    var generator = SeededGenerator(seed: 1)
    var root = TestDirectory()
    for kind in EntryKind.allCases where kind != .directory {
      for extra in 0..<4 {
        var entry = NewEntry(
          kind: kind,
          metadata: Metadata(
            permissions: 0o7777, user: .max, group: .max,
            modified: Timestamp(seconds: -1, nanoseconds: 999_999_999)),
          hints: Hints(
            sourceInode: .max, changed: Timestamp(seconds: .min, nanoseconds: 999_999_999),
            storedInode: .max, flags: [.racy, .notStored, .ownerNotStored, .attributesNotStored]))
        if kind == .regular { entry.size = 12 }
        if kind == .symbolicLink { entry.target = Array("../\u{1b}[31m\n".utf8) + [0xFF] }
        if kind == .blockDevice || kind == .characterDevice { entry.device = 8 << 32 | 1 }
        if extra & 1 != 0 {
          entry.attributes = AttributeBlock([
            (name("user.b"), [0, 1, 2]), (name("user.a"), []),
            (name("user.") + [UInt8](repeating: 0xFE, count: 250), generator.bytes(65536)),
          ])
        }
        if extra & 2 != 0 { entry.linkGroup = 0xDEAD_BEEF_0000_0001 }
        root.files.append((name("\(kind.rawValue)-\(extra)"), entry))
      }
    }
    try expectRoundTrip(root)
  }

  @Test("directories keep their own flags, attributes and hints")
  func directoriesKeepTheirOwnFlagsAttributesAndHints()
    throws
  {
    var root = TestDirectory()
    root.flags = .synthetic
    for flags in [EntryFlags(), .incomplete, .synthetic, [.incomplete, .synthetic]] {
      var child = TestDirectory()
      child.flags = flags
      child.attributes = AttributeBlock([(name("system.posix_acl_default"), [2, 0, 0, 0])])
      child.hints = Hints(
        sourceInode: 1, changed: Timestamp(seconds: 2, nanoseconds: 3), storedInode: 4, flags: .racy)
      child.files = [(name("f"), .file("x"))]
      root.directories.append((name("d\(flags.rawValue)"), child))
    }
    root.directories.sort { $0.name.lexicographicallyPrecedes($1.name) }
    try expectRoundTrip(root)
  }

  @Test("names of any bytes come back")
  func namesOfAnyBytes() throws {
    var names: [[UInt8]] = (1...255).map { [UInt8($0)] }
    names += (1...255).map { [UInt8](repeating: UInt8($0), count: 255) }
    names += [name("..."), name(".a"), name("a."), name("-rf"), name("a b"), [0xFF, 0xFE], [0x2E, 0xFF]]
    names.removeAll { $0 == name(".") || $0.contains(UInt8(ascii: "/")) }
    names.sort { $0.lexicographicallyPrecedes($1) }
    var root = TestDirectory()
    root.files = names.map { ($0, .file()) }
    root.directories = names.map { ($0 + ($0.count < 255 ? [1] : []), TestDirectory()) }
    root.files.removeAll { $0.name.count == 255 }
    let taken = Set(root.directories.map(\.name))
    root.files.removeAll { taken.contains($0.name) }
    root.directories.sort { $0.name.lexicographicallyPrecedes($1.name) }
    try expectRoundTrip(root)
  }

  @Test("a deep tree comes back")
  func aDeepTree() throws {
    var tree = TestDirectory()
    tree.files = [(name("bottom"), .file("b"))]
    for level in 0..<400 {
      var above = TestDirectory()
      above.files = [(name("f"), .file("\(level)"))]
      above.directories = [(name("d"), tree)]
      tree = above
    }
    try expectRoundTrip(tree)
  }

  @Test("a directory of a hundred thousand entries is one record in one frame")
  func aDirectoryOfAHundredThousandEntriesIsOneRecordInOneFrame() throws {
    var root = TestDirectory()
    root.files = (100_000..<200_000).map { number in
      var entry = NewEntry.file("")
      entry.size = UInt64(number)
      entry.digest = ContentDigest(Digest([UInt8](repeating: UInt8(number & 0xFF), count: 32))!)
      entry.hints.storedInode = UInt64(number) * 3
      return (name("file\(number)"), entry)
    }
    let file = try writeCatalog(root)
    #expect(file.frameOffsets.count == 1)
    try expectRoundTrip(root)
    let reader = CatalogReader(reading: try OpenCatalog(reading: file))
    guard case .file(let row, _)? = try reader.find([name("file150000")]) else {
      Issue.record("not found")
      return
    }
    #expect(row.size == 150_000 && row.hints.storedInode == 450_000)
  }

  @Test("many frames by writers in turn come back")
  func manyFramesByWritersInTurn() throws {
    var generator = printedGenerator()
    let tree = generator.tree(depth: 3, files: 12, directories: 6)
    let file = try writeCatalog(tree, writers: 3)
    #expect(file.frameOffsets.count > 3)
    for writers in 1...3 { try expectRoundTrip(tree, writers: writers) }
  }

  @Test("random trees come back")
  func randomTrees() throws {
    var generator = printedGenerator()
    for _ in 0..<40 {
      let files = Int.random(in: 0...20, using: &generator)
      let directories = Int.random(in: 0...3, using: &generator)
      try expectRoundTrip(generator.tree(depth: 2, files: files, directories: directories))
    }
  }

  @Test("the trailer keeps everything")
  func theTrailerKeepsEverything() throws {
    let file = try writeCatalog(TestDirectory()) {
      $0.sequence = UInt64(Int64.max)
      $0.started = Timestamp(seconds: 1, nanoseconds: 2)
      $0.finished = Timestamp(seconds: -3, nanoseconds: 999_999_999)
      $0.outcome = .warnings
      ($0.files, $0.directories, $0.warnings) = (4, 5, 6)
      ($0.filesLinked, $0.filesCopied, $0.bytesCopied) = (7, 8, 9)
      $0.label = [0xFF, 10]
      $0.sources = [name("/home"), name("/etc"), [0x2F, 0xFE]]
      $0.repositoryID = name("0123456789abcdef0123456789abcdef")
      $0.fileSystemID = 0xFFFF_0000_FFFF_0001
      $0.program = name("treering 9")
    }
    let s = try OpenCatalog(reading: file).summary
    #expect(s.sequence == UInt64(Int64.max) && s.outcome == .warnings && s.outcome.word == "warnings")
    #expect(s.started == Timestamp(seconds: 1, nanoseconds: 2))
    #expect(s.finished == Timestamp(seconds: -3, nanoseconds: 999_999_999))
    #expect([s.files, s.directories, s.warnings] == [4, 5, 6])
    #expect([s.filesLinked, s.filesCopied, s.bytesCopied] == [7, 8, 9])
    #expect(s.label == [0xFF, 10] && s.sources == [name("/home"), name("/etc"), [0x2F, 0xFE]])
    #expect(s.repositoryID == name("0123456789abcdef0123456789abcdef"))
    #expect(s.fileSystemID == 0xFFFF_0000_FFFF_0001 && s.program == name("treering 9"))
  }

  @Test("totals count entries and bytes of regular files")
  func totalsCountEntriesAndBytesOfRegularFiles() throws {
    var child = TestDirectory()
    child.files = [(name("a"), .file("12345")), (name("b"), .file("123"))]
    var root = TestDirectory()
    var link = NewEntry.file()
    link.kind = .symbolicLink
    link.target = name("elsewhere")
    root.files = [(name("l"), link), (name("z"), .file("1"))]
    root.directories = [(name("d"), child), (name("e"), child)]
    let totals = try OpenCatalog(reading: try writeCatalog(root)).summary.root.totals
    #expect(totals == Totals(entries: 9, bytes: 17))
  }

  /// What was written and published must be readable: else the snapshot is lost.
  @Test("content that compresses extremely well is read back")
  func contentThatCompressesExtremelyWellIsReadBack()
    throws
  {
    var attributes = TestDirectory()
    for index in 100..<300 {
      var entry = NewEntry.file()
      entry.attributes = AttributeBlock([(name("user.x"), [UInt8](repeating: 0, count: 65536))])
      attributes.files.append((name("f\(index)"), entry))
    }
    try expectRoundTrip(attributes)
    var links = TestDirectory()
    for index in 1000..<6000 {
      var entry = NewEntry.file()
      entry.kind = .symbolicLink
      entry.target = [UInt8](repeating: UInt8(ascii: "a"), count: 4095)
      links.files.append((name("l\(index)"), entry))
    }
    try expectRoundTrip(links)
  }

  /// Some file systems (tmpfs, XFS, btrfs) take thousands of attributes of 64 KiB each for one file.
  @Test("more attributes than a record may hold are refused when written or read back")
  func moreAttributesThanARecordMayHoldAreRefusedWhenWrittenOrReadBack() throws {
    var root = TestDirectory()
    var entry = NewEntry.file()
    entry.attributes = AttributeBlock(
      (100..<400).map { (name("user.\($0)"), [UInt8](repeating: UInt8($0 & 0xFF), count: 65536)) })
    root.files = [(name("f"), entry)]
    let file: MemoryCatalog
    do { file = try writeCatalog(root) } catch is CatalogError { return }
    #expect(throws: Never.self) { _ = try readAll(file) }
  }
}

import Foundation
import Posix
import TestSupport
import Testing

@Suite struct DirectoryListingTests {
  private func listed(_ scratch: ScratchDirectory) throws -> [[UInt8]] {
    var listing = DirectoryListing()
    let directory = try scratch.directory.descriptor.reopenDirectory()
    try listing.read(directory)
    return listing.entries.map { Array(listing.bytes[$0.range]) }
  }

  private func expectOrderOfSort(_ names: [[UInt8]]) throws {
    let scratch = try ScratchDirectory()
    for name in names { try scratch.makeFile(name) }
    let input: [UInt8] = names.flatMap { $0 + [0] }
    let theirs = try output(of: "sort", ["-z"], input: input).split(separator: 0).map { [UInt8]($0) }
    #expect(theirs.count == names.count)
    #expect(try listed(scratch) == theirs)
  }

  @Test("an empty directory has no entries")
  func anEmptyDirectory() throws {
    #expect(try listed(try ScratchDirectory()) == [])
  }

  @Test("odd names are listed")
  func oddNames() throws {
    var names: [[UInt8]] = [
      "a", "A", "aa", "a.", "a-", "a b", "...", "..a", ".a", "-", "--", "~", "a\nb", "\u{1b}[0m",
      "file", "file1", "file10", "file2", "filf", "abcdefgh", "abcdefghi", "abcdefgg", "abcdefghh",
      "ä", "日本",
    ].map(name)
    names += [[0x01], [0x7F], [0x80], [0xFF], [0xFF, 0xFF], [0xC3], [0xC3, 0x28]]
    names += [[UInt8](repeating: 0xFF, count: 255), [UInt8](repeating: 97, count: 255)]
    names += [[UInt8](repeating: 97, count: 254) + [98], [UInt8](repeating: 97, count: 254)]
    try expectOrderOfSort(names)
  }

  /// All names share more than the eight bytes of the sort key, or end inside it.
  @Test("names with a shared prefix are listed", arguments: ["", "x", "prefix-of-some-length-", "\u{ff}"])
  func namesWithASharedPrefix(_ prefix: String) throws {
    var names = Set<[UInt8]>()
    for tail in ["", "1", "12", "12345678", "123456789", "12345678a", "1234567", "1234567\u{1}", "\u{1}", "\u{7f}"] {
      names.insert(name(prefix + tail))
    }
    names.remove([])
    try expectOrderOfSort(Array(names))
  }

  @Test("a single name is listed")
  func aSingleName() throws { try expectOrderOfSort([name("one")]) }

  @Test("five thousand names are listed")
  func fiveThousandNames() throws {
    var seed: UInt64 = 42
    func next() -> UInt64 {
      seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return seed >> 33
    }
    var names = Set<[UInt8]>()
    while names.count < 2500 {
      let bytes = (0...next() % 20).map { _ in UInt8(truncatingIfNeeded: next()) }
      let clean = bytes.map { $0 == 0 || $0 == 0x2F ? 0x30 : $0 }
      if clean != [0x2E], clean != [0x2E, 0x2E] { names.insert(clean) }
    }
    for number in 0..<2500 { names.insert(name("file\(number)")) }
    try expectOrderOfSort(Array(names))
  }

  @Test("inodes and types are the entries' own")
  func inodesAndTypesAreTheEntriesOwn() throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"))
    let (d, l) = (name("d"), name("l"))
    try scratch.directory.descriptor.makeDirectory(d.span, mode: 0o700)
    try scratch.directory.descriptor.makeSymbolicLink(l.span, to: d)
    var listing = DirectoryListing()
    try listing.read(scratch.directory.descriptor)
    #expect(listing.entries.map { $0.isSurelyDirectory } == [true, false, false])
    for entry in listing.entries {
      let bytes = Array(listing.bytes[entry.range])
      #expect(try scratch.directory.descriptor.status(of: bytes.span).inode == entry.inode)
    }
  }

  @Test("a listing is used again")
  func aListingIsUsedAgain() throws {
    let (first, second) = (try ScratchDirectory(), try ScratchDirectory())
    for index in 0..<300 { try first.makeFile(name("a\(index)")) }
    try second.makeFile(name("only"))
    var listing = DirectoryListing()
    try listing.read(first.directory.descriptor)
    #expect(listing.entries.count == 300)
    listing.trim()
    try listing.read(second.directory.descriptor)
    #expect(listing.entries.map { Array(listing.bytes[$0.range]) } == [name("only")])
  }

  @Test("a file is no directory")
  func aFileIsNoDirectory() throws {
    let scratch = try ScratchDirectory()
    try scratch.makeFile(name("f"))
    let f = name("f")
    let file = try scratch.directory.descriptor.open(f.span, .read)
    var listing = DirectoryListing()
    #expect(throws: Errno.notADirectory) { try listing.read(file) }
  }
}

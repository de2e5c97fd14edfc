import Model
import TestSupport
import Testing

@testable import Restic

@Suite struct DiskTableTests {
  private func id(_ random: inout SeededGenerator, start: UInt64?) -> Digest {
    Digest(words: (start ?? random.next(), random.next(), random.next(), random.next()))
  }

  @Test(
    "every blob is found by its name, and no other",
    arguments: [(0, false), (1, false), (500, false), (70_000, false), (3000, true)])
  func lookups(count: Int, isHostile: Bool) throws {
    var random = SeededGenerator(seed: 7)
    let builder = try DiskTable<BlobEntry>.Builder()
    var entries: [BlobEntry] = []
    for number in 0..<count {
      // A hostile author may choose IDs with one start, but needs the password.
      let name = BlobName(number % 3 == 0 ? .tree : .data, id(&random, start: isHostile ? 42 : nil))
      let blob = try PackedBlob(
        name: name, offset: UInt32(number), byteCount: 100, plainByteCount: number % 2 == 0 ? 0 : 1 << 30)
      entries.append(BlobEntry(blob, pack: UInt32(number / 7)))
    }
    for start in stride(from: 0, to: count, by: 999) {
      try builder.append(Array(entries[start..<min(start + 999, count)]))
    }
    let table = try builder.finish()
    for (number, entry) in entries.enumerated() {
      let found = try #require(try table.entries(of: entry.id).first { $0.name == entry.name })
      #expect(found.pack == entry.pack && found.offset == UInt32(number) && found.byteCount == 100)
      #expect(found.name == entry.name && found.plainByteCount == (number % 2 == 0 ? 0 : 1 << 30))
      #expect(try table.entries(of: entry.id).count == 1)
    }
    let absent = id(&random, start: nil)
    #expect(try table.entries(of: absent).isEmpty)
    var all: [Digest] = []
    try table.forEach { all += $0.map(\.id) }
    #expect(table.count == count && all.count == count && Set(all) == Set(entries.map(\.id)))
  }

  @Test("additions are found, also when they are many")
  func additions() throws {
    var random = SeededGenerator(seed: 8)
    let index = BlobIndex.empty
    var names: [(pack: Digest, name: BlobName)] = []
    for _ in 0..<25 {
      let pack = id(&random, start: nil)
      let blobs = try (0..<10_000).map { number in
        try PackedBlob(
          name: BlobName(.data, id(&random, start: nil)), offset: UInt32(number), byteCount: 50, plainByteCount: 0)
      }
      try index.add(pack, blobs)
      names += blobs.map { (pack, $0.name) }
    }
    for (pack, name) in names where name.id.words.0 % 16 == 0 {
      #expect(try index.place(of: name)?.pack == pack)
    }
    #expect(index.packIDs == Set(names.map(\.pack)))
  }
}

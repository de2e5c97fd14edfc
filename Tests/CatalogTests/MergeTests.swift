import TestSupport
import Testing

@testable import Catalog

/// The order in which a merge of two records gives their entries, against sets of names.
@Suite struct MergeTests {
  @Test("every name comes once and in order", arguments: 1...20)
  func everyNameComesOnceAndInOrder(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    func names() -> Set<[UInt8]> {
      Set(
        (0..<Int.random(in: 0...30, using: &random)).map { _ in (0..<2).map { _ in random.next() % 4 < 1 ? 255 : 65 } }
      )
      .union((0..<Int.random(in: 0...8, using: &random)).map { _ in [UInt8.random(in: 48..<58, using: &random)] })
    }
    let (left, right) = (names(), names())
    let (leftBelow, rightBelow) = (Set(names().map { $0 + [46] }), Set(names().map { $0 + [46] }))
    let records = try [(left, leftBelow), (right, rightBelow)].map { files, directories in
      var directory = TestDirectory()
      directory.files = files.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, .file()) }
      directory.directories = directories.sorted { $0.lexicographicallyPrecedes($1) }.map { ($0, TestDirectory()) }
      return try CatalogReader(reading: OpenCatalog(reading: writeCatalog(directory))).root()
    }
    func check(
      _ found: [(left: Range<Int>?, right: Range<Int>?)], _ left: Set<[UInt8]>, _ right: Set<[UInt8]>
    ) {
      let names = found.map { Array($0.left.map { records[0].bytes[$0] } ?? records[1].bytes[$0.right!]) }
      #expect(names == left.union(right).sorted { $0.lexicographicallyPrecedes($1) })
      for (name, (left:one, right:other)) in zip(names, found) {
        #expect((one != nil) == left.contains(name) && (other != nil) == right.contains(name))
        if let one, let other { #expect(records[0].bytes[one] == records[1].bytes[other]) }
      }
    }
    var merge = try RecordMerge(records[0], records[1])
    var files: [(left: Range<Int>?, right: Range<Int>?)] = []
    // A merge may stop before a name and continue.
    let stop: [UInt8] = [65]
    while let pair = try merge.nextFile(before: stop.span) { files.append(pair.map(left: \.name, right: \.name).sides) }
    #expect(files.count == left.union(right).count { $0.lexicographicallyPrecedes(stop) })
    while let pair = try merge.nextFile() { files.append(pair.map(left: \.name, right: \.name).sides) }
    check(files, left, right)
    var directories: [(left: Range<Int>?, right: Range<Int>?)] = []
    while let pair = try merge.nextDirectory() { directories.append(pair.map(left: \.name, right: \.name).sides) }
    check(directories, leftBelow, rightBelow)
  }

  @Test("a missing record has no entries")
  func aMissingRecordHasNoEntries() throws {
    var merge = try RecordMerge(nil, nil)
    let (file, directory) = (try merge.nextFile(), try merge.nextDirectory())
    #expect(file == nil && directory == nil)
  }
}

import Model
import Testing

@testable import Catalog

/// Looking entries up here and there costs no more than looking them up in order.
@Suite struct LookUpTests {
  private func merged(_ directories: Int, files: Int) throws -> MemoryCatalog {
    var root = TestDirectory()
    root.directories = (0..<directories).map { number in
      var directory = TestDirectory()
      directory.files = (0..<files).map { index in
        var entry = NewEntry.file("\(number) \(index)")
        entry.hints.sourceInode = UInt64(number * files + index + 1)
        return (name("file\(10_000 + index)"), entry)
      }
      return (name("c\(1000 + number)"), directory)
    }
    return try writeCatalog(root)
  }

  @Test("neighbours from many directories read each directory once")
  func neighboursFromManyDirectoriesReadEachDirectoryOnce() throws {
    let (directories, files) = (16, 600)
    let file = try merged(directories, files: files)
    let reader = CatalogReader(reading: try OpenCatalog(reading: file))
    let index = try InodeIndex(of: reader)
    let before = file.reads
    for number in 0..<files {
      for directory in 0..<directories {
        let inode = UInt64(directory * files + number + 1)
        let folder = try #require(index.directoriesHolding(inode: inode, on: .unknown).first { _ in true })
        let found = try #require(try reader.findDirectory(index.path(of: folder)))
        let row = try #require(try found.file(sourceInode: inode))
        #expect(row.hints.sourceInode == inode && Array(found.record.bytes[row.name]) == name("file\(10_000 + number)"))
        guard
          case .file(let same, _)? = try reader.find([name("c\(1000 + directory)"), name("file\(10_000 + number)")])
        else {
          Issue.record("not found")
          continue
        }
        #expect(same.hints.sourceInode == inode)
      }
    }
    #expect(file.reads - before <= 2 * directories, "\(file.reads - before) reads")
  }

  /// Any number of honest look-ups is no damage; a walk that does not end is.
  @Test("many look-ups are no damage")
  func manyLookUpsAreNoDamage() throws {
    let file = try merged(2, files: 1)
    let reader = CatalogReader(reading: try OpenCatalog(reading: file))
    reader.paths = PathCache(limit: 0) { _ in 1 }
    for round in 0..<4096 + 16 * file.bytes.count {
      guard try reader.findDirectory([name("c\(1000 + round % 2)")]) != nil else {
        Issue.record("not found")
        return
      }
    }
  }

  @Test("what was used last is kept")
  func whatWasUsedLastIsKept() {
    var recent = RecentValues<Int, String>(limit: 100)
    for number in 0..<1000 {
      recent.keep("\(number)", byteCount: 10, for: number)
      #expect(recent.value(for: number) == "\(number)")
      if number > 0 { #expect(recent.value(for: number - 1) == "\(number - 1)") }
    }
    #expect(recent.value(for: 0) == nil)
  }
}

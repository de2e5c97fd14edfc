import Catalog
import Foundation
import Model
import Posix
import Repository
import Synchronization
import TestSupport
import Testing

@Suite struct CatalogCacheTests {
  @Test("caches that were used least recently are removed, beyond a limit of all their bytes, and nothing else is")
  func limit() throws {
    let directory = try TemporaryDirectory("cache")
    let path = directory.path.text
    let names = "abcd".map { String(repeating: $0, count: 32) }
    var last: CatalogCache?
    for (index, name) in names.enumerated() {
      last = try CatalogCache(at: Array("\(path)/\(name)".utf8), time: Clock.now())
      try last?.repository.withLock(for: "test", at: Clock.now()) {}
      try directory.run(
        """
        head -c 100000 /dev/zero > \(name)/.treering/catalogs/2020-01-01T00-00-00Z.catalog
        touch -d '2020-01-0\(4 - index) 00:00' \(name)/.treering/lock
        """)
    }
    try directory.run("mkdir other; touch \(String(repeating: "e", count: 31))")
    let cache = try #require(last)
    func left() throws -> String { try directory.run("ls -d [abcd]* | cut -c1 | tr -d '\\n'") }
    try cache.removeOthers(beyond: 410_000)
    #expect(try left() == "abcd")
    try cache.removeOthers(beyond: 310_000)
    #expect(try left() == "abd")
    // The cache in use stays, whatever its size.
    try cache.removeOthers(beyond: 10)
    #expect(try left() == "d")
    #expect(try directory.run("ls | wc -l").trimmingCharacters(in: .whitespacesAndNewlines) == "3")
  }

  @Test("copies that a killed process left count, too")
  func leftCopies() throws {
    let directory = try TemporaryDirectory("cache")
    let path = directory.path.text
    let names = "ab".map { String(repeating: $0, count: 32) }
    for name in names { _ = try CatalogCache(at: Array("\(path)/\(name)".utf8), time: Clock.now()) }
    try directory.run(
      "mkdir \(names[0])/2020-01-01T00-00-00Z; head -c 100000 /dev/zero > \(names[0])/2020-01-01T00-00-00Z/copy")
    let cache = try CatalogCache(at: Array("\(path)/\(names[1])".utf8), time: Clock.now())
    try cache.removeOthers(beyond: 90_000)
    #expect(try directory.run("ls").trimmingCharacters(in: .whitespacesAndNewlines) == names[1])
  }

  /// A catalog of a remote that lies about its size.
  private final class EndlessCatalog: CatalogSource {
    let byteCount = UInt64(Int64.max)
    let readCount = Mutex(0)
    func read(at offset: UInt64, count: Int) -> [UInt8] {
      readCount.withLock { $0 += 1 }
      return [UInt8](repeating: 0, count: readCount.withLock { $0 } > 4 ? 0 : count)
    }
  }

  @Test("a catalog that does not fit is not read at all")
  func endless() throws {
    let directory = try TemporaryDirectory("cache")
    let cache = try CatalogCache(at: Array("\(directory.path.text)/c".utf8), time: Clock.now())
    let snapshot = try listedSnapshot()
    var list = SnapshotList()
    list.snapshots = [snapshot]
    let catalog = EndlessCatalog()
    #expect(throws: Errno.noSpace) {
      try cache.update(
        from: list, for: [TreePath(parsing: "localhost/a".utf8)], isThere: { _ in false }, open: { _ in catalog })
    }
    #expect(catalog.readCount.withLock { $0 } == 0)
  }

  private func listedSnapshot() throws -> Snapshot {
    let name = try #require(SnapshotName(Array("2020-01-01T00-00-00Z".utf8)))
    var summary = CatalogSummary(root: Subtree(totals: Totals(entries: 0, bytes: 0)))
    (summary.label, summary.sources) = (Array("localhost".utf8), [Array("/a".utf8)])
    return Snapshot(name: name, summary: summary)
  }
}

import Catalog
import Model
import Posix
import Repository
import TestSupport
import Testing

@testable import Restic

@Suite("the memory of pushes")
struct PushCacheTests {
  private let directory: TemporaryDirectory
  private let file: ControlFile
  private let repository: ResticRepository

  init() throws {
    directory = try TemporaryDirectory("push-cache")
    let root = Directory(try Descriptor.open(path: directory.path.bytes, [.read, .directory]))
    file = ControlFile(named: Array("cache".utf8), in: root, mode: 0o600)
    repository = try ResticRepository.create(
      in: LocalStore.create((directory.path / "repository").bytes), password: [1], host: [2], at: Clock.now())
  }

  private func id(_ number: UInt64) -> Digest { Digest(words: (number &* 0x9E37_79B9_7F4A_7C15, number, 0, 0)) }

  private func open() throws -> PushCache {
    PushCache(from: file, of: repository, index: try BlobIndex.load(of: repository))
  }

  /// Adds the trees of some directories, and a content for each.
  private func push(_ numbers: Range<UInt64>, indexFiles: Set<Digest> = []) throws {
    let cache = try open()
    cache.add(numbers.map { PushedTree(id: id($0), tree: id($0 + 1_000_000)) })
    for number in numbers { cache.add(ContentDigest(id(number), isSparse: number % 2 == 0), chunks: chunks(number)) }
    try cache.save(to: file, of: repository, indexFiles: indexFiles)
  }

  private func chunks(_ number: UInt64) -> [Digest] { (0..<number % 5).map { id(number + $0) } }

  @Test("trees and chunks of several pushes are found, and no others")
  func lookups() throws {
    #expect(try open().trees(of: id(1)).isEmpty)
    try push(0..<3000)
    try push(3000..<3010)
    let cache = try open()
    for number in 0..<3010 as Range<UInt64> {
      #expect(try cache.trees(of: id(number)) == [id(number + 1_000_000)])
      #expect(try cache.chunks(of: ContentDigest(id(number), isSparse: number % 2 == 0)) == [chunks(number)])
      #expect(try cache.chunks(of: ContentDigest(id(number), isSparse: number % 2 == 1)) == [])
    }
    #expect(try cache.trees(of: id(3010)).isEmpty)
  }

  @Test("trees are trusted only while the repository has all indexes of that time")
  func trust() throws {
    try push(0..<10, indexFiles: [id(7)])
    let cache = try open()
    #expect(try cache.trees(of: id(1)).isEmpty)
    #expect(try cache.chunks(of: ContentDigest(id(3))) == [chunks(3)])
  }

  @Test("a damaged cache is empty")
  func damage() throws {
    try push(0..<10)
    let whole = try #require(try file.read(limit: 1 << 20))
    for place in stride(from: 0, to: whole.count, by: 29) {
      var damaged = whole
      damaged[place] ^= 4
      try file.replace(with: damaged)
      #expect(try open().trees(of: id(1)).isEmpty, "\(place)")
      try file.replace(with: Array(whole.prefix(place)))
      #expect(try open().trees(of: id(1)).isEmpty, "\(place)")
    }
  }
}

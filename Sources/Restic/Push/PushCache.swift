internal import Catalog
internal import Model
internal import Repository

/// The local memory of pushes to one repository: the tree of each directory, and the chunks of each large content.
///
/// It can be removed at any time. A tree in it is trusted only while no index has left the repository since: then no
/// pack has, and all that the tree names is there. Chunks are looked up in the index one by one.
struct PushCache {
  private(set) var trees: [Digest: Digest] = [:]
  private(set) var contents: [ContentDigest: [Digest]] = [:]

  private static let magic = Array("treering-restic-cache-1\n".utf8)
  private static let mostBytes = 1 << 30
  /// More entries are not kept. A full cache begins again.
  private static let mostTrees = 4_000_000
  private static let mostChunks = 8_000_000

  init() {}

  /// Reads the cache. One that is damaged, or another repository's, is empty.
  init(from file: ControlFile, of repository: ResticRepository, index: BlobIndex) {
    guard let bytes = try? file.read(limit: Self.mostBytes), bytes.count > Self.magic.count + 32,
      SHA256().digest(of: Array(bytes.dropLast(32))).bytes.elementsEqual(bytes.suffix(32)),
      bytes.starts(with: Self.magic)
    else { return }
    try? read(bytes, of: repository, index: index)
  }

  private mutating func read(_ bytes: [UInt8], of repository: ResticRepository, index: BlobIndex) throws {
    try bytes.withUnsafeBytes { raw in
      var place = Self.magic.count
      let end = raw.count - 32
      func take(_ count: Int) throws -> Int {
        guard count >= 0, count <= end - place else { throw ResticError("a cache is cut off") }
        defer { place += count }
        return place
      }
      func number() throws -> Int {
        Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: try take(4), as: UInt32.self)))
      }
      func digest() throws -> Digest {
        Digest(words: raw.loadUnaligned(fromByteOffset: try take(32), as: (UInt64, UInt64, UInt64, UInt64).self))
      }
      guard try digest() == repository.id else { return }
      var isTrusted = true
      for _ in 0..<(try number()) where !index.files.contains(try digest()) { isTrusted = false }
      let treeCount = try number()
      if isTrusted { trees.reserveCapacity(min(treeCount, end / 64)) }
      for _ in 0..<treeCount {
        let (directory, tree) = (try digest(), try digest())
        if isTrusted { trees[directory] = tree }
      }
      for _ in 0..<(try number()) {
        let content = ContentDigest(try digest(), isSparse: raw[try take(1)] != 0)
        contents[content] = try (0..<(try number())).map { _ in try digest() }
      }
    }
  }

  /// Adds the results of a push.
  mutating func add(trees newTrees: [Digest: Digest], contents newContents: [ContentDigest: [Digest]]) {
    if trees.count + newTrees.count > Self.mostTrees { trees = [:] }
    trees.merge(newTrees) { $1 }
    if contents.values.reduce(0, { $0 + $1.count }) > Self.mostChunks { contents = [:] }
    contents.merge(newContents) { $1 }
  }

  /// The bytes of the file. `indexFiles` are the indexes that name all blobs of the trees.
  func encoded(of repository: ResticRepository, indexFiles: Set<Digest>) -> [UInt8] {
    var bytes = Self.magic
    bytes.reserveCapacity(1024 + 64 * trees.count + 32 * indexFiles.count)
    func append(_ number: Int) { withUnsafeBytes(of: UInt32(number).littleEndian) { bytes += $0 } }
    func append(_ digest: Digest) { withUnsafeBytes(of: digest.words) { bytes += $0 } }
    append(repository.id)
    append(indexFiles.count)
    for file in indexFiles { append(file) }
    append(trees.count)
    for (directory, tree) in trees {
      append(directory)
      append(tree)
    }
    append(contents.count)
    for (content, chunks) in contents {
      append(content.digest)
      bytes.append(content.isSparse ? 1 : 0)
      append(chunks.count)
      for chunk in chunks { append(chunk) }
    }
    return bytes + SHA256().digest(of: bytes).bytes
  }
}

import Catalog
import Engine
import Model
import Posix
import Repository
import TestSupport
import Testing

@testable import Restic

/// A repository whose author has the password, and means no good.
@Suite("a hostile repository of restic's format")
struct HostileRepositoryTests {
  private let directory: TemporaryDirectory
  private let repository: ResticRepository

  init() throws {
    directory = try TemporaryDirectory("restic")
    let password = Array("secret".utf8)
    repository = try ResticRepository.create(
      in: LocalStore.create((directory.path / "repository").bytes), password: password, host: Array("host".utf8),
      at: Clock.now())
  }

  private func saveSnapshot(time: String, tree: Digest) throws {
    let json = #"{"time":"\#(time)","tree":"\#(tree)","paths":["/x"],"hostname":"host","username":"root"}"#
    _ = try repository.save(.snapshots, Array(json.utf8))
  }

  @Test("snapshots of the last second that has a name are named, or called unusable")
  func lastSecond() throws {
    let tree = SHA256().digest(of: [])
    for _ in 0..<3 { try saveSnapshot(time: "9999-12-31T23:59:59Z", tree: tree) }
    let list = try ResticStore(repository).snapshots()
    #expect(list.snapshots.map(\.name.description) == ["9999-12-31T23-59-59Z"])
    #expect(list.unusable.count == 2 && Set(list.unusable.map(\.name)).count == 2)
  }

  @Test("a blob that claims another size is refused", arguments: [UInt32(1), 1 << 20, 1 << 30])
  func sizes(claimed: UInt32) throws {
    let plain = [UInt8](repeating: 7, count: 5000)
    let sealed = repository.key.sealer().seal(plain.withUnsafeBytes { Compressor().compress($0) })
    let blob = try PackedBlob(
      name: BlobName(.data, SHA256().digest(of: plain)), offset: 0, byteCount: UInt32(sealed.count),
      plainByteCount: claimed)
    let reader = BlobReader(repository, index: .empty)
    #expect(throws: ResticError.self) { try reader.open(sealed, of: blob) }
  }

  @Test("a tree that stands in for more directories than a disk can hold is verified once")
  func manyPaths() throws {
    let lock = try RepositoryLock(repository)
    let writer = BlobWriter(repository, index: try BlobIndex.load(of: repository), lock: lock, bytesPerSecond: nil)
    let tools = BlobWriter.Tools(repository)
    func save(_ json: String) throws -> Digest {
      let bytes = Array((json + "\n").utf8)
      let id = tools.hasher.digest(of: bytes)
      try bytes.withUnsafeBytes { _ = try writer.save(BlobName(.tree, id), $0, with: tools) }
      return id
    }
    var tree = try save(#"{"nodes":[]}"#)
    for _ in 0..<60 {
      let nodes = ["a", "b"].map { name in
        #"{"name":"\#(name)","type":"dir","mode":2147484141,"mtime":"2026-01-01T00:00:00Z","atime":"2026-01-01T00:00:00Z","#
          + #""ctime":"2026-01-01T00:00:00Z","uid":0,"gid":0,"content":null,"subtree":"\#(tree)"}"#
      }
      tree = try save(#"{"nodes":[\#(nodes.joined(separator: ","))]}"#)
    }
    try writer.finish()
    try saveSnapshot(time: "2026-01-01T00:00:00Z", tree: tree)
    let store = ResticStore(repository)
    let result = try store.verify(
      store.snapshots().snapshots.map(\.name), options: VerifyOptions(threads: 2), progress: Progress()
    ) { _ in }
    #expect(result.problems == 0)
  }
}

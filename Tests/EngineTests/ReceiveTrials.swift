import Catalog
import Engine
import Foundation
import Model
import Posix
import Repository
import Synchronization
import Testing

/// A snapshot of a world as a client would send it: every record and content comes.
private final class SentTree: WantedTree {
  let summary: CatalogSummary
  let contents: Directory
  private let records: [Digest: DirectoryRecord]

  init(_ world: World, _ snapshot: SnapshotName) throws {
    let repository = try Repository.open(Array(world.repositoryPath.utf8))
    let reader = CatalogReader(reading: try repository.openCatalog(of: snapshot))
    let tree = try repository.openTree(of: snapshot)
    summary = reader.summary
    try world.run("rm -rf contents; mkdir contents")
    contents = Directory(try Descriptor.open(path: Array("\(world.path)/contents".utf8), [.read, .directory]))
    var records: [Digest: DirectoryRecord] = [:]
    var waiting: [(subtree: Subtree, path: TreePath)] = [(summary.root, [])]
    while let (subtree, path) = waiting.popLast() {
      let record = try reader.record(at: subtree.place, for: subtree.digest)
      records[subtree.digest] = try DirectoryRecord(content: Array(record.content))
      let directory = try tree.directory(path: path)
      var position = record.firstFile
      while let row = try record.nextFile(at: &position) {
        guard row.kind == .regular, row.size > 0 else { continue }
        let name = Array(record.bytes[row.name])
        let bytes = try directory.descriptor.openToRead(name.span).read(at: 0, count: Int(row.size))
        try Data(bytes).write(
          to: URL(fileURLWithPath: "\(world.path)/contents/" + String(decoding: row.digest.fileName, as: UTF8.self)))
      }
      waiting += try record.directories(after: position).map { (Subtree($0), path + record.bytes[$0.name]) }
    }
    self.records = records
  }

  func record(for digest: Digest) -> DirectoryRecord? { records[digest] }
  func basePath(of digest: Digest) -> TreePath? { nil }
  func fetchRecord(_ digest: Digest, at path: TreePath) throws -> DirectoryRecord { throw Errno.inputOutput }
  func baseFile(for digest: ContentDigest) -> TreePath? { nil }
  func isTooLarge(_ digest: ContentDigest) -> Bool { false }
  func fetchContent(_ digest: ContentDigest, byteCount: UInt64, at path: TreePath) throws { throw Errno.inputOutput }
}

extension CallTrials {
  /// One `openat` at every place fails: a name that the client sent as a hard link is one, or the push fails.
  func anInputOutputErrorWhileReceivingLosesNoHardLink() throws {
    let world = try World()
    try world.run("mkdir source/a source/b; printf linked > source/a/one; ln source/a/one source/b/two")
    world.settle()
    _ = try world.snapshot()
    let name = try #require(try world.list().newest).name
    var calls: [SystemCall: Int] = [:]
    func receive(failing nth: Int?) throws -> Failure? {
      try world.run("rm -rf received")
      let repository = try Repository.initialize(Array("\(world.path)/received".utf8), at: Clock.now())
      let sent = try SentTree(world, name)
      var failure: Failure?
      let lock = try repository.lock(command: "test", at: Clock.now())
      calls = SystemCallTrace.record(failing: nth.map { [.openat: ($0, .inputOutput)] } ?? [:]) {
        do {
          _ = try withExtendedLifetime(lock) {
            try buildSnapshot(
              name, as: sent.summary, from: sent, base: nil, in: repository, threads: 1, program: "test",
              progress: Progress(), monitor: Listener())
          }
        } catch { failure = error as? Failure ?? Failure(.failed, "\(error)") }
      }
      return failure
    }
    #expect(try receive(failing: nil) == nil)
    for nth in 1...calls[.openat, default: 0] where try receive(failing: nth) == nil {
      let inodes = try world.run("cd 'received/\(name)/localhost\(world.source)'; stat -c %i a/one b/two")
      #expect(Set(inodes.split(separator: "\n")).count == 1, "openat number \(nth)")
    }
  }
}

private final class Listener: Monitor {
  func warn(_ warning: Warning) {}
}

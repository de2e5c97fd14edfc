internal import Catalog
internal import Engine
public import Model
internal import Repository
internal import Synchronization

/// A file of a snapshot that is to be removed, whose content no other snapshot has.
public struct LostFile: Sendable {
  /// The path as at the source.
  public let path: [UInt8]
  public let byteCount: UInt64
  /// The ID by which restic names the snapshot.
  public let snapshot: Digest
}

/// Finds the files with a chunk that no staying snapshot needs. Only trees are read, and none that a staying one needs.
final class LostFileSearch: TreeWork {
  typealias State = Digest
  private let restic: ResticRepository
  private let index: BlobIndex
  private let needed: NeededBlobs
  private let snapshot: Digest
  /// The labels beside the host's, which are names in the root.
  private let labels: Set<[UInt8]>
  private let seen: Seen

  /// The trees and the contents that were found in any of the snapshots.
  final class Seen: Sendable {
    fileprivate let trees = Mutex<Set<Digest>>([])
    fileprivate let contents = Mutex<Set<[Digest]>>([])
    fileprivate let files = Mutex<[LostFile]>([])
  }

  /// The lost files of several snapshots.
  static func files(
    of snapshots: [(id: Digest, file: SnapshotFile)], besides needed: NeededBlobs, in restic: ResticRepository,
    index: BlobIndex, threads: Int
  ) throws -> [LostFile] {
    let seen = Seen()
    for (id, file) in snapshots where !needed.contains(BlobName(.tree, file.tree)) {
      let search = LostFileSearch(
        of: id, labels: file.otherLabels, besides: needed, in: restic, index: index, seen: seen)
      try walkTree(search, from: Node(file.tree), threads: ThreadCount(threads))
    }
    return seen.files.withLock { $0 }
  }

  private init(
    of snapshot: Digest, labels: Set<[UInt8]>, besides needed: NeededBlobs, in restic: ResticRepository,
    index: BlobIndex, seen: Seen
  ) {
    (self.snapshot, self.labels, self.needed) = (snapshot, labels, needed)
    (self.restic, self.index, self.seen) = (restic, index, seen)
  }

  func makeWorker() -> BlobReader { BlobReader(restic, index: index) }
  func finish(with worker: BlobReader) {}
  func leave(_ node: Node, with worker: BlobReader) {}

  func enter(_ node: Node, with worker: BlobReader) throws -> [Node] {
    var children: [Node] = []
    for entry in try worker.nodes(ofTree: node.state) {
      if let subtree = entry.subtree {
        let isNew = seen.trees.withLock { $0.insert(subtree).inserted }
        guard isNew, !needed.contains(BlobName(.tree, subtree)) else { continue }
        children.append(Node(parent: node, name: entry.name, subtree))
      } else if entry.content.contains(where: { !needed.contains(BlobName(.data, $0)) }),
        seen.contents.withLock({ $0.insert(entry.content).inserted })
      {
        let path = node.path + entry.name
        let isOwn = !labels.contains(path.first ?? [])
        let file = LostFile(path: isOwn ? path.absolute : path.bytes, byteCount: entry.size, snapshot: snapshot)
        seen.files.withLock { $0.append(file) }
      }
    }
    return children
  }
}

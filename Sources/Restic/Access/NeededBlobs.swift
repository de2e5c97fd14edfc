internal import Catalog
internal import Engine
internal import Model
internal import Repository
internal import Synchronization

/// The blobs that trees need, found by a walk over all of them. Each tree is read once.
final class NeededBlobs: TreeWork {
  typealias State = Digest
  private let restic: ResticRepository
  private let index: BlobIndex
  private let found = Mutex<[BlobName: BlobPlace]>([:])

  init(from roots: [Digest], in restic: ResticRepository, index: BlobIndex, threads: Int) throws {
    (self.restic, self.index) = (restic, index)
    for root in roots where try note(BlobName(.tree, root)) {
      try walkTree(self, from: Node(root), threads: ThreadCount(threads))
    }
  }

  /// The places of the blobs, by pack.
  var places: [Digest: [BlobPlace]] { found.withLock { Dictionary(grouping: $0.values, by: \.pack) } }

  func contains(_ name: BlobName) -> Bool { found.withLock { $0[name] != nil } }

  /// Notes a blob. False if it was noted before.
  private func note(_ name: BlobName) throws -> Bool {
    if found.withLock({ $0[name] != nil }) { return false }
    guard let place = try index.place(of: name) else {
      throw Failure(
        .damaged, "the \(name.type.word) blob \(name.id) is in no index of \(restic.displayName)",
        hint: "see: restic check")
    }
    return found.withLock { $0.updateValue(place, forKey: name) } == nil
  }

  func makeWorker() -> BlobReader { BlobReader(restic, index: index) }
  func finish(with worker: BlobReader) {}
  func leave(_ node: Node, with worker: BlobReader) {}

  func enter(_ node: Node, with worker: BlobReader) throws -> [Node] {
    var children: [Node] = []
    for entry in try worker.nodes(ofTree: node.state) {
      for id in entry.content { _ = try note(BlobName(.data, id)) }
      if let subtree = entry.subtree, try note(BlobName(.tree, subtree)) {
        children.append(Node(parent: node, name: entry.name, subtree))
      }
    }
    return children
  }
}

extension BlobReader {
  /// The nodes of a tree that a snapshot needs.
  func nodes(ofTree id: Digest) throws -> [TreeNode] {
    do { return try TreeReader.nodes(in: try read(BlobName(.tree, id))) } catch let error as ResticError {
      throw Failure(.damaged, "the tree \(id) of \(repository.displayName) is damaged: \(error)")
    }
  }
}

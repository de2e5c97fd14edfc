internal import Catalog
public import Engine
public import Model
internal import Posix
internal import Repository
internal import Synchronization

extension ResticStore {
  /// Reads every tree of the snapshots, and every chunk of a part of the files, and compares them with their IDs.
  ///
  /// A tree is read once, however many directories share it. Only if there is damage, all paths that lead to it are
  /// looked for.
  public func verify(
    _ names: [SnapshotName], options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    let start = Clock.monotonic()
    let unusable = try snapshots().unusable.filter { names.contains($0.name) }
    let names = names.filter { name in !unusable.contains { $0.name == name } }
    let shared = VerifiedBlobs(
      part: options.part, archived: try restic.store.archivedPacks(), bytesPerSecond: options.bytesPerSecond)
    progress.expect(try names.map { try listed($0).snapshot.summary }, part: options.part)
    var result = VerifyResult(problems: 0, damaged: 0, filesRead: 0)
    func pass(visitingAll: Bool, progress: Progress, report: @escaping @Sendable (Problem) -> Void) throws {
      for name in names {
        let work = ResticVerifyWork(
          of: try listed(name), in: self, index: try index(), shared: shared, visitingAll: visitingAll,
          progress: progress, report: report)
        try walkTree(work, from: work.root, threads: options.threads)
        result.damage[name] = .some(work.damaged.value)
      }
    }
    try pass(visitingAll: false, progress: progress) { _ in }
    if result.damage.values.contains(where: { $0 != 0 }) {
      try pass(visitingAll: true, progress: Progress(), report: report)
    }
    for snapshot in unusable {
      report(Problem(snapshot: snapshot.name, path: [], message: snapshot.reason, isDamage: true))
      result.damage[snapshot.name] = .some(1)
    }
    result.damaged = result.damage.values.reduce(0) { $0 + ($1 ?? 0) }
    result.problems = result.damaged
    result.filesRead = shared.chunksRead.value
    result.archivedChunks = shared.chunksArchived
    result.elapsedSeconds = Clock.monotonic() - start
    return result
  }
}

/// The chunks and trees that were verified, over all snapshots of a verification.
private final class VerifiedBlobs: Sendable {
  let part: VerificationPart
  /// The packs that are not read, because they would have to be thawed.
  let archived: Set<Digest>
  let chunksRead = Atomic<UInt64>(0)
  private let seen = Mutex<[BlobName: String?]>([:])
  private let trees = Mutex<Set<Digest>>([])
  private let limiter: SharedRateLimiter?
  private let inArchive = Mutex<Set<Digest>>([])

  init(part: VerificationPart, archived: Set<Digest>, bytesPerSecond: UInt64?) {
    (self.part, self.archived) = (part, archived)
    limiter = bytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) }
  }

  /// Waits until that many bytes may have been read.
  func pace(_ byteCount: Int) { limiter?.pace(byteCount: byteCount) }

  /// True if a chunk is in an archive; it is counted then.
  func isArchived(_ chunk: Digest, in index: BlobIndex) throws -> Bool {
    guard !archived.isEmpty, let place = try index.place(of: BlobName(.data, chunk)), archived.contains(place.pack)
    else { return false }
    inArchive.withLock { _ = $0.insert(chunk) }
    return true
  }

  var chunksArchived: UInt64 { UInt64(inArchive.withLock { $0.count }) }

  /// True at the first call for a tree.
  func isNew(tree: Digest) -> Bool { trees.withLock { $0.insert(tree).inserted } }

  /// The problem of a blob, found by `examine` at the first time; `nil` if there is none.
  func problem(of name: BlobName, examine: () throws -> String?) rethrows -> String? {
    if let known = seen.withLock({ $0[name] }) { return known }
    let found = try examine()
    seen.withLock { $0[name] = .some(found) }
    return found
  }
}

private struct VerifiedTree {
  let tree: Digest
}

private final class ResticVerifyWork: TreeWork {
  typealias State = VerifiedTree
  let root: Node
  let damaged = Atomic<UInt64>(0)
  /// False if a tree that was read already is passed over.
  private let visitsAll: Bool
  private let listed: ResticStore.ListedFile
  private let store: ResticStore
  private let index: BlobIndex
  private let shared: VerifiedBlobs
  private let progress: Progress
  private let report: @Sendable (Problem) -> Void

  init(
    of listed: ResticStore.ListedFile, in store: ResticStore, index: BlobIndex, shared: VerifiedBlobs,
    visitingAll: Bool, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) {
    (self.listed, self.store, self.index, self.shared) = (listed, store, index, shared)
    (visitsAll, self.progress, self.report) = (visitingAll, progress, report)
    root = Node(VerifiedTree(tree: listed.file.tree))
  }

  func makeWorker() -> BlobReader { BlobReader(store.restic, index: index) }
  func finish(with worker: BlobReader) {}
  func leave(_ node: Node, with worker: BlobReader) {}

  func enter(_ node: Node, with worker: BlobReader) throws -> [Node] {
    guard visitsAll || shared.isNew(tree: node.tree) else { return [] }
    progress.entries.count()
    let nodes: [TreeNode]
    do { nodes = try TreeReader.nodes(in: try worker.read(BlobName(.tree, node.tree))) } catch {
      found(try words(for: error), at: node.path)
      return []
    }
    for file in nodes where file.kind != .directory {
      progress.entries.count()
      for id in file.content where shared.part.contains(prefix: id.prefix) {
        let problem = try shared.problem(of: BlobName(.data, id)) {
          do {
            if try shared.isArchived(id, in: index) { return nil }
            let bytes = try worker.read(BlobName(.data, id), ofMany: shared.part.isWhole)
            progress.bytesRead.count(UInt64(bytes.count))
            shared.pace(bytes.count)
            shared.chunksRead.count()
            return nil
          } catch { return try words(for: error) }
        }
        if let problem { found(problem, at: node.path + file.name) }
      }
    }
    return nodes.filter { $0.kind == .directory }.map {
      Node(parent: node, name: $0.name, VerifiedTree(tree: $0.subtree!))
    }
  }

  private func found(_ message: String, at path: TreePath) {
    damaged.count()
    report(
      Problem(
        snapshot: listed.snapshot.name, path: path.absolute, message: message, isDamage: true))
  }

  private func words(for error: any Error) throws -> String {
    if let error = error as? ResticError { return error.description }
    guard let failure = error as? Failure, failure.kind == .damaged else { throw error }
    return failure.message
  }
}

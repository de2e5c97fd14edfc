internal import Catalog
public import Engine
public import Model
internal import Posix
internal import Repository
internal import Synchronization

extension ResticStore {
  /// Reads every tree of the snapshots, and every chunk of a part of the files, and compares them with their IDs.
  public func verify(
    _ names: [SnapshotName], options: VerifyOptions, progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) throws -> VerifyResult {
    let start = Clock.monotonic()
    let shared = VerifiedBlobs(part: options.part, bytesPerSecond: options.bytesPerSecond)
    var result = VerifyResult(problems: 0, damaged: 0, filesRead: 0)
    for name in names {
      let work = ResticVerifyWork(
        of: try listed(name), in: self, index: try index(), shared: shared, progress: progress, report: report)
      try walkTree(work, from: work.root, threads: options.threads)
      let damaged = work.damaged.value
      result.problems += damaged
      result.damaged += damaged
      result.damage[name] = .some(damaged)
    }
    result.filesRead = shared.chunksRead.value
    result.elapsedSeconds = Clock.monotonic() - start
    return result
  }
}

/// The chunks and trees that were verified, over all snapshots of a verification.
private final class VerifiedBlobs: Sendable {
  let part: VerificationPart
  let chunksRead = Atomic<UInt64>(0)
  private let seen = Mutex<[BlobName: String?]>([:])
  private let limiter: SharedRateLimiter?

  init(part: VerificationPart, bytesPerSecond: UInt64?) {
    self.part = part
    limiter = bytesPerSecond.map { SharedRateLimiter(bytesPerSecond: $0) }
  }

  /// Waits until that many bytes may have been read.
  func pace(_ byteCount: Int) {
    guard let limiter else { return }
    var left = byteCount
    while left > 0 { left -= limiter.take(upTo: left) }
  }

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
  private let listed: ResticStore.ListedFile
  private let store: ResticStore
  private let index: BlobIndex
  private let shared: VerifiedBlobs
  private let progress: Progress
  private let report: @Sendable (Problem) -> Void

  init(
    of listed: ResticStore.ListedFile, in store: ResticStore, index: BlobIndex, shared: VerifiedBlobs,
    progress: Progress, report: @escaping @Sendable (Problem) -> Void
  ) {
    (self.listed, self.store, self.index, self.shared) = (listed, store, index, shared)
    (self.progress, self.report) = (progress, report)
    root = Node(VerifiedTree(tree: listed.file.tree))
  }

  func makeWorker() -> BlobReader { BlobReader(store.restic, index: index) }
  func finish(with worker: BlobReader) {}
  func leave(_ node: Node, with worker: BlobReader) {}

  func enter(_ node: Node, with worker: BlobReader) throws -> [Node] {
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
            let bytes = try worker.read(BlobName(.data, id))
            progress.bytesRead.count(UInt64(bytes.count))
            shared.pace(bytes.count)
            shared.chunksRead.count()
            return nil
          } catch { return try words(for: error) }
        }
        if let problem { found(problem, at: node.path + [file.name]) }
      }
    }
    return nodes.filter { $0.kind == .directory }.map {
      Node(parent: node, name: $0.name, VerifiedTree(tree: $0.subtree!))
    }
  }

  private func found(_ message: String, at path: [[UInt8]]) {
    damaged.count()
    report(
      Problem(
        snapshot: listed.snapshot.name, path: joined(path, absolute: true), message: message, isDamage: true))
  }

  private func words(for error: any Error) throws -> String {
    if let error = error as? ResticError { return error.description }
    guard let failure = error as? Failure, failure.kind == .damaged else { throw error }
    return failure.message
  }
}

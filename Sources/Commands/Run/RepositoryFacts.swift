internal import Catalog
internal import Model
internal import Posix
internal import Repository
internal import Retention

/// The facts about a repository, collected without reading a tree.
struct RepositoryFacts {
  var path: [UInt8]
  var list: SnapshotList
  /// The snapshots that a verification found damaged, each with the time and the reason.
  var damaged: [SnapshotName: String] = [:]
  var held: [SnapshotName] = []
  /// The number of members of each set.
  var memberCounts: [SnapshotSet: Int] = [:]
  var plan: RetentionPlan
  /// 0 if the file system does not tell its size.
  var bytesFree: UInt64 = 0
  var bytesTotal: UInt64 = 0
  var history: PastRuns

  /// A command line for this repository, for use in messages.
  func advice(_ command: String) -> String { commandLine(command, repository: path) }
}

extension RepositoryFacts {
  init(of repository: Repository, at now: Timestamp) throws {
    let list = try repository.snapshots()
    self.init(
      path: repository.path, list: list,
      plan: try repository.retention.plan(for: list, by: repository.retention.lastPolicy(), now: now),
      history: PastRuns(history: try repository.history.tail(byteCount: 1 << 20)))
    damaged = try repository.marks.all(.damaged)
    held = Array(try repository.marks.all(.held).keys)
    memberCounts = try repository.members(of: list).mapValues(\.count)
    let system = try repository.root.descriptor.fileSystem()
    if system.hasSize {
      bytesFree = system.bytesAvailable
      bytesTotal = system.bytesUsed &+ system.bytesAvailable
    }
  }
}

internal import Catalog
internal import Engine
internal import Model
internal import Repository

/// The document of `import snapshots --json`, and one line of the history.
struct SnapshotImportAnswer: HistoryLine {
  struct Held: Encodable {
    let snapshot: String
    let reason: String
  }

  struct Tree: Encodable {
    let tree: String
    let time: String
    /// `nil` if the tree was not adopted.
    let snapshot: String?
    let error: String?

    init(of tree: AdoptableTree, snapshot: SnapshotName?, error: String?) {
      self.tree = displayName(tree.name)
      time = tree.time.rfc3339
      self.snapshot = snapshot?.description
      self.error = error
    }
  }

  let time: String
  let command = "import"
  let dryRun: Bool
  var trees: [Tree]
  /// The snapshots that are held because no newer one has their sources.
  var held: [Held] = []
  var exitStatus = ExitStatus.done.code
  /// The first error.
  var error: String?

  mutating func add(_ tree: AdoptableTree, snapshot: SnapshotName? = nil, failure: Failure? = nil) {
    trees.append(Tree(of: tree, snapshot: failure == nil ? snapshot : nil, error: failure?.description))
    guard let failure, error == nil else { return }
    error = "\(displayName(tree.name)): \(failure)"
    let isSomeAdopted = trees.contains { $0.snapshot != nil }
    exitStatus = (isSomeAdopted ? ExitStatus(afterPublication: failure.kind) : ExitStatus(failure.kind)).code
  }

  /// Records an error that came after the adoption.
  mutating func warn(_ failure: Failure) {
    error = error ?? failure.description
    if exitStatus == ExitStatus.done.code { exitStatus = ExitStatus.warnings.code }
  }
}

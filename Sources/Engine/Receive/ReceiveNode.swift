internal import Catalog
internal import Model
internal import Posix

/// A directory of a received snapshot.
struct ReceiveDirectory: BuiltDirectory {
  var build: BuildState
  let digest: Digest
  /// The number of directories above this one.
  let depth: Int
  /// True if the base has the directory at another path.
  let isMoved: Bool
  var record: DirectoryRecord?

  init(below parent: ReceiveDirectory?, digest: Digest, base: Subtree?, tree: StoredTree?, basePath: TreePath? = nil) {
    build = BuildState(leadsToSource: parent == nil, base: base, tree: tree, basePath: basePath)
    self.digest = digest
    depth = parent.map { $0.depth + 1 } ?? 0
    isMoved = basePath != nil || parent?.isMoved ?? false
    build.showsLabel = parent?.build.showsLabel ?? false
  }
}

typealias ReceiveNode = WalkNode<ReceiveDirectory>

extension ReceiveNode {
  /// The path of a moved directory in the base.
  var baseLocation: TreePath {
    var below: TreePath = []
    var node = self
    while true {
      if let basePath = node.build.basePath { return basePath + below.reversed() }
      below.append(node.name)
      guard let parent = node.parent else { return TreePath(below.reversed()) }
      node = parent
    }
  }

  /// True if this user may not open the base's directory.
  ///
  /// It is an ordinary user's own directory that was closed at the source.
  var isBaseClosed: Bool {
    guard self.build.baseTree == nil, self.build.base != nil, let root = self.build.tree?.root else { return false }
    do throws(Errno) { _ = try root.directory(path: baseLocation) } catch { return error == .accessDenied }
    return false
  }
}

internal import Catalog
internal import Posix

/// A directory of a received snapshot.
final class ReceiveNode: BuildNode, @unchecked Sendable {
  let digest: Digest
  /// The directory's path in the base, if neither its own path nor its parent's base gives it.
  let basePath: [[UInt8]]?
  /// The number of directories above this one.
  let depth: Int
  /// True if the base has the directory at another path.
  let isMoved: Bool
  var record: DirectoryRecord?

  /// The path of a moved directory in the base.
  var baseLocation: [[UInt8]] {
    var below: [[UInt8]] = []
    var node = self
    while true {
      if let basePath = node.basePath { return basePath + below.reversed() }
      below.append(node.name)
      guard let parent = node.parent else { return below.reversed() }
      node = unsafeDowncast(parent, to: ReceiveNode.self)
    }
  }

  /// True if this user may not open the base's directory.
  ///
  /// It is an ordinary user's own directory that was closed at the source.
  var isBaseClosed: Bool {
    guard baseTree == nil, base != nil, let root = tree?.root else { return false }
    do throws(Errno) { _ = try root.directory(path: baseLocation) } catch { return error == .accessDenied }
    return false
  }

  override func openBase() throws(Errno) -> Directory? {
    guard let basePath else { return try super.openBase() }
    return try tree?.root?.directory(path: basePath)
  }

  override var metadata: Metadata { record?.metadata ?? super.metadata }

  init(
    parent: ReceiveNode?, name: [UInt8], digest: Digest, base: Subtree?, tree: StoredTree?, basePath: [[UInt8]]?
  ) {
    self.digest = digest
    depth = parent.map { $0.depth + 1 } ?? 0
    self.basePath = basePath
    isMoved = basePath != nil || parent?.isMoved ?? false
    super.init(parent: parent, name: name, isSynthetic: false, base: base, tree: tree)
  }
}

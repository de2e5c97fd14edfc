internal import Catalog
internal import Posix

/// A directory of a snapshot that comes from elsewhere.
final class ReceiveNode: BuildNode, @unchecked Sendable {
  let digest: Digest
  /// Where the base has it, where that is another path than its own or its parent's.
  let basePath: [[UInt8]]?
  /// Directories above it.
  let depth: Int
  /// True where the base is at another path.
  let isMoved: Bool
  var record: DirectoryRecord?

  /// Where the base is, of a directory that was moved.
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

  /// True where this user may not open the base: an ordinary user's own directory that was closed at the source.
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

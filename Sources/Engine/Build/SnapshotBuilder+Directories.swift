internal import Posix
internal import Repository

// The directories of the snapshot, either new or from the spare.
extension SnapshotBuilder {
  /// Makes the directory in the snapshot; false if the repository cannot hold it.
  func open(_ node: WalkNode<some BuiltDirectory>) throws -> Bool {
    let name = node.name
    let parent = node.parent
    var isMade = false
    do throws(Errno) {
      if let above = parent?.build.target {
        if node.build.isRecycled { node.build.target = try recycledDirectory(named: name, in: above) }
        if node.build.target == nil {
          node.build.isRecycled = false
          try above.descriptor.makeDirectory(name.span, mode: 0o700)
          isMade = true
          node.build.target = try above.directory(name.span)
        }
      } else {
        node.build.target = pending.tree
        node.build.isRecycled = pending.isRecycled
      }
      node.build.targetStatus = try node.build.target!.descriptor.status()
      if let mount = parent?.build.targetStatus?.mount, mount != node.build.targetStatus!.mount { throw .busy }
      // The mode and the ACLs of the root were corrected when the spare was taken.
      try beginRecycling(of: node, isOpened: parent == nil)
    } catch {
      if node.build.isRecycled { throw SpareUnusable(path: node.sourcePath, reason: error) }
      if node.build.leadsToSource { throw Failure.writing("make the directory", at: node.sourcePath, because: error) }
      // A name that is not in the catalog must not stay in the tree. An existing name belongs to another entry: the
      // file system takes the two names for one.
      if isMade { try? parent!.build.target!.descriptor.removeDirectory(name.span) }
      try context.storingFailed("make the directory", at: node.sourcePath, because: error, isName: true)
      return false
    }
    do throws(Errno) { node.build.baseTree = try node.openBase() } catch {
      if error.isShortage { throw Failure.writing("open the stored directory", at: node.sourcePath, because: error) }
      baseIsLost(of: node, because: error)
    }
    return true
  }

  /// Lists the spare's names in the directory, once, before the merge.
  private func beginRecycling(of node: WalkNode<some BuiltDirectory>, isOpened: Bool) throws(Errno) {
    guard node.build.isRecycled, let target = node.build.target else { return }
    node.build.recycled = try RecycledDirectory(target, isOpened: isOpened, in: context.repository)
  }

  /// Opens a directory of the spare; `nil` if there is none. An entry of another kind is removed.
  private func recycledDirectory(named name: [UInt8], in parent: Directory) throws(Errno) -> Directory? {
    do { return try parent.directory(name.span) } catch {
      switch error {
      case .noSuchEntry: return nil
      case .accessDenied:
        // An ordinary user's own directory may be closed, as it was at the source.
        try parent.descriptor.unlock(name.span)
        return try parent.directory(name.span)
      default:
        try context.repository.retirement.discard(name, of: parent)
        return nil
      }
    }
  }

  /// Discards the spare's version of a directory that is not in the snapshot after all.
  func discardRecycled(_ node: WalkNode<some BuiltDirectory>) throws(SpareUnusable) {
    if node.build.isRecycled, let parent = node.parent { try discard(node.name, of: parent) }
  }

  func discard(_ name: [UInt8], of node: WalkNode<some BuiltDirectory>) throws(SpareUnusable) {
    guard let target = node.build.target else { return }
    do throws(Errno) { try context.repository.retirement.discard(name, of: target) } catch {
      if error == .noSuchEntry { return }
      throw SpareUnusable(path: node.sourcePath(of: name), reason: error)
    }
  }
}

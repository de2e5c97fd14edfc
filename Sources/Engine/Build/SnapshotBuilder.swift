internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// Builds the directories, links and records of a new snapshot, whatever the origin of its entries.
final class SnapshotBuilder: Sendable {
  let context: BuildContext
  let pending: PendingSnapshot

  init(_ pending: PendingSnapshot, in context: BuildContext) { (self.pending, self.context) = (pending, context) }

  /// Warns that the stored directory, whose entries could be linked, is missing.
  func baseIsLost(of node: WalkNode<some BuiltDirectory>, because error: Errno) {
    // An ordinary user's own directory may be closed, as it was at the source.
    if error == .accessDenied { return }
    context.warn(
      at: node.sourcePath,
      "is lost in the snapshot \(node.build.tree!.name), and is stored anew: \(error); run treering verify")
  }

  /// Removes an unfinished file: a name that is not in the catalog must not stay in the tree.
  func remove(_ file: consuming NewFile, for path: [UInt8]) throws(Failure) {
    do throws(Errno) { try file.remove() } catch {
      throw Failure.writing("remove the unfinished copy of", at: path, because: error)
    }
  }

  /// True if the name has the inode, or the link to it was made.
  ///
  /// False if the stored file is gone or can take no more links.
  func linked(
    from: borrowing Descriptor, name: Span<UInt8>, inode: UInt64, in node: WalkNode<some BuiltDirectory>,
    as newName: Span<UInt8>
  ) throws -> Bool {
    if node.keeps(inode: inode) { return true }
    try node.makeRoom()
    do throws(Errno) {
      try from.link(name, to: node.build.target!.descriptor, as: newName)
      return true
    } catch {
      if context.endsRunForName(error) { throw Failure.writing("link in", at: node.sourcePath, because: error) }
      if error == .tooManyLinks { context.progress.linkLimits.count() }
      return false
    }
  }

  /// Links a name to the first name of its inode; false if that name is gone or can take no more links.
  func linked(
    to first: FirstName<some Sendable>, in node: WalkNode<some BuiltDirectory>, as name: Span<UInt8>
  ) throws -> Bool {
    let directory: Directory?
    do throws(Errno) {
      directory = first.directory == node.path ? node.build.target : try pending.tree.directory(path: first.directory)
    } catch {
      if error.endsRun { throw Failure.writing("link in", at: node.sourcePath, because: error) }
      return false
    }
    let firstName = first.name
    guard let directory,
      try linked(from: directory.descriptor, name: firstName.span, inode: first.inode, in: node, as: name)
    else { return false }
    context.progress.linked.count()
    return true
  }

  // MARK: Entering a directory, new or from the spare

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
    if node.build.isRecycled, let parent = node.parent { try discard(named: node.name, of: parent) }
  }

  func discard(named name: [UInt8], of node: WalkNode<some BuiltDirectory>) throws(SpareUnusable) {
    guard let target = node.build.target else { return }
    do throws(Errno) { try context.repository.retirement.discard(name, of: target) } catch {
      if error == .noSuchEntry { return }
      throw SpareUnusable(path: node.sourcePath(of: name), reason: error)
    }
  }

  // MARK: Leaving a directory

  /// Gives a directory its metadata, and closes its record.
  func complete(_ node: WalkNode<some BuiltDirectory>, with tools: BuildTools) throws {
    guard let target = node.build.target, let stored = node.build.targetStatus else { return }
    do throws(Errno) {
      if !node.build.isSynthetic {
        // This comes last: until now the children needed a directory that its owner may write to.
        let stored =
          node.build.isRecycled
          ? try correctMetadata(node.build.metadata, attributes: node.build.attributes, of: target.descriptor)
          : try applyMetadata(
            node.build.metadata, attributes: node.build.attributes, to: target.descriptor, by: .descriptor,
            currently: stored)
        node.build.hints.flags.formUnion(stored.missing.refused(toRoot: context.isRoot))
        node.build.targetStatus = stored.status
      } else {
        if node.parent != nil {
          // A recycled directory may have been the root of a source.
          if node.build.isRecycled { try target.descriptor.becomePlainDirectory() }
          try target.descriptor.setPermissions(0o755)
        }
        node.build.targetStatus = try target.descriptor.status()
      }
    } catch {
      if node.build.isRecycled { throw SpareUnusable(path: node.sourcePath, reason: error) }
      throw Failure.writing("set the metadata of", at: node.sourcePath, because: error)
    }
    if node.build.hints.flags.isCatalogOnly { context.progress.catalogOnly.count() }
    try node.closeRecord(into: tools.writer, with: tools.hasher)
  }
}

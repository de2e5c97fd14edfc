internal import Catalog
internal import Model
internal import Posix
internal import Repository

/// The common work of building a snapshot from any origin: directories, links, records.
class BuildWork: @unchecked Sendable {
  let repository: Repository
  /// `nil` for a look-ahead.
  let pending: PendingSnapshot?
  let capabilities: Capabilities
  let space: SpaceGuard
  /// True for a look-ahead, which counts the needed space and changes nothing.
  let isDry: Bool
  let progress: Progress
  let monitor: any Monitor
  let isRoot = CurrentProcess.effectiveUser == 0

  init(
    repository: Repository, pending: PendingSnapshot?, capabilities: Capabilities, space: SpaceGuard, isDry: Bool,
    progress: Progress, monitor: any Monitor
  ) {
    self.repository = repository
    self.pending = pending
    self.capabilities = capabilities
    self.space = space
    self.isDry = isDry
    self.progress = progress
    self.monitor = monitor
  }

  func warn(_ path: [UInt8], _ message: String) {
    progress.warnings.count()
    monitor.warn(Warning(path: path, message: message))
  }

  /// Handles an entry that the repository refused.
  ///
  /// Without room, or with a failing disk, the run ends. Otherwise the entry is named and left out.
  func storingFailed(
    _ what: String, _ path: [UInt8], _ error: Errno, isName: Bool = false
  ) throws(Failure) {
    let endsRun = isName ? endsRunForName(error) : error.endsRun
    if endsRun { throw Failure.writing(what, at: path, because: error) }
    warn(
      path,
      error == .noSpace
        ? "cannot be stored in the repository: its directory there can take no more names"
        : "cannot be stored in the repository: \(error)")
  }

  /// True if a name could not be made and the next name would fail too.
  ///
  /// A directory with a full index (ext4) reports no space on a disk that has room. Then only that directory fails.
  func endsRunForName(_ error: Errno) -> Bool {
    error.endsRun && !(error == .noSpace && repository.fileSystem.acceptsAnotherFile())
  }

  /// Warns that the stored directory, whose entries could be linked, is missing.
  func baseIsLost(_ node: WalkNode<some BuiltDirectory>, _ error: Errno) {
    // An ordinary user's own directory may be closed, as it was at the source.
    if error == .accessDenied { return }
    warn(
      node.sourcePath,
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
    _ from: borrowing Descriptor, _ name: Span<UInt8>, inode: UInt64, in node: WalkNode<some BuiltDirectory>,
    as newName: Span<UInt8>
  ) throws -> Bool {
    if node.keeps(inode) { return true }
    try node.makeRoom()
    do throws(Errno) {
      try from.link(name, to: node.build.target!.descriptor, as: newName)
      return true
    } catch {
      if endsRunForName(error) { throw Failure.writing("link in", at: node.sourcePath, because: error) }
      if error == .tooManyLinks { progress.linkLimits.count() }
      return false
    }
  }

  /// Links a name to the first name of its inode; false if that name is gone or can take no more links.
  func linked(
    to first: FirstName<some Sendable>, in node: WalkNode<some BuiltDirectory>, as name: Span<UInt8>
  ) throws -> Bool {
    let directory: Directory?
    do throws(Errno) {
      directory =
        first.directory == node.path ? node.build.target : try pending?.tree.directory(path: first.directory)
    } catch {
      if error.endsRun { throw Failure.writing("link in", at: node.sourcePath, because: error) }
      return false
    }
    let firstName = first.name
    guard let directory, try linked(directory.descriptor, firstName.span, inode: first.inode, in: node, as: name)
    else { return false }
    progress.linked.count()
    return true
  }

  // MARK: Leaving a directory

  /// Gives a directory its metadata, and closes its record.
  func complete(
    _ node: WalkNode<some BuiltDirectory>, _ encoder: RecordEncoder, _ target: Directory, into writer: FrameWriter,
    _ hasher: SHA256
  ) throws {
    let stored = node.build.targetStatus!
    do throws(Errno) {
      if !node.build.isSynthetic {
        // This comes last: until now the children needed a directory that its owner may write to.
        let missing =
          node.build.isRecycled
          ? try correctMetadata(node.build.metadata, node.build.attributes, of: target.descriptor)
          : try applyMetadata(
            node.build.metadata, node.build.attributes, to: target.descriptor, .open, currently: stored)
        node.build.hints.flags.formUnion(missing.refused(toRoot: isRoot))
      } else if node.parent != nil {
        // A recycled directory may have been the root of a source.
        if node.build.isRecycled { try target.descriptor.becomePlainDirectory() }
        try target.descriptor.setPermissions(0o755)
      }
    } catch {
      if node.build.isRecycled { throw SpareUnusable(path: node.sourcePath, reason: error) }
      throw Failure.writing("set the metadata of", at: node.sourcePath, because: error)
    }
    if node.build.hints.flags.isCatalogOnly { progress.catalogOnly.count() }
    try close(node, encoder, into: writer, hasher)
  }

  func close(
    _ node: WalkNode<some BuiltDirectory>, _ encoder: RecordEncoder, into writer: FrameWriter, _ hasher: SHA256
  ) throws {
    node.build.encoder = nil
    for child in node.children {
      let name = child.name
      if let subtree = child.build.result { encoder.append(name.span, subtree) }
    }
    var hints = node.build.hints
    hints.storedInode = node.build.targetStatus?.inode ?? 0
    node.build.result = try encoder.finish(hints, into: writer, hasher)
  }
}

extension StorageFlags {
  /// True if root may store the values that an ordinary user could not.
  func isWorthRetrying(asRoot isRoot: Bool) -> Bool {
    isRoot && isCatalogOnly && !contains(.refusedToRoot)
  }

  /// The flags, with a mark if root itself could not store the values.
  func refused(toRoot isRoot: Bool) -> StorageFlags {
    isRoot && isCatalogOnly ? union(.refusedToRoot) : self
  }

  /// True if the stored inode alone would not restore the entry.
  var isCatalogOnly: Bool {
    !isDisjoint(with: [.notStored, .ownerNotStored, .attributesNotStored, .modeNotStored])
  }
}
